"""Addresses of backends by name: how often the resolver is asked, and what serves while it is silent."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tlsgate.backends import resolve as room
from tlsgate.backends.resolve import numeric, resolve
from tlsgate.config import HostPort

BACKEND = HostPort("legacy.example.net", 143)


class Names(trio.abc.HostnameResolver):
    """A resolver that waits for ``go`` and then says ``address``, or fails when it is ""."""

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
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the cache takes for now; in one item."""
    now = [1000.0]
    monkeypatch.setattr(room, "monotonic", lambda: now[0])
    return now


@pytest.fixture
async def names(clock: list[float]) -> Names:
    resolver = Names("192.0.2.7")
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


def test_numeric_addresses_ask_nobody() -> None:
    assert numeric(HostPort("192.0.2.1", 25)) == (socket.AF_INET, ("192.0.2.1", 25))
    assert numeric(HostPort("2001:db8::1", 25)) == (socket.AF_INET6, ("2001:db8::1", 25))
    assert numeric(BACKEND) is None


async def test_logins_at_once_ask_once(names: Names, nursery: trio.Nursery) -> None:
    """Forty of them would fill every thread that there is."""
    found: list[object] = []

    async def one() -> None:
        found.append(await resolve(BACKEND))

    for _ in range(50):
        nursery.start_soon(one)
    await wait_all_tasks_blocked()
    names.go.set()
    await wait_all_tasks_blocked()
    assert found == [((socket.AF_INET, ("192.0.2.7", 143)),)] * 50
    assert names.asked == 1


async def test_a_new_address_is_taken_after_a_while(names: Names, clock: list[float]) -> None:
    names.go.set()
    await resolve(BACKEND)
    names.address = "192.0.2.8"
    assert (await resolve(BACKEND))[0][1][0] == "192.0.2.7"
    clock[0] += 31
    assert (await resolve(BACKEND))[0][1][0] == "192.0.2.8"


async def test_the_last_answer_serves_while_dns_is_down(names: Names, clock: list[float]) -> None:
    names.go.set()
    await resolve(BACKEND)
    names.address = ""
    clock[0] += 31
    assert (await resolve(BACKEND))[0][1][0] == "192.0.2.7"


async def test_without_any_answer_it_says_so_and_asks_again(names: Names) -> None:
    names.go.set()
    names.address = ""
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolve(BACKEND)
    assert names.asked == 2


async def test_who_gives_up_leaves_the_question_to_the_next(names: Names, nursery: trio.Nursery) -> None:
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_blocked, scope)
        await resolve(BACKEND)
    assert scope.cancelled_caught
    names.go.set()
    assert await resolve(BACKEND)


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()
