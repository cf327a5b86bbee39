"""Two real gateways with one shared state: what they let in together, and what becomes of it when it is away."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from tests.redis_server import RedisServer, redis_server
from tests.system.accounts import User
from tests.system.certificates import Certificate
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, wait_until
from tests.system.test_bans import Client, guess
from tlsgate.cli import main

PASSWORD = "state-password-of-replicas"
TOKEN = "a-token-of-24-characters"
LISTENERS = [Listener("imaps", "imap", "implicit", "imap"), Listener("imap", "imap", "starttls", "imap")]
_SHARED = """
connections = 10
connections_per_network = 4
connections_per_user = 3
backend_connections = 8
rate_per_network = "60/1h"
[bans]
failures = 3
user_failures = 100
duration = "1h"
[state]
url = "valkey://:{password}@{host}:{port}"
when_down = "{when_down}"
"""
_GREETED = b"* OK"
_A_HOLD_UP = 2.0  # seconds: the store's own second, and some for a busy machine

Pair = tuple[Gateway, Gateway]


@pytest.fixture(scope="module")
def redis(root: Path) -> Iterator[RedisServer]:
    directory = root / "redis"
    directory.mkdir()
    with redis_server(directory, PASSWORD) as server:
        trio.run(server.start)
        yield server


@contextmanager
def replica(
    directory: Path,
    certificate: Certificate,
    backend: Dovecot,
    redis: RedisServer,
    when_down: str = "local",
    workers: int = 1,
) -> Iterator[Gateway]:
    rules = _SHARED.format(password=PASSWORD, host=HOST, port=redis.port, when_down=when_down)
    # Its own looks at the backend would take a place for a moment.
    pools = [Pool("imap", backend.imap, rest='health_interval = "1h"')]
    server = f'drain = "1s"\nworkers = {workers}\n'
    with gateway(directory, certificate, LISTENERS, pools, server=server, admission=rules) as running:
        yield running
        assert PASSWORD not in running.get("/metrics")[1]
    assert PASSWORD not in running.log.read_text()


@pytest.fixture(scope="module")
def pair(root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, redis: RedisServer) -> Iterator[Pair]:
    with (
        replica(root / "replica-a", gateway_certificate, legacy_dovecot, redis) as a,
        replica(root / "replica-b", gateway_certificate, legacy_dovecot, redis) as b,
    ):
        yield a, b


# -- what clients see ------------------------------------------------------------------------------------


class Crowd:
    """Clients that stay, at one replica after the other, each from an address of its own."""

    def __init__(self, held: ExitStack, gates: tuple[Gateway, ...], prefix: str) -> None:
        self._held = held
        self._gates = gates
        self._prefix = prefix
        self._count = 0

    def join(self, *users: User, at: Gateway | None = None, source: str = "") -> bytes:
        """What one more is told: the greeting in clear, or the answer to the login of the first of ``users``."""
        self._count += 1
        gate = at or self._gates[self._count % len(self._gates)]
        client = Client(gate, "imaps" if users else "imap", source or f"{self._prefix}.{self._count}")
        self._held.enter_context(client)
        said = client.line()
        return client.log_in(users[0]) if users else said


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """What closes all clients of a test at its end."""
    with ExitStack() as stack:
        yield stack


def lets_in(gate: Gateway, source: str, user: User | None = None) -> bool:
    """Whether one client is let in, and its login taken; it leaves again."""
    try:
        with Client(gate, "imaps" if user else "imap", source) as client:
            said = client.line()
            return client.log_in(user).startswith(b"a OK") if user else said.startswith(_GREETED)
    except ConnectionRefusedError:
        return False


def free_again(pair: tuple[Gateway, ...], source: str, user: User | None = None, seconds: float = 5.0) -> None:
    def asked(gate: Gateway) -> bool:
        if lets_in(gate, source, user):
            return True
        time.sleep(0.25)  # the source has its rate
        return False

    for gate in pair:
        wait_until(lambda gate=gate: asked(gate), "a place is free again", seconds)  # type: ignore[misc]


def empty(*gates: Gateway) -> None:
    """Wait until the clients of the last test are gone."""
    for gate in gates:
        wait_until(lambda gate=gate: not gate.metric("tlsgate_sessions"), "all sessions have ended")  # type: ignore[misc]


def noop(client: Client) -> float:
    """How long a logged-in client waits for an answer, in seconds."""
    began = time.monotonic()
    client._socket.sendall(b"n NOOP\r\n")
    while not (line := client.line()).startswith(b"n OK"):
        assert line.startswith(b"* ")
    return time.monotonic() - began


def refused(gate: Gateway, result: str) -> float:
    return gate.metric("tlsgate_connections_total", result=result)


# -- caps and rates --------------------------------------------------------------------------------------


def test_a_network_has_its_places_at_all_replicas_together(pair: Pair, held: ExitStack) -> None:
    empty(*pair)
    crowd = Crowd(held, pair, "127.1.0")
    for _ in range(4):
        assert crowd.join(source="127.1.0.1").startswith(_GREETED)
    for gate in pair:
        before = refused(gate, "over_network_cap")
        assert crowd.join(source="127.1.0.1", at=gate).startswith(b"* BYE [LIMIT]")
        assert refused(gate, "over_network_cap") == before + 1
        assert crowd.join(source="127.1.0.2", at=gate).startswith(_GREETED)
    held.close()
    free_again(pair, "127.1.0.1")


def test_many_at_once_are_as_many_as_there_are_places(pair: Pair, held: ExitStack) -> None:
    """Each of the replicas has room for them: none may count alone."""
    empty(*pair)
    clients = [held.enter_context(Client(pair[number % 2], "imap", "127.1.1.1")) for number in range(30)]
    said = [client.line() for client in clients]
    assert sum(line.startswith(_GREETED) for line in said) == 4
    assert sum(line.startswith(b"* BYE [LIMIT]") for line in said) == 26


def test_a_user_has_their_places_at_all_replicas_together(pair: Pair, held: ExitStack, user: User) -> None:
    empty(*pair)
    crowd = Crowd(held, pair, "127.1.2")
    for _ in range(3):
        assert crowd.join(user).startswith(b"a OK")
    for gate in pair:
        assert crowd.join(user, at=gate).startswith(b"a NO [LIMIT] too many connections of this user")
    held.close()
    free_again(pair, "127.1.2.99", user)


def test_all_replicas_together_hold_so_many_connections(pair: Pair, held: ExitStack) -> None:
    empty(*pair)
    crowd = Crowd(held, pair, "127.1.3")
    for _ in range(10):
        assert crowd.join().startswith(_GREETED)
    for gate in pair:
        assert crowd.join(at=gate).startswith(b"* BYE [UNAVAILABLE] Too many connections")
    held.close()
    free_again(pair, "127.1.3.99")


def test_a_backend_has_so_many_connections_of_all_replicas_together(
    pair: Pair, held: ExitStack, fresh_users: Iterator[User]
) -> None:
    empty(*pair)
    crowd = Crowd(held, pair, "127.1.4")
    for _ in range(8):
        assert crowd.join(next(fresh_users)).startswith(b"a OK")
    late = next(fresh_users)
    for gate in pair:
        assert crowd.join(late, at=gate).startswith(b"a NO [UNAVAILABLE]")
        event = gate.event("login_unavailable", lambda event: event["user"] == late.name)
        assert event["reason"].endswith("at its connection limit")
    held.close()
    free_again(pair, "127.1.4.99", late)


def test_a_network_comes_no_faster_than_its_rate_at_all_replicas_together(pair: Pair) -> None:
    for number in range(60):
        assert lets_in(pair[number % 2], "127.1.5.1")
        empty(*pair)
    for gate in pair:
        with Client(gate, "imap", "127.1.5.1") as client:
            assert client.line().startswith(b"* BYE [LIMIT] Too many new connections")
        assert lets_in(gate, "127.1.5.2")


# -- bans ------------------------------------------------------------------------------------------------


def test_failures_at_all_replicas_together_are_a_ban_at_all(pair: Pair, user: User) -> None:
    """The same wrong password is one failure, wherever it is shown; and the delays are those of both."""
    a, b = pair
    source = "127.1.6.1"
    for gate, secret in ((a, "x"), (b, "x"), (a, "y")):
        guess(gate, user, source, secret)
    assert not a.events("banned")
    assert not b.events("banned")
    guess(b, user, source, "z")
    event = b.event("banned", lambda event: event["network"] == f"{source}/32")
    assert (event["count"], event["seconds"]) == (1, 3600)
    wait_until(lambda: not lets_in(a, source), "the other one knows", 2.0)
    assert not lets_in(b, source)
    told = a.event("banned", lambda event: event["network"] == f"{source}/32")
    assert told["reason"] == "failed logins (by another replica)"
    delays = [[each["seconds"] for each in gate.events("login_delayed") if each["client"] == source] for gate in pair]
    assert delays == [[1], [1, 2]]


def test_a_ban_by_hand_and_its_end_are_known_to_all(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    for gate in pair:
        with_token(gate)
    monkeypatch.setenv("TLSGATE_TOKEN_FILE", str(a.config.with_name("token")))
    assert main(["ban", "127.1.7.0/24", "--for", "1h", "--reason", "scans", "--admin", f"{HOST}:{a.admin}"]) == 0
    assert not lets_in(a, "127.1.7.1")
    wait_until(lambda: not lets_in(b, "127.1.7.1"), "the other one knows", 2.0)
    event = b.event("refused", lambda event: event["client"] == "127.1.7.1")
    assert (event["result"], event["reason"]) == ("banned", "127.1.7.0/24: scans")
    assert main(["unban", "127.1.7.0/24", "--admin", f"{HOST}:{b.admin}"]) == 0
    assert lets_in(b, "127.1.7.1")
    wait_until(lambda: lets_in(a, "127.1.7.1"), "the other one knows", 2.0)


def with_token(gate: Gateway) -> None:
    token = gate.config.with_name("token")
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    gate.config.write_text(gate.config.read_text().replace("[admin]\n", '[admin]\ntoken_file = "token"\n'))
    gate.signal(signal.SIGHUP)
    gate.event("config_reloaded", lambda _: True)


# -- the shared state is away ----------------------------------------------------------------------------


def pause(redis: RedisServer) -> Callable[[], None]:
    redis.pause()
    return redis.resume


def kill(redis: RedisServer) -> Callable[[], None]:
    redis.kill()
    return lambda: trio.run(redis.start)


@pytest.mark.parametrize(("number", "end"), [(8, pause), (9, kill)])
def test_without_the_state_each_replica_counts_alone(
    pair: Pair,
    redis: RedisServer,
    held: ExitStack,
    user: User,
    number: int,
    end: Callable[[RedisServer], Callable[[], None]],
) -> None:
    empty(*pair)
    a, b = pair
    faults = [gate.metric("tlsgate_state_failures_total") for gate in pair]
    downs, ups = [len(gate.events("state_down")) for gate in pair], [len(gate.events("state_up")) for gate in pair]
    crowd, lasting = Crowd(held, pair, f"127.1.{number}"), held.enter_context(Client(a, "imaps", f"127.1.{number}.100"))
    lasting.line()
    assert lasting.log_in(user).startswith(b"a OK")
    back = end(redis)
    try:
        began = time.monotonic()
        assert noop(lasting) < 0.5
        for gate in (a, a, b, b, b):  # three at each
            assert crowd.join(user, at=gate).startswith(b"a OK")
            assert noop(lasting) < 0.5
        assert time.monotonic() - began < 5 * _A_HOLD_UP
        for gate in pair:
            assert crowd.join(user, at=gate).startswith(b"a NO [LIMIT]")
            wait_until(lambda gate=gate: not gate.metric("tlsgate_state_up"), "it is known to be away", 5)  # type: ignore[misc]
    finally:
        back()
    for gate in pair:
        wait_until(lambda gate=gate: gate.metric("tlsgate_state_up") == 1, "it is back", 10)  # type: ignore[misc]
    assert noop(lasting) < 0.5
    # Six have come, where three may be: three of them must leave before one may come.
    for gate in pair:
        assert crowd.join(user, at=gate).startswith(b"a NO [LIMIT]")
    held.close()
    free_again(pair, f"127.1.{number}.99", user)
    empty(*pair)
    for _ in range(3):
        assert crowd.join(user).startswith(b"a OK")
    assert crowd.join(user).startswith(b"a NO [LIMIT]")
    for gate, before, down, up in zip(pair, faults, downs, ups, strict=True):
        assert gate.metric("tlsgate_state_failures_total") > before
        assert len(gate.events("state_down")) == down + 1
        assert len(gate.events("state_up")) == up + 1


def test_a_state_that_lost_all_has_all_counts_again(
    pair: Pair, redis: RedisServer, held: ExitStack, user: User
) -> None:
    empty(*pair)
    crowd = Crowd(held, pair, "127.1.10")
    for _ in range(3):
        assert crowd.join(user).startswith(b"a OK")
    trio.run(redis.command, "FLUSHALL")
    time.sleep(1.5)  # each replica hears of it at its next heartbeat
    for gate in pair:
        assert crowd.join(user, at=gate).startswith(b"a NO [LIMIT]")
    held.close()
    free_again(pair, "127.1.10.99", user)


def test_refuse_without_the_state(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, held: ExitStack, user: User
) -> None:
    """From the start on; and who is logged in has no harm when it goes away later."""
    directory = root / "redis-refuse"
    directory.mkdir()
    with (
        redis_server(directory, PASSWORD) as redis,
        replica(root / "replica-refuse", gateway_certificate, legacy_dovecot, redis, "refuse") as gate,
    ):
        with Client(gate, "imap", "127.1.11.1") as client:
            assert client.line().startswith(b"* BYE [UNAVAILABLE]")
        assert not lets_in(gate, "127.1.11.1", user)
        assert refused(gate, "state_down") == 2
        gate.event("refused", lambda event: event["result"] == "state_down")
        assert len(gate.events("state_down")) == 1

        trio.run(redis.start)
        wait_until(lambda: lets_in(gate, "127.1.11.1", user), "it is there", 5)
        lasting = held.enter_context(Client(gate, "imaps", "127.1.11.2"))
        waiting = held.enter_context(Client(gate, "imaps", "127.1.11.3"))
        assert lasting.line().startswith(_GREETED)
        assert waiting.line().startswith(_GREETED)
        assert lasting.log_in(user).startswith(b"a OK")

        redis.pause()
        began = time.monotonic()
        with Client(gate, "imap", "127.1.11.4") as client:
            assert noop(lasting) < 0.5
            assert client.line().startswith(b"* BYE [UNAVAILABLE]")
        assert time.monotonic() - began < _A_HOLD_UP
        assert waiting.log_in(user).startswith(b"a NO [UNAVAILABLE]")
        event = gate.event("login_unavailable", lambda event: event["client"] == "127.1.11.3")
        assert event["reason"].endswith("the shared state is away")
        assert not gate.events("auth_failed")
        assert noop(lasting) < 0.5
        redis.resume()
        wait_until(lambda: lets_in(gate, "127.1.11.5", user), "it is back", 5)
        assert waiting.log_in(user).startswith(b"a OK")
        assert noop(lasting) < 0.5
        assert len(gate.events("state_down")) == len(gate.events("state_up")) == 2


# -- replicas that come and go ---------------------------------------------------------------------------


class _Killed(Exception):
    """Leaves the block of a gateway that can't end in order any more."""


def test_the_places_of_a_replica_that_has_ended_are_free_at_once(
    root: Path,
    gateway_certificate: Certificate,
    legacy_dovecot: Dovecot,
    redis: RedisServer,
    pair: Pair,
    held: ExitStack,
    user: User,
) -> None:
    """Its clients come back within seconds, to another one or to its successor."""
    empty(*pair)
    with replica(root / "replica-c", gateway_certificate, legacy_dovecot, redis) as third:
        crowd = Crowd(held, (third,), "127.1.12")
        for _ in range(3):
            assert crowd.join(user).startswith(b"a OK")
        assert crowd.join(user, at=pair[0]).startswith(b"a NO [LIMIT]")
    assert crowd.join(user, at=pair[0]).startswith(b"a OK")


def test_the_places_of_a_replica_that_was_killed_are_free_when_its_lease_ends(
    root: Path,
    gateway_certificate: Certificate,
    legacy_dovecot: Dovecot,
    redis: RedisServer,
    pair: Pair,
    held: ExitStack,
    user: User,
) -> None:
    empty(*pair)
    with (
        pytest.raises(_Killed),
        replica(root / "replica-d", gateway_certificate, legacy_dovecot, redis) as third,
    ):
        crowd = Crowd(held, (third,), "127.1.13")
        for _ in range(3):
            assert crowd.join(user).startswith(b"a OK")
        assert third.process is not None
        third.process.kill()
        third.process.wait(10)
        assert crowd.join(user, at=pair[0]).startswith(b"a NO [LIMIT]")
        free_again(pair, "127.1.13.99", user, 12.0)
        raise _Killed


def test_replicas_with_workers(
    root: Path,
    gateway_certificate: Certificate,
    legacy_dovecot: Dovecot,
    redis: RedisServer,
    pair: Pair,
    held: ExitStack,
    user: User,
) -> None:
    """What workers ask of their parent is asked of all replicas."""
    empty(*pair)
    with replica(root / "replica-e", gateway_certificate, legacy_dovecot, redis, workers=2) as third:
        both = (pair[0], third)
        clients = [held.enter_context(Client(both[number % 2], "imap", "127.1.14.1")) for number in range(20)]
        assert sum(client.line().startswith(_GREETED) for client in clients) == 4
        held.close()
        free_again(both, "127.1.14.1")
        empty(*both)
        crowd = Crowd(held, (third, third, pair[0]), "127.1.15")
        for _ in range(3):
            assert crowd.join(user).startswith(b"a OK")
        for gate in both:
            assert crowd.join(user, at=gate).startswith(b"a NO [LIMIT]")
        held.close()
        free_again(both, "127.1.15.99", user)
        source = "127.1.16.1"
        for gate, secret in ((third, "x"), (pair[0], "y"), (third, "z")):
            guess(gate, user, source, secret)
        for gate in both:
            wait_until(lambda gate=gate: not lets_in(gate, source), "all know", 2.0)  # type: ignore[misc]
