"""Case D11 on the wire: chunks that lie about their size, come out of order or stay away (RFC 3030).

What fails here has a part of a message delivered, or a chunk's text read as commands.
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
    addressed,
    greeted,
    hello,
    opening,
    sender,
)
from tests.dialogue.transcript import octets
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

BOTH = (SUBMISSION, MX)
BDAT_SYNTAX = "501 5.5.4 Syntax: BDAT size [LAST]"


def bdat(text: str, last: str = "") -> str:
    """A chunk of this text."""
    return f"BDAT {len(octets(text))}{last}⏎{text}"


def chunked(name: str, protocol: Protocol, sent: str, said: str, **expected: object) -> Case:
    """What is sent behind an envelope."""
    closes = "X:" if "ended" in expected else ""
    script = f"{addressed(protocol)}C: {sent}\nS: {said}\n{closes}"
    return Case(f"D11_{protocol}_bdat_{name}", protocol, TLS, script, **expected)  # type: ignore[arg-type]


CHUNKS = tuple(
    case
    for protocol in BOTH
    for case in (
        *(
            chunked(
                name,
                protocol,
                f"BDAT {argument}⏎MAIL FROM:<eve@x>⏎",
                f"{BDAT_SYNTAX}⏎{ENDING} Too many bad commands⏎",
                heard=f"{greeted(protocol)}{ENVELOPE}QUIT⏎",
                ended="ok bad_commands",
            )
            for name, argument in (
                ("size_of_70_bits", "100000000000000000000"),
                ("size_below_nothing", "-1"),
                ("size_in_hexadecimal", "0x10"),
                ("size_missing", ""),
                ("size_behind_last", "LAST 10"),
            )
        ),
        chunked(
            "size_of_67_bits",
            protocol,
            "BDAT 99999999999999999999⏎MAIL FROM:<eve@x>⏎",
            "552 5.3.4 Message is larger than this server takes⏎421 4.3.4 mail.example.org Message far too large⏎",
            heard=f"{greeted(protocol)}{ENVELOPE}QUIT⏎",
            ended="ok message_too_large",
        ),
        chunked(
            "empty_last",
            protocol,
            "BDAT 0 LAST⏎",
            QUEUED,
            heard=f"{opening(protocol)}.⏎QUIT⏎",
            messages=("",),
        ),
        chunked(
            "empty_then_text",
            protocol,
            f"BDAT 0⏎{bdat(TEXT, ' LAST')}",
            f"250 2.0.0 0 octets received⏎{QUEUED}",
            heard=f"{opening(protocol)}{TEXT}.⏎QUIT⏎",
            messages=(TEXT,),
        ),
        chunked(
            "with_an_end_of_data_in_it",
            protocol,
            bdat(f"{TEXT}.⏎MAIL FROM:<eve@x>⏎DATA⏎", " LAST"),
            QUEUED,
            heard=f"{opening(protocol)}{TEXT}..⏎MAIL FROM:<eve@x>⏎DATA⏎.⏎QUIT⏎",
            messages=(f"{TEXT}..⏎MAIL FROM:<eve@x>⏎DATA⏎",),
        ),
        chunked(
            "end_of_data_on_the_edge_of_two",
            protocol,
            bdat(f"{TEXT}.") + bdat("⏎MAIL FROM:<e@x>⏎", " LAST"),
            f"250 2.0.0 24 octets received⏎{QUEUED}",
            heard=f"{opening(protocol)}{TEXT}..⏎MAIL FROM:<e@x>⏎.⏎QUIT⏎",
            messages=(f"{TEXT}..⏎MAIL FROM:<e@x>⏎",),
        ),
        chunked(
            "then_data",
            protocol,
            f"{bdat(TEXT)}DATA⏎",
            "250 2.0.0 23 octets received⏎503 5.5.1 DATA can't follow BDAT⏎",
            heard=f"{opening(protocol)}{TEXT[:-1]}",
        ),
        Case(
            f"D11_{protocol}_bdat_without_recipients",
            protocol,
            TLS,
            f"""
            {hello(protocol)}
            C: MAIL FROM:<a@example.org>⏎{bdat("MAIL FROM:<eve@x>⏎", " LAST")}NOOP⏎
            S: {sender(protocol)}554 5.5.1 No valid recipients⏎250 2.0.0 Ok⏎
            """,
            heard=f"{greeted(protocol)}MAIL FROM:<a@example.org>⏎RSET⏎QUIT⏎" if protocol is SUBMISSION else "",
        ),
        Case(
            f"D11_{protocol}_bdat_with_too_few_octets",
            protocol,
            TLS,
            f"""
            {addressed(protocol)}
            C: BDAT 1000 LAST⏎{TEXT}
            N:
            Z: close
            """,
            heard=f"{opening(protocol)}{TEXT[:-1]}",
        ),
    )
)


@each(*CHUNKS)
async def test_chunks(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
