"""A message in chunks is the same message by DATA, wherever it was cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.events import LocalProtocolError
from tlsgate.dialogue.smtp_chunks import ChunkDecoder, chunk
from tlsgate.dialogue.smtp_data import END_OF_DATA, BodyFault, DataDecoder
from tlsgate.dialogue.smtp_syntax import SmtpSyntaxError

_octets = st.text("\r\n.\0ax", max_size=40).map(str.encode)
_right = st.lists(st.text(".ax ", max_size=6).map(str.encode), max_size=8).map(b"\r\n".join)
_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)
_chunks = st.lists(st.integers(0, 9), max_size=8)


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, the rest of it as the last."""
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def _send(decoder: ChunkDecoder, chunks: list[bytes], sizes: list[int]) -> bytes:
    """Send all of a message, the last chunk as such; each chunk in segments of ``sizes``. Gives what was passed on."""
    passed = b""
    for number, each in enumerate(chunks):
        decoder.begin(len(each), number == len(chunks) - 1)
        for piece in _cut(each, sizes):
            if not decoder.chunk_ended:
                passed += decoder.feed(piece)
        assert decoder.chunk_ended and decoder.rest == b""
        assert decoder.ended == (number == len(chunks) - 1)
    return passed


def _ended(message: bytes) -> bytes:
    """A message whose last line has an end, which it needs for DATA (RFC 5321 4.1.1.4)."""
    return message if not message or message.endswith(b"\r\n") else message + b"\r\n"


def _by_data(passed: bytes) -> bytes:
    """The message that a right receiver of DATA has: one, and nothing behind it."""
    assert b"\r\n.\r\n" not in b"\r\n" + passed
    decoder = DataDecoder(1000)
    assert decoder.feed(passed + END_OF_DATA) == passed
    assert decoder.ended and decoder.fault is None and decoder.rest == b""
    return re.sub(rb"(?<=\r\n)\.", b"", b"\r\n" + passed)[2:]


@given(_right | _octets, _chunks, _sizes)
def test_a_message_arrives_as_it_was(message: bytes, chunks: list[int], sizes: list[int]) -> None:
    """Any octets, any chunks, any segments: what passes is the message, and the only one."""
    decoder = ChunkDecoder(1000)
    passed = _send(decoder, _cut(message, chunks), sizes)
    wrong = re.search(rb"\r(?!\n)|(?<!\r)\n|\0", message)
    if wrong:
        assert decoder.fault is _FAULTS[wrong.group()]
        assert b"\r\n.\r\n" not in b"\r\n" + passed
        assert not re.search(rb"\r(?!\n|\Z)|(?<!\r)\n|\0", passed)
    else:
        assert decoder.fault is None
        assert _by_data(passed) == _ended(message)
        assert decoder.size == len(_ended(message))


_FAULTS = {b"\r": BodyFault.BARE_CR, b"\n": BodyFault.BARE_LF, b"\0": BodyFault.NUL}


@given(_octets, _chunks, _sizes)
def test_a_normalized_message_is_what_was_meant(message: bytes, chunks: list[int], sizes: list[int]) -> None:
    message = message.replace(b"\0", b"")
    decoder = ChunkDecoder(1000, normalize=True)
    passed = _send(decoder, _cut(message, chunks), sizes)
    meant = _ended(re.sub(rb"\r\n|\r|\n", b"\r\n", message))
    assert decoder.fault is None
    assert _by_data(passed) == meant
    assert decoder.size == len(meant)


@given(_octets, _chunks, _sizes, st.integers(0, 20), st.integers(0, 12), st.booleans())
def test_chunks_mean_nothing(
    message: bytes, chunks: list[int], sizes: list[int], limit: int, longest_line: int, normalize: bool
) -> None:
    """Also which fault is told, when there are several: a fault can't be hidden by where a chunk ends."""
    decoder = ChunkDecoder(limit, normalize=normalize, longest_line=longest_line)
    passed = _send(decoder, _cut(message, chunks), sizes)
    whole = ChunkDecoder(limit, normalize=normalize, longest_line=longest_line)
    at_once = _send(whole, [message], [])
    assert (decoder.fault, decoder.size) == (whole.fault, whole.size)
    if whole.fault is None:
        assert passed == at_once
    else:
        assert at_once == b""


@given(_octets, st.integers(0, 12), st.integers(0, 20))
def test_the_faults_are_those_of_data(message: bytes, longest_line: int, limit: int) -> None:
    """Else a client picks the command whose check is the weaker one."""
    message = message.replace(b".", b"x")
    decoder = ChunkDecoder(limit, longest_line=longest_line)
    passed = _send(decoder, [message, b"\r\n"], [])
    data = DataDecoder(limit, longest_line=longest_line)
    assert passed == data.feed(message + b"\r\n.\r\n") or data.fault
    assert (decoder.fault, decoder.size) == (data.fault, data.size)


@given(_octets, _chunks, _sizes, st.integers(1, 20))
def test_the_next_command_is_found_behind_any_chunk(
    message: bytes, chunks: list[int], sizes: list[int], limit: int
) -> None:
    """Also behind a fault, and in a segment that has the next commands in it: no octet more or less is message."""
    decoder = ChunkDecoder(limit)
    for each in _cut(b"\0" + message, chunks):
        decoder.begin(len(each), last=False)
        left = each + b"NOOP\r\n"
        for size in sizes * 60:
            if decoder.chunk_ended:
                break
            assert decoder.lacking == len(left) - 6
            assert decoder.feed(left[:size]) == b""
            left = decoder.rest + left[size:]
        assert left == b"NOOP\r\n"
    decoder.begin(0, last=True)
    decoder.feed(b"")
    assert decoder.ended and decoder.fault is BodyFault.NUL


def test_a_fault_in_an_early_chunk_is_remembered() -> None:
    """A message must not be saved by what follows, and a fault be known before the last chunk."""
    for wrong, fault in ((b"\rx", BodyFault.BARE_CR), (b"\n", BodyFault.BARE_LF), (b"x" * 999, BodyFault.LONG_LINE)):
        decoder = ChunkDecoder(10_000)
        decoder.begin(len(wrong), last=False)
        assert decoder.feed(wrong) == b""
        assert decoder.chunk_ended and not decoder.ended
        assert decoder.fault is fault
        assert _send(decoder, [b"Subject: fine\r\n", b"\0", b".\r\n"], [4]) == b""
        assert decoder.fault is fault


@pytest.mark.parametrize(
    ("chunks", "passed"),
    [
        ([b""], b""),
        ([b"", b"", b""], b""),
        ([b"a\r\n", b""], b"a\r\n"),
        ([b"a", b""], b"a\r\n"),
        ([b"a\r", b"\n"], b"a\r\n"),
        ([b"a\r", b"", b"\nb"], b"a\r\nb\r\n"),
        ([b"a", b".b\r\n"], b"a.b\r\n"),
        ([b"a\r\n", b".b\r\n"], b"a\r\n..b\r\n"),
        ([b"a\r", b"\n", b"", b".\r\n"], b"a\r\n..\r\n"),
        ([b"."], b"..\r\n"),
        ([b"", b".\r\n.\r\n", b"MAIL FROM:<a@b.example>\r\n"], b"..\r\n..\r\nMAIL FROM:<a@b.example>\r\n"),
    ],
)
def test_what_data_carries(chunks: list[bytes], passed: bytes) -> None:
    decoder = ChunkDecoder(1000)
    assert _send(decoder, chunks, [1, 1]) == passed
    assert decoder.fault is None


@pytest.mark.parametrize(
    ("chunks", "fault", "meant"),
    [
        ([b"a\r", b"b"], BodyFault.BARE_CR, b"a\r\nb\r\n"),
        ([b"a\r"], BodyFault.BARE_CR, b"a\r\n"),
        ([b"a\r", b""], BodyFault.BARE_CR, b"a\r\n"),
        ([b"a\r", b"\r\n"], BodyFault.BARE_CR, b"a\r\n\r\n"),
        ([b"a\r\n", b"\nb"], BodyFault.BARE_LF, b"a\r\n\r\nb\r\n"),
        ([b"a\n", b".", b"\n"], BodyFault.BARE_LF, b"a\r\n..\r\n"),
        ([b"a\r", b".\r", b"\n"], BodyFault.BARE_CR, b"a\r\n..\r\n"),
    ],
)
def test_bare_line_ends_at_a_chunks_end(chunks: list[bytes], fault: BodyFault, meant: bytes) -> None:
    decoder, normal = ChunkDecoder(1000), ChunkDecoder(1000, normalize=True)
    _send(decoder, chunks, [])
    assert decoder.fault is fault
    assert _send(normal, chunks, []) == meant
    assert normal.fault is None


def test_sizes_and_lines_have_the_same_bounds_as_in_data() -> None:
    """The longest line and the largest message still pass, one octet more doesn't, in however many chunks."""
    line = b"." + b"x" * 997
    for sizes in ([], [1], [1, 996, 1], [998, 1, 1]):
        for message, fault in ((line + b"\r\n", None), (line + b"x\r\n", BodyFault.LONG_LINE)):
            decoder = ChunkDecoder(1001)
            _send(decoder, _cut(message, sizes), [])
            assert (decoder.size, decoder.fault) == (len(message), fault)
        for limit, too_large in ((1000, None), (999, BodyFault.TOO_LARGE)):
            decoder = ChunkDecoder(limit)
            _send(decoder, _cut(line + b"\r\n", sizes), [])
            assert decoder.fault is too_large
    decoder = ChunkDecoder(10_000, longest_line=None)
    assert _send(decoder, [b"x" * 5000, b"x\r\n"], []) == b"x" * 5001 + b"\r\n"


def test_chunks_come_one_after_another() -> None:
    """A caller that mixes them up would count a command's octets as the message's."""
    decoder = ChunkDecoder(1000)
    with pytest.raises(LocalProtocolError):
        decoder.feed(b"a")
    decoder.begin(2, last=True)
    decoder.feed(b"a")
    with pytest.raises(LocalProtocolError):
        decoder.begin(2, last=True)
    decoder.feed(b"b")
    with pytest.raises(LocalProtocolError):
        decoder.begin(2, last=True)
    with pytest.raises(LocalProtocolError):
        decoder.feed(b"c")


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("1000", (1000, False)),
        ("0", (0, False)),
        ("0 LAST", (0, True)),
        ("86 last", (86, True)),
        ("007 LaSt", (7, True)),
        ("99999999999999999999", (99999999999999999999, False)),
    ],
)
def test_arguments(argument: str, meant: tuple[int, bool]) -> None:
    assert chunk(argument) == meant


@pytest.mark.parametrize(
    "argument",
    [
        "",
        " ",
        "LAST",
        "-1",
        "+1",
        "1_0",
        "0x10",
        "1.0",
        "1\n",
        " 1",
        "1  LAST",
        "1\tLAST",
        "1LAST",
        "1 LAST LAST",
        "1 LA\u017fT",
        "1 FIRST",
        "1 2",
        "\u0661",
        "\uff11",
        "\u00b2",
        "100000000000000000000",
        "9" * 5000,
    ],
)
def test_wrong_arguments(argument: str) -> None:
    """What another reader may take for another number (or none) has no meaning here."""
    with pytest.raises(SmtpSyntaxError) as raised:
        chunk(argument)
    assert raised.value.code == "501 5.5.4"
