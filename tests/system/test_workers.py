"""Several worker processes behind one acceptor: what holds for one process holds for all of them together."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.system.certificates import GATEWAY_NAME, Certificate, issue
from tests.system.clients import imap
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, accepts, free_port, needs_root, wait_until
from tests.system.wire import Wire, trusting
from tlsgate.demo import DemoBackend, serve

PASSWORD = "sec ret"
LISTENERS = [
    Listener("imaps", "imap", "implicit", "imap"),
    Listener("imap", "imap", "starttls", "imap"),
    Listener("pop3s", "pop3", "implicit", "pop3"),
    Listener("submissions", "submission", "implicit", "smtp"),
]
TWO, THREE = 'drain = "2s"\nworkers = 2', 'drain = "2s"\nworkers = 3'
# Every limit that a test doesn't set is out of its way.
_WIDE = {
    "connections_per_network": "1000",
    "connections_per_user": "1000",
    "rate_per_network": '"100000/1m"',
    "auth_attempts": "5",
}


@pytest.fixture(scope="module")
def backend() -> Iterator[DemoBackend]:
    """The sample backend, on a trio loop in a thread of its own."""
    started: list[tuple[DemoBackend, trio.CancelScope, trio.lowlevel.TrioToken]] = []
    ready = threading.Event()

    async def run() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                backend: DemoBackend = await nursery.start(partial(serve, {"ann": PASSWORD, "ben": PASSWORD}))
                started.append((backend, scope, trio.lowlevel.current_trio_token()))
                ready.set()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    assert ready.wait(20)
    running, scope, token = started[0]
    yield running
    token.run_sync_soon(scope.cancel)
    thread.join(20)


@pytest.fixture(scope="module")
def pools(backend: DemoBackend) -> list[Pool]:
    rest = 'health_interval = "1h"'  # a probe takes one of a backend's connections for a moment
    ports = {"imap": backend.imap_port, "pop3": backend.pop3_port, "smtp": backend.smtp_port}
    return [Pool(name, port, rest=rest) for name, port in ports.items()]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificates") / "first", GATEWAY_NAME, HOST)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


def limits(bans: str = "failures = 1000\nuser_failures = 900", **these: str) -> str:
    """The lines of [limits] and the sections behind them; nobody is trusted, so everything counts."""
    return "\n".join(f"{key} = {value}" for key, value in {**_WIDE, **these}.items()) + f"\n[bans]\n{bans}\n"


def log_in(gate: Gateway, user: str = "ann", password: str = PASSWORD) -> tuple[Wire, bytes]:
    """A connection and the answer to its login, b"" if it was closed before."""
    wire = Wire(gate.ports["imaps"])
    try:
        wire.start_tls(gate.ca)
        wire.send(f'a LOGIN {user} "{password}"\r\n'.encode())
        return wire, wire.until(b"a ")[-1]
    except (OSError, AssertionError):
        return wire, b""


def works(wire: Wire) -> bool:
    wire.send(b"n NOOP\r\n")
    return wire.until(b"n ")[-1].startswith(b"n OK")


def log_out(wire: Wire) -> None:
    wire.send(b"b LOGOUT\r\n")
    assert wire.until(b"b ")[-1].startswith(b"b OK")
    wire.__exit__(None, None, None)


def sessions(gate: Gateway, *, be: int) -> None:
    wait_until(lambda: gate.metric("tlsgate_sessions") == be, f"{be} sessions are counted")


def workers(gate: Gateway) -> list[int]:
    """Those that were started and live."""
    return [event["pid"] for event in gate.events("worker_started") if lives(event["pid"])]


def lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def parent_of(pid: int) -> int:
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("PPid:")]
    return int(line.split()[1])


def family(gate: Gateway) -> list[int]:
    """Every process of the gateway."""
    assert gate.process is not None
    pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    found = {gate.process.pid}
    while True:
        more = set()
        for pid in pids:
            with suppress(OSError):
                if pid not in found and lives(pid) and parent_of(pid) in found:
                    more.add(pid)
        if not more:
            return sorted(found)
        found |= more


def gone(pids: list[int]) -> None:
    wait_until(lambda: not any(lives(pid) for pid in pids), "no process is left", 10)


# -- what is counted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [
        {"connections": "5"},
        {"connections_per_network": "5"},
        {"connections_per_user": "5"},
        {"backend_connections": "5"},
        {"rate_per_network": '"5/1h"'},
    ],
    ids=lambda limit: next(iter(limit)),
)
def test_a_limit_holds_over_all_workers_exactly(
    directory: Path, certificate: Certificate, pools: list[Pool], limit: dict[str, str]
) -> None:
    """Were each worker to count for itself, three times as many would get in."""
    with gateway(directory, certificate, LISTENERS, pools, server=THREE, admission=limits(**limit)) as gate:
        for more in (5, 0 if "rate_per_network" in limit else 5):  # the second round: whoever left gave all back
            with ThreadPoolExecutor(12) as threads, ExitStack() as stack:
                answers = list(threads.map(lambda _: log_in(gate), range(12)))
                for wire, _ in answers:
                    stack.enter_context(wire)
                within = [wire for wire, said in answers if said.startswith(b"a OK")]
                assert len(within) == more
                assert all(works(wire) for wire in within)
            sessions(gate, be=0)


def test_handshakes_are_limited_over_all_workers(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    admission = limits(handshakes="3")
    with (
        gateway(directory, certificate, LISTENERS, pools, server=THREE, admission=admission) as gate,
        ExitStack() as all,
    ):
        stalled = [all.enter_context(Wire(gate.ports["imaps"])) for _ in range(3)]
        for wire in stalled:
            wire.send(b"\x16\x03\x01")  # how a handshake begins
        sessions(gate, be=3)
        with ThreadPoolExecutor(1) as thread:
            fourth = thread.submit(log_in, gate)
            sessions(gate, be=4)
            assert not fourth.done()
            stalled[0].__exit__(None, None, None)
            wire, said = fourth.result(20)
        with wire:
            assert said.startswith(b"a OK")


def test_failures_at_any_worker_end_in_one_ban(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    admission = limits(bans="failures = 2\nuser_failures = 900")
    with gateway(directory, certificate, LISTENERS, pools, server=TWO, admission=admission) as gate:
        stays, said = log_in(gate)
        assert said.startswith(b"a OK")
        for user, password in (("ben", "one"), ("ben", "two")):  # one at each worker: the session of ann stays
            wire, said = log_in(gate, user, password)
            with wire:
                assert said.startswith(b"a NO")
        gate.event("banned", bool)
        wire, said = log_in(gate)
        assert said == b""
        assert gate.metric("tlsgate_bans") == 1
        with stays:
            assert works(stays)


def test_metrics_are_the_sum_of_all_workers(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server=THREE) as gate, ExitStack() as stack:
        wires = [stack.enter_context(log_in(gate)[0]) for _ in range(6)]
        pop = stack.enter_context(Wire(gate.ports["pop3s"]))
        pop.start_tls(gate.ca)
        pop.send(f"USER ann\r\nPASS {PASSWORD}\r\n".encode())
        assert [pop.line()[:3] for _ in range(3)] == [b"+OK"] * 3
        sessions(gate, be=7)
        assert gate.metric("tlsgate_logins_total", result="ok") == 7
        assert gate.metric("tlsgate_sessions", listener="imaps", phase="relay") == 6
        assert gate.metric("tlsgate_backend_connections", pool="imap") == 6
        for wire in wires:
            log_out(wire)
        pop.__exit__(None, None, None)
        sessions(gate, be=0)
        assert gate.metric("tlsgate_connections_total", result="accepted") == 7
        assert gate.metric("tlsgate_session_seconds_count") == 7
        assert gate.metric("tlsgate_backend_connections", pool="imap") == 0
        wait_until(lambda: len(gate.events("session")) == 7, "each session has its line")
        assert len({event["session"] for event in gate.events("session")}) == 7


def test_a_ticket_of_one_worker_is_good_at_the_others(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    """Else most of a phone's reconnects would cost a whole handshake."""
    with gateway(directory, certificate, LISTENERS, pools, server=THREE) as gate, ExitStack() as stack:
        context, session = trusting(gate.ca), None
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes with the handshake
        reused = []
        for _ in range(9):  # each stays: all workers get some
            tcp = socket.create_connection((HOST, gate.ports["imaps"]), timeout=20)
            client = context.wrap_socket(tcp, server_hostname=GATEWAY_NAME, session=session)
            stack.enter_context(client)
            session = session or client.session
            reused.append(client.session_reused)
        assert reused == [False] + [True] * 8


# -- who dies -------------------------------------------------------------------------------------------------


def test_a_killed_worker_costs_its_own_sessions_only(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    with (
        gateway(
            directory, certificate, LISTENERS, pools, server=TWO, admission=limits(connections_per_user="6")
        ) as gate,
        ExitStack() as stack,
    ):
        relayed = [stack.enter_context(log_in(gate)[0]) for _ in range(6)]
        silent = [stack.enter_context(Wire(gate.ports["imaps"])) for _ in range(4)]
        before_login = [stack.enter_context(Wire(gate.ports["imap"])) for _ in range(4)]
        assert all(wire.line().startswith(b"* OK") for wire in before_login)
        sessions(gate, be=14)
        killed = workers(gate)[0]
        os.kill(killed, signal.SIGKILL)
        ended = gate.event("worker_ended", bool)
        assert (ended["pid"], ended["sessions"], ended["level"]) == (killed, 7, "error")
        with log_in(gate)[0] as meanwhile:  # one of three places of the user that are free again
            assert works(meanwhile)
            assert sum(_is_over(wire) for wire in relayed) == 3
            assert sum(_is_over(wire) for wire in silent) == 2
            assert sum(_is_over(wire) for wire in before_login) == 2
            assert sum(works(wire) for wire in relayed if not _is_over(wire)) == 3
            wait_until(lambda: len(workers(gate)) == 2, "it is replaced")
        sessions(gate, be=7)


def _is_over(wire: Wire) -> bool:
    try:
        return not wire.silent_for(0.1)
    except OSError:
        return True


def test_a_stopped_worker_stalls_nothing_else(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate, ExitStack() as stack:
        wires = [stack.enter_context(log_in(gate)[0]) for _ in range(4)]
        stopped = workers(gate)[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert sum(not _stalls(wire) for wire in wires) == 2
            with ThreadPoolExecutor(8) as threads:
                some = [threads.submit(log_in, gate) for _ in range(8)]
                wait_until(lambda: sum(each.done() for each in some) >= 4, "half of them are served")
                assert gate.get("/metrics")[0] == 200
                os.kill(stopped, signal.SIGCONT)
                for each in some:
                    wire, said = stack.enter_context(each.result(20)[0]), each.result()[1]
                    assert said.startswith(b"a OK")
                    assert works(wire)
        finally:
            os.kill(stopped, signal.SIGCONT)
        sessions(gate, be=12)


def _stalls(wire: Wire) -> bool:
    wire.send(b"q NOOP\r\n")
    return wire.silent_for(0.3)


def test_without_a_spawner_it_goes_on_as_long_as_there_is_a_worker(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    passed = False
    with (
        pytest.raises(AssertionError, match="no worker is left"),  # it ends with 1: that's what is wanted here
        gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate,
        ExitStack() as stack,
    ):
        assert gate.process is not None
        wires = [stack.enter_context(log_in(gate)[0]) for _ in range(4)]
        one, two = workers(gate)
        os.kill(parent_of(one), signal.SIGKILL)
        assert all(works(wire) for wire in wires)
        gate.signal(signal.SIGHUP)
        assert gate.event("config_rejected", bool)["reason"] == "the spawner is gone"
        os.kill(one, signal.SIGKILL)
        told = gate.event("worker_not_replaced", bool)
        assert (told["left"], told["level"]) == (1, "error")
        with log_in(gate)[0] as wire:
            assert works(wire)
        os.kill(two, signal.SIGKILL)
        assert gate.process.wait(10) == 1
        passed = True
    assert passed


def test_without_the_parent_nothing_is_left(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    """An orphan would hold ports and sessions that nobody counts."""
    passed = False
    with (
        pytest.raises(AssertionError),  # it is killed
        gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate,
        log_in(gate)[0] as wire,
    ):
        all = family(gate)
        assert len(all) == 4
        gate.signal(signal.SIGKILL)
        gone(all)
        assert wire.ended()
        for port in gate.ports.values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
        assert "Traceback" not in gate.log.read_text()
        passed = True
    assert passed


# -- reload and drain -----------------------------------------------------------------------------------------


def reload(gate: Gateway, event: str = "config_reloaded") -> None:
    before = len(gate.events(event))
    gate.signal(signal.SIGHUP)
    wait_until(lambda: len(gate.events(event)) > before, event)


def test_ten_reloads_under_a_live_session(
    directory: Path, certificate: Certificate, pools: list[Pool], tmp_path: Path
) -> None:
    """Workers of before end unless they have sessions; nothing of them is left over in the parent or the spawner."""
    other = issue(tmp_path / "other", GATEWAY_NAME, HOST)
    with gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate, log_in(gate)[0] as wire:
        assert gate.process is not None
        wire.send(b"i IDLE\r\n")
        assert wire.line().startswith(b"+")
        spawner = parent_of(workers(gate)[0])
        text = gate.config.read_text()
        for old, new in ((certificate.chain, other.chain), (certificate.key, other.key)):
            text = text.replace(str(old), str(new))
        gate.config.write_text(text)

        def settled() -> bool:  # two that serve, and the one with the session
            return len(workers(gate)) == 3

        reload(gate)
        wait_until(settled, "the other worker of before has ended")
        lasting = (gate.process.pid, spawner)
        descriptors = [_descriptors(pid) for pid in lasting]
        for _ in range(9):
            reload(gate)
        wait_until(settled, "workers without sessions have ended")
        wait_until(lambda: [_descriptors(pid) for pid in lasting] == descriptors, "no descriptor is lost")
        assert not gate.events("worker_ended")
        with imap(Gateway(gate.ports, gate.admin, gate.log, other.ca, gate.config), "imaps", "implicit") as client:
            client.login("ann", PASSWORD)
        wire.send(b"DONE\r\n")
        assert wire.until(b"i ")[-1].startswith(b"i OK")
        assert works(wire)


def test_the_first_reload_leaves_no_descriptor(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    """What the start has made is kept for ever: a descriptor of it would be too."""
    with gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate:
        assert gate.process is not None
        lasting = (gate.process.pid, parent_of(workers(gate)[0]))
        descriptors = [_descriptors(pid) for pid in lasting]
        reload(gate)
        wait_until(lambda: [_descriptors(pid) for pid in lasting] == descriptors, "no descriptor is lost")


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_listener_that_a_reload_removes(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    """Its sessions have the drain time, the others go on."""
    server = 'drain = "500ms"\nworkers = 2'
    with gateway(directory, certificate, LISTENERS, pools, server=server) as gate, log_in(gate)[0] as stays:
        with Wire(gate.ports["pop3s"]) as pop:
            pop.start_tls(gate.ca)
            pop.send(f"USER ann\r\nPASS {PASSWORD}\r\n".encode())
            assert [pop.line()[:3] for _ in range(3)] == [b"+OK"] * 3
            port = free_port()
            text = gate.config.read_text().replace(f'{HOST}:{gate.ports["pop3s"]}"', f'{HOST}:{port}"')
            gate.config.write_text(text)
            reload(gate)
            assert pop.ended()
        assert not accepts(gate.ports["pop3s"])
        assert accepts(port)
        assert works(stays)


def test_a_bad_reload_changes_nothing(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server=TWO) as gate, log_in(gate)[0] as stays:
        before, good = family(gate), gate.config.read_text()
        with socket.create_server((HOST, 0)) as taken:
            port = taken.getsockname()[1]
            for bad in (
                good.replace("[tls]", "[tls"),
                good.replace(str(certificate.key), "gone.pem"),
                good.replace(f"{HOST}:{gate.ports['imap']}", f"{HOST}:{port}"),
            ):
                gate.config.write_text(bad)
                reload(gate, "config_rejected")
        assert family(gate) == before
        killed = workers(gate)[0]
        os.kill(killed, signal.SIGKILL)  # its successor has the good config, not the one that was refused last
        gate.event("worker_ended", lambda event: event["pid"] == killed)
        wait_until(lambda: len(workers(gate)) == 2, "it is replaced")
        with log_in(gate)[0] as one, log_in(gate)[0] as two:
            assert works(one)
            assert works(two)
        assert gate.metric("tlsgate_config_reload_total", result="rejected") == 3
        del stays


@pytest.mark.parametrize("hurried", [False, True])
def test_sigterm_drains(directory: Path, certificate: Certificate, pools: list[Pool], hurried: bool) -> None:
    server = f'drain = "{"1h" if hurried else "30s"}"\nworkers = 2'
    with gateway(directory, certificate, LISTENERS, pools, server=server) as gate, ExitStack() as stack:
        assert gate.process is not None
        wires = [stack.enter_context(log_in(gate)[0]) for _ in range(3)]
        all = family(gate)
        gate.signal(signal.SIGTERM)
        gate.event("draining", lambda event: event["sessions"] == 3)
        assert not accepts(gate.ports["imaps"])
        assert works(wires[0])
        if hurried:
            gate.signal(signal.SIGTERM)
        else:
            for wire in wires:
                log_out(wire)
        assert gate.process.wait(10) == 0
        gone(all)
        for name in ("started", "draining", "stopped"):
            assert len(gate.events(name)) == 1
        assert len(gate.events("session")) == 3
        assert {event["reason"] for event in gate.events("session")} == {"shutdown"} or not hurried
        assert not gate.events("worker_ended")


def test_a_stopped_worker_does_not_keep_it_from_ending(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    server = 'drain = "0s"\nworkers = 2'
    with gateway(directory, certificate, LISTENERS, pools, server=server) as gate:
        assert gate.process is not None
        all = family(gate)
        os.kill(workers(gate)[0], signal.SIGSTOP)
        gate.signal(signal.SIGTERM)
        assert gate.process.wait(10) == 0
        gone(all)


# -- privileges -----------------------------------------------------------------------------------------------


def test_the_spawner_alone_keeps_privileges_and_rereads_keys(
    root: Path, pools: list[Pool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A certificate's renewal: root's key, and nobody who talks to strangers may read it."""
    needs_root("only root can change who it is")
    own = issue(root / "workers-certificate", GATEWAY_NAME, HOST)
    for secret in (own.key, own.chain):
        secret.chmod(0o600)
    server, directory = f'{TWO}\nuser = "nobody"', root / "workers-gateway"
    with gateway(directory, own, LISTENERS, pools, server=server, measured=False) as gate, ExitStack() as stack:
        assert gate.process is not None
        gate.config.chmod(0o600)
        users = _owners([gate.process.pid, *workers(gate)])
        assert users == {pwd.getpwnam("nobody").pw_uid}
        assert _owners([parent_of(workers(gate)[0])]) == {0}
        wires = [stack.enter_context(log_in(gate)[0])]
        reload(gate)
        wires += [stack.enter_context(log_in(gate)[0])]
        assert all(works(wire) for wire in wires)
        assert _owners(workers(gate)) == users
        assert gate.metric("tlsgate_certificate_expiry_timestamp_seconds", certificate=str(own.chain)) > 0


def _owners(pids: list[int]) -> set[int]:
    return {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
