"""What others find in the DNS about the addresses of this host, where mail may go out from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from msgspec.structs import replace

from tlsgate.admission import reverse_dns
from tlsgate.admission.dnsbl import DnsLists, Result, is_private
from tlsgate.admission.reversed_name import ClientIP
from tlsgate.admission.zone_name import shown
from tlsgate.config import Dnsbl, Protocol
from tlsgate.dns import Failed, Found, Kind, Missing, Resolver
from tlsgate.doctor.finding import Finding, Severity
from tlsgate.mail import spf

_MOST = 10
_IF_SENT = "many receivers refuse mail from there"
_NOBODYS = ip_address("192.0.2.1")  # RFC 5737
_OF_THE_RECORD = (spf.Result.NONE, spf.Result.PERMERROR, spf.Result.TEMPERROR)


class _Silent:
    """A trace that nobody reads."""

    def dnsbl(self, zone: str, result: Result) -> None: ...
    def dnsbl_zone_off(self, zone: str, reason: str) -> None: ...
    def dnsbl_zone_on(self, zone: str) -> None: ...


async def addresses(hostname: str, resolver: Resolver) -> tuple[list[ClientIP], list[Finding]]:
    """The public addresses of our name, and what is wrong with that."""
    about = f"host {hostname}"
    if hostname.startswith("["):
        every: list[ClientIP] = [ip_address(hostname[1:-1].lower().removeprefix("ipv6:"))]
    else:
        answers = [await resolver.ask(hostname, kind) for kind in (Kind.A, Kind.AAAA)]
        every = [ip_address(each) for one in answers if isinstance(one, Found) for each in one.records][:_MOST]
        failed = next((each for each in answers if isinstance(each, Failed)), None)
        if not every and failed is not None:
            what = f"its address couldn't be asked for: {failed.reason}"
            return [], [Finding(about, Severity.WARNING, what, "clients may not find it", "ask again")]
        if not every:
            why, do = "clients can't find it", "give it an A or AAAA record, or correct server.hostname"
            return [], [Finding(about, Severity.PROBLEM, "has no address in the DNS", why, do)]
    public = [each for each in every if not is_private(each)]
    if public:
        return public, []
    what = f"is at {every[0]}, which isn't a public address"
    return [], [Finding(about, Severity.NOTE, what, "what others see of it can't be looked at from here")]


async def named(hostname: str, addresses: Sequence[ClientIP], resolver: Resolver) -> list[Finding]:
    """Whether reverse DNS leads from our addresses to our name and back (RFC 8601 2.7.3)."""
    names = [(each, await reverse_dns.look_up(each, resolver)) for each in addresses]
    return [finding for address, name in names for finding in _named(f"address {address}", name, hostname)]


def _named(about: str, name: reverse_dns.ReverseName, hostname: str) -> Iterator[Finding]:
    do = f"let whoever gave you the address set its reverse name to {hostname}"
    match name:
        case reverse_dns.Confirmed(other) if other != hostname.lower():
            why = f"some receivers like it to be the name that we greet with, {hostname}"
            yield Finding(about, Severity.NOTE, f"is {other} in reverse DNS", why)
        case reverse_dns.Unconfirmed(other):
            what = f"is {other} in reverse DNS, which doesn't lead back to it"
            yield Finding(about, Severity.WARNING, what, _IF_SENT, do)
        case Missing():
            yield Finding(about, Severity.WARNING, "has no name in reverse DNS", _IF_SENT, do)
        case reverse_dns.TemporaryFailure(reason):
            what = f"its name couldn't be asked for: {reason}"
            yield Finding(about, Severity.WARNING, what, _IF_SENT, "ask again; see the reverse zone's servers")


async def listed(addresses: Sequence[ClientIP], lists: Sequence[Dnsbl], resolver: Resolver) -> list[Finding]:
    """Whether a configured DNS list that counts against senders has our addresses; and whether it can be used."""
    blocking = [replace(each, protocols=(Protocol.MX,)) for each in lists if each.weight > 0]
    if not addresses or not blocking:
        return []
    asked = DnsLists(blocking, resolver, _Silent())
    await asked.test()
    found = []
    for each in addresses:
        listing = await asked.look_up(each, Protocol.MX)
        for zone, answer in listing.listed:
            what, why = f"is on {shown(zone)} ({answer})", "receivers that ask it refuse mail from there"
            do = "see on the list's site why; end what caused it, then have it taken off"
            found.append(Finding(f"address {each}", Severity.PROBLEM, what, why, do))
        for zone in listing.unknown:
            found.append(Finding(f"address {each}", Severity.NOTE, f"{shown(zone)} didn't answer", "it may be on it"))
    for zone, fault in asked.off.items():
        do = "take it out of [[dnsbl]], or ask it through a name server that it serves"
        what, why = f"can't be used: {fault}", "it keeps nobody out"
        found.append(Finding(f"list {shown(zone)}", Severity.WARNING, what, why, do))
    return found


async def may_send(domain: str, hostname: str, addresses: Sequence[ClientIP], resolver: Resolver) -> list[Finding]:
    """Whether the domain's SPF record (RFC 7208) lets our addresses send; without any, whether it has a good record."""
    found: list[Finding] = []
    for each in addresses or (_NOBODYS,):
        result = await spf.check_host(each, domain, f"postmaster@{domain}", hostname, resolver, receiver=hostname)
        found += _spf(f"domain {domain}", each, result)
        if result.result in _OF_THE_RECORD:
            break  # the same for every address
    return found


def _spf(about: str, address: ClientIP, result: spf.SpfResult) -> Iterator[Finding]:
    match result.result:
        case spf.Result.NONE:
            why = "everybody can send in its name, and some receivers want one"
            do = 'publish one, such as "v=spf1 mx -all"'
            yield Finding(about, Severity.WARNING, "has no SPF record", why, do)
        case spf.Result.PERMERROR:
            why = "receivers take no notice of it, or refuse the domain's mail"
            yield Finding(about, Severity.PROBLEM, f"its SPF record is faulty: {result.problem}", why, "mend it")
        case spf.Result.TEMPERROR:
            what = f"its SPF record couldn't be asked for: {result.problem}"
            yield Finding(
                about, Severity.WARNING, what, "receivers put its mail off", "ask again; see its name servers"
            )
        case spf.Result.FAIL | spf.Result.SOFTFAIL | spf.Result.NEUTRAL as said if address != _NOBODYS:
            what = f"its SPF record doesn't let {address} send: {said}"
            why = "if its mail goes out from there, receivers refuse it or hold it for spam"
            yield Finding(
                about, Severity.WARNING, what, why, f"add ip{address.version}:{address} unless it goes out elsewhere"
            )
