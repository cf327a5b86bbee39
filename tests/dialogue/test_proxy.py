"""PROXY headers: read from any octets in any segments, written, and nothing behind them touched (cases.md E1)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.events import NEED_DATA, NeedData, RemoteProtocolError
from tlsgate.dialogue.proxy import LONGEST_PAYLOAD, ProxyHeader, crc32c, proxy_v1, proxy_v2, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01"
_V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + b"\x12\x34\x03\xe1"
_V4_ENDS = (Endpoint(IPv4Address("192.0.2.7"), 0x1234), Endpoint(IPv4Address("198.51.100.1"), 993))


def _v2(command: int, kind: int, payload: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, kind]) + (len(payload) if length is None else length).to_bytes(2) + payload


def _tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2) + value


def _summed(before: bytes, behind: bytes = b"") -> bytes:
    """A header of TCP over IPv4 with a checksum between other TLVs."""
    blank = _v2(0x21, 0x11, _V4 + before + _tlv(3, bytes(4)) + behind)
    at = 16 + len(_V4 + before) + 3
    return blank[:at] + crc32c(blank).to_bytes(4) + blank[at + 4 :]


def _read(data: bytes) -> ProxyHeader:
    header = read_header(data)
    assert isinstance(header, ProxyHeader)
    return header


def _fed(data: bytes, sizes: list[int]) -> tuple[ProxyHeader | NeedData | str, int]:
    """What comes of ``data`` in segments of these sizes, and how many octets were taken off the socket for it.

    As read_header tells its callers to read: look at what is there, take all of it or up to the header's end.
    """
    taken = arrived = number = 0
    while arrived < len(data):
        arrived += sizes[number % len(sizes)]
        number += 1
        try:
            header = read_header(data[:arrived])
        except RemoteProtocolError as error:
            return str(error), taken
        if isinstance(header, ProxyHeader):
            assert taken < header.taken <= arrived
            return header, header.taken
        taken = min(arrived, len(data))
    return NEED_DATA, taken


# -- version 1 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443", ("192.0.2.7", 56324), ("198.51.100.1", 443)),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", ("0.0.0.0", 0), ("255.255.255.255", 65535)),
        (b"PROXY TCP6 2001:DB8::7 ::1 1 2", ("2001:db8::7", 1), ("::1", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c000:201 1 2", ("192.0.2.7", 1), ("192.0.2.1", 2)),
        (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535",)
        + (("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),) * 2,
    ],
)
def test_a_line(line: bytes, source: tuple[str, int], destination: tuple[str, int]) -> None:
    ends = [Endpoint(ip_address(host), port) for host, port in (source, destination)]
    header = _read(line + b"\r\n" + CLIENT_HELLO)
    assert header == ProxyHeader(1, ends[0], ends[1], (), len(line) + 2)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN \r\n",
        b"PROXY UNKNOWN ffff::1 not an address \xff\0 99999\r\n",
        b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n",
    ],
)
def test_an_unknown_client(line: bytes) -> None:
    """What follows UNKNOWN is to be ignored, up to the longest line there is."""
    assert len(line) <= 107
    assert _read(line + b"a LOGIN") == ProxyHeader(1, None, None, (), len(line))


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1_0 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 \xd9\xa1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.\xff 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7\r198.51.100.1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP6 :::1 ::1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN a\rb\r\n",
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
        b"PROXY TCP4 " + b" " * 95 + b"1",
    ],
)
def test_a_bad_line(line: bytes) -> None:
    """Two readers that take such a line for different addresses make a way round the address's rules."""
    with pytest.raises(RemoteProtocolError):
        read_header(line)


@pytest.mark.parametrize(
    "begin",
    [
        CLIENT_HELLO,
        b"a001 LOGIN alice pw\r\n",
        b"GET / HTTP/1.1\r\n",
        b"EHLO x\r\n",
        b"proxy TCP4 ",
        b"PROXY\r\n",
        b"PROXY TCP5",
        b"PROXY tcp4",
        b"PROXY UDP4 ",
        b"PROXY UNKNOWM",
        b"\r\n\r\n\r\n",
        SIGNATURE + b"\x11",
        SIGNATURE + b"\x22",
    ],
)
def test_no_header_is_told_at_its_first_wrong_octet(begin: bytes) -> None:
    """A client that is not behind the balancer must not wait for a time-out."""
    wrong = next(at for at in range(len(begin) + 1) if _fed(begin[:at], [1])[0] is not NEED_DATA)
    headers = (SIGNATURE + b"\x20", SIGNATURE + b"\x21", b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")
    assert any(header.startswith(begin[: wrong - 1]) for header in headers)
    assert not any(header.startswith(begin[:wrong]) for header in headers)
    assert _fed(begin, [len(begin)]) == ("not a PROXY header", 0)


# -- version 2 --------------------------------------------------------------------------------------


def test_a_header() -> None:
    """AWS with its endpoint id and padding, HAProxy with TLS: pairs, in order, of exact lengths."""
    tlvs = [
        (0xEA, b"\x01vpce-08d2bf15fac5001c9"),
        (4, b""),
        (0x20, b"\x01\0\0\0\0" + _tlv(0x21, b"TLSv1.3")),
        (4, b"\0"),
    ]
    data = _v2(0x21, 0x11, _V4 + b"".join(_tlv(*each) for each in tlvs))
    assert _read(data + CLIENT_HELLO) == ProxyHeader(2, *_V4_ENDS, tuple(tlvs), len(data))


def test_ipv6() -> None:
    source, destination = IPv6Address("2001:db8::7"), IPv6Address("::ffff:192.0.2.1")
    data = _v2(0x21, 0x21, source.packed + destination.packed + b"\0\x01\xff\xff")
    ends = (Endpoint(source, 1), Endpoint(IPv4Address("192.0.2.1"), 65535))
    assert _read(data) == ProxyHeader(2, *ends, (), len(data))


@pytest.mark.parametrize(
    ("command", "kind", "payload", "tlvs"),
    [
        (0x20, 0x00, b"", ()),
        (0x20, 0x11, _V4 + b"not a TLV", ()),
        (0x20, 0xFF, b"\xff" * 300, ()),
        (0x20, 0x11, b"", ()),
        (0x21, 0x00, b"", ()),
        (0x21, 0x00, b"whatever", ()),
        (0x21, 0x10, _V4, ()),
        (0x21, 0x01, _V4, ()),
        (0x21, 0x12, _V4 + _tlv(5, b"id"), ((5, b"id"),)),
        (0x21, 0x31, b"/run/a.sock".ljust(108, b"\0") * 2 + _tlv(5, b"id"), ((5, b"id"),)),
    ],
)
def test_no_addresses(command: int, kind: int, payload: bytes, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """LOCAL is a balancer's own probe, whatever it says else; of the rest nothing is a TCP client's."""
    data = _v2(command, kind, payload)
    assert _read(data + CLIENT_HELLO) == ProxyHeader(2, None, None, tlvs, len(data))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_v2(0x21, 0x41, _V4), "family"),
        (_v2(0x21, 0xF1, _V4), "family"),
        (_v2(0x21, 0x13, _V4), "transport"),
        (_v2(0x21, 0x11, _V4[:-1]), "too short"),
        (_v2(0x21, 0x21, bytes(35)), "too short"),
        (_v2(0x21, 0x31, bytes(215)), "too short"),
        (_v2(0x21, 0x11, b"", 0), "too short"),
        (_v2(0x21, 0x11, b"", LONGEST_PAYLOAD + 1), "longer"),
        (_v2(0x20, 0x00, b"", 0xFFFF), "longer"),
        (_v2(0x21, 0x11, _V4 + b"\x04"), "TLV"),
        (_v2(0x21, 0x11, _V4 + b"\x04\0"), "TLV"),
        (_v2(0x21, 0x11, _V4 + b"\x04\0\x01"), "TLV"),
        (_v2(0x21, 0x11, _V4 + _tlv(4, b"abc") + b"\x04\xff\xff" + b"x" * 80), "TLV"),
    ],
)
def test_a_bad_header(data: bytes, why: str) -> None:
    """Told without a wait for what it promises."""
    with pytest.raises(RemoteProtocolError, match=why):
        read_header(data)


def test_the_longest_header() -> None:
    data = _v2(0x21, 0x11, _V4 + _tlv(0xE0, b"x" * (LONGEST_PAYLOAD - len(_V4) - 3)))
    assert _read(data).taken == len(data)
    assert read_header(data[:-1]) is NEED_DATA


@pytest.mark.parametrize("before", [b"", _tlv(4, b"pad")])
@pytest.mark.parametrize("behind", [b"", _tlv(0xEA, b"\x01vpce")])
def test_a_checksum(before: bytes, behind: bytes) -> None:
    """The whole header counts, what follows it does not."""
    good = _summed(before, behind)
    assert _read(good + CLIENT_HELLO).source == _V4_ENDS[0]
    begin = 16 + len(_V4 + before)
    for at in (*range(16, 16 + len(_V4)), *range(begin + 3, begin + 7), *([len(good) - 1] if behind else [])):
        broken = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(RemoteProtocolError, match="checksum"):
            read_header(broken)


@pytest.mark.parametrize("value", [b"", b"\0\0\0", b"\0" * 5])
def test_a_checksum_of_another_length(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="checksum"):
        read_header(_v2(0x21, 0x11, _V4 + _tlv(3, value)))


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c(data: bytes, crc: int) -> None:
    """The values of RFC 3720 B.4."""
    assert crc32c(data) == crc


# -- both -------------------------------------------------------------------------------------------

_ends = st.builds(Endpoint, st.ip_addresses(), st.integers(0, 65535))
_headers = (
    st.builds(proxy_v1, _ends, _ends)
    | st.builds(proxy_v2, _ends, _ends, st.binary(max_size=128))
    | st.sampled_from([proxy_v1(None, None), proxy_v2(None, None), _summed(b"", _tlv(4, b"x"))])
)
_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@st.composite
def _nearly(draw: st.DrawFn) -> bytes:
    """A header with a few octets changed."""
    data = bytearray(draw(_headers))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(_headers, st.binary(max_size=20), _sizes)
def test_any_split(header: bytes, behind: bytes, sizes: list[int]) -> None:
    """One header, and not one octet more than it off the socket, or TLS behind it would begin in its middle."""
    assert _fed(header + behind, sizes) == (read_header(header), len(header))


@given(st.binary(max_size=300) | _nearly(), _sizes)
@example(b"PROXY TCP4 1.2.3.4 1.2.3.\xff 1 2\r\n", [1])
@example(b"PROXY \xff\r\n", [1])
def test_any_octets(data: bytes, sizes: list[int]) -> None:
    """A header, a wait or a fault that is fit for a log: the same in any segments, and nothing else is ever raised."""
    said, _ = _fed(data, [max(len(data), 1)])
    assert _fed(data, sizes)[0] == said
    if isinstance(said, str):
        assert said.isascii() and said.isprintable()


@given(_ends, _ends, st.binary(max_size=128))
def test_what_is_written_is_read(source: Endpoint, destination: Endpoint, unique_id: bytes) -> None:
    line = proxy_v1(source, destination)
    assert len(line) <= 107
    assert _read(line + CLIENT_HELLO) == ProxyHeader(1, source, destination, (), len(line))
    data = proxy_v2(source, destination, unique_id)
    tlvs = ((5, unique_id),) if unique_id else ()
    assert _read(data + CLIENT_HELLO) == ProxyHeader(2, source, destination, tlvs, len(data))


def test_what_is_written() -> None:
    """Octet by octet, as other implementations have it."""
    assert proxy_v1(*_V4_ENDS) == b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 993\r\n"
    assert proxy_v2(*_V4_ENDS) == SIGNATURE + b"\x21\x11\x00\x0c" + _V4
    assert proxy_v2(*_V4_ENDS, b"Ab3x") == SIGNATURE + b"\x21\x11\x00\x13" + _V4 + b"\x05\x00\x04Ab3x"
    client = Endpoint(IPv6Address("2001:db8::7"), 1)
    assert proxy_v1(client, client) == b"PROXY TCP6 2001:db8::7 2001:db8::7 1 1\r\n"
    assert proxy_v2(client, client)[12:16] == b"\x21\x21\x00\x24"


def test_a_probe_of_ours_and_a_unix_client() -> None:
    """A backend must not count them as a client, nor look for addresses that there are none of."""
    one, other = _V4_ENDS
    for source, destination in ((None, None), (None, other), (one, None)):
        assert proxy_v1(source, destination) == b"PROXY UNKNOWN\r\n"
        assert proxy_v2(source, destination, b"Ab3x") == SIGNATURE + b"\x20\0\0\0"


def test_a_unique_id_has_a_bound() -> None:
    with pytest.raises(ValueError, match="too long"):
        proxy_v2(*_V4_ENDS, b"x" * 129)
