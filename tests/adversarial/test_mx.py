"""Cases A12, D1, D3, D13, D17, D18, D21 and D22 on the wire: a stranger's server wants mail sent on, or believed.

What fails here makes an open relay of the backend behind, or has a stranger's word taken for ours.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, MX, TLS, WRONG, Case, each
from tests.adversarial.smtp_scripts import ENDING, QUEUED, begun, opening
from tests.legacy_server import Smtp
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

MAIL = "MAIL FROM:<eve@sender.example>⏎"
NOT_OURS = "550 5.7.1 Relaying denied: no mail is taken for this domain"
MISLEADING = "550 5.7.1 Relaying denied: local part could lead elsewhere"
TWO_ATS = "550 5.7.1 Relaying denied: address has more than one @"
SYNTAX = "501 5.1.3 Bad address syntax"
SYNTAX_HERE = "501 5.1.3 Bad recipient address syntax"
UTF8 = "553 5.6.7 Address needs SMTPUTF8"
# Ways to name somebody elsewhere, to a gateway whose own domain is example.org.
RELAY = {
    "another_domain": ("<bob@other.example>", NOT_OURS),
    "subdomain": ("<bob@sub.example.org>", NOT_OURS),
    "longer_name": ("<bob@example.org.other.example>", NOT_OURS),
    "shorter_name": ("<bob@org>", NOT_OURS),
    "name_with_ours_in_it": ("<bob@notexample.org>", NOT_OURS),
    "percent": ("<bob%other.example@example.org>", MISLEADING),
    "bang": ("<other.example!bob@example.org>", MISLEADING),
    "bang_and_percent": ("<other.example!bob%x@example.org>", MISLEADING),
    "route": ("<@example.org:bob@other.example>", NOT_OURS),
    "route_of_two": ("<@example.org,@example.org:bob@other.example>", NOT_OURS),
    "quoted_at": ('<"bob@other.example"@example.org>', MISLEADING),
    "quoted_at_escaped": (r'<"bob\@other.example"@example.org>', MISLEADING),
    "quoted_alone": ('<"bob@other.example">', MISLEADING),
    "quoted_route": ('<"@example.org:bob"@example.org>', MISLEADING),
    "two_ats": ("<bob@other.example@example.org>", TWO_ATS),
    "two_ats_ours_first": ("<bob@example.org@other.example>", TWO_ATS),
    "two_ats_behind_a_route": ("<@example.org:bob@other.example@example.org>", TWO_ATS),
    "two_ats_without_brackets": ("bob@other.example@example.org", TWO_ATS),
    "two_ats_and_quotes": ('<"bob"@"other.example"@example.org>', TWO_ATS),
    "two_ats_in_a_row": ("<bob@@example.org>", TWO_ATS),
    "loopback": ("<bob@[127.0.0.1]>", NOT_OURS),
    "address": ("<bob@[192.0.2.1]>", NOT_OURS),
    "ipv6_address": ("<bob@[IPv6:::1]>", NOT_OURS),
    "address_without_brackets": ("<bob@127.0.0.1>", NOT_OURS),
    "no_domain": ("<bob>", "501 5.1.3 Recipient address needs a domain"),
    "nobody": ("<>", SYNTAX),
    "nul_written_out": ("<bob@example.org%00other.example>", SYNTAX),
    "space_in_the_domain": ("<bob@example.org other.example>", SYNTAX),
    "text_behind": ("<bob@example.org>other.example", "501 5.5.4 Bad parameter syntax"),
    "look_alike": (r"<bob@ex\xd0\xb0mple.org>", UTF8),
    "look_alike_in_a_labels": ("<bob@xn--exmple-4nf.org>", NOT_OURS),
    "full_width_at": (r"<bob\xef\xbc\xa0other.example@example.org>", UTF8),
    "program": ('<"|/bin/sh"@example.org>', MISLEADING),
    "file": ("</etc/passwd@example.org>", MISLEADING),
    "option": ("<-oX/tmp/x@example.org>", MISLEADING),
    "list_file": ('<":include:/etc/passwd"@example.org>', MISLEADING),
    "two_names": ('<"bob,eve"@example.org>', MISLEADING),
}
# Ways to name somebody here, and what goes to the backend.
OURS = {
    "plain": ("<bob@example.org>", "<bob@example.org>"),
    "in_capitals": ("<Bob@EXAMPLE.Org>", "<Bob@example.org>"),
    "with_the_root": ("<bob@example.org.>", "<bob@example.org>"),
    "behind_a_route": ("<@other.example:bob@example.org>", "<bob@example.org>"),
    "in_quotes": ('<"bob"@example.org>', "<bob@example.org>"),
    "with_a_space": ('<"a b"@example.org>', '<"a b"@example.org>'),
    "postmaster": ("<postmaster>", "<postmaster>"),
}
RECIPIENTS = tuple(
    case
    for begins in (CLEAR, TLS)
    for case in (
        *(
            Case(
                f"D17_mx_{begins}_{name}",
                MX,
                begins,
                f"""
                H:
                C: {MAIL}RCPT TO:{path}⏎DATA⏎
                S: 250 2.1.0 Ok⏎{said}⏎554 5.5.1 No valid recipients⏎
                """,
            )
            for name, (path, said) in RELAY.items()
        ),
        *(
            Case(
                f"D17_mx_{begins}_ours_{name}",
                MX,
                begins,
                f"""
                H:
                C: {MAIL}RCPT TO:{path}⏎RSET⏎
                S: 250 2.1.0 Ok⏎250 2.0.0 Ok RCPT⏎250 2.0.0 Ok⏎
                """,
                heard=f"EHLO mail.example.org⏎{MAIL}RCPT TO:{carried}⏎RSET⏎QUIT⏎",
            )
            for name, (path, carried) in OURS.items()
        ),
    )
)

# The same with letters that other readers fold, where addresses in UTF-8 are taken.
LIKE_OTHERS = {
    "full_width_at": (r"<bob\xef\xbc\xa0other.example@example.org>", MISLEADING),
    "small_at": (r"<bob\xef\xb9\xabother.example@example.org>", MISLEADING),
    "full_width_percent": (r"<bob\xef\xbc\x85other.example@example.org>", MISLEADING),
    "full_width_bang": (r"<other.example\xef\xbc\x81bob@example.org>", MISLEADING),
    "cyrillic_a": (r"<bob@ex\xd0\xb0mple.org>", NOT_OURS),
    "ours_behind_an_ideographic_stop": (r"<bob@example.org\xe3\x80\x82other.example>", NOT_OURS),
    "no_name_at_all": (r"<bob@ex\xe2\x80\x8bample.org\xf0\x9f\x92\xa9>", SYNTAX_HERE),
}
IN_UTF8 = tuple(
    Case(
        f"D17_mx_utf8_{name}",
        MX,
        TLS,
        f"""
        H:
        C: MAIL FROM:<eve@sender.example> SMTPUTF8⏎RCPT TO:{path}⏎DATA⏎
        S: 250 2.1.0 Ok⏎{said}⏎554 5.5.1 No valid recipients⏎
        """,
        learned=("SMTPUTF8", "8BITMIME"),
    )
    for name, (path, said) in LIKE_OTHERS.items()
) + tuple(
    Case(
        f"D17_mx_utf8_ours_{name}",
        MX,
        TLS,
        f"""
        H:
        C: MAIL FROM:<eve@sender.example> SMTPUTF8⏎RCPT TO:{path}⏎RSET⏎
        S: 250 2.1.0 Ok⏎250 2.0.0 Ok RCPT⏎250 2.0.0 Ok⏎
        """,
        heard=f"EHLO mail.example.org⏎MAIL FROM:<eve@sender.example> SMTPUTF8⏎RCPT TO:{carried}⏎RSET⏎QUIT⏎",
        backend=Smtp(keywords=(b"SMTPUTF8", b"8BITMIME")),
        learned=("SMTPUTF8", "8BITMIME"),
    )
    for name, path, carried in (
        ("full_width", r"<bob@\xef\xbd\x85xample.org>", "<bob@example.org>"),
        ("ideographic_stop", r"<bob@example\xe3\x80\x82org>", "<bob@example.org>"),
        ("local_part", r"<b\xc3\xb6b@example.org>", r"<b\xc3\xb6b@example.org>"),
    )
)


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


@each(*RECIPIENTS, *IN_UTF8)
async def test_recipients(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*COMMANDS)
async def test_commands(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*FORGED)
async def test_forged(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
