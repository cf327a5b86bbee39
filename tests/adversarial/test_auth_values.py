"""Cases B7, C4, D3 and D4 on the wire, over TLS: values in SASL that are too long, or hide a line end.

What fails here lets a value become a command at the backend, or fill the memory.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import IMAP, POP3, SUBMISSION, TLS, WRONG, Case, each
from tests.legacy_server import saying
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)


TOO_LONG = (
    Case(
        "B7_imap_plain_of_16_kib",
        IMAP,
        TLS,
        """
        C: a AUTHENTICATE PLAIN⏎
        S: + ⏎
        C: «A*16000»⏎
        S: a BAD Line too long⏎* BYE Line too long⏎
        X:
        """,
        ended="no_login line_too_long",
    ),
    Case(
        "C4_pop3_plain_of_16_kib",
        POP3,
        TLS,
        """
        C: AUTH PLAIN⏎
        S: + ⏎
        C: «A*16000»⏎
        S: -ERR Line too long⏎
        X:
        """,
        ended="no_login line_too_long",
    ),
    Case(
        "D3_submission_plain_of_16_kib",
        SUBMISSION,
        TLS,
        """
        H:
        C: AUTH PLAIN⏎
        S: 334 ⏎
        C: «A*16000»⏎
        S: 421 4.7.0 mail.example.org Line too long⏎
        X:
        """,
        ended="no_login line_too_long",
    ),
    Case(
        "D4_submission_user_and_password_of_500",
        SUBMISSION,
        TLS,
        f"""
        H:
        C: AUTH LOGIN «base64 «u*500»»⏎«base64 {WRONG}«p*500»»⏎
        S: 334 UGFzc3dvcmQ6⏎535 5.7.8 Wrong⏎
        """,
        heard=f"EHLO mail.example.org⏎AUTH PLAIN⏎«base64 ␀«u*500»␀{WRONG}«p*500»»⏎",
        told=(f"auth_failed LOGIN {'u' * 500} authentication_failed",),
        backend=saying(b"220 x\r\n", b"250-legacy\r\n250 AUTH PLAIN\r\n", b"334 \r\n", b"535 5.7.8 Wrong\r\n"),
    ),
    Case(
        "D4_submission_user_with_a_line",
        SUBMISSION,
        TLS,
        f"""
        H:
        C: AUTH LOGIN «base64 ann⏎MAIL FROM:<eve@x>»⏎«base64 {WRONG}»⏎
        S: 334 UGFzc3dvcmQ6⏎501 5.5.2 Bad authentication response⏎
        """,
        told=("auth_failed LOGIN None control character in user name",),
    ),
    Case(
        "D4_submission_password_with_nul",
        SUBMISSION,
        TLS,
        f"""
        H:
        C: AUTH LOGIN «base64 ann»⏎«base64 {WRONG}␀»⏎
        S: 334 UGFzc3dvcmQ6⏎501 5.5.2 Bad authentication response⏎
        """,
        told=("auth_failed LOGIN ann control character in password",),
    ),
)


@each(*TOO_LONG)
async def test_long_and_hidden(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
