"""The bench measures what it says: clients, backend and gateway do all of it, and what wasn't done isn't counted.

If this fails, figures are of work that nobody did, or `make bench` stops half-way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.mail.servers import Server
from bench.peers.gate import tlsgate
from bench.peers.load import load
from bench.peers.modes import MODES, Run, direct_round_trip, idle
from bench.peers.subject import HOST, Place, Ports
from tests.system.peers import free_port
from tlsgate.demo.certificate import write_certificate

EXPECTED: dict[str, set[str]] = {
    "start": {"start_ms", "base_kib"},
    "worker": {"worker_kib"},
    "imap": {"imap_us", "imap_resumed_us"},
    "pop3": {"pop3_us", "pop3_resumed_us"},
    "smtp": {"smtp_us", "smtp_resumed_us"},
    "latency": {"login_p50_ms", "login_p99_ms"},
    "bulk": {"down_s_gb", "up_s_gb"},
    "messages": {"messages_cpu_s"},
    "refused": {"refused_cpu_s"},
    "round-trip": {"added_us"},
}


@pytest.fixture(scope="module")
def run(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A gateway in front of the backend of bench/, to be measured shortly."""
    directory, core = tmp_path_factory.mktemp("gate"), min(os.sched_getaffinity(0))
    ports = Ports(*(free_port() for _ in range(8)))
    command = [str(built / "backend"), HOST, *map(str, (ports.imap, ports.pop3, ports.smtp, ports.auth))]
    backend = Server(command, ports.imap, directory / "backend")
    place = Place(directory, *write_certificate(directory), ports, sessions=500, core=core)
    gate = tlsgate(place)
    try:
        backend.start()
        gate.start()
        direct = direct_round_trip(built / "client", ports)
        yield Run(
            gate, ports, built / "client", scale=0.01, direct_us=direct, refuses=True, workers=partial(tlsgate, place)
        )
    finally:
        gate.stop()
        backend.stop()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_mode_finds_its_figures(run: Run, name: str) -> None:
    found = MODES[name](run)
    assert set(found) == EXPECTED[name]
    # A difference of two medians may be anything, on a machine that others use.
    assert all(value > 0 for key, value in found.items() if key != "added_us")


def test_idle_sessions_are_all_there(run: Run) -> None:
    assert set(idle(run, 100)) == {"idle_100_kib"}


def test_sessions_that_do_not_come_are_no_figure(run: Run) -> None:
    """The gateway has room for 500."""
    assert idle(run, 600) == {}


def test_who_cannot_refuse_is_not_asked_to(run: Run) -> None:
    assert MODES["refused"](Run(run.server, run.ports, run.client, run.scale, run.direct_us, refuses=False)) == {}


@pytest.mark.parametrize("mode", ["login", "refused", "noop"])
def test_nobody_there_is_no_work_done(built: Path, mode: str) -> None:
    with load(built / "client", mode, "imap", free_port(), "-c", "20") as clients, pytest.raises(RuntimeError):
        clients.run()
