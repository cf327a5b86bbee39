"""Cases A7 to A13 on the wire: no login in clear, whatever its form, and none is offered.

What fails here has a client show its password to whoever listens, or sends it to a backend from there.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, IMAP, MX, POP3, SUBMISSION, TLS, WRONG, Case, each
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

PLAIN = f"«base64 ␀ann␀{WRONG}»"
NO = "NO [PRIVACYREQUIRED] Authentication is refused before STARTTLS⏎"
ERR = "-ERR Authentication is refused before STLS⏎"
REFUSED = "538 5.7.11 Authentication is refused before STARTTLS⏎"
NOT_HERE = "502 5.5.1 Authentication is not offered here⏎"


def refused(name: str, protocol: Protocol, sent: str, said: str, *told: str) -> Case:
    """One attempt in clear: refused at once, told, and the session goes on."""
    told = tuple(f"cleartext_auth_refused {each_told}" for each_told in told)
    hello = "" if protocol in (IMAP, POP3) else "H:"
    return Case(name, protocol, CLEAR, f"{hello}\nC: {sent}\nS: {said}", told=told)


LOGINS = (
    refused("A7_imap_login", IMAP, f"a LOGIN ann {WRONG}⏎", f"a {NO}", "LOGIN ann"),
    refused("A7_imap_login_quoted", IMAP, f'a LOGIN "ann" "{WRONG}"⏎', f"a {NO}", "LOGIN ann"),
    refused("A7_imap_login_in_small_letters", IMAP, f"a login ann {WRONG}⏎", f"a {NO}", "LOGIN ann"),
    refused("A7_imap_login_with_too_much", IMAP, f"a LOGIN ann {WRONG} x⏎", f"a {NO}", "LOGIN ann"),
    refused("A7_imap_login_without_a_password", IMAP, "a LOGIN ann⏎", f"a {NO}", "LOGIN ann"),
    refused("A7_imap_plain_with_its_response", IMAP, f"a AUTHENTICATE PLAIN {PLAIN}⏎", f"a {NO}", "PLAIN ann"),
    refused("A7_imap_plain_with_nonsense", IMAP, "a AUTHENTICATE PLAIN dGVzdA==⏎", f"a {NO}", "PLAIN None"),
    refused("A7_imap_plain", IMAP, "a AUTHENTICATE PLAIN⏎", f"a {NO}", "PLAIN None"),
    refused("A7_imap_login_mechanism", IMAP, "a AUTHENTICATE LOGIN⏎", f"a {NO}", "LOGIN None"),
    refused("A7_imap_unknown_mechanism", IMAP, "a AUTHENTICATE X-EVIL⏎", f"a {NO}", "other None"),
    refused("A8_imap_literal_user", IMAP, "a LOGIN {5}⏎", f"a {NO}", "LOGIN None"),
    refused("A8_imap_literal_password", IMAP, "a LOGIN ann {5}⏎", f"a {NO}", "LOGIN ann"),
    refused("A9_imap_literals", IMAP, "a LOGIN {5+}⏎user1 {4+}⏎pass⏎", f"a {NO}", "LOGIN user1"),
    refused(
        "A9_imap_literals_that_look_like_commands",
        IMAP,
        "a LOGIN {12+}⏎b STARTTLS⏎x {8+}⏎c NOOP⏎x⏎",
        f"a {NO}",
        "LOGIN None",
    ),
    refused("A10_pop3_user", POP3, "USER ann⏎", ERR, "USER ann"),
    refused("A10_pop3_user_and_pass", POP3, f"USER ann⏎PASS {WRONG}⏎", ERR + ERR, "USER ann", "USER None"),
    refused("A10_pop3_pass_alone", POP3, f"PASS {WRONG}⏎", ERR, "USER None"),
    refused("A10_pop3_user_with_its_password", POP3, f"USER ann {WRONG}⏎", ERR, "USER ann"),
    refused("A10_pop3_apop", POP3, "APOP ann c4c9334bac560ecc979e58001b3e22fb⏎", ERR, "APOP ann"),
    refused("A10_pop3_plain_empty", POP3, "AUTH PLAIN =⏎", ERR, "PLAIN None"),
    refused("A10_pop3_plain_with_its_response", POP3, f"AUTH PLAIN {PLAIN}⏎", ERR, "PLAIN ann"),
    refused("A10_pop3_login_mechanism", POP3, "AUTH LOGIN⏎", ERR, "LOGIN None"),
    refused("A11_submission_plain_with_its_response", SUBMISSION, f"AUTH PLAIN {PLAIN}⏎", REFUSED, "PLAIN ann"),
    refused("A11_submission_plain", SUBMISSION, "AUTH PLAIN⏎", REFUSED, "PLAIN None"),
    refused("A11_submission_login", SUBMISSION, "AUTH LOGIN⏎", REFUSED, "LOGIN None"),
    refused("A11_submission_login_with_a_user", SUBMISSION, "AUTH LOGIN «base64 ann»⏎", REFUSED, "LOGIN ann"),
    refused("A11_submission_cram_md5", SUBMISSION, "AUTH CRAM-MD5⏎", REFUSED, "other None"),
    refused("A11_mx_plain_with_its_response", MX, f"AUTH PLAIN {PLAIN}⏎", NOT_HERE, "PLAIN ann"),
    refused("A11_mx_login", MX, "AUTH LOGIN⏎", NOT_HERE, "LOGIN None"),
    refused("A11_mx_cram_md5", MX, "AUTH CRAM-MD5⏎", NOT_HERE, "other None"),
    Case(
        "A11_submission_auth_in_mail",
        SUBMISSION,
        CLEAR,
        """
        H:
        C: MAIL FROM:<a@b> AUTH=<>⏎
        S: 530 5.7.0 STARTTLS first⏎
        """,
    ),
    Case(
        "A11_submission_auth_before_ehlo",
        SUBMISSION,
        CLEAR,
        f"""
        C: AUTH PLAIN {PLAIN}⏎
        S: {REFUSED}
        """,
        told=("cleartext_auth_refused PLAIN ann",),
    ),
    Case(
        "A7_imap_continuation_that_was_not_asked_for",
        IMAP,
        CLEAR,
        f"""
        C: a AUTHENTICATE PLAIN⏎{PLAIN}⏎
        S: a {NO}* BAD Syntax: missing space or parenthesis⏎
        """,
        told=("cleartext_auth_refused PLAIN None",),
    ),
    Case(
        "A7_imap_guessing_in_clear_ends",
        IMAP,
        CLEAR,
        f"""
        C: «a LOGIN ann {WRONG}⏎*5»
        S: «a {NO}*3»* BYE Too many bad commands⏎
        X:
        """,
        ended="no_login bad_commands",
        told=("cleartext_auth_refused LOGIN ann",) * 3,
        bounds={"bad_commands": 3},
    ),
)

EHLO = "250-mail.example.org⏎250-PIPELINING⏎250-ENHANCEDSTATUSCODES⏎250-CHUNKING⏎250-SIZE 52428800⏎"
OFFERS = (
    Case(
        "A12_submission_ehlo_in_clear",
        SUBMISSION,
        CLEAR,
        f"""
        C: EHLO client.example⏎
        S: {EHLO}250 STARTTLS⏎
        """,
    ),
    Case(
        "A12_submission_ehlo_over_tls",
        SUBMISSION,
        TLS,
        f"""
        C: EHLO client.example⏎
        S: {EHLO}250 AUTH PLAIN LOGIN⏎
        """,
    ),
    Case(
        "A12_mx_ehlo_in_clear",
        MX,
        CLEAR,
        f"""
        C: EHLO client.example⏎
        S: {EHLO}250 STARTTLS⏎
        """,
    ),
    Case(
        "A12_mx_ehlo_over_tls",
        MX,
        TLS,
        f"""
        C: EHLO client.example⏎
        S: {EHLO.replace("250-SIZE", "250 SIZE")}
        """,
    ),
    Case(
        "A13_imap_capability_in_clear",
        IMAP,
        CLEAR,
        """
        C: a CAPABILITY⏎
        S: * CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID STARTTLS LOGINDISABLED⏎a OK CAPABILITY completed⏎
        """,
    ),
    Case(
        "A13_imap_capability_over_tls",
        IMAP,
        TLS,
        """
        C: a CAPABILITY⏎
        S: * CAPABILITY IMAP4rev1 SASL-IR LITERAL- ID AUTH=PLAIN AUTH=LOGIN⏎a OK CAPABILITY completed⏎
        """,
    ),
    Case(
        "A13_pop3_capa_in_clear",
        POP3,
        CLEAR,
        """
        C: CAPA⏎
        S: +OK Capability list follows⏎STLS⏎RESP-CODES⏎AUTH-RESP-CODE⏎TOP⏎UIDL⏎IMPLEMENTATION tlsgate⏎.⏎
        """,
    ),
    Case(
        "A13_pop3_capa_over_tls",
        POP3,
        TLS,
        """
        C: CAPA⏎
        S: +OK Capability list follows⏎USER⏎SASL PLAIN LOGIN⏎RESP-CODES⏎AUTH-RESP-CODE⏎
        S: TOP⏎UIDL⏎IMPLEMENTATION tlsgate⏎.⏎
        """,
    ),
)


@each(*LOGINS)
async def test_a_login(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*OFFERS)
async def test_what_is_offered(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
