"""The resolver against a real server: what it takes for an answer, how long it waits and keeps, how often it asks."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import REFUSED, SERVFAIL, SILENT, DnsServer, Reply, Told, has
from tlsgate.config import Dns, HostPort
from tlsgate.dns import Answer, Failed, Failure, Found, Kind, Missing, Resolver
from tlsgate.dns.cache import AnswerCache
from tlsgate.dns.servers import _parse

_PROBE = "1.0.0.127.in-addr.arpa"
_TIMEOUT = Failed(Failure.TIMEOUT)
_DOWN = Failed(Failure.DOWN)


@pytest.fixture
async def server(nursery: trio.Nursery) -> DnsServer:
    return await DnsServer().serve(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


async def side_by_side(*asked: Callable[[], Awaitable[Answer]]) -> list[Answer]:
    """What all of these give, asked at once."""
    answers: dict[int, Answer] = {}

    async def one(index: int, ask: Callable[[], Awaitable[Answer]]) -> None:
        answers[index] = await ask()

    async with trio.open_nursery() as nursery:
        for index, ask in enumerate(asked):
            nursery.start_soon(one, index, ask)
    return [answers[index] for index in range(len(asked))]


# -- what is an answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ("A", ("192.0.2.1",), ("192.0.2.1",)),
        ("AAAA", ("2001:db8::1",), ("2001:db8::1",)),
        ("PTR", ("Mail.Example.Org.",), ("mail.example.org",)),
        ("MX", ("10 MX.example.org.",), ("10 mx.example.org",)),
        ("MX", ("0 .",), ("0 .",)),
        ("SRV", ("10 5 993 IMAP.example.org.",), ("10 5 993 imap.example.org",)),
        ("SRV", ("0 0 0 .",), ("0 0 0 .",)),
        ("TXT", ('"v=spf1 a" " -all \\228"',), ("v=spf1 a -all \xe4",)),
    ],
)
async def test_records_are_read(server: DnsServer, kind: str, written: tuple[str, ...], read: tuple[str, ...]) -> None:
    server.says("example.org", kind, has(*written))
    assert await server.resolver().ask("example.org", Kind(kind)) == Found(read)


async def test_a_name_that_does_not_exist_and_one_without_such_records_are_missing(server: DnsServer) -> None:
    server.says("example.org", "MX", has("10 mx.example.org."))
    resolver = server.resolver()
    assert await resolver.ask("example.org", Kind.A) == Missing()
    assert await resolver.ask("example.net", Kind.A) == Missing()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (SERVFAIL, Failure.SERVFAIL),
        (REFUSED, Failure.REFUSED),
        (Reply(rcode=dns.rcode.NOTIMP), Failure.GARBLED),
        (Reply(rcode=dns.rcode.YXDOMAIN), Failure.GARBLED),
        (Reply(answer=("example.org. CNAME b.test.", "b.test. CNAME example.org.")), Failure.GARBLED),
    ],
    ids=["servfail", "refused", "notimp", "yxdomain", "cname-loop"],
)
async def test_a_failure_is_not_a_missing_name(server: DnsServer, reply: Reply, reason: Failure) -> None:
    """A list that can't be asked must not look like one that doesn't have the client."""
    server.says("example.org", "A", reply)
    assert await server.resolver().ask("example.org", Kind.A) == Failed(reason)


@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 11, b"\xff" * 600], ids=["one", "short", "long"])
@pytest.mark.parametrize("reply", [Reply(), Reply(truncated=True)], ids=["udp", "tcp"])
async def test_garbage_is_a_failure(server: DnsServer, reply: Reply, garbage: bytes) -> None:
    server.says("example.org", "A", replace(reply, garbage=garbage))
    assert isinstance(await server.resolver(0.2).ask("example.org", Kind.A), Failed)


async def test_an_alias_is_followed(server: DnsServer) -> None:
    server.says("www.test", "A", Reply(answer=("www.test. CNAME real.test.", "real.test. A 192.0.2.1")))
    assert await server.resolver().ask("www.test", Kind.A) == Found(("192.0.2.1",))


async def test_a_truncated_answer_is_asked_for_by_tcp(server: DnsServer) -> None:
    names = tuple(f"host{n}.example.org." for n in range(60))
    server.says("example.org", "PTR", Reply(records=names, truncated=True))
    answer = await server.resolver().ask("example.org", Kind.PTR)
    assert isinstance(answer, Found)
    assert {f"{each}." for each in answer.records} == set(names)
    assert [each[2] for each in server.asked] == ["udp", "tcp"]


async def test_a_huge_answer_is_cut(server: DnsServer) -> None:
    """Parsed whole, one such answer would hold up everybody for a fifth of a second."""
    addresses = [f"192.0.{n // 250}.{n % 250}" for n in range(4000)]
    server.says("example.org", "A", Reply(records=tuple(addresses), truncated=True))
    answer = await server.resolver(30).ask("example.org", Kind.A)
    assert isinstance(answer, Found)
    assert len(answer.records) == 64
    assert set(answer.records) < set(addresses)


def test_a_huge_answer_is_not_parsed_whole() -> None:
    query = dns.message.make_query("example.org", "A")
    response = dns.message.make_response(query)
    records = [f"192.0.{n // 250}.{n % 250}" for n in range(4000)]
    response.answer = [dns.rrset.from_text_list("example.org.", 60, "IN", "A", records)]
    parsed = _parse(response.to_wire(max_size=65535))
    assert [len(each) for each in parsed.answer] == [64]
    assert query.is_response(parsed)


async def test_forged_answers_are_passed_over(server: DnsServer) -> None:
    """Datagrams with a wrong ID and garbage come first: the true answer must still be heard."""
    server.says("example.org", "A", Reply(records=("192.0.2.1",), forged=True))
    assert await server.resolver().ask("example.org", Kind.A) == Found(("192.0.2.1",))


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".org", ".".join(["abcdefg"] * 40), "ümlaut.org", "\\999.org"])
async def test_an_impossible_name_is_missing(server: DnsServer, name: str) -> None:
    """Strangers choose names; none may raise."""
    assert await server.resolver().ask(name, Kind.A) == Missing()
    assert server.asked == []


async def test_a_second_name_server_serves_when_the_first_is_dead(server: DnsServer) -> None:
    server.says("example.org", "A", has("192.0.2.1"))
    with socket.socket(type=socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        servers = (HostPort("127.0.0.1", dead.getsockname()[1]), HostPort("127.0.0.1", server.port))
        resolver = Resolver(Dns(nameservers=servers, timeout=3.0), Told())
        assert await resolver.ask("example.org", Kind.A) == Found(("192.0.2.1",))


async def test_a_closed_port_is_no_time_out() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    resolver = Resolver(Dns(nameservers=(HostPort("127.0.0.1", port),), timeout=30.0), Told())
    assert await resolver.ask("example.org", Kind.A) == Failed(Failure.UNREACHABLE)


# -- the system's name servers ----------------------------------------------------------------------


async def test_the_system_s_name_servers_are_looked_up_again(
    server: DnsServer, clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway that starts before the network must not stay without the DNS until it is started again."""
    file = tmp_path / "resolv.conf"
    file.write_text("search example.org\n")
    read = dns.resolver.BaseResolver.read_resolv_conf
    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", lambda self, _: read(self, str(file)))
    monkeypatch.setattr("tlsgate.dns.servers._DNS_PORT", server.port)
    server.says("example.org", "A", has("192.0.2.1", ttl=1))
    resolver = Resolver(Dns(), Told())
    assert await resolver.ask("example.org", Kind.A) == Failed(Failure.UNREACHABLE)
    file.write_text("nameserver 127.0.0.1\n")
    clock.jump(61)
    assert await resolver.ask("example.org", Kind.A) == Found(("192.0.2.1",))
    file.write_text("")
    clock.jump(61)
    assert await resolver.ask("example.org", Kind.A) == Found(("192.0.2.1",))


def test_dnspython_is_not_imported_before_a_question() -> None:
    """It takes 50 ms and 5 MiB, which who asks nothing must not pay."""
    code = "import sys, tlsgate.admission.screening; sys.exit('dns.message' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- time -------------------------------------------------------------------------------------------


async def test_a_question_takes_no_longer_than_its_time(server: DnsServer) -> None:
    server.everything = SILENT
    with trio.fail_after(1):
        assert await server.resolver(0.1).ask("example.org", Kind.A) == _TIMEOUT


async def test_a_lost_datagram_is_sent_again(server: DnsServer) -> None:
    server.says("example.org", "A", Reply(records=("192.0.2.1",), lost=1))
    assert await server.resolver(3).ask("example.org", Kind.A) == Found(("192.0.2.1",))
    assert server.questions("example.org") == 2


async def test_the_wait_for_room_is_part_of_the_time(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsgate.dns.resolver._UNDER_WAY", 2)
    server.everything = SILENT
    resolver = server.resolver(0.2)
    with trio.fail_after(0.39):
        answers = await side_by_side(*[lambda n=n: resolver.ask(f"{n}.test", Kind.A) for n in range(10)])
    assert answers == [_TIMEOUT] * 10
    assert len({each[0] for each in server.asked}) == 2
    # Those that had no room say nothing of the name servers, which aren't down for that.
    server.everything = None
    assert await resolver.ask("example.org", Kind.A) == Missing()
    assert server.questions(_PROBE) == 0


# -- the cache --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "good_for"),
    [
        (has("192.0.2.1", ttl=60), 60),
        (has("192.0.2.1", ttl=0), 1),
        (has("192.0.2.1", ttl=1_000_000), 3600),
        (Reply(rcode=dns.rcode.NXDOMAIN), 120),
        (Reply(), 120),
        (SERVFAIL, 1),
    ],
    ids=["ttl", "least", "most", "nxdomain", "nodata", "failure"],
)
async def test_an_answer_is_kept_for_its_ttl(
    server: DnsServer, clock: MockClock, reply: Reply, good_for: float
) -> None:
    server.says("example.org", "A", reply)
    server.minimum = 120
    resolver = server.resolver()
    first = await resolver.ask("example.org", Kind.A)
    clock.jump(good_for * 0.5)
    assert await resolver.ask("EXAMPLE.org.", Kind.A) == first
    assert server.questions("example.org") == 1
    clock.jump(good_for * 0.5)
    await resolver.ask("example.org", Kind.A)
    assert server.questions("example.org") == 2


def test_what_was_not_used_for_longest_makes_room() -> None:
    cache = AnswerCache(entries=2)
    one, two, three = (("one", Kind.A), ("two", Kind.A), ("three", Kind.A))
    cache.put(one, Missing(), 10)
    cache.put(two, Missing(), 10)
    assert cache.get(one, 0) == Missing()
    cache.put(three, Missing(), 10)
    assert [cache.get(each, 0) for each in (one, two, three)] == [Missing(), None, Missing()]


def test_large_answers_do_not_fill_the_memory() -> None:
    """A stranger's zone gives 60 KiB of TXT for each of 20,000 names."""
    cache = AnswerCache(octets=1000)
    for n in range(100):
        cache.put((f"{n}", Kind.TXT), Found(("x" * 300,)), 10)
    assert len(cache) == 3
    for n in range(97, 100):
        assert cache.get((f"{n}", Kind.TXT), 20) is None
    cache.put(("large", Kind.TXT), Found(("x" * 990,)), 10)
    assert cache.get(("large", Kind.TXT), 0) is not None


def test_an_answer_that_is_renewed_is_counted_once() -> None:
    cache = AnswerCache(octets=1000)
    cache.put(("other", Kind.TXT), Found(("x" * 300,)), 10)
    for _ in range(10):
        cache.put(("renewed", Kind.TXT), Found(("x" * 300,)), 10)
    assert len(cache) == 2


# -- questions under way ----------------------------------------------------------------------------


async def test_the_same_question_is_asked_once(server: DnsServer, nursery: trio.Nursery) -> None:
    go = trio.Event()
    server.says("example.org", "A", Reply(records=("192.0.2.1",), held=go))
    resolver = server.resolver()

    async def release() -> None:
        await wait_all_tasks_blocked(0.05)
        go.set()

    nursery.start_soon(release)
    answers = await side_by_side(*[lambda: resolver.ask("example.org", Kind.A)] * 50)
    assert answers == [Found(("192.0.2.1",))] * 50
    assert server.questions("example.org") == 1


async def test_who_asked_first_may_leave(server: DnsServer, nursery: trio.Nursery) -> None:
    """A session that ends must not take the answer from others, nor leave anything behind."""
    go = trio.Event()
    server.says("example.org", "A", Reply(records=("192.0.2.1",), held=go))
    resolver = server.resolver()
    first, answers = trio.CancelScope(), []

    async def leave() -> None:
        with first:
            await resolver.ask("example.org", Kind.A)

    async def stay() -> None:
        answers.append(await resolver.ask("example.org", Kind.A))

    async with trio.open_nursery() as asking:
        asking.start_soon(leave)
        await wait_all_tasks_blocked(0.05)
        asking.start_soon(stay)
        await wait_all_tasks_blocked(0.05)
        first.cancel()
        go.set()
    assert first.cancelled_caught
    assert answers == [Found(("192.0.2.1",))]
    assert not resolver._under_way


async def test_a_shared_failure_is_shared(server: DnsServer) -> None:
    """Those that wait for another's question don't each wait out a time-out of their own."""
    server.everything = SILENT
    resolver = server.resolver(0.2)
    with trio.fail_after(0.39):
        answers = await side_by_side(*[lambda: resolver.ask("example.org", Kind.A)] * 5)
    assert answers == [_TIMEOUT] * 5


# -- name servers that are silent -------------------------------------------------------------------


async def silence(server: DnsServer, resolver: Resolver) -> None:
    """Five time-outs in a row."""
    server.everything = SILENT
    answers = await side_by_side(*[lambda n=n: resolver.ask(f"silent{n}.test", Kind.A) for n in range(5)])
    assert answers == [_TIMEOUT] * 5


async def test_silent_name_servers_are_left_alone_for_a_while(server: DnsServer, clock: MockClock) -> None:
    """Else every session waits for the whole time-out, as long as they are down."""
    told = Told()
    resolver = Resolver(server.settings(0.15), told)
    await silence(server, resolver)
    assert told.events == []
    assert await resolver.ask("a.test", Kind.A) == _DOWN
    assert told.events == ["down"]
    asked = len(server.asked)
    answers = await side_by_side(*[lambda n=n: resolver.ask(f"{n}.test", Kind.A) for n in range(100)])
    assert answers == [_DOWN] * 100
    assert len(server.asked) == asked

    clock.jump(5)
    answers = await side_by_side(*[lambda n=n: resolver.ask(f"{n}.test", Kind.A) for n in range(100)])
    assert answers == [_DOWN] * 100
    assert {each[0] for each in server.asked[asked:]} == {_PROBE}
    assert told.events == ["down"]

    server.everything = None
    server.says("a.test", "A", has("192.0.2.1"))
    assert await resolver.ask("a.test", Kind.A) == _DOWN
    clock.jump(5)
    assert await resolver.ask("a.test", Kind.A) == Found(("192.0.2.1",))
    assert told.events == ["down", "up"]
    assert await resolver.ask("b.test", Kind.A) == Missing()


async def test_who_was_not_asked_for_is_asked_for_once_they_are_back(server: DnsServer, clock: MockClock) -> None:
    """That nothing was asked is no answer, and isn't kept as one."""
    go = trio.Event()
    resolver = server.resolver(0.6)
    await silence(server, resolver)
    assert await resolver.ask("a.test", Kind.A) == _DOWN
    server.everything = None
    server.says(_PROBE, "PTR", Reply(held=go))
    server.says("a.test", "A", has("192.0.2.1"))
    clock.jump(5)

    async def meanwhile() -> Answer:
        await wait_all_tasks_blocked(0.02)
        answer = await resolver.ask("a.test", Kind.A)
        go.set()
        return answer

    assert await side_by_side(lambda: resolver.ask("b.test", Kind.A), meanwhile) == [Missing(), _DOWN]
    assert await resolver.ask("a.test", Kind.A) == Found(("192.0.2.1",))


async def test_silent_names_of_strangers_do_not_stop_the_resolver(server: DnsServer) -> None:
    """A sender with a dead reverse zone could else switch off the lists that know it."""
    told = Told()
    resolver = Resolver(server.settings(0.15), told)
    await silence(server, resolver)
    server.everything = None
    server.says("listed.test", "A", has("127.0.0.2"))
    for n in range(12):
        server.says(f"dead{n}.test", "A", SILENT)
    for n in range(12):
        assert await resolver.ask(f"dead{n}.test", Kind.A) == _TIMEOUT
    assert await resolver.ask("listed.test", Kind.A) == Found(("127.0.0.2",))
    assert server.questions(_PROBE) == 1
    assert told.events == []


async def test_questions_go_on_while_silence_is_looked_into(server: DnsServer) -> None:
    """The probe is under way: until it says that the name servers are down, they aren't."""
    go = trio.Event()
    resolver = server.resolver(0.3)
    await silence(server, resolver)
    server.everything = None
    server.says(_PROBE, "PTR", Reply(held=go))
    server.says("a.test", "A", has("192.0.2.1"))
    server.says("b.test", "A", has("192.0.2.2"))

    async def then_b() -> Answer:
        await wait_all_tasks_blocked(0.02)
        answer = await resolver.ask("b.test", Kind.A)
        go.set()
        return answer

    answers = await side_by_side(lambda: resolver.ask("a.test", Kind.A), then_b)
    assert answers == [Found(("192.0.2.1",)), Found(("192.0.2.2",))]


async def test_servfail_is_not_silence(server: DnsServer) -> None:
    resolver = server.resolver()
    server.everything = SERVFAIL
    for n in range(20):
        assert await resolver.ask(f"{n}.test", Kind.A) == Failed(Failure.SERVFAIL)
    assert server.questions(_PROBE) == 0
