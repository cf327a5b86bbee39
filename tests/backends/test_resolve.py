"""Addresses of backends by name: how often they are asked for, and what serves while nobody answers."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.dns_server import SERVFAIL, DnsServer, Told, has
from tlsgate.backends.resolve import Names, numeric, resolve
from tlsgate.config import HostPort
from tlsgate.dns import Kind

BACKEND = HostPort("legacy.example.net", 143)


class System(trio.abc.HostnameResolver):
    """The system's resolver: waits for ``go`` and then says ``address``, or fails when it is ""."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked = 0
        self.go = trio.Event()

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        self.asked += 1
        await self.go.wait()
        if not self.address:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 143))]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
def clock() -> MockClock:
    """Real time, which a test can move on."""
    return MockClock(rate=1.0)


@pytest.fixture
async def system(clock: MockClock) -> System:
    resolver = System("192.0.2.7")
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


async def where(names: Names) -> str:
    return (await names.resolve(BACKEND))[0][1][0]


def test_numeric_addresses_ask_nobody() -> None:
    assert numeric(HostPort("192.0.2.1", 25)) == (socket.AF_INET, ("192.0.2.1", 25))
    assert numeric(HostPort("2001:db8::1", 25)) == (socket.AF_INET6, ("2001:db8::1", 25))
    assert numeric(BACKEND) is None


async def test_logins_at_once_ask_once(system: System, nursery: trio.Nursery) -> None:
    """Forty of them would fill every thread that there is."""
    found: list[object] = []

    async def one() -> None:
        found.append(await resolve(BACKEND))

    for _ in range(50):
        nursery.start_soon(one)
    await wait_all_tasks_blocked()
    system.go.set()
    await wait_all_tasks_blocked()
    assert found == [((socket.AF_INET, ("192.0.2.7", 143)),)] * 50
    assert system.asked == 1


async def test_without_a_ttl_a_new_address_is_taken_after_a_while(system: System, clock: MockClock) -> None:
    """Names of /etc/hosts, and of search domains."""
    system.go.set()
    names = Names()
    await where(names)
    system.address = "192.0.2.8"
    clock.jump(25)
    assert await where(names) == "192.0.2.7"
    clock.jump(6)
    assert await where(names) == "192.0.2.8"


@pytest.mark.parametrize(("ttl", "old", "new"), [(60, 50, 11), (0, 0, 2), (86_400, 290, 11)])
async def test_an_address_is_good_for_its_ttl(
    system: System, clock: MockClock, nursery: trio.Nursery, ttl: int, old: float, new: float
) -> None:
    """Clients go on to a server that has moved away; or each login asks; or a slip in a zone lasts a day."""
    server = await DnsServer().serve(nursery)
    server.says(BACKEND.host, "A", has("192.0.2.7", ttl=ttl))
    names = await _told_of(server, system)
    system.address = "192.0.2.8"
    clock.jump(old)
    assert await where(names) == "192.0.2.7"
    clock.jump(new)
    assert await where(names) == "192.0.2.8"


@pytest.mark.parametrize("answer", [has("192.0.2.99", ttl=300), SERVFAIL], ids=["another", "none"])
async def test_what_the_dns_does_not_say_has_no_ttl(
    system: System, clock: MockClock, nursery: trio.Nursery, answer: Any
) -> None:
    """A name that /etc/hosts has otherwise: the DNS's TTL says nothing of that."""
    server = await DnsServer().serve(nursery)
    server.says(BACKEND.host, "A", answer)
    names = await _told_of(server, system)
    system.address = "192.0.2.8"
    clock.jump(31)
    assert await where(names) == "192.0.2.8"


async def _told_of(server: DnsServer, system: System) -> Names:
    """Names that know the backend, and its TTL if there is one."""
    system.go.set()
    resolver = server.resolver()
    names = Names(resolver)
    await where(names)
    await resolver.ask(BACKEND.host, Kind.A)  # joins the question that is under way
    await wait_all_tasks_blocked()
    return names


async def test_a_reload_changes_whom_is_asked_and_forgets_nothing(
    system: System, clock: MockClock, nursery: trio.Nursery
) -> None:
    """A DNS that is away in that moment would take the backends with it; and the same one keeps its answers."""
    server = await DnsServer().serve(nursery)
    system.go.set()
    names = Names()
    await where(names)
    system.address = ""
    names.ask_at(server.settings(1.0), Told())
    first = names.resolver
    names.ask_at(server.settings(1.0), Told())
    assert names.resolver is first is not None
    names.ask_at(server.settings(2.0), Told())
    assert names.resolver is not first
    clock.jump(31)
    assert await where(names) == "192.0.2.7"


async def test_the_last_answer_serves_while_dns_is_down(system: System, clock: MockClock) -> None:
    system.go.set()
    names = Names()
    await where(names)
    system.address = ""
    clock.jump(31)
    assert await where(names) == "192.0.2.7"
    asked = system.asked
    for _ in range(5):
        assert await where(names) == "192.0.2.7"
    assert system.asked == asked
    system.address = "192.0.2.8"
    clock.jump(6)
    assert await where(names) == "192.0.2.8"


async def test_the_last_answer_serves_while_dns_hangs(system: System, clock: MockClock) -> None:
    """A dead name server costs the system half a minute: each login would wait past its connect_timeout, and fail."""
    system.go.set()
    names = Names()
    await where(names)
    system.go, system.address = trio.Event(), "192.0.2.8"
    clock.jump(31)
    clock.rate = 0.0
    clock.autojump_threshold = 0.02
    began = trio.current_time()
    for _ in range(20):
        assert await where(names) == "192.0.2.7"
    assert trio.current_time() - began == 1.0
    assert system.asked == 2
    system.go.set()
    await wait_all_tasks_blocked()
    assert await where(names) == "192.0.2.8"


async def test_without_any_answer_it_says_so_and_asks_again(system: System) -> None:
    system.go.set()
    system.address = ""
    names = Names()
    for _ in range(2):
        with pytest.raises(OSError, match="try again"):
            await where(names)
    assert system.asked == 2


async def test_a_resolver_that_breaks_is_a_fault_of_that_name_alone(system: System) -> None:
    """It runs for everybody: what it doesn't catch ends the process."""
    names = Names()
    with pytest.raises(OSError, match="no address"):
        await names.resolve(HostPort("a" * 64 + ".example.net", 143))


async def test_who_gives_up_leaves_the_question_to_the_others(system: System, nursery: trio.Nursery) -> None:
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_blocked, scope)
        await resolve(BACKEND)
    assert scope.cancelled_caught
    system.go.set()
    assert await resolve(BACKEND)
    assert system.asked == 1


async def test_what_is_known_is_bounded(system: System) -> None:
    """Names of servers come from the DNS, for years."""
    system.go.set()
    names = Names()
    for port in range(1, 1100):
        await names.resolve(HostPort("legacy.example.net", port))
    assert len(names._known) <= 1024


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
