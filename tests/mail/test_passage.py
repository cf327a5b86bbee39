"""What becomes of a message between client and backend: ours is first, forged is gone, all else is as it was."""

from __future__ import annotations

import base64
import time
from email import message_from_bytes, policy
from ipaddress import IPv4Address

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.dns_server import DnsServer, has
from tests.mail.surbl.told import ZONE, Told
from tlsgate.mail.authentication_results import Result, authentication_results
from tlsgate.mail.forged_results import MOST_HEADER
from tlsgate.mail.header_field import field
from tlsgate.mail.passage import Passage
from tlsgate.mail.surbl import Links, Listed, MessageLinks, Suffixes, SurblListing

US = "mail.test"
OURS = authentication_results(US, [Result("spf", "fail", properties=(("smtp.mailfrom", "a@example.org"),))])
HEAD = OURS + field("Received", ["from", "a.test", "by", US])
_SUFFIXES = Suffixes()
FORGED = b"Authentication-Results: mail.test; spf=pass\r\n"


async def _fed(passage: Passage, message: bytes, length: int) -> bytes:
    passed = b""
    for at in range(0, len(message), length):
        passed += await passage.feed(message[at : at + length])
    return passed + passage.finish()


async def passed(message: bytes, length: int = 10**9) -> bytes:
    """What the backend gets of a message that comes in pieces of a length."""
    return await _fed(Passage(HEAD, US, None), message, length)


_LENGTHS = [1, 2, 3, 7, 10**9]


@pytest.mark.parametrize("length", _LENGTHS)
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b"\r\nbody\r\n",
        b"\r\n folded?\r\n",
        b"Subject: x\r\n\r\nbody\r\n..\r\n",
        b"Subject: x\r\n",
        b"Subject \t: x\r\n\r\nbody\r\n",
        b"From : a@example.org\r\n\r\nbody\r\n",
        b"From: a@example.org\r\n\r\n\r\nFrom x\r\n",
        b".Subject: x\r\n\r\nbody\r\n",
        b"..Subject: x\r\n\r\nbody\r\n",
        b"x" * 997 + b":\r\n\r\n",
        b"Subject: x\r\nno field\r\n\r\nbody\r\n",
    ],
)
async def test_our_fields_and_the_message_as_it_was(message: bytes, length: int) -> None:
    """A signature (DKIM) holds for what wasn't touched."""
    assert await passed(message, length) == HEAD + message


@pytest.mark.parametrize("length", _LENGTHS)
@pytest.mark.parametrize(
    "message",
    [
        b"Hello,\r\nthis: is text\r\n\r\nBye\r\n",
        b" folded\r\n\r\nbody\r\n",
        b"\tfolded\r\n",
        b". folded\r\nbody\r\n",
        b"..\r\nbody\r\n",
        b": no name\r\n",
        b".: no name\r\n",
        b"Two words: x\r\n",
        b"From\r\n",
        b".From a@example.org Sun Mar  1 09:05:07 2026\r\n",
        b"S\xc3\xbcbject: x\r\n",
        b"x" * 998 + b":\r\n\r\n",
        b"x" + b" " * 2000 + b":\r\n\r\n",
        b"Authentication-Results\r\n : mail.test; spf=pass\r\n",
        b"no header\r\n" + FORGED,
    ],
)
async def test_a_text_that_begins_at_once_is_no_part_of_our_header(message: bytes, length: int) -> None:
    """Else its first line would go on our last field, or be read as fields behind ours."""
    written = await passed(message, length)
    assert written == HEAD + b"\r\n" + message
    assert message_from_bytes(written, policy=policy.compat32).keys() == ["Authentication-Results", "Received"]


@pytest.mark.parametrize("length", _LENGTHS)
@pytest.mark.parametrize("line", [b"From a@example.org Sun Mar  1 09:05:07 2026\r\n", b">From x\r\n", b">>From \r\n"])
async def test_a_line_of_a_mailbox_file_before_the_header(line: bytes, length: int) -> None:
    """The header behind it stays one, as it would have without us."""
    message = line + b"Subject: x\r\n" + FORGED + b"\r\nbody\r\n"
    written = await passed(message, length)
    assert written == HEAD + b"X-Mailbox-Line: " + line + b"Subject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize("length", _LENGTHS)
@pytest.mark.parametrize("before", [b"", b"Subject: x\r\n", b"From a@example.org Sun Mar  1 09:05:07 2026\r\n"])
@pytest.mark.parametrize(
    "forged", [FORGED, b"." + FORGED, b"authentication-results :\r\n\t(x) MAIL.test; spf=pass\r\n"]
)
async def test_of_results_with_our_name_ours_alone_are_left_and_come_first(
    forged: bytes, before: bytes, length: int
) -> None:
    """A reader behind us believes what our name is on, and takes the first (D22)."""
    others = b"Authentication-Results: other.test; spf=pass\r\n"
    written = await passed(before + forged + others + forged + b"\r\n" + FORGED, length)
    header = message_from_bytes(written)
    assert [each.split()[0] for each in header.get_all("Authentication-Results", [])] == ["mail.test;", "other.test;"]
    assert written.startswith(OURS)
    assert written.endswith(b"\r\n\r\n" + FORGED)


_WORDS = st.sampled_from(
    [b"\r\n", b"\r\n", b".", b" ", b"\t", b":", b">", b"From ", b"From", b"Subject: x", b"x" * 400, b"\xff", FORGED]
)


@given(st.lists(_WORDS, max_size=12).map(b"".join), st.lists(st.integers(1, 30), min_size=1, max_size=5))
async def test_segments_mean_nothing(text: bytes, sizes: list[int]) -> None:
    """A sender chooses where they end."""
    message = text + b"\r\n"
    passage, at, pieces = Passage(HEAD, US, None), 0, b""
    while at < len(message):
        size = sizes[at % len(sizes)]
        pieces += await passage.feed(message[at : at + size])
        at += size
    assert pieces + passage.finish() == await passed(message)


async def test_a_first_line_without_an_end_isn_t_kept() -> None:
    """It goes on when it is too long for a field's name."""
    passage = Passage(HEAD, US, None)
    assert await passage.feed(b"x" * 997) == b""
    assert await passage.feed(b"x") == HEAD + b"\r\n" + b"x" * 998
    assert await passage.feed(b"y") == b"y"


async def test_a_header_beyond_all_bounds() -> None:
    """A text without a header isn't one."""
    passage = Passage(HEAD, US, None)
    await passage.feed(b"X: y\r\n" * (MOST_HEADER // 6 + 1))
    assert passage.too_large
    assert await passage.feed(b"\r\nmore") == passage.finish() == b""
    text = b"no field\r\n" * (MOST_HEADER // 5)
    assert await passed(text, 5000) == HEAD + b"\r\n" + text


_HIDDEN = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"see http://www.example.com/").replace(
    b"\n", b"\r\n"
)


@pytest.mark.parametrize("length", _LENGTHS)
@pytest.mark.parametrize(
    "message",
    [
        b"see http://www.example.com/\r\n",
        b"\r\nsee http://www.exam\xc2\xadple.com/\r\n",
        _HIDDEN,
        # What ends the header for whoever reads the message as it came, but not behind us.
        b"From x\r\n" + _HIDDEN,
        b"Subject: x\r\nAuthentication-Results\r\n : mail.test; spf=pass\r\n" + _HIDDEN,
        # Without a line that ends the header, it may be held until the message's.
        b"Authentication-Results: other.test (\r\nsee http://www.example.com/\r\n",
        b"Subject: x\r\nno field\r\nAuthentication-Results: other.test (\r\n http://www.example.com/\r\n",
    ],
)
async def test_links_are_looked_for_in_what_the_backend_gets(
    nursery: trio.Nursery, message: bytes, length: int
) -> None:
    """Whoever can make the two differ hides a link."""
    server = await DnsServer().serve(nursery)
    server.says(f"example.com.{ZONE}", "A", has("127.0.0.8"))
    links = Links((ZONE,), server.resolver(), Told(), nursery, 5.0)
    links.suffixes = _SUFFIXES
    passage, written = Passage(HEAD, US, MessageLinks(links)), b""
    for at in range(0, len(message), length):
        written += await passage.feed(message[at : at + length])
    listing = await passage.listing()
    assert written + passage.finish() == await passed(message)
    passage.cancel()
    assert listing == SurblListing((Listed("example.com", ZONE, IPv4Address("127.0.0.8")),))
    assert [name for name, _, _ in server.asked] == [f"example.com.{ZONE}"]


async def test_without_lists_nothing_is_listed() -> None:
    passage = Passage(HEAD, US, None)
    await _fed(passage, b"\r\nhttp://www.example.com/\r\n", 7)
    assert await passage.listing() is None
    passage.cancel()


async def test_a_body_costs_next_to_nothing() -> None:
    """A gigabyte in 16 KiB pieces takes 0.06 s; were each octet looked at, some seconds."""
    passage = Passage(HEAD, US, None)
    await passage.feed(b"Subject: x\r\n\r\n")
    piece = (b"x" * 76 + b"\r\n") * 210
    before = time.process_time()
    for _ in range(60_000):
        await passage.feed(piece)
    assert time.process_time() - before < 1
