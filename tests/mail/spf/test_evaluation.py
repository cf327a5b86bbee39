"""The limits of an evaluation, and what it takes from a domain or a client that means ill."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.mail.spf.zones import Zone, ZoneResolver
from tlsgate.mail.spf.evaluation import Evaluation
from tlsgate.mail.spf.faults import PermError, TempError
from tlsgate.mail.spf.result import Result

CLIENT = IPv4Address("192.0.2.1")
CLIENT_6 = IPv6Address("2001:db8::1")
POINTER = "1.2.0.192.in-addr.arpa"


def evaluation(
    resolver: ZoneResolver, client: IPv4Address | IPv6Address = CLIENT, sender: str = "ann@a.test"
) -> Evaluation:
    return Evaluation(client, sender, "helo.test", "gate.test", resolver)


def texts(**records: str) -> Zone:
    """A TXT record each, of names in ``.test``."""
    return {(f"{name}.test", "TXT"): [text] for name, text in records.items()}


async def mechanism(zone: Zone, client: IPv4Address | IPv6Address = CLIENT) -> tuple[Result, str]:
    matched = await evaluation(ZoneResolver(zone), client).host("a.test")
    assert matched is not None
    return matched.result, matched.mechanism


async def explanation(zone: Zone, sender: str = "ann@a.test") -> str:
    checked = evaluation(ZoneResolver(zone), sender=sender)
    matched = await checked.host("a.test")
    assert matched is not None
    assert matched.result is Result.FAIL
    return await checked.explain(matched)


# -- records without end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 redirect=a.test",
        "v=spf1 include:a.test",
        "v=spf1 include:a.test include:a.test include:a.test -all",
        "v=spf1 ?include:b.test redirect=a.test",
        "v=spf1 " + "exists:x.test " * 11,
    ],
)
async def test_eleven_terms_are_a_fault_and_cost_no_more_questions(record: str) -> None:
    resolver = ZoneResolver(texts(a=record, b="v=spf1") | {("x.test", "A"): []})
    with pytest.raises(PermError):
        await evaluation(resolver).host("a.test")
    assert len(resolver.asked) <= 11


async def test_a_chain_of_ten_includes_stands_and_one_of_eleven_doesnt() -> None:
    chain = texts(**{f"c{n}": f"v=spf1 include:c{n + 1}.test" for n in range(11)}, c11="v=spf1 ip4:192.0.2.1")
    ten = chain | texts(a="v=spf1 include:c2.test")
    assert await mechanism(ten) == (Result.PASS, "include:c2.test")
    with pytest.raises(PermError):
        await mechanism(chain | texts(a="v=spf1 include:c1.test"))


async def test_most_questions_that_one_check_can_cost() -> None:
    """Ten terms of ten mail exchanges each: the worst that a domain can have us ask for others' name servers."""
    exchanges = {(f"m{n}.test", "MX"): [f"{i} h{i}.m{n}.test" for i in range(10)] for n in range(10)}
    hosts = {(f"h{i}.m{n}.test", "A"): ["198.51.100.1"] for n in range(10) for i in range(10)}
    record = "v=spf1 " + " ".join(f"mx:m{n}.test" for n in range(10)) + " -all"
    resolver = ZoneResolver(exchanges | hosts | texts(a=record))
    matched = await evaluation(resolver).host("a.test")
    assert matched is not None
    assert matched.result is Result.FAIL
    assert len(resolver.asked) == 1 + 10 * 11


# -- what isn't there -------------------------------------------------------------------------------


async def test_the_third_void_look_up_is_a_fault() -> None:
    assert await mechanism(texts(a="v=spf1 a:x.b.test exists:y.b.test -all")) == (Result.FAIL, "-all")
    with pytest.raises(PermError):
        await mechanism(texts(a="v=spf1 a:x.b.test exists:y.b.test mx:z.b.test -all"))


async def test_mail_exchanges_behind_the_clients_arent_asked() -> None:
    """Those without an address of the client's family are void look-ups: they mustn't spoil a match."""
    zone: Zone = {
        ("a.test", "MX"): ["1 six.test", "2 x.test", "3 y.test", "4 z.test"],
        ("six.test", "AAAA"): ["2001:db8::1"],
    }
    assert await mechanism(zone | texts(a="v=spf1 mx -all"), CLIENT_6) == (Result.PASS, "mx")


async def test_a_domain_without_mail_has_no_exchange_to_ask_for() -> None:
    """RFC 7505: the root isn't a host."""
    resolver = ZoneResolver(texts(a="v=spf1 mx -all") | {("a.test", "MX"): ["0 ."]})
    matched = await evaluation(resolver).host("a.test")
    assert matched is not None
    assert matched.result is Result.FAIL
    assert resolver.asked == [("a.test", "TXT"), ("a.test", "MX")]


async def test_a_clients_dead_names_arent_the_domains_fault() -> None:
    """Whoever sends in another's name would have permerror instead of fail by PTR records of his own."""
    zone: Zone = {(POINTER, "PTR"): [f"x{n}.test" for n in range(9)]}
    assert await mechanism(zone | texts(a="v=spf1 ptr -all")) == (Result.FAIL, "-all")


async def test_names_that_nobody_can_ask_for_dont_match_and_dont_count() -> None:
    record = "v=spf1 exists:%{l}.a.test exists:%{l}.b.test exists:%{l}.c.test -all"
    resolver = ZoneResolver(texts(a=record))
    matched = await evaluation(resolver, sender="j\u00f6rg@a.test").host("a.test")
    assert matched is not None
    assert matched.result is Result.FAIL
    assert len(resolver.asked) == 1


@pytest.mark.parametrize("term", ["a:t.test", "mx:t.test", "exists:t.test", "include:t.test", "redirect=t.test"])
async def test_a_time_out_is_never_an_answer(term: str) -> None:
    with pytest.raises(TempError):
        await mechanism(texts(a=f"v=spf1 {term}") | {("t.test", "TIMEOUT"): [""]})


@pytest.mark.parametrize("dead", [POINTER, "t.test"])
async def test_but_a_time_out_of_the_clients_names_is(dead: str) -> None:
    zone = texts(a="v=spf1 ptr -all") | {(dead, "TIMEOUT"): [""]} | {(POINTER, "PTR"): ["t.test"]}
    if dead == POINTER:
        del zone[POINTER, "PTR"]
    assert await mechanism(zone) == (Result.FAIL, "-all")


# -- names of the client ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["other.test", "a.test", "x.a.test"], "a.test"),
        (["other.test", "xa.test", "x.a.test"], "x.a.test"),
        (["other.test", "xa.test"], "other.test"),
    ],
)
async def test_the_validated_name_is_the_nearest_to_the_domain(names: list[str], best: str) -> None:
    zone = texts(a="v=spf1 exists:%{p}.is.test -all") | {
        (f"{best}.is.test", "A"): ["127.0.0.2"],
        (POINTER, "PTR"): names,
    }
    zone |= {(each, "A"): ["192.0.2.1"] for each in names}
    assert (await mechanism(zone))[0] is Result.PASS


async def test_ptr_matches_whole_labels_only() -> None:
    zone: Zone = {(POINTER, "PTR"): ["evila.test"], ("evila.test", "A"): ["192.0.2.1"]}
    assert await mechanism(zone | texts(a="v=spf1 ptr -all")) == (Result.FAIL, "-all")


# -- explanations -----------------------------------------------------------------------------------


async def test_an_explanation_is_printable_and_short() -> None:
    zone = texts(a="v=spf1 -all exp=e.test", e="%{l} " + "x" * 1000)
    said = await explanation(zone, sender='"a\r\n250 \u2028"@a.test')
    assert said == ('"a??250 ?" ' + "x" * 1000)[:400]


@pytest.mark.parametrize("text", ["a\r\nb", "caf\u00e9", "%{x}", "%", "%{s}" * 1500, "x" * 60_000])
async def test_an_explanation_that_isnt_right_is_none(text: str) -> None:
    assert await explanation(texts(a="v=spf1 -all exp=e.test", e=text), sender="a" * 60 + "@a.test") == ""


async def test_explanations_of_includes_arent_used() -> None:
    zone = texts(a="v=spf1 -include:b.test", b="v=spf1 +all exp=e.test", e="of the included")
    assert await explanation(zone) == ""
