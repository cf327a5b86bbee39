"""The check as a whole: which domain is asked about, and that it ends."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
import trio
from trio.testing import MockClock

from tests.dns_server import DnsServer, Reply, has
from tests.mail.spf.zones import Zone, ZoneResolver
from tlsgate.mail.spf import Result, SpfResult, check_helo, check_host, check_mail_from

CLIENT = IPv4Address("192.0.2.1")


async def check(zone: Zone, domain: str = "a.test", client: str = "192.0.2.1") -> SpfResult:
    resolver = ZoneResolver(zone)
    return await check_host(ip_address(client), domain, f"ann@{domain}", "helo.test", resolver, receiver="gate.test")


async def test_mail_from_is_checked_by_its_domain() -> None:
    zone: Zone = {("a.test", "TXT"): ["v=spf1 exists:%{l}.%{o}.%{h}"], ("x.y.a.test.h.test", "A"): ["127.0.0.2"]}
    result = await check_mail_from(CLIENT, "x.y@A.test", "h.test", ZoneResolver(zone), receiver="gate.test")
    assert result == SpfResult(Result.PASS, "exists:%{l}.%{o}.%{h}")


async def test_the_null_reverse_path_is_checked_as_the_postmaster_of_helo() -> None:
    zone: Zone = {("h.test", "TXT"): ["v=spf1 exists:%{s}.is"], ("postmaster@h.test.is", "A"): ["127.0.0.2"]}
    for result in (
        await check_mail_from(CLIENT, "", "h.test", ZoneResolver(zone), receiver="gate.test"),
        await check_helo(CLIENT, "h.test", ZoneResolver(zone), receiver="gate.test"),
    ):
        assert result.result is Result.PASS


async def test_a_sender_with_two_at_signs_is_of_the_last() -> None:
    zone: Zone = {("a.test", "TXT"): ["v=spf1 -all"], ("b.test", "TXT"): ["v=spf1 +all"]}
    result = await check_mail_from(CLIENT, '"x@b.test"@a.test', "h.test", ZoneResolver(zone), receiver="gate.test")
    assert result.result is Result.FAIL


@pytest.mark.parametrize(
    "domain",
    ["", ".", "localhost", "[192.0.2.1]", "192.0.2.1", "a..test", "a" * 64 + ".test", "\u00e9.test", "a\r\n.test"],
)
async def test_what_is_no_domain_has_no_policy_and_isnt_asked_for(domain: str) -> None:
    resolver = ZoneResolver({})
    result = await check_host(CLIENT, domain, f"ann@{domain}", "helo.test", resolver, receiver="gate.test")
    assert result.result is Result.NONE
    assert resolver.asked == []


@pytest.mark.parametrize("client", ["::ffff:192.0.2.1", "192.0.2.1"])
async def test_an_ipv4_address_within_ipv6_is_ipv4(client: str) -> None:
    zone: Zone = {("a.test", "TXT"): ["v=spf1 -ip6:::ffff:0:0/96 ip4:192.0.2.1 -all"]}
    assert await check(zone, client=client) == SpfResult(Result.PASS, "ip4:192.0.2.1")


async def test_a_last_dot_is_none_of_the_name() -> None:
    assert (await check({("a.test", "TXT"): ["v=spf1 +all"]}, "a.test.")).result is Result.PASS


async def test_faults_say_why() -> None:
    assert await check({("a.test", "TXT"): ["v=spf1 foo:bar"]}) == SpfResult(
        Result.PERMERROR, problem="foo:bar: no such mechanism"
    )
    assert (await check({("a.test", "TXT"): ["v=spf1 include:b.test"]})).result is Result.PERMERROR
    assert await check({}) == SpfResult(Result.NONE, problem="no SPF record")


async def test_a_slow_dns_is_waited_for_20_seconds(autojump_clock: MockClock) -> None:
    """Ten exchanges whose name server is slow would hold a session for minutes."""
    zone: Zone = {("a.test", "TXT"): ["v=spf1 mx -all"], ("a.test", "MX"): [f"{n} m{n}.test" for n in range(10)]}
    zone |= {(f"m{n}.test", "A"): ["198.51.100.1"] for n in range(10)}
    began = trio.current_time()
    result = await check_host(
        CLIENT, "a.test", "ann@a.test", "h.test", ZoneResolver(zone, delay=3.0), receiver="gate.test"
    )
    assert trio.current_time() - began == pytest.approx(20)
    assert result.result is Result.TEMPERROR


async def test_a_slow_explanation_doesnt_lose_the_fail(autojump_clock: MockClock) -> None:
    zone: Zone = {("a.test", "TXT"): ["v=spf1 -all exp=e.test"], ("e.test", "TXT"): ["too late"]}
    resolver = ZoneResolver(zone, delay=15.0)
    result = await check_host(CLIENT, "a.test", "ann@a.test", "h.test", resolver, receiver="gate.test")
    assert result == SpfResult(Result.FAIL, "-all")


async def test_a_txt_record_of_64_kib_by_tcp(nursery: trio.Nursery) -> None:
    server = await DnsServer().serve(nursery)
    strings = " ".join(['"v=spf1 "', *['"' + "ip4:192.0.2.1 " * 18 + '"'] * 240])
    server.says("a.test", "TXT", Reply(records=(strings,), truncated=True))
    result = await check_host(CLIENT, "a.test", "ann@a.test", "h.test", server.resolver(), receiver="gate.test")
    assert result.result is Result.PERMERROR


async def test_strings_of_a_record_are_joined_as_they_are(nursery: trio.Nursery) -> None:
    server = await DnsServer().serve(nursery)
    server.says("a.test", "TXT", has('"v=spf" "1 ip4:192.0." "2.1" " -all"'))
    result = await check_host(CLIENT, "a.test", "ann@a.test", "h.test", server.resolver(), receiver="gate.test")
    assert result == SpfResult(Result.PASS, "ip4:192.0.2.1")
