"""Cases B4, B6, B9 to B11 and B16 on the wire, over TLS: what reaches the backend, in which order, and how often.

What fails here has a command lost, doubled or sent in another's name, or lets a client try without end.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import IMAP, IMAP_LOGIN, TLS, WRONG, Case, each
from tests.legacy_server import USER, saying
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

SECOND = '"open, Sesame 7"'
FAILED = "NO [AUTHENTICATIONFAILED] Authentication failed"
WRONG_THERE = "NO [AUTHENTICATIONFAILED] Wrong"

ORDER = (
    Case(
        "B4_imap_escapes_reach_the_backend_escaped",
        IMAP,
        TLS,
        rf"""
        C: a LOGIN "ann" "{WRONG}\"\\"⏎
        S: a {WRONG_THERE}⏎
        """,
        heard=rf'TAG LOGIN "ann" "{WRONG}\"\\"⏎',
        told=("auth_failed LOGIN ann authentication_failed",),
        backend=saying(b"* OK x\r\n", b"TAG NO [AUTHENTICATIONFAILED] Wrong\r\n"),
    ),
    *(
        Case(
            f"B6_imap_{name}_reach_the_backend_quoted",
            IMAP,
            TLS,
            f"""
            C: a LOGIN "{user}" {WRONG}⏎
            S: a {WRONG_THERE}⏎
            """,
            heard=f'TAG LOGIN "{user}" "{WRONG}"⏎',
            told=(f"auth_failed LOGIN {user} authentication_failed",),
        )
        for name, user in (("wildcards", "*%"), ("parentheses", "a)(b {3}"), ("spaces", " ann "))
    ),
    Case(
        "B9_imap_commands_behind_a_login",
        IMAP,
        TLS,
        f"""
        C: a LOGIN {USER} {SECOND}⏎b SELECT INBOX⏎c FETCH 1 BODY[]⏎
        S: a OK [CAPABILITY IMAP4rev1 IDLE] Logged in⏎b OK done SELECT INBOX⏎c OK done FETCH 1 BODY[]⏎
        """,
        heard=f"{IMAP_LOGIN}b SELECT INBOX⏎c FETCH 1 BODY[]⏎z NOOP⏎",
    ),
    Case(
        "B9_imap_literal_behind_a_login",
        IMAP,
        TLS,
        f"""
        C: a LOGIN {USER} {SECOND}⏎b APPEND x {{7+}}⏎c NOOP⏎⏎
        S: a OK [CAPABILITY IMAP4rev1 IDLE] Logged in⏎b OK done APPEND x {{7+}}⏎c OK done NOOP⏎
        S:  OK done ⏎
        """,
        heard=f"{IMAP_LOGIN}b APPEND x {{7+}}⏎c NOOP⏎⏎z NOOP⏎",
    ),
    Case(
        "B10_imap_second_login_behind_a_failing_one",
        IMAP,
        TLS,
        f"""
        C: a LOGIN ann {WRONG}⏎b LOGIN {USER} {SECOND}⏎c NOOP⏎
        S: a {WRONG_THERE}⏎b OK [CAPABILITY IMAP4rev1 IDLE] Logged in⏎c OK done NOOP⏎
        """,
        heard=f'TAG LOGIN "ann" "{WRONG}"⏎{IMAP_LOGIN}c NOOP⏎z NOOP⏎',
        told=("auth_failed LOGIN ann authentication_failed",),
    ),
    Case(
        "B10_imap_attempts_are_counted",
        IMAP,
        TLS,
        f"""
        C: «a LOGIN ann {WRONG}⏎*9»
        S: «a {WRONG_THERE}⏎*2»* BYE Too many authentication failures⏎
        X:
        """,
        ended="no_login auth_attempts",
        heard=f'TAG LOGIN "ann" "{WRONG}"⏎' * 2,
        told=("auth_failed LOGIN ann authentication_failed",) * 2,
        bounds={"auth_attempts": 2},
    ),
    Case(
        "B10_imap_attempts_that_are_malformed_are_counted",
        IMAP,
        TLS,
        f"""
        C: «a LOGIN "" {WRONG}⏎*9»
        S: «a {FAILED}⏎*2»* BYE Too many authentication failures⏎
        X:
        """,
        ended="no_login auth_attempts",
        told=("auth_failed LOGIN None empty user name",) * 2,
        bounds={"auth_attempts": 2},
    ),
    Case(
        "B11_imap_unknown_commands",
        IMAP,
        TLS,
        """
        C: «a EVIL⏎*30»
        S: «a BAD Unknown command, or not before login⏎*10»* BYE Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
    ),
    Case(
        "B11_imap_noops_without_end",
        IMAP,
        TLS,
        """
        C: «a NOOP⏎*300»
        S: «a OK NOOP completed⏎*200»* BYE Too many commands⏎
        X:
        """,
        ended="no_login too_many_commands",
    ),
    Case(
        "B11_imap_ids_without_end",
        IMAP,
        TLS,
        """
        C: «a ID NIL⏎*300»
        S: «* ID ("name" "tlsgate")⏎a OK ID completed⏎*200»* BYE Too many commands⏎
        X:
        """,
        ended="no_login too_many_commands",
    ),
    Case(
        "B16_imap_capabilities_of_the_backend_behind_the_login",
        IMAP,
        TLS,
        f"""
        C: a LOGIN {USER} {SECOND}⏎
        S: a OK [CAPABILITY IMAP4rev1 IDLE] Logged in⏎
        """,
        heard=f"{IMAP_LOGIN}z NOOP⏎",
    ),
)


@each(*ORDER)
async def test_order_and_number(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
