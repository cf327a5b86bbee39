"""Cases D1, D2, D5 to D7, D12, D13 and D18 on the wire: commands of an SMTP client that is not what it should be.

What fails here lets strangers send mail, or a client's words be taken for a command at the backend.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import SMTP_LOGIN, SUBMISSION, TLS, WRONG, Case, each
from tests.legacy_server import SECRET, USER
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

PLAIN = f"«base64 ␀ann␀{WRONG}»"
BAD_LINE = "500 5.5.2 Line must end with CR LF and hold no control characters"
ENDING = "421 4.7.0 mail.example.org"


def said(name: str, sent: str, answer: str, *, ended: str = "", greeted: bool = True) -> Case:
    """What is sent in one segment, and what comes back; ``ended``: the gateway closes."""
    script = ("H:\n" if greeted else "") + f"C: {sent}\nS: {answer}\n" + ("X:" if ended else "")
    return Case(name, SUBMISSION, TLS, script, ended=ended)


def logged_in(name: str, sent: str, answer: str, *, heard: str = "", ended: str = "") -> Case:
    """The same behind a login; ``heard``: what the backend gets behind it."""
    script = f"L:\nC: {sent}\nS: {answer}\n" + ("X:" if ended else "")
    return Case(name, SUBMISSION, TLS, script, heard=f"{SMTP_LOGIN}{heard}QUIT⏎", ended=ended)


BEFORE_LOGIN = (
    *(
        said(f"D1_submission_{name}_before_auth", f"{sent}⏎", f"{answer}⏎")
        for name, sent, answer in (
            ("mail", "MAIL FROM:<a@b>", "530 5.7.0 Authentication required"),
            ("rcpt", "RCPT TO:<a@b>", "530 5.7.0 Authentication required"),
            ("data", "DATA", "530 5.7.0 Authentication required"),
            ("vrfy", "VRFY ann", "252 2.0.0 Cannot verify, but will try to deliver"),
            ("expn", "EXPN all", "530 5.7.0 Authentication required"),
            ("etrn", "ETRN example.org", "530 5.7.0 Authentication required"),
            ("turn", "TURN", "530 5.7.0 Authentication required"),
            ("xclient", "XCLIENT ADDR=10.0.0.1", "550 5.7.0 Not permitted"),
            ("burl", "BURL imap://x LAST", "500 5.5.1 Unknown command"),
        )
    ),
    said(
        "D1_submission_bdat_before_auth",
        "BDAT 22⏎MAIL FROM:<eve@x>⏎x⏎",
        f"530 5.7.0 Authentication required⏎{ENDING} Too many bad commands⏎",
        ended="no_login bad_commands",
    ),
    said(
        "D1_submission_data_and_body_before_auth",
        "DATA⏎MAIL FROM:<eve@x>⏎.⏎",
        f"530 5.7.0 Authentication required⏎{ENDING} Too many bad commands⏎",
        ended="no_login bad_commands",
    ),
    said("D2_submission_auth_before_ehlo", f"AUTH PLAIN {PLAIN}⏎", "503 5.5.1 EHLO first⏎", greeted=False),
    said(
        "D2_submission_auth_after_helo",
        f"HELO x⏎AUTH PLAIN {PLAIN}⏎",
        "250 mail.example.org⏎503 5.5.1 EHLO first⏎",
        greeted=False,
    ),
    said("D2_submission_auth_without_a_mechanism", "AUTH⏎", "501 5.5.4 Syntax: AUTH mechanism⏎"),
    said("D5_submission_line_of_600", "NOOP «x*595»⏎", "250 2.0.0 Ok⏎"),
    said(
        "D5_submission_line_over_its_bound",
        "NOOP «x*8186»⏎",
        f"{ENDING} Line too long⏎",
        ended="no_login line_too_long",
    ),
    said("D5_submission_line_without_end", "«x*8193»", f"{ENDING} Line too long⏎", ended="no_login line_too_long"),
    said("D5_submission_eight_bit", r"MAIL FROM:<\xff@b>⏎", "500 5.5.2 Line is not UTF-8⏎"),
    said("D5_submission_bare_lf", "NOOP␊NOOP⏎", f"{BAD_LINE}⏎250 2.0.0 Ok⏎"),
    said("D5_submission_bare_cr", "NOOP␍NOOP⏎", f"{BAD_LINE}⏎"),
    said("D5_submission_nul", "NO␀OP⏎", f"{BAD_LINE}⏎"),
    *(
        said(f"D6_submission_ehlo_{name}", f"HELO {sent}⏎" if sent else "HELO⏎", f"{answer}⏎", greeted=False)
        for name, sent, answer in (
            ("without_a_name", "", "501 5.5.4 Name must be 1 to 255 printable characters"),
            ("of_300", "«x*300»", "501 5.5.4 Name must be 1 to 255 printable characters"),
            ("of_a_tab", "a\\x09b", "501 5.5.4 Name must be 1 to 255 printable characters"),
            ("of_an_address", "[IPv6:2001:db8::1]", "250 mail.example.org"),
            ("of_markup", "<script>alert(1)</script>", "250 mail.example.org"),
            ("of_several_words", "my phone", "250 mail.example.org"),
        )
    ),
)
LOGGED_IN = (
    Case(
        "D2_submission_mail_behind_auth_in_one_segment",
        SUBMISSION,
        TLS,
        f"""
        H:
        C: AUTH PLAIN «base64 ␀{USER}␀{SECRET}»⏎MAIL FROM:<a@b>⏎RSET⏎
        S: 235 2.7.0 Authentication successful⏎250 2.0.0 Ok MAIL⏎250 2.0.0 Ok⏎
        """,
        heard=f"{SMTP_LOGIN}MAIL FROM:<a@b>⏎RSET⏎QUIT⏎",
    ),
    Case(
        "D2_submission_mail_behind_a_failing_auth_in_one_segment",
        SUBMISSION,
        TLS,
        f"""
        H:
        C: AUTH PLAIN {PLAIN}⏎MAIL FROM:<a@b>⏎DATA⏎
        S: 535 5.7.8 Wrong⏎530 5.7.0 Authentication required⏎530 5.7.0 Authentication required⏎
        """,
        heard=f"EHLO mail.example.org⏎AUTH PLAIN {PLAIN}⏎",
        told=("auth_failed PLAIN ann authentication_failed",),
    ),
    logged_in(
        "D5_submission_recipient_with_nul",
        "MAIL FROM:<a@b>⏎RCPT TO:<c␀@d>⏎RSET⏎",
        f"250 2.0.0 Ok MAIL⏎{BAD_LINE}⏎250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b>⏎RSET⏎",
    ),
    logged_in(
        "D5_submission_recipient_with_a_bare_lf",
        "MAIL FROM:<a@b>⏎RCPT TO:<c@d>␊NOOP⏎",
        f"250 2.0.0 Ok MAIL⏎{BAD_LINE}⏎250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b>⏎",
    ),
    logged_in("D2_submission_auth_twice", f"AUTH PLAIN {PLAIN}⏎", "503 5.5.1 Authenticated already⏎"),
    logged_in(
        "D2_submission_auth_after_mail",
        f"MAIL FROM:<a@b>⏎AUTH PLAIN {PLAIN}⏎RSET⏎",
        "250 2.0.0 Ok MAIL⏎503 5.5.1 Authenticated already⏎250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b>⏎RSET⏎",
    ),
    logged_in(
        "D7_submission_ehlo_again_keeps_the_login",
        "HELO x⏎MAIL FROM:<a@b>⏎RSET⏎",
        "250 mail.example.org⏎250 2.0.0 Ok MAIL⏎250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b>⏎RSET⏎",
    ),
    logged_in(
        "D7_submission_ehlo_ends_a_transaction",
        "MAIL FROM:<a@b>⏎HELO x⏎RCPT TO:<c@d>⏎",
        "250 2.0.0 Ok MAIL⏎250 mail.example.org⏎503 5.5.1 MAIL first⏎",
        heard="MAIL FROM:<a@b>⏎RSET⏎",
    ),
    logged_in("D7_submission_rset_alone", "RSET⏎RCPT TO:<c@d>⏎", "250 2.0.0 Ok⏎503 5.5.1 MAIL first⏎"),
    logged_in("D1_submission_expn_behind_the_login", "EXPN all⏎", "502 5.5.1 Not implemented⏎"),
    *(
        logged_in(f"D12_submission_{name}", f"MAIL FROM:<a@b> {sent}⏎", f"{answer}⏎")
        for name, sent, answer in (
            ("size_far_too_large", "SIZE=99999999999", "552 5.3.4 Message is larger than this server takes"),
            ("size_twice", "SIZE=1 SIZE=2", "501 5.5.4 Parameter given twice"),
            ("size_below_nothing", "SIZE=-1", "501 5.5.4 Bad SIZE"),
            ("size_without_end", "SIZE=«9*500»", "501 5.5.4 Bad SIZE"),
            ("unknown_parameter", "EVIL=1", "555 5.5.4 Parameter not recognized or not offered"),
            ("binary", "BODY=BINARYMIME", "555 5.5.4 Parameter not recognized or not offered"),
            ("smtputf8_not_offered", "SMTPUTF8", "555 5.5.4 Parameter not recognized or not offered"),
            ("by_others", "AUTH=<> X=Y=Z", "501 5.5.4 Bad parameter syntax"),
        )
    ),
    logged_in(
        "D12_submission_utf8_without_its_keyword", r"MAIL FROM:<\xc3\xbc@b>⏎", "553 5.6.7 Address needs SMTPUTF8⏎"
    ),
    logged_in(
        "D12_submission_size_0",
        "MAIL FROM:<a@b> SIZE=0⏎RSET⏎",
        "250 2.0.0 Ok MAIL⏎250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b> SIZE=0⏎RSET⏎",
    ),
    *(
        logged_in(f"D18_submission_sender_{name}", f"MAIL FROM:{sent}⏎", "501 5.1.7 Bad address syntax⏎")
        for name, sent in (
            ("of_320", "<«a*314»@b.cd>"),
            ("with_a_bracket_missing", "<a@b"),
            ("with_two_routes", "<@a@b:c@d>"),
            ("with_a_space", "<a b@c>"),
            ("quoted_without_brackets", '"a b"@c'),
            ("with_a_quote_missing", '<"a@b>'),
            ("that_is_a_domain", "<@b>"),
        )
    ),
    *(
        logged_in(
            f"D18_submission_sender_{name}",
            f"MAIL FROM:{sent}⏎RSET⏎",
            "250 2.0.0 Ok MAIL⏎250 2.0.0 Ok⏎",
            heard=f"MAIL FROM:{carried}⏎RSET⏎",
        )
        for name, sent, carried in (
            ("with_a_route", "<@x.example,@y.example:a@b>", "<a@b>"),
            ("quoted", '<"a b"@c>', '<"a b"@c>'),
            ("without_brackets", "a@b", "<a@b>"),
            ("null", "<>", "<>"),
        )
    ),
    logged_in(
        "D18_submission_line_end_in_quotes",
        '"MAIL FROM:<"a⏎b"@c>⏎',
        "500 5.5.1 Unknown command⏎500 5.5.1 Unknown command⏎",
    ),
    logged_in(
        "D13_submission_recipients_over_the_most",
        "MAIL FROM:<a@b>⏎«RCPT TO:<c@d>⏎*102»RSET⏎",
        "250 2.0.0 Ok MAIL⏎«250 2.0.0 Ok RCPT⏎*100»«452 4.5.3 Too many recipients⏎*2»250 2.0.0 Ok⏎",
        heard="MAIL FROM:<a@b>⏎«RCPT TO:<c@d>⏎*100»RSET⏎",
    ),
    logged_in(
        "D13_submission_guessing_recipients",
        "MAIL FROM:<a@b>⏎«RCPT TO:<nobody@d>⏎*110»",
        f"250 2.0.0 Ok MAIL⏎«550 5.1.1 No such user⏎*102»{ENDING} Too many bad commands⏎",
        heard="MAIL FROM:<a@b>⏎«RCPT TO:<nobody@d>⏎*110»",  # a group was on its way
        ended="ok bad_commands",
    ),
    logged_in("D21_submission_xclient", "XCLIENT NAME=x ADDR=10.0.0.1⏎", "550 5.7.0 Not permitted⏎"),
    logged_in("D21_submission_xforward", "XFORWARD NAME=x ADDR=10.0.0.1⏎", "550 5.7.0 Not permitted⏎"),
    logged_in("D21_submission_proxy", "PROXY TCP4 10.0.0.1 10.0.0.2 1 25⏎", "550 5.7.0 Not permitted⏎"),
)


@each(*BEFORE_LOGIN)
async def test_before_login(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*LOGGED_IN)
async def test_logged_in(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
