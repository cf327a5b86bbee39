"""Cases A12, D1, D3, D13, D18, D21 and D22 on the wire: a stranger's server wants mail sent on, or believed.

What fails here makes an open relay of the backend behind, or has a stranger's word taken for ours.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, MX, TLS, WRONG, Case, each
from tests.adversarial.smtp_scripts import ENDING, QUEUED, begun, opening
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

MAIL = "MAIL FROM:<eve@sender.example>⏎"
NOT_OURS = "550 5.7.1 Relaying denied: no mail is taken for this domain"


def said(name: str, sent: str, answer: str, *told: str, ended: str = "") -> Case:
    """What is sent behind EHLO, in one segment, and what comes back; ``ended``: the gateway closes."""
    script = f"H:\nC: {sent}\nS: {answer}\n" + ("X:" if ended else "")
    return Case(name, MX, TLS, script, ended=ended, told=told)


COMMANDS = (
    *(
        said(f"D18_mx_sender_{name}", f"MAIL FROM:{sent}⏎", f"{answer}⏎")
        for name, sent, answer in (
            ("without_a_domain", "<boss>", "501 5.1.7 Sender address needs a domain"),
            ("quoted_alone", '<"boss@example.org">', "501 5.1.7 Bad sender address syntax"),
            ("of_320", "<«a*314»@b.cd>", "501 5.1.7 Bad address syntax"),
            ("with_a_bracket_missing", "<a@b", "501 5.1.7 Bad address syntax"),
            (
                "with_a_login_of_its_own",
                "<a@b> AUTH=<boss@example.org>",
                "555 5.5.4 Parameter not recognized or not offered",
            ),
        )
    ),
    said("D18_mx_sender_null", "MAIL FROM:<>⏎", "250 2.1.0 Ok⏎"),
    said("D1_mx_mail_twice", f"{MAIL}{MAIL}", "250 2.1.0 Ok⏎503 5.5.1 Sender was given already⏎"),
    said("D1_mx_rcpt_first", "RCPT TO:<bob@example.org>⏎", "503 5.5.1 MAIL first⏎"),
    said("D1_mx_turn", "TURN⏎", "502 5.5.1 Not implemented⏎"),
    said("D1_mx_etrn", "ETRN example.org⏎", "502 5.5.1 Not implemented⏎"),
    said("D1_mx_expn", "EXPN staff⏎", "502 5.5.1 Not implemented⏎"),
    said("D1_mx_vrfy", "VRFY bob⏎", "252 2.0.0 Cannot verify, but will try to deliver⏎"),
    said(
        "D3_mx_login",
        f"AUTH PLAIN «base64 ␀ann␀{WRONG}»⏎",
        "502 5.5.1 Authentication is not offered here⏎",
        "auth_failed PLAIN ann not offered",
    ),
    said(
        "D3_mx_login_prompted",
        "AUTH LOGIN⏎",
        "502 5.5.1 Authentication is not offered here⏎",
        "auth_failed LOGIN None not offered",
    ),
    said(
        "D13_mx_guessing_addresses",
        f"{MAIL}«RCPT TO:<x@other.example>⏎*110»",
        f"250 2.1.0 Ok⏎«{NOT_OURS}⏎*102»{ENDING} Too many bad commands⏎",
        ended="ok bad_commands",
    ),
    said(
        "D13_mx_senders_without_end",
        f"«{MAIL}RSET⏎*150»",
        f"«250 2.1.0 Ok⏎250 2.0.0 Ok⏎*99»250 2.1.0 Ok⏎{ENDING} Too many commands⏎",
        ended="ok too_many_commands",
    ),
    said("D21_mx_xclient", "XCLIENT NAME=x ADDR=10.0.0.1⏎", "550 5.7.0 Not permitted⏎"),
    said("D21_mx_xforward", "XFORWARD NAME=x ADDR=10.0.0.1⏎", "550 5.7.0 Not permitted⏎"),
    said("D21_mx_proxy", "PROXY TCP4 10.0.0.1 10.0.0.2 1 25⏎", "550 5.7.0 Not permitted⏎"),
    Case(
        "D21_mx_proxy_first",
        MX,
        CLEAR,
        """
        C: PROXY TCP4 10.0.0.1 10.0.0.2 1 25⏎
        S: 550 5.7.0 Not permitted⏎
        """,
    ),
    Case(
        "D13_mx_recipients_over_the_most",
        MX,
        TLS,
        f"""
        H:
        C: {MAIL}«RCPT TO:<bob@example.org>⏎*102»RSET⏎
        S: 250 2.1.0 Ok⏎«250 2.0.0 Ok RCPT⏎*100»«452 4.5.3 Too many recipients⏎*2»250 2.0.0 Ok⏎
        """,
        heard=f"EHLO mail.example.org⏎{MAIL}«RCPT TO:<bob@example.org>⏎*100»RSET⏎QUIT⏎",
    ),
    Case(
        "A12_mx_mail_in_clear_where_tls_is_required",
        MX,
        CLEAR,
        f"""
        H:
        C: {MAIL}
        S: 530 5.7.0 STARTTLS first⏎
        """,
        settings={"require_tls": True},
    ),
)
FORGED = tuple(
    Case(
        f"D22_mx_forged_{name}",
        MX,
        TLS,
        f"""
        {begun(MX)}
        C: {field}Subject: x⏎⏎x⏎.⏎
        S: {QUEUED}
        """,
        heard=f"{opening(MX)}{left}Subject: x⏎⏎x⏎.⏎QUIT⏎",
        messages=(f"{left}Subject: x⏎⏎x⏎",),
    )
    for name, field, left in (
        ("results", "Authentication-Results: mail.example.org; spf=pass⏎", ""),
        ("results_folded", "Authentication-Results:⏎ MAIL.example.org 1;⏎ spf=pass⏎", ""),
        ("results_in_quotes", 'AUTHENTICATION-RESULTS : (x) "mail.example.org"; spf=pass⏎', ""),
        (
            "results_of_others_stay",
            "X-Authentication-Results: mail.example.org; spf=pass⏎",
            "X-Authentication-Results: mail.example.org; spf=pass⏎",
        ),
    )
)


@each(*COMMANDS)
async def test_commands(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*FORGED)
async def test_forged(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
