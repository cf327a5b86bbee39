"""Guesses by SCRAM and the ban: it is when its proof comes that an exchange tries something, and takes its turn.

``gate`` checks for each of them, when it ends, that every count is back at nothing and that no secret was told.
"""

from __future__ import annotations

import base64
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.dialogue.scram_client import client_final, client_first
from tests.gate import Client, Gate, gate, pool_of
from tests.legacy_server import SECRET, USER
from tests.sasl_client import Sasl, sasl
from tests.sources import OWN, UsersHere, line_of, secrets_of, stored_pool
from tests.test_session import legacy
from tlsgate import config
from tlsgate.admission.rules import AddressRules
from tlsgate.backends.pool import Pool
from tlsgate.config import HostPort, Protocol, TlsMode
from tlsgate.dialogue.scram_secret import ScramSecret

pytestmark = pytest.mark.timeout(60)

FAILURES = 3
NOWHERE = pool_of(HostPort("127.0.0.1", 1))


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits, also for what the kernel carries between us and a server."""
    return MockClock(autojump_threshold=0.1)


async def no_secret(_user: str) -> ScramSecret | None:
    return None


def serving(
    directory: Path, pool: Pool, *, failures: int = FAILURES, secretless: bool = False
) -> AbstractAsyncContextManager[Gate]:
    """A gate before ``pool`` whose clients can be banned. ``secretless``: no secret can be told now."""
    users = UsersHere(directory, line_of(USER))
    return gate(
        Protocol.IMAP,
        TlsMode.IMPLICIT,
        pool,
        judge=users.judge,
        mechanisms=("PLAIN", "SCRAM-SHA-256"),
        scram=no_secret if secretless else users.source.scram_secret,
        stored=secrets_of(directory, f"{USER}::{SECRET}"),
        rules=AddressRules(),
        bans=config.Bans(failures=failures),
    )


class Exchange:
    """One that waits for its proof."""

    def __init__(self, by: Sasl, server_first: bytes, user: str) -> None:
        self.by = by
        self.client: Client = by.client
        self._server_first = server_first
        self._user = user

    def proof(self, password: str) -> bytes:
        """The line, without its end."""
        return base64.b64encode(client_final(password, self._server_first, user=self._user))

    async def prove(self, password: str) -> bytes:
        """What is said to the proof, b"" where that is no challenge: the exchange was ended."""
        said = await self.client.ask(self.proof(password))
        return self.by.told(said) if said.startswith(b"+ ") else b""


async def begun(running: Gate, user: str = USER) -> Exchange:
    by = await sasl(running)
    first = by.told(await by.begin("SCRAM-SHA-256", client_first(user=user)))
    return Exchange(by, first, user)


def reasons(running: Gate) -> Counter[object]:
    return Counter(reason for each in running.trace.sessions for _, _, reason in each.of("auth_failed"))


def under_way(running: Gate) -> int:
    return running.rooms.penalties._turns.under_way("127.0.0.1/32")


async def test_exchanges_that_were_begun_early_are_no_guesses_more(
    nursery: trio.Nursery, tmp_path: Path, clock: MockClock
) -> None:
    """The secret's challenge costs nothing, so a guesser collects them first. The right proof behind the ban is none:
    else a guesser had as many guesses as connections, and the last one in as much as the first."""
    server = await legacy(nursery, Protocol.IMAP)
    async with serving(tmp_path, stored_pool(server.address)) as running:
        exchanges: list[Exchange] = []

        async def begin() -> None:
            exchanges.append(await begun(running))

        async with trio.open_nursery() as beginning:
            for _ in range(12):
                beginning.start_soon(begin)
        await trio.sleep(20)  # longer than anybody waits for a turn
        said: list[bytes] = []

        async def guess(exchange: Exchange, number: int) -> None:
            said.append(await exchange.prove(f"guess {number}"))

        *guesses, last = exchanges
        async with trio.open_nursery() as guessing:
            for number, each in enumerate(guesses):
                guessing.start_soon(guess, each, number)
        assert Counter(said) == {b"e=invalid-proof": FAILURES, b"": len(guesses) - FAILURES}
        assert len(running.rooms.told.banned_networks) == 1
        assert await last.prove(OWN) == b""
        assert await last.client.ended()
        assert reasons(running) == {"invalid-proof": FAILURES, "banned": len(exchanges) - FAILURES}
        assert not server.talks


async def test_an_exchange_that_stalls_holds_no_turn_of_its_neighbours(
    nursery: trio.Nursery, tmp_path: Path, clock: MockClock
) -> None:
    """Without a password, a few connections would keep everybody behind the same address out of their mail."""
    server = await legacy(nursery, Protocol.IMAP)
    async with serving(tmp_path, stored_pool(server.address)) as running:
        for _ in range(FAILURES):
            await begun(running, "nobody")
        began = trio.current_time()
        assert under_way(running) == 0
        assert (await (await sasl(running)).plain(USER, OWN)).startswith(b"a OK ")
        assert trio.current_time() - began < 5


async def test_who_has_proved_and_says_nothing_more_holds_no_turn(
    nursery: trio.Nursery, tmp_path: Path, clock: MockClock
) -> None:
    """Our signature waits for an empty answer; what the client has proved stands, whenever that comes."""
    server = await legacy(nursery, Protocol.IMAP)
    async with serving(tmp_path, stored_pool(server.address), failures=1) as running:
        ann = await begun(running)
        assert (await ann.prove(OWN)).startswith(b"v=")
        assert under_way(running) == 0
        guesser = await begun(running)
        assert await guesser.prove("wrong") == b"e=invalid-proof"
        assert len(running.rooms.told.banned_networks) == 1
        assert (await ann.client.ask(b"")).startswith(b"a OK ")


@pytest.mark.parametrize("octets_at_once", [1, 7])
async def test_a_proof_in_pieces_is_one_too(tmp_path: Path, clock: MockClock, octets_at_once: int) -> None:
    """Where its line ends says when it has come, not a read's first octets."""
    async with serving(tmp_path, NOWHERE, failures=1) as running:
        early, guesser = await begun(running), await begun(running)
        assert await guesser.prove("wrong") == b"e=invalid-proof"
        line = early.proof(OWN) + b"\r\n"
        for at in range(0, len(line), octets_at_once):
            await early.client.send(line[at : at + octets_at_once])
        assert not (await early.client.line()).startswith(b"+ ")
        assert reasons(running) == {"invalid-proof": 1, "banned": 1}


@pytest.mark.parametrize(("secretless", "answer"), [(True, b""), (False, b"*"), (False, b"!")])
async def test_what_an_exchange_was_let_do_is_nothing_for_the_next_login(
    tmp_path: Path, clock: MockClock, secretless: bool, answer: bytes
) -> None:
    """However it ended: a password behind it is tried in its own turn, and behind the ban not at all."""
    async with serving(tmp_path, NOWHERE, failures=2, secretless=secretless) as running:
        early, guesser = await begun(running), await sasl(running)
        await early.client.ask(answer)
        number = 0
        while not running.rooms.told.banned_networks:
            await guesser.plain(USER, f"guess {(number := number + 1)}")
        await early.by.plain(USER, OWN)
        assert reasons(running)["banned"] == 1
