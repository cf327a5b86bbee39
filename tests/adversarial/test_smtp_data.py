"""Cases D8 to D10 on the wire: the end of a message is one, for us and for the backend.

What fails here lets a message carry another one behind it (SMTP smuggling), or changes one on its way.
"""

from __future__ import annotations

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import MX, SUBMISSION, TLS, Case, each
from tests.adversarial.smtp_scripts import ENVELOPE, QUEUED, TEXT, begun, opening, sender
from tests.legacy_server import Smtp
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

SECOND = "MAIL FROM:<eve@example.org>⏎RCPT TO:<bob@example.org>⏎DATA⏎"
END = "␍␊.␍␊"
# A backend that takes any of these for the end of a message.
LOOSE = Smtp(ends=(b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\n.\r", b"\r\n.\r"))


# Ends that are none, and what the message is refused for.
ENDS = {
    "lf_dot_lf": ("␊.␊", "bare LF"),
    "lf_dot_cr": ("␊.␍", "bare LF"),
    "lf_dot_crlf": ("␊.⏎", "bare LF"),
    "cr_dot_lf": ("␍.␊", "bare CR"),
    "cr_dot_cr": ("␍.␍", "bare CR"),
    "cr_dot_crlf": ("␍.⏎", "bare CR"),
    "crlf_dot_lf": ("⏎.␊", "bare LF"),
    "crlf_dot_cr": ("⏎.␍", "bare CR"),
    "crlf_nul_dot_crlf": ("⏎␀.⏎", "NUL"),
    "crlf_dot_nul_crlf": ("⏎.␀⏎", "NUL"),
    "crlf_dot_crcrlf": ("⏎.␍⏎", "bare CR"),
    "crcrlf_dot_crcrcrlf": ("␍⏎.␍␍⏎", "bare CR"),
    "crcrcrlf_dot_crcrcrlf": ("␍␍⏎.␍␍⏎", "bare CR"),
}
SMUGGLING = tuple(
    Case(
        f"D8_{protocol}_end_{name}",
        protocol,
        TLS,
        f"""
        {begun(protocol)}
        C: Subject: one⏎⏎first{end}{SECOND}second⏎.⏎
        S: 550 5.6.0 Message has a {fault}, which is not allowed⏎
        C: {ENVELOPE}DATA⏎{TEXT}.⏎
        S: {sender(protocol)}250 2.0.0 Ok RCPT⏎354 Go on⏎{QUEUED}
        """,
        backend=LOOSE,
        heard=f"{opening(protocol)}{opening(protocol)}{TEXT}.⏎QUIT⏎",  # the next message takes another connection
        messages=(TEXT,),
    )
    for protocol in (SUBMISSION, MX)
    for name, (end, fault) in ENDS.items()
)


def taken(name: str, protocol: Protocol, body: str, message: str) -> Case:
    """A message that stands, as it was sent. ``body``: with its end, or in several steps; ``message``: without it."""
    return Case(
        name,
        protocol,
        TLS,
        f"{begun(protocol)}C: {body}\nS: {QUEUED}",
        heard=f"{opening(protocol)}{message}.⏎QUIT⏎",
        messages=(message,),
    )


STANDING = tuple(
    case
    for protocol in (SUBMISSION, MX)
    for case in (
        *(
            taken(
                f"D9_{protocol}_end_cut_behind_{cut}",
                protocol,
                f"Subject: one⏎⏎first{END[:cut]}\nN:\nC: {END[cut:]}",
                TEXT,
            )
            for cut in range(len(END) + 1)
        ),
        taken(f"D9_{protocol}_end_octet_by_octet", protocol, "\nN:\nC: ".join(["Subject: one⏎⏎first", *END]), TEXT),
        taken(f"D10_{protocol}_stuffed_dots", protocol, f"{TEXT}..⏎...⏎..x⏎.⏎", f"{TEXT}..⏎...⏎..x⏎"),
        taken(f"D10_{protocol}_empty", protocol, ".⏎", ""),
        taken(f"D10_{protocol}_only_a_stuffed_dot", protocol, "..⏎.⏎", "⏎..⏎"),
        Case(
            f"D10_{protocol}_two_messages_in_one_segment",
            protocol,
            TLS,
            f"""
            {begun(protocol)}
            C: {TEXT}.⏎RSET⏎{ENVELOPE}DATA⏎{TEXT}.⏎
            S: {QUEUED}250 2.0.0 Ok⏎{sender(protocol)}
            S: 250 2.0.0 Ok RCPT⏎354 Go on⏎{QUEUED}
            """,
            heard=f"{opening(protocol)}{TEXT}.⏎{ENVELOPE}DATA⏎{TEXT}.⏎QUIT⏎",
            messages=(TEXT, TEXT),
        ),
    )
)


@each(*SMUGGLING)
async def test_smuggling(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


@each(*STANDING)
async def test_what_stands(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)
