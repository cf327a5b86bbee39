"""Cases D12, D14, D15 and D19 on the wire: sizes, clients that go, bodies that nobody has asked for.

What fails here has half a message delivered, or a message's text read as commands.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import MX, SUBMISSION, TLS, Case, each
from tests.adversarial.smtp_scripts import (
    ENDING,
    ENVELOPE,
    QUEUED,
    TEXT,
    begun,
    greeted,
    hello,
    opening,
    sender,
)
from tests.legacy_server import Smtp
from tlsgate.config import TlsMode

pytestmark = pytest.mark.timeout(60)

BOTH = (SUBMISSION, MX)

SIZES = tuple(
    case
    for protocol in BOTH
    for case in (
        Case(
            f"D14_{protocol}_message_over_its_size",
            protocol,
            TLS,
            f"""
            {begun(protocol)}
            C: {TEXT}«xxxxxxxx⏎*150».⏎RSET⏎
            S: 552 5.3.4 Message is larger than this server takes⏎250 2.0.0 Ok⏎
            """,
            heard=f"{opening(protocol)}",
            bounds={"message_size": 1000},
        ),
        Case(
            f"D14_{protocol}_message_far_over_its_size",
            protocol,
            TLS,
            f"""
            {begun(protocol)}
            C: {TEXT}«xxxxxxxx⏎*300»
            S: 421 4.3.4 mail.example.org Message far too large⏎
            X:
            """,
            ended="ok message_too_large",
            heard=f"{opening(protocol)}",
            bounds={"message_size": 1000},
        ),
        Case(
            f"D12_{protocol}_size_that_is_too_large_by_one",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: MAIL FROM:<a@example.org> SIZE=1001⏎
            S: 552 5.3.4 Message is larger than this server takes⏎
            """,
            heard=f"{greeted(protocol)}QUIT⏎" if protocol is SUBMISSION else "",
            bounds={"message_size": 1000},
        ),
    )
)

# Where the client goes, what it has sent until then, and what the backend has of it.
GONE = {
    "behind_mail": ("MAIL FROM:<a@example.org>⏎", ("MAIL FROM:<a@example.org>⏎QUIT⏎", "")),
    "behind_rcpt": (ENVELOPE, (f"{ENVELOPE}QUIT⏎",) * 2),
    "behind_data": (f"{ENVELOPE}DATA⏎", (f"{ENVELOPE}DATA⏎",) * 2),
    "within_the_header": (f"{ENVELOPE}DATA⏎Subj", (f"{ENVELOPE}DATA⏎",) * 2),
    "within_a_line": (f"{ENVELOPE}DATA⏎{TEXT}more", (f"{ENVELOPE}DATA⏎{TEXT}more",) * 2),
    "before_the_dot": (f"{ENVELOPE}DATA⏎{TEXT}", (f"{ENVELOPE}DATA⏎{TEXT[:-1]}",) * 2),
    "behind_the_dot": (f"{ENVELOPE}DATA⏎{TEXT}.", (f"{ENVELOPE}DATA⏎{TEXT[:-1]}",) * 2),
    "within_the_last_line_end": (f"{ENVELOPE}DATA⏎{TEXT}.␍", (f"{ENVELOPE}DATA⏎{TEXT[:-1]}",) * 2),
}
LEAVING = tuple(
    Case(
        f"D15_{protocol}_client_gone_{where}_by_{how}",
        protocol,
        TLS,
        f"""
        {hello(protocol)}
        C: {sent}
        N:
        Z: {how}
        """,
        heard=greeted(protocol) + heard if (heard := at_backend[protocol is MX]) or protocol is SUBMISSION else "",
    )
    for protocol in BOTH
    for where, (sent, at_backend) in GONE.items()
    for how in ("close", "reset")
)

UNASKED = tuple(
    case
    for protocol in BOTH
    for case in (
        Case(
            f"D19_{protocol}_whole_message_in_one_segment",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: {ENVELOPE}DATA⏎{TEXT}.⏎QUIT⏎
            S: {sender(protocol)}250 2.0.0 Ok RCPT⏎354 Go on⏎{QUEUED}221 2.0.0 mail.example.org Bye⏎
            X:
            """,
            heard=f"{opening(protocol)}{TEXT}.⏎QUIT⏎",
            messages=(TEXT,),
        ),
        Case(
            f"D19_{protocol}_body_behind_a_refused_recipient",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: MAIL FROM:<a@example.org>⏎RCPT TO:<nobody@example.org>⏎DATA⏎{ENVELOPE}DATA⏎x⏎.⏎QUIT⏎
            S: {sender(protocol)}550 5.1.1 No such user⏎554 5.5.1 No valid recipients⏎{ENDING} Too many bad commands⏎
            X:
            """,
            ended="ok bad_commands",
            heard=f"{greeted(protocol)}MAIL FROM:<a@example.org>⏎RCPT TO:<nobody@example.org>⏎QUIT⏎",
        ),
        Case(
            f"D19_{protocol}_body_behind_no_sender",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: DATA⏎{ENVELOPE}.⏎
            S: 503 5.5.1 MAIL first⏎{ENDING} Too many bad commands⏎
            X:
            """,
            ended="ok bad_commands",
            heard=f"{greeted(protocol)}QUIT⏎" if protocol is SUBMISSION else "",
        ),
        Case(
            f"D19_{protocol}_body_behind_data_that_the_backend_refuses",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: {ENVELOPE}DATA⏎MAIL FROM:<eve@x>⏎.⏎
            S: {sender(protocol)}250 2.0.0 Ok RCPT⏎554 5.7.1 No⏎{ENDING} Too many bad commands⏎
            X:
            """,
            ended="ok bad_commands",
            heard=f"{opening(protocol)}QUIT⏎",
            backend=Smtp({b"DATA": b"554 5.7.1 No\r\n"}),
        ),
    )
)


@each(*SIZES)
async def test_sizes(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*LEAVING)
async def test_who_leaves_within_a_message(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*UNASKED)
async def test_bodies_that_nobody_has_asked_for(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
