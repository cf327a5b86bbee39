"""A listener whose connections are counted over all replicas, in the same process as a store that can be held up."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.gate import gate, pool_of
from tests.test_session import each_mode, each_protocol, legacy
from tlsgate.admission.rules import AddressRules
from tlsgate.config import HostPort, Protocol, TlsMode
from tlsgate.state.memory import Memory
from tlsgate.state.store import STATE_DOWN, Place

pytestmark = pytest.mark.timeout(60)

NOWHERE = HostPort("127.0.0.1", 1)
NO_RULES = AddressRules()


class Slow(Memory):
    """A store that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = trio.Event(), trio.Event()

    async def enter(self, places: Iterable[Place]) -> Place | None:
        self.asked.set()
        await self.let.wait()
        return await super().enter(places)


# -- a listener that stops while somebody is waited for ---------------------------------------------------


@each_mode
async def test_who_is_confirmed_after_the_listener_has_stopped_is_sent_away(tls: TlsMode) -> None:
    """The house has forgotten a listener that a reload removed: to begin a session there would end the process."""
    async with gate(Protocol.IMAP, tls, pool_of(NOWHERE), rules=NO_RULES) as running:
        running.door.elsewhere = store = Slow()
        client = await running.connect()
        await store.asked.wait()
        running.listener.stop()
        store.let.set()
        if tls is TlsMode.STARTTLS:
            assert (await client.line()).startswith(b"* BYE [UNAVAILABLE] Shutting down")
        assert await client.ended()
        assert not running.trace.sessions
        await running.quiet()
        assert store.empty


async def test_a_header_that_comes_after_the_listener_has_stopped(nursery: trio.Nursery) -> None:
    """The same, of a client behind a balancer."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOWHERE), proxies=("127.0.0.0/8",)) as running:
        client, check = await running.connect(), await running.connect()
        await wait_all_tasks_blocked()
        assert running.door.used == 2
        running.listener.stop()
        await client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 143\r\n")
        await check.send(b"PROXY UNKNOWN\r\n")
        for each in (client, check):
            assert (await each.line()).startswith(b"* BYE [UNAVAILABLE] Shutting down")
            assert await each.ended()
        assert not running.trace.sessions
        await running.quiet()


# -- logins while nobody may enter ------------------------------------------------------------------------


class Away(Memory):
    """A store that nobody may enter."""

    async def enter(self, places: Iterable[Place]) -> Place | None:
        return STATE_DOWN


@each_protocol
@pytest.mark.parametrize("asked", ["for the backend", "for the user"])
async def test_a_login_while_the_state_is_away_is_not_called_one_too_many(
    nursery: trio.Nursery, protocol: Protocol, asked: str
) -> None:
    """An operator would look for a user with fifty phones instead of for the server that is down."""
    server = await legacy(nursery, protocol)
    pool = pool_of(server.address)
    async with gate(protocol, TlsMode.IMPLICIT, pool, rules=NO_RULES) as running:
        if asked == "for the backend":
            pool.serve([None], 1000, Away())
        else:
            running.rooms.store = Away()
        client = await running.secure()
        said = await client.log_in()
        assert said.startswith(client.speech.unavailable)
        assert b"too many" not in said.lower()
        (session,) = running.trace.sessions
        ((_, _, reason),) = session.of("login_unavailable")
        assert str(reason).endswith("the shared state is away")
        assert not session.of("auth_failed")  # the password was right, or wasn't looked at
        assert pool.backends[0].connections == 0
        client.close()
        await running.quiet()


@each_protocol
@each_mode
async def test_a_connection_while_the_state_is_away_is_refused_for_now(protocol: Protocol, tls: TlsMode) -> None:
    async with gate(protocol, tls, pool_of(NOWHERE), rules=NO_RULES) as running:
        running.door.elsewhere = Away()
        client = await running.connect()
        if tls is TlsMode.STARTTLS:
            temporary = {Protocol.IMAP: b"* BYE [UNAVAILABLE] ", Protocol.POP3: b"-ERR [SYS/TEMP] "}
            assert (await client.line()).startswith(temporary.get(protocol, b"421 4.3.2 "))
        assert await client.ended()
        assert running.trace.refusals == ["state_down"]
        assert not running.trace.sessions
        await running.quiet()
