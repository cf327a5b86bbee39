"""Cases A5, A6 and A14 on the wire: STARTTLS is taken once and alone, and what was said before it is gone.

What fails here lets what an attacker has said in clear count for the user who comes behind the handshake.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import (
    CLEAR,
    IMAP,
    IMAP_LOGIN,
    MX,
    POP3,
    POP3_LOGIN,
    SMTP_LOGIN,
    SUBMISSION,
    TLS,
    WRONG,
    Case,
    each,
)
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

PLAIN = f"«base64 ␀ann␀{WRONG}»"
ACTIVE = {
    IMAP: ("a STARTTLS", "a BAD TLS is active already"),
    POP3: ("STLS", "-ERR TLS is active already"),
    SUBMISSION: ("STARTTLS", "503 5.5.1 TLS is active already"),
    MX: ("STARTTLS", "503 5.5.1 TLS is active already"),
}
ONCE = (
    *(
        Case(
            f"A5_{protocol}_starttls_over_tls",
            protocol,
            TLS,
            f"""
            C: {command}⏎
            S: {refusal}⏎
            C: {command}⏎
            S: {refusal}⏎
            """,
        )
        for protocol, (command, refusal) in ACTIVE.items()
    ),
    *(
        Case(
            f"A5_{protocol}_starttls_after_starttls",
            protocol,
            CLEAR,
            f"""
            C: {command}⏎
            S: {go}⏎
            T:
            C: {command}⏎
            S: {refusal}⏎
            """,
        )
        for protocol, go in (
            (IMAP, "a OK Begin TLS negotiation now"),
            (POP3, "+OK Begin TLS negotiation now"),
            (SUBMISSION, "220 2.0.0 Ready to start TLS"),
            (MX, "220 2.0.0 Ready to start TLS"),
        )
        for command, refusal in (ACTIVE[protocol],)
    ),
    Case(
        "A5_submission_starttls_after_login",
        SUBMISSION,
        TLS,
        """
        L:
        C: STARTTLS⏎
        S: 503 5.5.1 TLS is active already⏎
        """,
        heard=f"{SMTP_LOGIN}QUIT⏎",
    ),
    Case(
        "A5_imap_starttls_after_login_is_the_backends_to_refuse",
        IMAP,
        TLS,
        """
        L:
        C: b STARTTLS⏎
        S: b OK done STARTTLS⏎
        """,
        heard=f"{IMAP_LOGIN}b STARTTLS⏎z NOOP⏎",
    ),
    Case(
        "A5_pop3_stls_after_login_is_the_backends_to_refuse",
        POP3,
        TLS,
        """
        L:
        C: STLS⏎
        S: +OK done STLS⏎
        """,
        heard=f"{POP3_LOGIN}STLS⏎NOOP⏎",
    ),
    *(
        Case(
            f"A6_{protocol}_starttls_with_an_argument",
            protocol,
            CLEAR,
            f"""
            C: {command}⏎
            S: {refusal}⏎
            """,
        )
        for protocol, command, refusal in (
            (IMAP, "a STARTTLS now", "a BAD Syntax: too many arguments"),
            (POP3, "STLS now", "-ERR STLS takes no argument"),
            (SUBMISSION, "STARTTLS now", "501 5.5.4 STARTTLS takes no argument"),
            (MX, "STARTTLS now", "501 5.5.4 STARTTLS takes no argument"),
        )
    ),
)

FORGOTTEN = (
    Case(
        "A14_submission_ehlo_in_clear",
        SUBMISSION,
        CLEAR,
        f"""
        H:
        C: STARTTLS⏎
        S: 220 2.0.0 Ready to start TLS⏎
        T:
        C: AUTH PLAIN {PLAIN}⏎
        S: 503 5.5.1 EHLO first⏎
        """,
    ),
    Case(
        "A14_pop3_user_in_clear",
        POP3,
        CLEAR,
        f"""
        C: USER ann⏎
        S: -ERR Authentication is refused before STLS⏎
        C: STLS⏎
        S: +OK Begin TLS negotiation now⏎
        T:
        C: PASS {WRONG}⏎
        S: -ERR USER first⏎
        """,
        told=("cleartext_auth_refused USER ann",),
    ),
    Case(
        "A14_mx_transaction_in_clear",
        MX,
        CLEAR,
        """
        H:
        C: MAIL FROM:<evil@sender.example>⏎
        S: 250 2.1.0 Ok⏎
        C: STARTTLS⏎
        S: 220 2.0.0 Ready to start TLS⏎
        T:
        C: RCPT TO:<bob@example.org>⏎
        S: 503 5.5.1 EHLO first⏎
        H:
        C: RCPT TO:<bob@example.org>⏎
        S: 503 5.5.1 MAIL first⏎
        """,
    ),
    Case(
        "A14_mx_transaction_at_the_backend_in_clear",
        MX,
        CLEAR,
        """
        H:
        C: MAIL FROM:<evil@sender.example>⏎RCPT TO:<bob@example.org>⏎
        S: 250 2.1.0 Ok⏎250 2.0.0 Ok RCPT⏎
        C: STARTTLS⏎
        S: 220 2.0.0 Ready to start TLS⏎
        T:
        H:
        C: DATA⏎
        S: 503 5.5.1 MAIL first⏎
        """,
        heard="EHLO mail.example.org⏎MAIL FROM:<evil@sender.example>⏎RCPT TO:<bob@example.org>⏎QUIT⏎",
    ),
)


@each(*ONCE)
async def test_once_and_alone(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*FORGOTTEN)
async def test_forgotten(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
