"""Cases C1 to C6 and C8 on the wire, over TLS: names, passwords and lines that aren't what they should be.

What fails here has a password changed on its way, or a client's octets read as commands that nobody has sent.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import POP3, POP3_LOGIN, TLS, WRONG, Case, each
from tests.legacy_server import SECRET, USER, saying
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

DENIED = "-ERR [AUTH] Wrong"
BAD_LINE = "-ERR Line must end with CR LF and hold no control characters"


def said(name: str, sent: str, answer: str, *told: str, ended: str = "") -> Case:
    """What is sent in one segment, and what comes back; ``ended``: the gateway closes."""
    script = f"C: {sent}\nS: {answer}\n" + ("X:" if ended else "")
    return Case(name, POP3, TLS, script, told=tuple(f"auth_failed {each_told}" for each_told in told), ended=ended)


def carried(name: str, user: str, password: str) -> Case:
    """A login that the backend refuses: what it has heard of it is what was sent."""
    return Case(
        name,
        POP3,
        TLS,
        f"C: USER {user}⏎PASS {password}⏎\nS: +OK⏎{DENIED}⏎",
        heard=f"USER {user}⏎PASS {password}⏎",
        told=(f"auth_failed USER {user} authentication_failed",),
        backend=saying(b"+OK x\r\n", b"+OK\r\n", b"-ERR [AUTH] Wrong\r\n"),
    )


LOGINS = (
    said("C1_pop3_pass_without_user", f"PASS {WRONG}⏎", "-ERR USER first⏎"),
    said(
        "C1_pop3_pass_twice",
        f"USER ann⏎PASS⏎PASS {WRONG}⏎",
        "+OK⏎-ERR [AUTH] Authentication failed⏎-ERR USER first⏎",
        "USER ann empty password",
    ),
    said("C1_pop3_user_with_a_space", f"USER ann {WRONG}⏎PASS x⏎", "-ERR USER needs one name⏎-ERR USER first⏎"),
    said("C1_pop3_user_without_a_name", "USER⏎USER ⏎", "-ERR USER needs one name⏎-ERR USER needs one name⏎"),
    Case(
        "C1_pop3_last_user_counts",
        POP3,
        TLS,
        f"""
        C: USER eve⏎USER {USER}⏎PASS {SECRET}⏎
        S: +OK⏎+OK⏎+OK Logged in⏎
        """,
        heard=f"{POP3_LOGIN}NOOP⏎",
    ),
    carried("C1_pop3_password_with_spaces_around_it", "ann", f"  {WRONG} x  "),
    carried("C1_pop3_password_of_255", "ann", f"{WRONG}«p*241»"),
    carried("C1_pop3_password_that_looks_like_a_command", "ann", f"{WRONG} QUIT"),
    said("C2_pop3_bare_cr_in_a_name", f"USER ann␍PASS {WRONG}⏎", f"{BAD_LINE}⏎"),
    said("C2_pop3_bare_cr_in_a_password", f"USER ann⏎PASS {WRONG}␍QUIT⏎NOOP⏎", f"+OK⏎{BAD_LINE}⏎+OK⏎"),
    said("C2_pop3_nul_in_a_name", "USER an␀n⏎", f"{BAD_LINE}⏎"),
    said("C2_pop3_nul_in_a_password", f"USER ann⏎PASS {WRONG}␀⏎", f"+OK⏎{BAD_LINE}⏎"),
    said("C2_pop3_bare_lf", f"USER ann␊PASS {WRONG}⏎", f"{BAD_LINE}⏎-ERR USER first⏎"),
)
COMMANDS = (
    said("C3_pop3_auth_without_a_mechanism", "AUTH⏎", "+OK Mechanisms follow⏎PLAIN⏎LOGIN⏎.⏎"),
    said("C3_pop3_apop", "APOP ann c4c9334bac560ecc979e58001b3e22fb⏎", "-ERR APOP is not supported⏎"),
    said("C5_pop3_line_of_300", "NOOP «x*293»⏎", "-ERR NOOP takes no argument⏎"),
    said("C5_pop3_line_at_its_bound", "NOOP «x*8185»⏎", "-ERR NOOP takes no argument⏎"),
    said("C5_pop3_line_over_its_bound", "NOOP «x*8186»⏎", "-ERR Line too long⏎", ended="no_login line_too_long"),
    said("C5_pop3_line_without_end", "«x*8193»", "-ERR Line too long⏎", ended="no_login line_too_long"),
    Case(
        "C5_pop3_line_over_its_bound_in_pieces",
        POP3,
        TLS,
        """
        C: USER «u*4096»
        C: «u*4096»
        S: -ERR Line too long⏎
        X:
        """,
        ended="no_login line_too_long",
    ),
    Case(
        "C6_pop3_commands_behind_a_login",
        POP3,
        TLS,
        f"""
        C: USER {USER}⏎PASS {SECRET}⏎STAT⏎LIST⏎RETR 1⏎
        S: +OK⏎+OK Logged in⏎+OK done STAT⏎+OK done LIST⏎+OK done RETR 1⏎
        """,
        heard=f"{POP3_LOGIN}STAT⏎LIST⏎RETR 1⏎NOOP⏎",
    ),
    Case(
        "C6_pop3_part_of_a_command_behind_a_login",
        POP3,
        TLS,
        f"""
        C: USER {USER}⏎PASS {SECRET}⏎ST
        S: +OK⏎+OK Logged in⏎
        C: AT⏎
        S: +OK done STAT⏎
        """,
        heard=f"{POP3_LOGIN}STAT⏎NOOP⏎",
    ),
    Case(
        "C6_pop3_second_login_behind_a_failing_one",
        POP3,
        TLS,
        f"""
        C: USER ann⏎PASS {WRONG}⏎USER {USER}⏎PASS {SECRET}⏎STAT⏎
        S: +OK⏎{DENIED}⏎+OK⏎+OK Logged in⏎+OK done STAT⏎
        """,
        heard=f"USER ann⏎PASS {WRONG}⏎{POP3_LOGIN}STAT⏎NOOP⏎",
        told=("auth_failed USER ann authentication_failed",),
    ),
    said("C8_pop3_quit", "QUIT⏎", "+OK Bye⏎", ended="no_login logout"),
    *(
        said(f"C8_pop3_{verb.lower()}_before_login", f"{verb} 1⏎", "-ERR Unknown command, or not before login⏎")
        for verb in ("TOP", "RETR", "LIST", "STAT", "DELE", "UIDL", "XCLIENT", "PROXY")
    ),
    Case(
        "C8_pop3_unknown_commands",
        POP3,
        TLS,
        """
        C: «EVIL⏎*30»
        S: «-ERR Unknown command, or not before login⏎*9»-ERR Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
    ),
    Case(
        "C8_pop3_noops_without_end",
        POP3,
        TLS,
        """
        C: «NOOP⏎*300»
        S: «+OK⏎*200»-ERR Too many commands⏎
        X:
        """,
        ended="no_login too_many_commands",
    ),
)


@each(*LOGINS)
async def test_logins(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*COMMANDS)
async def test_commands(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
