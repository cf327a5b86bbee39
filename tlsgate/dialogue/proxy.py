"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who the client is, before its first octet."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from tlsgate.dialogue.client import Endpoint
from tlsgate.dialogue.events import NEED_DATA, NeedData, RemoteProtocolError

LONGEST_V1 = 107  # 2.1, CR LF included
LONGEST_PAYLOAD = 4096  # of version 2, behind its 16 octets: addresses take 216, HAProxy's TLVs on TLS some hundred
LONGEST_UNIQUE_ID = 128  # 2.2.5
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21  # version and command
_BEGINNINGS = (
    _SIGNATURE + bytes([_LOCAL]),
    _SIGNATURE + bytes([_PROXY]),
    b"PROXY TCP4 ",
    b"PROXY TCP6 ",
    b"PROXY UNKNOWN",
)
_PORT = rb"(0|[1-9][0-9]{0,4})"
_ADDRESS = rb"([0-9A-Fa-f.:]+)"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) " + _ADDRESS + b" " + _ADDRESS + b" " + _PORT + b" " + _PORT + rb")\r\n"
)
_TCP4, _TCP6 = 0x11, 0x21
# Octets of the two addresses by address family and transport protocol (2.2): IPv4, IPv6 and UNIX.
_ADDRESS_BLOCKS = {_TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_HIGHEST_FAMILY, _HIGHEST_TRANSPORT = 3, 2
_CRC32C, _UNIQUE_ID = 0x03, 0x05


class ProxyHeader(Struct, frozen=True):
    """A header. ``source``, ``destination``: the client's end and the one it reached, None where the header tells no
    TCP addresses and the connection's own ends count (LOCAL, UNKNOWN, UNSPEC, UNIX, UDP).

    ``tlvs``: type and value, in order, none from a header that is to be skipped. ``taken``: the header's octets; all
    behind them belongs to the connection.
    """

    version: int
    source: Endpoint | None
    destination: Endpoint | None
    tlvs: tuple[tuple[int, bytes], ...]
    taken: int


def read_header(data: bytes) -> ProxyHeader | NeedData:
    """The header that ``data``, a connection's first octets, begins with.

    NEED_DATA: it is not whole, so each octet of ``data`` is part of it and may be taken off the socket. A caller that
    looks ahead (MSG_PEEK), then takes all of it at NEED_DATA and up to ``taken`` at the end, never takes an octet of
    what follows, and never spins. At most LONGEST_PAYLOAD + 16 octets are asked for.
    Raises RemoteProtocolError as soon as no header can come of it.
    """
    if not any(data.startswith(each) or each.startswith(data) for each in _BEGINNINGS):
        raise RemoteProtocolError("not a PROXY header")
    return _version_1(data) if data.startswith(b"P") else _version_2(data)


def proxy_v1(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """A header of version 1; without both ends (a unix socket, a probe of our own) it says UNKNOWN.

    Postfix refuses that: a probe gets through to it as a client of its own, with both ends of its connection.
    """
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n"
    ours, theirs = _one_family(source, destination)
    return f"PROXY TCP{ours.version} {ours} {theirs} {source.port} {destination.port}\r\n".encode()


def proxy_v2(source: Endpoint | None, destination: Endpoint | None, unique_id: bytes = b"") -> bytes:
    """A header of version 2; without both ends (a unix socket, a probe of our own) it says LOCAL and no more.

    ``unique_id``: our id of the connection. Raises ValueError when it is longer than LONGEST_UNIQUE_ID.
    """
    if len(unique_id) > LONGEST_UNIQUE_ID:
        raise ValueError("unique id too long")
    if source is None or destination is None:
        return _SIGNATURE + bytes([_LOCAL, 0, 0, 0])
    ours, theirs = _one_family(source, destination)
    block = ours.packed + theirs.packed + source.port.to_bytes(2) + destination.port.to_bytes(2)
    if unique_id:
        block += bytes([_UNIQUE_ID]) + len(unique_id).to_bytes(2) + unique_id
    return _SIGNATURE + bytes([_PROXY, _TCP4 if ours.version == 4 else _TCP6]) + len(block).to_bytes(2) + block


def _one_family(one: Endpoint, other: Endpoint) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    if one.address.version == other.address.version:
        return one.address, other.address
    return _mapped(one.address), _mapped(other.address)


def _mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(bytes(10) + b"\xff\xff" + address.packed)


def _version_1(data: bytes) -> ProxyHeader | NeedData:
    end = data.find(b"\n", 0, LONGEST_V1) + 1
    if not end:
        if len(data) >= LONGEST_V1:
            raise RemoteProtocolError(f"PROXY line is longer than {LONGEST_V1} octets")
        return NEED_DATA
    found = _LINE.fullmatch(data, 0, end)
    if found is None:
        raise RemoteProtocolError("malformed PROXY line")
    family, source, destination, source_port, destination_port = found.groups()
    if family is None:
        return ProxyHeader(1, None, None, (), end)
    address = IPv4Address if family == b"4" else IPv6Address
    try:
        ends = (
            Endpoint(address(source.decode()), int(source_port)),
            Endpoint(address(destination.decode()), int(destination_port)),
        )
    except ValueError:
        raise RemoteProtocolError("bad address or port in a PROXY line") from None
    return ProxyHeader(1, *ends, (), end)


def _version_2(data: bytes) -> ProxyHeader | NeedData:
    if len(data) < 14:
        return NEED_DATA
    local, kind = data[12] == _LOCAL, data[13]
    # The family of LOCAL is to be ignored.
    if not local and (kind >> 4 > _HIGHEST_FAMILY or kind & 15 > _HIGHEST_TRANSPORT):
        raise RemoteProtocolError("unknown family or transport in a PROXY header")
    if len(data) < 16:
        return NEED_DATA
    length = int.from_bytes(data[14:16])
    if length > LONGEST_PAYLOAD:
        raise RemoteProtocolError(f"PROXY header is longer than {16 + LONGEST_PAYLOAD} octets")
    # Where addresses end that are of no known kind can't be known: all of such a header is skipped.
    size = None if local else _ADDRESS_BLOCKS.get(kind)
    if size is not None and length < size:
        raise RemoteProtocolError("PROXY header is too short for its addresses")
    taken = 16 + length
    if len(data) < taken:
        return NEED_DATA
    if size is None:
        return ProxyHeader(2, None, None, (), taken)
    tlvs = _tlvs(data[16 + size : taken])
    _check(data[:taken], 16 + size, tlvs)
    source, destination = _endpoints(data[16 : 16 + size]) if kind in (_TCP4, _TCP6) else (None, None)
    return ProxyHeader(2, source, destination, tlvs, taken)


def _endpoints(block: bytes) -> tuple[Endpoint, Endpoint]:
    size = (len(block) - 4) // 2
    address = IPv4Address if size == 4 else IPv6Address
    source_port, destination_port = int.from_bytes(block[-4:-2]), int.from_bytes(block[-2:])
    return Endpoint(address(block[:size]), source_port), Endpoint(address(block[size : 2 * size]), destination_port)


def _tlvs(block: bytes) -> tuple[tuple[int, bytes], ...]:
    tlvs: list[tuple[int, bytes]] = []
    at = 0
    while at < len(block):
        begin = at + 3
        end = begin + int.from_bytes(block[at + 1 : begin])
        if begin > len(block) or end > len(block):
            raise RemoteProtocolError("TLV runs over the end of a PROXY header")
        tlvs.append((block[at], block[begin:end]))
        at = end
    return tuple(tlvs)


def _check(header: bytes, at: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Hold a header against its checksum (2.2.3), if it has one. ``at``: where its TLVs begin."""
    for kind, value in tlvs:
        at += 3
        if kind == _CRC32C:
            blank = header[:at] + bytes(len(value)) + header[at + len(value) :]
            if value != crc32c(blank).to_bytes(4):
                raise RemoteProtocolError("checksum of a PROXY header is wrong")
            return
        at += len(value)


def _crc_entry(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_CRC_TABLE = tuple(map(_crc_entry, range(256)))


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260 Appendix A (Castagnoli's polynomial)."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
