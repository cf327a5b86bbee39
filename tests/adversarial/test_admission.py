"""Cases E1 and E5 on the wire: whoever says for whom it speaks, or is known by another address than its own.

What fails here lets a client pass as another, by every list and every ban.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Network

import pytest
import trio

from tests.adversarial.attack import carry_out
from tests.adversarial.case import CLEAR, HELLO, IMAP, MX, POP3, SUBMISSION, Case, each
from tests.dialogue.transcript import shown
from tests.gate import gate, limits, pool_of
from tests.legacy_server import LegacyServer
from tests.test_session import SCRIPTS, each_mode, each_protocol
from tlsgate import config
from tlsgate.admission.network import parse_network
from tlsgate.admission.rules import AddressRules, load_rules
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(60)

BALANCER, NEIGHBOUR = "127.0.0.9", "127.0.0.1"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 993\r\n"
ENDS = b"\xcb\x00\x71\x07\xc0\x00\x02\x01\x12\x67\x03\xe1"


def v2(kind: int, payload: bytes, length: int | None = None, command: int = 0x21) -> bytes:
    """A header of version 2; ``length``: what it says of itself."""
    size = len(payload) if length is None else length
    return SIGNATURE + bytes([command, kind]) + struct.pack(">H", size) + payload


LISTENERS = [(protocol, tls) for protocol in Protocol for tls in TlsMode if (protocol, tls) != (MX, TlsMode.IMPLICIT)]
NO_HEADERS = {
    "none": b"",
    "a_client_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a_command": b"EHLO evil.example\r\n",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "v1_of_108": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v1_without_end": b"PROXY TCP4 " + b"1" * 200,
    "v1_with_a_bare_lf": V1.replace(b"\r", b""),
    "v1_of_another_family": V1.replace(b"TCP4", b"TCP6"),
    "v1_of_an_unknown_family": V1.replace(b"TCP4", b"UDP4"),
    "v1_port_too_large": V1.replace(b"4711", b"65536"),
    "v1_with_a_zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1_address_in_octal": V1.replace(b"203", b"0203"),
    "v2_of_an_unknown_family": v2(0x41, ENDS),
    "v2_of_an_unknown_transport": v2(0x13, ENDS),
    "v2_of_an_unknown_command": v2(0x11, ENDS, command=0x22),
    "v2_too_short_for_its_addresses": v2(0x11, ENDS[:-1]),
    "v2_far_too_long": v2(0x11, ENDS, 0xFFFF),
    "v2_tlv_beyond_its_end": v2(0x11, ENDS + b"\x04\xff\xff" + b"x" * 80),
    "v2_cut_short": v2(0x11, ENDS)[:-1],
}


@pytest.mark.parametrize("name", NO_HEADERS)
@pytest.mark.parametrize(("protocol", "tls"), LISTENERS)
async def test_E1_no_header_of_a_balancer(nursery: trio.Nursery, protocol: Protocol, tls: TlsMode, name: str) -> None:
    """Closed without a word, whatever it was: its octets are nobody's commands."""
    async with gate(protocol, tls, pool_of(config.HostPort("127.0.0.1", 1)), proxies=(BALANCER,)) as running:
        client = await running.connect(NO_HEADERS[name], BALANCER)
        client.socket.shutdown(trio.socket.SHUT_WR)
        assert await client.ended()
        await running.quiet()
        assert (running.trace.refusals, running.trace.sessions) == (["no_proxy_header"], [])
        neighbour = await running.secure(source=NEIGHBOUR)
        assert running.trace.clients == [neighbour.socket.getsockname()]


STRANGERS = (
    Case(
        "E1_imap_header_of_a_stranger",
        IMAP,
        CLEAR,
        f"C: {shown(V1)}\nS: PROXY BAD Unknown command, or not before login⏎",
    ),
    Case("E1_pop3_header_of_a_stranger", POP3, CLEAR, f"C: {shown(V1)}\nS: -ERR Unknown command, or not before login⏎"),
    Case("E1_submission_header_of_a_stranger", SUBMISSION, CLEAR, f"C: {shown(V1)}\nS: 550 5.7.0 Not permitted⏎"),
    Case("E1_mx_header_of_a_stranger", MX, CLEAR, f"C: {shown(V1)}\nS: 550 5.7.0 Not permitted⏎"),
    *(
        Case(
            f"E1_{protocol}_header_of_a_stranger_where_tls_is_due_{name}",
            protocol,
            HELLO,
            f"F: {shown(header)}",
            ended="handshake_failed ",
        )
        for protocol in Protocol
        for name, header in (("v1", V1), ("v2", v2(0x11, ENDS)))
    ),
)


@each(*STRANGERS)
async def test_who_is_no_balancer(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    await carry_out(case, tls, nursery)


# The same client, in every way that a balancer can write its address.
MAPPED = {
    "v1": V1,
    "v1_mapped": b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 993\r\n",
    "v1_mapped_in_hexadecimal": b"PROXY TCP6 ::FFFF:cb00:7107 ::1 4711 993\r\n",
    "v2": v2(0x11, ENDS),
    "v2_mapped": v2(0x21, bytes(10) + b"\xff\xff" + ENDS[:4] + bytes(15) + b"\x01" + ENDS[8:]),
}


@pytest.mark.parametrize("header", MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize("why", ["blocked", "banned", "over_network_cap"])
@each_protocol
@each_mode
async def test_E5_a_mapped_address_is_its_ipv4(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode, header: bytes, why: str
) -> None:
    """A list, a ban and a cap of IPv4 hold for it in either form."""
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[protocol]).serve)
    networks = (IPv4Network("203.0.113.0/24"),) if why == "blocked" else ()
    rules = load_rules(config.Admission(block=networks)) if networks else AddressRules()
    bounds = limits(connections_per_network=1)
    async with gate(protocol, tls, pool_of(server.address), bounds, rules=rules, proxies=(BALANCER,)) as running:
        if why == "banned":
            running.rooms.bans.add(parse_network("203.0.113.7")[0], 60.0, "guesses")
        elif why == "over_network_cap":
            await running.secure(V1, BALANCER)
        refused = await running.connect(header, BALANCER)
        said = await refused.line()
        assert said[:5] in ({b""} if tls is TlsMode.IMPLICIT else {b"* BYE", b"-ERR ", b"421 4", b"554 5"})
        assert await refused.ended()
        assert running.trace.refusals == [why]
        assert running.trace.refused_clients == [("203.0.113.7", 4711)]
        other = await running.logged_in(V1.replace(b"203.0.113.7", b"198.51.100.7"), BALANCER)
        for client in (refused, other):
            client.close()


@pytest.mark.parametrize("written", [b"2002:cb00:7107::1", b"64:ff9b::cb00:7107"])
async def test_E5_a_blocked_address_within_6to4_or_nat64_is_blocked(nursery: trio.Nursery, written: bytes) -> None:
    """Its owner has these too, and would walk round the list."""
    said = await _greeting_of(nursery, b"PROXY TCP6 " + written + b" ::1 4711 993\r\n")
    assert said.startswith(b"* BYE [CONTACTADMIN] ")


@pytest.mark.parametrize("written", [b"::cb00:7107", b"2001:db8::cb00:7107", b"2002:cb01:7107::1"])
async def test_E5_octets_like_a_blocked_address_are_none(nursery: trio.Nursery, written: bytes) -> None:
    """Anybody may have them."""
    said = await _greeting_of(nursery, b"PROXY TCP6 " + written + b" ::1 4711 993\r\n")
    assert said.startswith(b"* OK ")


async def _greeting_of(nursery: trio.Nursery, header: bytes) -> bytes:
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[IMAP]).serve)
    rules = load_rules(config.Admission(block=(IPv4Network("203.0.113.0/24"),)))
    async with gate(IMAP, TlsMode.STARTTLS, pool_of(server.address), rules=rules, proxies=(BALANCER,)) as running:
        client = await running.connect(header, BALANCER)
        return await client.line()
