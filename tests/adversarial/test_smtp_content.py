"""Case D23 on the wire: a message whose text is made to cost whoever reads it.

What fails here lets one message hold everybody up, or keeps good mail from being passed on.
"""

from __future__ import annotations

import pytest
import trio

from tests.dns_server import DnsServer
from tests.legacy_server import LegacyServer, Smtp, behind_trace
from tests.test_mx_session import FROM_CLIENT, RCPT, greeted, looking_at_links
from tlsgate.config import Screening
from tlsgate.mail.surbl import Suffixes

pytestmark = pytest.mark.timeout(60)

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
QUEUED, TOO_LARGE = b"250 2.0.0 Queued", b"552 5.3.4 "
HOSTILE = {
    "header_of_a_megabyte": (b"X-Long: x\r\n" + b" xxxxxxx\r\n" * 120_000 + b"\r\nx\r\n", TOO_LARGE),
    "fields_of_a_megabyte": (b"A: b\r\n" * 180_000 + b"\r\nx\r\n", TOO_LARGE),
    "nested_200_deep": (
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)),
        QUEUED,
    ),
    "parts_10000": (MIXED + b"--b\r\n\r\nhello\r\n" * 10_000, QUEUED),
    "messages_in_messages": (b"Content-Type: message/rfc822\r\n\r\n" * 1000, QUEUED),
    "base64_that_is_none": (b"Content-Transfer-Encoding: base64\r\n\r\n" + b"!\r\n" * 50_000, QUEUED),
    "boundary_within_another": (
        b'Content-Type: multipart/mixed; boundary="b"; boundary=bb\r\n\r\n' + b"--bb\r\n\r\n--b\r\n\r\n" * 1000,
        QUEUED,
    ),
    "tags_without_end": (b"Content-Type: text/html\r\n\r\n" + b"<a \r\n" * 40_000, QUEUED),
}


@pytest.fixture(scope="module")
def suffixes() -> Suffixes:
    return Suffixes()


@pytest.mark.parametrize("name", HOSTILE)
async def test_D23_hostile_text(nursery: trio.Nursery, suffixes: Suffixes, name: str) -> None:
    """Passed on octet by octet, or refused; its neighbour is answered meanwhile, and its next mail is taken."""
    server = await DnsServer().serve(nursery)
    legacy: LegacyServer = await nursery.start(LegacyServer(Smtp()).serve)
    text, answer = HOSTILE[name]
    async with looking_at_links(server, nursery, suffixes, legacy, Screening()) as running:
        neighbour = await greeted(running, FROM_CLIENT)
        client = await greeted(running, FROM_CLIENT)
        with trio.fail_after(30):
            for command in (b"MAIL FROM:<eve@sender.example>", RCPT, b"DATA"):
                assert (await client.ask(command)).startswith((b"2", b"3"))
            async with trio.open_nursery() as both:
                both.start_soon(client.send, text + b".\r\n")
                assert (await neighbour.ask(b"NOOP")).startswith(b"250 ")
            assert (await client.reply()).startswith(answer)
            passed = [behind_trace(each) for each in legacy.messages]
            assert passed == ([text] if answer == QUEUED else [])
            for command in (b"MAIL FROM:<ann@sender.example>", RCPT, b"DATA"):
                assert (await client.ask(command)).startswith((b"2", b"3"))
            assert await client.ask(b"Subject: x\r\n\r\nx\r\n.") == QUEUED
