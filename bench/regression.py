"""Whether the gateway has become dearer: its CPU beside that of the least that would do (bench/floor.py).

    make test                                            # as a test
    python bench/regression.py [--slices 12]             # the figures; make bench builds what it needs

Both run beside each other on the first core, in front of one backend, and are driven in turn by the same clients. What
else the machine does makes a slice dearer, never cheaper: the first quartile of the slices counts, and a gateway is
over a bound only where it is twice. Bounds are ratios, no times; raise one only with a reason that a reader of the
history can follow, and lower it when the gateway has become cheaper.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.imap_service import started
from bench.mail.servers import Server
from bench.peers import subject
from bench.peers.gate import tlsgate
from bench.peers.load import Report, load
from bench.peers.subject import HOST, Ports
from tlsgate.demo.certificate import write_certificate
from tlsgate.tls import library

BUILT = Path(__file__).parents[1] / "build/bench"
SETTINGS = Path(library.__file__).with_name("openssl.cnf")
SLICES = 12
_REST = 0.05  # seconds, for what a gateway does behind the last client's end
_MINE = min(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Work:
    """``load``: as bench/load/client.c takes it. ``megabytes``: a unit is 1 MB, and not what clients count.

    ``measured``: the gateway's CPU, times the floor's, when ``bound`` was set.
    """

    name: str
    load: tuple[str, ...]
    measured: float
    bound: float
    megabytes: bool = False

    def units(self, report: Report) -> float:
        return report.bytes / 1e6 if self.megabytes else report.units


WORKS = (
    Work("a login", ("login", "imap", "-n", "8", "-c", "40"), measured=1.75, bound=2.1),
    Work("a NOOP", ("noop", "imap", "-k", "8", "-c", "200"), measured=0.93, bound=1.25),
    Work("1 MB down", ("down", "imap", "-c", "1", "-s", "32"), measured=1.0, bound=1.4, megabytes=True),
)


@dataclass(frozen=True, slots=True)
class Found:
    """CPU seconds for one unit of a work."""

    floor: float
    gateway: float

    @property
    def ratio(self) -> float:
        return self.gateway / self.floor


@dataclass(frozen=True, slots=True)
class Place:
    """``built``: has client.c and backend.c compiled. ``directory``: an empty one. Ports are free."""

    built: Path
    directory: Path
    ports: Ports
    floor_port: int


def measure(place: Place, slices: int = SLICES, works: Sequence[Work] = WORKS) -> Mapping[Work, Found]:
    """Raises RuntimeError where a server doesn't start, or work isn't done."""
    taken: dict[tuple[Work, bool], list[float]] = {}
    with _running(place) as (floor, gateway):
        for number in range(slices):
            for work in works:
                for server in (floor, gateway) if number % 2 else (gateway, floor):
                    taken.setdefault((work, server is floor), []).append(_slice(place.built / "client", work, server))
    return {work: Found(_quartile(taken[work, True]), _quartile(taken[work, False])) for work in works}


def dearer(place: Place, slices: int = SLICES, works: Sequence[Work] = WORKS) -> Mapping[Work, Found]:
    """Those that are over their bounds at two tries, as the second has found them. Raises as ``measure``."""
    found: Mapping[Work, Found] = {}
    for name in ("first", "second"):
        own = place.directory / name
        own.mkdir()
        measured = measure(replace(place, directory=own), slices, works)
        found = {work: each for work, each in measured.items() if each.ratio > work.bound}
        works = tuple(found)
        if not works:
            break
    return found


def said(found: Mapping[Work, Found]) -> str:
    """A table."""
    lines = ["| | floor, µs | gateway, µs | ratio | measured | bound |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for work, each in found.items():
        figures = f"{each.floor * 1e6:.0f} | {each.gateway * 1e6:.0f} | {each.ratio:.2f}"
        lines.append(f"| {work.name} | {figures} | {work.measured:g} | {work.bound:g} |")
    return "\n".join(lines)


def _slice(client: Path, work: Work, server: Server) -> float:
    mode, protocol, *options = work.load
    with load(client, mode, protocol, server.port, *options) as clients:
        time.sleep(_REST)
        before = server.ran
        report = clients.run()
        time.sleep(_REST)
        taken = server.ran - before
    if report.errors:
        raise RuntimeError(f"{work.name}: {report.errors} errors")
    return taken / work.units(report)


@contextmanager
def _running(place: Place) -> Iterator[tuple[Server, Server]]:
    ports, directory = place.ports, place.directory
    certificate, key = write_certificate(directory)
    served = [str(place.built / "backend"), HOST, *map(str, (ports.imap, ports.pop3, ports.smtp, ports.auth))]
    backend = Server(served, ports.imap, directory / "backend")
    least = [sys.executable, "-m", "bench.floor", *map(str, (place.floor_port, ports.imap, certificate, key))]
    # OpenSSL is set up for both as the gateway does it: one session ticket.
    floor = _with(Server(least, place.floor_port, directory / "floor", _MINE), f"OPENSSL_CONF={SETTINGS}")
    gateway = _with(tlsgate(subject.Place(directory, certificate, key, ports, sessions=1000, core=_MINE)))
    with started(backend, floor, gateway):
        yield floor, gateway


def _with(server: Server, *variables: str) -> Server:
    """And without the coverage that a test may run under."""
    unset = (f"--unset={name}" for name in os.environ if name.startswith("COVERAGE_"))
    return replace(server, command=["env", *unset, *variables, *server.command])


def _quartile(taken: list[float]) -> float:
    return sorted(taken)[len(taken) // 4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tlsgate-bench-") as directory:
        print(said(measure(Place(BUILT, Path(directory), Ports(), floor_port=2994), options.slices)))


if __name__ == "__main__":
    main()
