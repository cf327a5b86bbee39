"""What tlsgate costs beside nginx's mail proxy, Dovecot, HAProxy and stunnel, on the same machine, one after another.

    make bench
    python bench/compare.py [--subjects tlsgate,nginx] [--modes imap,bulk] [--rounds 2] [--scale 0.05] [--to DIRECTORY]

The proxy has the first core, the clients and the backend the last. Writes RESULTS.md, ratios.svg and figures.json.
Needs root, two cores, and the programs that `make bench` installs and builds. bench/README.md says what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.mail.servers import Server
from bench.peers.dovecot import dovecot
from bench.peers.figures import Values, medians
from bench.peers.gate import tlsgate
from bench.peers.machine import machine
from bench.peers.modes import IDLE, MODES, Run, direct_round_trip, idle
from bench.peers.nginx import nginx, nginx_default
from bench.peers.plot import plot
from bench.peers.streams import haproxy, stunnel
from bench.peers.subject import HOST, Place, Ports, Subject
from bench.peers.table import table
from tlsgate.demo.certificate import write_certificate

SUBJECTS = {
    each.name: each
    for each in (
        Subject("tlsgate", tlsgate, refuses=True, workers=tlsgate),
        Subject("nginx", nginx),
        Subject("nginx-default", nginx_default),
        Subject("dovecot", dovecot),
        Subject("haproxy", haproxy, refuses=True),
        Subject("stunnel", stunnel),
    )
}
REFERENCE = "nginx"
PORTS = Ports()
BUILT = Path(__file__).parents[1] / "build/bench"
_MINE, _THEIRS = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
_DESCRIPTORS = 50_000  # two a session, of 20,000; nginx and HAProxy have some beside


@dataclass(frozen=True, slots=True)
class Plan:
    """``modes``: names of MODES and IDLE. ``sessions``: how many there can be."""

    modes: Sequence[str]
    scale: float
    sessions: int
    certificate: Path
    key: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*MODES, *IDLE]
    parser.add_argument("--subjects", type=_among(SUBJECTS), default=list(SUBJECTS), help=",".join(SUBJECTS))
    parser.add_argument("--modes", type=_among(every), default=list(every), help=",".join(every))
    parser.add_argument("--rounds", type=int, default=2, help="the median counts")
    parser.add_argument("--scale", type=float, default=1.0, help="of how much is done; below 1 only to try it out")
    parser.add_argument("--to", type=Path, default=BUILT)
    options = parser.parse_args()
    if os.geteuid() != 0 or _MINE == _THEIRS:
        raise SystemExit("needs root, for Dovecot, and two cores")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    os.sched_setaffinity(0, {_THEIRS})
    rounds: dict[str, list[Values]] = {name: [] for name in options.subjects}
    sessions = _sessions()
    for mode in options.modes:
        if IDLE.get(mode, 0) > sessions:
            print(f"{mode}: descriptors are limited to {_hard()}, enough for {sessions} sessions", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="tlsgate-bench-") as at:
        directory = Path(at)
        directory.chmod(0o755)  # for Dovecot's own users
        plan = Plan(options.modes, options.scale, sessions, *write_certificate(directory))
        backend = _backend(directory)
        backend.start()
        try:
            direct = direct_round_trip(BUILT / "client", PORTS)
            for number in range(options.rounds):
                for name in options.subjects[:: -1 if number % 2 else 1]:
                    own = directory / f"{name}-{number}"
                    rounds[name].append(dict(_measured(SUBJECTS[name], plan, own, direct)))
        finally:
            backend.stop()
    _write(options.to, rounds, options.scale)


def _measured(subject: Subject, plan: Plan, directory: Path, direct: float) -> Iterable[tuple[str, float]]:
    """Figures, as they come."""
    shared = [mode for mode in plan.modes if mode in MODES]
    alone = [[mode] for mode in plan.modes if IDLE.get(mode, plan.sessions + 1) <= plan.sessions]
    for number, modes in enumerate(filter(None, [shared, *alone])):
        own = directory / str(number)
        own.mkdir(parents=True)
        place = Place(own, plan.certificate, plan.key, PORTS, plan.sessions, _MINE)
        workers = subject.workers and partial(subject.workers, place)
        server = subject.make(place)
        server.start()
        try:
            run = Run(server, PORTS, BUILT / "client", plan.scale, direct, subject.refuses, workers)
            for mode in modes:
                for key, value in _of(mode, run).items():
                    print(f"{subject.name:14} {key:20} {value:12.2f}", flush=True)
                    yield key, value
        finally:
            server.stop()


def _of(mode: str, run: Run) -> Values:
    """Nothing where a proxy cannot."""
    try:
        return idle(run, IDLE[mode]) if mode in IDLE else MODES[mode](run)
    except RuntimeError as error:
        print(f"{mode}: {error}", file=sys.stderr)
        return {}


def _write(to: Path, rounds: dict[str, list[Values]], scale: float) -> None:
    found = {name: medians(each) for name, each in rounds.items()}
    reference = REFERENCE if REFERENCE in found else next(iter(found))
    to.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(rounds.values())))
    lines = [*machine(), f"the median of rounds: {count}; in parentheses: times the cost of {reference}"]
    if scale < 1:
        lines.append(f"**at a scale of {scale:g}: these figures say that it works, and nothing else**")
    said = table(found, reference)
    (to / "RESULTS.md").write_text(
        "# tlsgate beside its peers\n\n"
        + "".join(f"- {line}\n" for line in lines)
        + f"\n{said}\n![ratios](ratios.svg)\n"
    )
    (to / "ratios.svg").write_text(plot(found, reference))
    (to / "figures.json").write_text(json.dumps({"machine": machine(), "scale": scale, "rounds": rounds}, indent=1))
    print(said)


def _backend(directory: Path) -> Server:
    command = [str(BUILT / "backend"), HOST, *map(str, (PORTS.imap, PORTS.pop3, PORTS.smtp, PORTS.auth))]
    return Server(command, PORTS.imap, directory / "backend", _THEIRS)


def _sessions() -> int:
    """How many sessions descriptors allow; as many as are wanted, where root may raise its limit."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, max(_DESCRIPTORS, _hard())))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, _hard()), _hard()))
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 2


def _hard() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _DESCRIPTORS if most == resource.RLIM_INFINITY else most


def _among(names: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(names):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return chosen

    return parse


if __name__ == "__main__":
    main()
