"""Cases A1 to A4 on the wire: what comes in clear behind STARTTLS is never answered, before the handshake or after it.

What fails here lets an attacker on the path speak in a user's name.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, IMAP, MX, POP3, SUBMISSION, WRONG, Case, each
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

PLAIN = f"«base64 ␀ann␀{WRONG}»"
INJECTED = "no_login starttls_injection"
INJECTED_MX = "ok starttls_injection"

INJECTION = (
    Case(
        "A1_imap_starttls_injected_noop",
        IMAP,
        CLEAR,
        """
        C: a STARTTLS⏎b NOOP⏎
        S: * BYE Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    Case(
        "A1_imap_starttls_injected_login",
        IMAP,
        CLEAR,
        f"""
        C: a STARTTLS⏎b LOGIN eve {WRONG}⏎
        S: * BYE Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    Case(
        "A1_imap_starttls_injected_part_of_a_line",
        IMAP,
        CLEAR,
        """
        C: a STARTTLS⏎b
        S: * BYE Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    Case(
        "A1_imap_starttls_injected_hello",
        IMAP,
        CLEAR,
        r"""
        C: a STARTTLS⏎\x16\x03\x01\x02\x00\x01
        S: * BYE Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    Case(
        "A2_pop3_stls_injected_capa",
        POP3,
        CLEAR,
        """
        C: STLS⏎CAPA⏎
        S: -ERR Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    Case(
        "A2_pop3_stls_injected_login",
        POP3,
        CLEAR,
        f"""
        C: STLS⏎USER eve⏎PASS {WRONG}⏎
        S: -ERR Data behind STARTTLS⏎
        X:
        """,
        ended=INJECTED,
    ),
    *(
        Case(
            f"A3_{protocol}_starttls_injected_{verb}",
            protocol,
            CLEAR,
            f"""
            H:
            C: STARTTLS⏎{command}⏎
            S: 421 4.7.0 mail.example.org Data behind STARTTLS⏎
            X:
            """,
            ended=ended,
        )
        for protocol, ended in ((SUBMISSION, INJECTED), (MX, INJECTED_MX))
        for verb, command in (
            ("ehlo", "EHLO evil.example"),
            ("mail", "MAIL FROM:<>"),
            ("auth", f"AUTH PLAIN {PLAIN}"),
            ("nothing", ""),
        )
    ),
    *(
        Case(
            f"A4_{protocol}_clear_text_where_tls_is_due_{what}",
            protocol,
            CLEAR,
            f"""
            C: {starttls}⏎
            S: {go}⏎
            F: {injected}
            """,
            ended="handshake_failed ",
        )
        for protocol, starttls, go in (
            (IMAP, "a STARTTLS", "a OK Begin TLS negotiation now"),
            (POP3, "STLS", "+OK Begin TLS negotiation now"),
            (SUBMISSION, "STARTTLS", "220 2.0.0 Ready to start TLS"),
            (MX, "STARTTLS", "220 2.0.0 Ready to start TLS"),
        )
        for what, injected in (
            ("command", {IMAP: "b NOOP⏎", POP3: "CAPA⏎"}.get(protocol, "EHLO evil.example⏎")),
            ("login", {IMAP: f"b LOGIN eve {WRONG}⏎"}.get(protocol, f"AUTH PLAIN {PLAIN}⏎")),
            ("longer_than_a_record", "«b NOOP⏎*3000»"),
        )
    ),
)


@each(*INJECTION)
async def test_injection(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
