"""10,000 connections that end in every way there is: what is counted afterwards is what is there, which is nothing.

A count that drifts by one a thousand sessions closes the gateway, or a network's door, within a week.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.gate import Client, Gate, gate, limits, pool_of
from tests.legacy_server import SECRET, LegacyServer
from tests.test_session import SCRIPTS
from tlsgate import config
from tlsgate.admission.rules import AddressRules
from tlsgate.config import Protocol, TlsMode

pytestmark = pytest.mark.timeout(120)

CONNECTIONS = 3400  # by three protocols: 10,200
AT_ONCE = 40
AT_THE_END = 60  # are cut by a shutdown, wherever they are
BOUNDS = limits(connections=36, connections_per_network=12, connections_per_user=4, handshakes=3)
PATIENT = config.Bans(failures=1000, user_failures=1000)
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

End = Callable[[Gate, random.Random], Coroutine[Any, Any, None]]


def _anywhere(dice: random.Random) -> str:
    """An address that hardly anybody else has: what failed there delays nobody."""
    return f"127.{dice.randrange(1, 255)}.{dice.randrange(256)}.{dice.randrange(1, 255)}"


def _go(client: Client, dice: random.Random) -> None:
    dice.choice([client.close, client.reset])()


async def _nothing(running: Gate, dice: random.Random) -> None:
    """Most of these come from few networks, and many are refused."""
    client = await running.connect(source=f"127.0.0.{dice.randrange(1, 4)}")
    if dice.random() < 0.3:
        await trio.lowlevel.checkpoint()
    _go(client, dice)


async def _noise(running: Gate, dice: random.Random) -> None:
    client = await running.connect(dice.randbytes(dice.randrange(1, 3000)), f"127.0.0.{dice.randrange(1, 4)}")
    with trio.move_on_after(dice.choice([0.0, 0.01])):
        await client.line()
    _go(client, dice)


async def _in_clear(running: Gate, dice: random.Random) -> None:
    """Whatever the mode: a client that takes one port for the other."""
    client = await running.connect(source=_anywhere(dice))
    commands = [client.speech.starttls, b"NOOP", *client.login_commands("wrong"), b"\xff" * 9000]
    await client.send(b"".join(command + b"\r\n" for command in dice.sample(commands, dice.randrange(1, 4))))
    with trio.move_on_after(dice.uniform(0, 0.01)):
        await client.line()
    _go(client, dice)


async def _part_of_a_handshake(running: Gate, dice: random.Random) -> None:
    client = await running.connect(source=_anywhere(dice))
    with trio.move_on_after(dice.uniform(0, 0.01)), suppress(*GONE, AssertionError):
        if running.tls is TlsMode.STARTTLS:
            await client.line()
            await client.ask(client.speech.starttls)
        await client.start_tls()
    _go(client, dice)


async def _a_login(running: Gate, dice: random.Random) -> None:
    """Right or wrong, waited for or not, with what follows on it or without."""
    client = await running.secure(source=_anywhere(dice))
    commands = client.login_commands(dice.choice([SECRET, SECRET, "wrong"]))
    with trio.move_on_after(dice.choice([0.002, 0.01, 5.0])):
        for command in commands:
            await client.ask(command)
        if dice.random() < 0.5:
            await client.ask(b"a NOOP")
    _go(client, dice)


ENDS: list[End] = [_nothing, _noise, _in_clear, _part_of_a_handshake, _a_login]
WEIGHTS = [72, 12, 6, 5, 5]


async def _one(end: End, running: Gate, dice: random.Random) -> None:
    with suppress(*GONE, AssertionError):  # refused, or cut: that's no end of the client's choice
        await end(running, dice)


@pytest.mark.parametrize(
    ("protocol", "tls"),
    [
        (Protocol.IMAP, TlsMode.IMPLICIT),
        (Protocol.POP3, TlsMode.STARTTLS),
        (Protocol.SUBMISSION, TlsMode.STARTTLS),
    ],
)
async def test_after_thousands_of_random_ends_nothing_is_counted(
    nursery: trio.Nursery, protocol: Protocol, tls: TlsMode
) -> None:
    server: LegacyServer = await nursery.start(LegacyServer(SCRIPTS[protocol]).serve)
    dice, room = random.Random(f"churn {protocol}"), trio.CapacityLimiter(AT_ONCE)

    async def one(running: Gate) -> None:
        end, own = dice.choices(ENDS, WEIGHTS)[0], random.Random(dice.random())
        async with room:
            await _one(end, running, own)

    async with gate(protocol, tls, pool_of(server.address), BOUNDS, rules=AddressRules(), bans=PATIENT) as running:
        async with trio.open_nursery() as clients:
            for _ in range(CONNECTIONS):
                clients.start_soon(one, running)
        for client in running.clients:
            client.close()
        with trio.fail_after(20):
            await wait_all_tasks_blocked(0.05)
            await running.quiet()
        sessions, refusals = running.trace.sessions, running.trace.refusals
        assert len(sessions) + len(refusals) == CONNECTIONS
        assert not [session.end for session in sessions if session.end[0] == "fault"]
        assert {"over_capacity", "over_network_cap"} >= set(refusals) >= {"over_network_cap"}
        assert len(sessions) > CONNECTIONS / 5
        assert len([session for session in sessions if session.of("logged_in")]) > 30

        async with trio.open_nursery() as clients:
            for _ in range(AT_THE_END):
                clients.start_soon(_one, dice.choices(ENDS, [1, 1, 1, 4, 8])[0], running, random.Random(dice.random()))
            with trio.fail_after(20):
                while not running.door.used:
                    await trio.lowlevel.checkpoint()
            running.sessions.cancel_scope.cancel()
            clients.cancel_scope.cancel()
        while running.sessions.child_tasks:
            await trio.lowlevel.checkpoint()
        running.pump.end_all("shutdown")
        with trio.fail_after(20):
            await running.quiet()
