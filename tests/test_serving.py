"""Sessions of one process: listeners that come and go under them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.auth.attempts import attempt
from tests.gate import Client, admission
from tests.http.server import OK
from tests.http.server import serving as http_server
from tests.legacy_server import LegacyServer, imap
from tests.test_gateway import Log, at, config, reading
from tlsgate import config as configured
from tlsgate import serving
from tlsgate.admission.door import Entry
from tlsgate.admission.network import parse_client
from tlsgate.admission.rules import AddressRules
from tlsgate.admission.visit import Visit
from tlsgate.arrival import Arrival
from tlsgate.auth.judgement import Unavailable
from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.smtp_syntax import Path as SmtpPath
from tlsgate.mail import aliases_file
from tlsgate.ops.metrics import Metrics
from tlsgate.plan import Plan
from tlsgate.prepared import Prepared
from tlsgate.serving import Serving
from tlsgate.sockets import socket_key


@dataclass
class House:
    serving: Serving
    prepared: Prepared
    log: Log
    more: trio.Event = field(default_factory=trio.Event)
    left: list[Entry] = field(default_factory=list)
    served: bool = True

    @property
    def key(self) -> str:
        return socket_key(self.prepared.listeners[0])

    def leave(self, visit: Visit) -> None:
        self.left.append(visit.entry)
        self.more.set()
        self.more = trio.Event()

    async def all_left(self, count: int) -> None:
        while len(self.left) < count:
            await self.more.wait()

    def connect(self, listener: str) -> Client:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        rooms = admission(configured.Limits(), AddressRules(), configured.Bans())
        entry = rooms.door.enter(parse_client("192.0.2.7"))
        assert isinstance(entry, Entry)
        self.serving.desk = rooms.desk(self.leave)
        self.served = self.serving.begin(listener, Arrival(theirs, "192.0.2.7", 4000), entry)
        if not self.served:
            theirs.close()
        return Client(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), Protocol.IMAP)

    async def log_in(self) -> Client:
        client = self.connect(self.key)
        await client.start_tls()
        await client.line()
        assert (await client.log_in()).startswith(b"a OK")
        return client


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    log = Log()
    async with trio.open_nursery() as nursery:
        server: LegacyServer = await nursery.start(LegacyServer(imap).serve)
        own = House(Serving(log, Metrics(log)), reading(config(directory, at(server))), log)
        await nursery.start(own.serving.run)
        plan = await own.serving.plan(own.prepared)
        await own.serving.settle(plan, first=True)
        own.serving.serve(plan)
        with trio.fail_after(20):
            yield own
        nursery.cancel_scope.cancel()
    log.close()


async def test_a_connection_for_a_listener_that_is_gone_is_not_served(tmp_path: Path) -> None:
    """Its PROXY header came while a reload removed the listener: that must not end all the others."""
    async with house(tmp_path) as own:
        own.connect("127.0.0.1:1").close()
        assert not own.served
        own.serving.retire(own.key, 0.0)
        own.connect(own.key).close()
        assert not own.served


async def test_a_retired_listeners_sessions_end_in_time_relayed_or_not(tmp_path: Path) -> None:
    async with house(tmp_path) as own:
        relayed, silent = await own.log_in(), own.connect(own.key)
        own.serving.retire(own.key, 0.2)
        assert (await relayed.ask(b"n NOOP")).startswith(b"n OK")
        assert await relayed.ended()
        assert await silent.ended()
        await own.all_left(2)
        for client in (relayed, silent):
            client.close()


async def test_a_new_plan_leaves_sessions_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as own:
        before = await own.log_in()
        own.serving.serve(await own.serving.plan(own.prepared))
        after = await own.log_in()
        for client in (before, after):
            assert (await client.ask(b"n NOOP")).startswith(b"n OK")
            client.close()
        await own.all_left(2)


async def test_sessions_are_counted_for_the_memory_that_they_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are relayed, and those that are not yet."""
    asked: list[Callable[[], int]] = []

    async def give_back(sessions: Callable[[], int]) -> None:
        asked.append(sessions)

    monkeypatch.setattr(serving, "give_back", give_back)
    async with house(tmp_path) as own:
        relayed, silent = await own.log_in(), own.connect(own.key)
        await wait_all_tasks_blocked()
        assert asked[0]() == 2
        for client in (relayed, silent):
            client.close()
        await own.all_left(2)
        assert asked[0]() == 0


# -- who asks servers ------------------------------------------------------------------------------------


async def test_the_connections_to_an_auth_server_end_with_the_plan_that_made_them(tmp_path: Path) -> None:
    """Each reload would leave some behind; sessions of before it may still ask."""
    async with http_server([OK, OK, OK]) as server:
        async with house(tmp_path) as own:
            path = tmp_path / "tlsgate.toml"
            path.write_text(path.read_text() + f'[auth]\nsource = "auth-http"\nauth_http = "{server.url()}"\n')
            plans = [await own.serving.plan(reading(path)) for _ in range(2)]
            for plan in plans:
                own.serving.serve(plan)
                ((service, _),) = plan.listeners.values()
                await service.judge(attempt(Credentials("ann", b"secret")))
                await wait_all_tasks_blocked()
            assert (server.opened, server.ended) == (2, 1)
            ((service, _),) = plans[0].listeners.values()
            assert isinstance(await service.judge(attempt(Credentials("ann", b"secret"))), Unavailable)
            await wait_all_tasks_blocked()
            assert (server.opened, server.ended, len(server.requests)) == (3, 2, 3)
        await wait_all_tasks_blocked()
        assert server.ended == 3


# -- the file of aliases ---------------------------------------------------------------------------------


def _reading_aliases(directory: Path, name: str, text: str) -> Prepared:
    (directory / name).write_text(text)
    path = directory / "tlsgate.toml"
    relay = f'[relay]\nsender_must_match = true\naliases_file = "{name}"\n'
    path.write_text(path.read_text().partition("[relay]")[0] + relay)
    return reading(path)


def _may_send(plan: Plan, sender: str) -> bool:
    ((service, _),) = plan.listeners.values()
    assert service.senders is not None
    return service.senders.may_send("ann", SmtpPath(sender))


async def test_sessions_of_before_a_reload_follow_the_file_of_aliases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alias that is taken away would else be used for as long as a session lives."""
    monkeypatch.setattr(aliases_file, "POLL", 0.01)
    async with house(tmp_path) as own:
        before = await own.serving.plan(_reading_aliases(tmp_path, "aliases", "ann: a@a.test\n"))
        own.serving.serve(before)
        assert _may_send(before, "a@a.test")
        after = await own.serving.plan(_reading_aliases(tmp_path, "aliases", "ann: b@a.test, c@a.test\n"))
        own.serving.serve(after)
        assert [_may_send(plan, "a@a.test") for plan in (before, after)] == [False, False]
        assert [_may_send(plan, "b@a.test") for plan in (before, after)] == [True, True]
        (tmp_path / "aliases").write_text("ann: the-last@a.test\n")
        await own.log.next("aliases_reloaded")
        assert [_may_send(plan, "the-last@a.test") for plan in (before, after)] == [True, True]


async def test_another_file_of_aliases_is_for_those_to_come(tmp_path: Path) -> None:
    async with house(tmp_path) as own:
        before = await own.serving.plan(_reading_aliases(tmp_path, "aliases", "ann: a@a.test\n"))
        own.serving.serve(before)
        after = await own.serving.plan(_reading_aliases(tmp_path, "others", "ann: b@a.test\n"))
        own.serving.serve(after)
        assert [_may_send(before, each) for each in ("a@a.test", "b@a.test")] == [True, False]
        assert [_may_send(after, each) for each in ("a@a.test", "b@a.test")] == [False, True]
