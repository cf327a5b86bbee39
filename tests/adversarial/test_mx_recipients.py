"""Case D17 on the wire: recipients elsewhere, by every spelling that some server would take for one of ours.

What fails here makes an open relay of the backend behind.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, MX, TLS, Case, each
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


@each(*RECIPIENTS, *IN_UTF8)
async def test_recipients(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
