"""What a login costs the gateway, by who judges it and by which mechanism it is shown.

    python bench/logins_by_source.py [--logins 500] [--at-once 8] [--rounds 2] [WORD ...]

For each source a `tlsgate run` of its own in front of one IMAP server, on the first core; clients, server, issuer and
auth_http server are elsewhere. CPU of the gateway's process tree, from when the clients are ready until they are done,
a full handshake each. Where hashes are slow there are a fifth as many logins. What else the machine does makes a login
dearer, never cheaper: they are measured by the 25, and the first quartile counts. ``WORD``: only lines that have one,
beside the first.

On two cores that others used too (CPU ms a login; 500 logins, twice):

| backend, PLAIN                             |  1.19 |
| users-file, SHA512-CRYPT, PLAIN            |  4.63 |
| users-file, ARGON2ID, PLAIN                | 23.32 |
| the same with success_cache                |  1.32 |
| users-file, SCRAM-SHA-256, PLAIN           | 25.34 |
| users-file, SCRAM-SHA-256 and -PLUS        |  1.49 |
| auth-http, PLAIN                           |  1.50 |
| the same with success_cache                |  1.30 |
| oauth, JWT by ES256, either mechanism      |  1.55 |
| oauth, JWT by RS256                        |  1.33 |
| oauth, introspection, a new token each     |  1.53 |
| oauth, introspection, the same token again |  1.12 |
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.imap_service import backend, gateway, started
from bench.logins.asked import USER, Asked, asked
from bench.logins.cases import CASES, Case
from bench.mail.gate import Ports
from bench.mail.servers import Server

PORTS = Ports(gate=17993, admin=17090, backend=17144)
MINE, THEIRS = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
_REST = 0.05  # seconds, for what a gateway does behind the last client's end
_SLICE = 25  # logins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logins", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    cases = [
        each
        for each in CASES[1:]
        if not options.words or any(w in f"{each.source} {each.mechanism}" for w in options.words)
    ]
    cases.insert(0, CASES[0])
    taken: dict[Case, list[float]] = {each: [] for each in cases}
    os.sched_setaffinity(0, {THEIRS})
    with asked() as who:
        for number in range(options.rounds):
            for case in cases if number % 2 == 0 else reversed(cases):
                logins = options.logins // (5 if case.slow else 1)
                taken[case] += measure(case, who, PORTS, logins, options.at_once)
    reference = _quartile(taken[cases[0]])
    print(f"| {'source':38} | {'mechanism':18} | CPU ms a login | to the first | median |")
    print(f"| {'-' * 38} | {'-' * 18} | -------------: | -----------: | -----: |")
    for case, each in taken.items():
        first, median = _quartile(each), statistics.median(each)
        times = f"{first * 1e3:14.2f} | {first / reference:12.2f} | {median * 1e3:6.2f}"
        print(f"| {case.source:38} | {case.mechanism:18} | {times} |")


def _quartile(taken: list[float]) -> float:
    return sorted(taken)[len(taken) // 4]


def _has(case: Case, words: list[str]) -> bool:
    return any(word in f"{case.source} {case.mechanism}" for word in words)


def measure(case: Case, who: Asked, ports: Ports, logins: int, at_once: int) -> list[float]:
    """CPU seconds a login, by slices. Raises SystemExit where one fails, or asks more or fewer questions than due."""
    directory = Path(tempfile.mkdtemp(prefix="tlsgate-bench-"))
    try:
        server, _ = gateway(directory, case.config(directory, ports, who.port), ports.gate, MINE)
        with started(backend(directory, ports.backend, THEIRS), server):
            return _taken(case, who, server, logins, at_once)
    finally:
        shutil.rmtree(directory)


def _taken(case: Case, who: Asked, server: Server, logins: int, at_once: int) -> list[float]:
    each = min(logins, _SLICE)
    shown = map(str, (server.port, case.mechanism, each, at_once, USER, case.secret()))
    command, taken = [sys.executable, "-m", "bench.logins.client", *shown], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdin is not None and clients.stdout is not None
        said, questions = clients.stdout.readline(), who.questions
        for _ in range(max(logins // each, 1)):
            time.sleep(_REST)
            before = server.ran
            clients.stdin.write("go\n")
            clients.stdin.flush()
            said = said and clients.stdout.readline()
            time.sleep(_REST)
            taken.append((server.ran - before) / each)
            if not said:
                raise SystemExit(f"{case.source}, {case.mechanism}: a login has failed")
    if who.questions - questions != len(taken) * each * case.questions:
        raise SystemExit(f"{case.source}, {case.mechanism}: {who.questions - questions} questions")
    return taken


if __name__ == "__main__":
    main()
