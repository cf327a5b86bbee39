"""ReceiveBuffer: lines and counts out of segments of any size, within bounds and in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer


class CountingBytes(bytearray):
    """Counts the octets that are looked at for a line end."""

    looked_at = 0

    def find(self, sub: object, start: object = 0, end: object = None) -> int:
        assert isinstance(sub, bytes) and isinstance(start, int) and end is None
        found = super().find(sub, start)
        self.looked_at += (len(self) if found < 0 else found + 1) - start
        return found


def _lines(pieces: list[bytes], limit: int) -> list[bytes]:
    """Every line, and "too long" as the last one if that was said."""
    buffer, lines = ReceiveBuffer(), []
    for piece in pieces:
        buffer.append(piece)
        try:
            while (line := buffer.line(limit)) is not None:
                lines.append(line)
        except LineTooLong:
            return [*lines, b"too long"]
    return lines


def test_a_byte_at_a_time_costs_linear_time() -> None:
    """Without a memory of what was searched, a line of n octets costs n*n/2 looks: a cheap attack."""
    buffer = ReceiveBuffer()
    data = buffer._data = CountingBytes()
    for _ in range(5000):
        buffer.append(b"x")
        assert buffer.line(10_000) is None
    buffer.append(b"\n")
    assert buffer.line(10_000) == b"x" * 5000 + b"\n"
    assert data.looked_at == 5001


def test_many_lines_in_one_segment_cost_linear_time() -> None:
    buffer = ReceiveBuffer()
    data = buffer._data = CountingBytes()
    buffer.append(b"NOOP\r\n" * 2000)
    while buffer.line(100) is not None:
        pass
    assert data.looked_at == 12_000


@given(st.lists(st.binary(max_size=12)), st.integers(1, 20))
def test_lines_do_not_depend_on_segments(pieces: list[bytes], limit: int) -> None:
    whole = b"".join(pieces)
    expected: list[bytes] = []
    for line in _split_at_lf(whole):
        if len(line) > limit or (len(line) == limit and not line.endswith(b"\n")):
            expected.append(b"too long")
            break
        if line.endswith(b"\n"):
            expected.append(line)
    assert _lines(pieces, limit) == _lines([whole], limit) == expected


def _split_at_lf(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


def test_the_bound_counts_the_line_end() -> None:
    assert _lines([b"12345678\r\n"], 10) == [b"12345678\r\n"]
    assert _lines([b"123456789\r\n"], 10) == [b"too long"]


def test_too_long_is_known_before_the_end_came() -> None:
    """A peer that never ends its line must not be waited for."""
    buffer = ReceiveBuffer()
    buffer.append(b"x" * 9)
    assert buffer.line(10) is None
    buffer.append(b"x")
    with pytest.raises(LineTooLong):
        buffer.line(10)


def test_counts_and_the_rest() -> None:
    buffer = ReceiveBuffer()
    assert buffer.first() is None
    assert buffer.take(0) == b""
    buffer.append(b"ab\ncd\nef")
    assert buffer.first() == ord("a")
    assert buffer.take(9) is None
    assert buffer.take(1) == b"a"
    assert buffer.line(9) == b"b\n"
    assert len(buffer) == 5
    assert buffer.take_all() == b"cd\nef"
    assert buffer.take_all() == b""
    buffer.append(b"\n")
    assert buffer.line(9) == b"\n"


def test_a_count_forgets_what_was_searched() -> None:
    """The search must begin at the front again, else a line end that moved there is passed over."""
    buffer = ReceiveBuffer()
    buffer.append(b"abcdef")
    assert buffer.line(99) is None
    assert buffer.take(4) == b"abcd"
    buffer.append(b"\nx\n")
    assert buffer.line(99) == b"ef\n"
