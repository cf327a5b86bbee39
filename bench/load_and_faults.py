"""Load and faults together: a gateway with live sessions, floods and stalled handshakes, while its world breaks.

    python bench/load_and_faults.py [--sessions 10000] [--workers N] [--report docs/load-and-faults.md]

Sessions are logged in by IMAP, POP3 and submission; each must answer every ten seconds, except where the fault itself
takes it away: then it logs in again. Messages have numbers; each that was taken must be stored. At the end all go, and
nothing may be left of them. It takes eight minutes, ten at most; exit status 1 if anything didn't hold.

Needs a C compiler with OpenSSL's headers and redis-server or valkey-server; root for a disk that is full.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.siege.gate import Ports
from bench.siege.report import report
from bench.siege.run import besiege
from bench.siege.site import Size, site
from tlsgate.workers.process import sessions_within

_MOST_SECONDS = 600
_ROOT = Path(__file__).parents[1]
PORTS = Ports(
    listeners={"imap": 3993, "pop3": 3995, "submission": 3465},
    admin=3090,
    redis=3379,
    dns=3053,
    backends=(
        {"imap": 13143, "pop3": 13110, "submission": 13025, "http": 13080},
        {"imap": 13144, "pop3": 13111, "submission": 13026, "http": 13081},
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--workers", type=int, help="one, if the limit of descriptors lets it have so many sessions")
    parser.add_argument("--report", type=Path, help="write what was found there")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = Size(options.sessions, options.workers or 1)
    if sessions_within(hard) < size.most and not options.workers:
        size = Size(options.sessions, 2)
        print(f"two workers: {hard} descriptors are not enough for one with {size.most} connections", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tlsgate-siege-") as directory:
        place = Path(directory)
        with site(place, compiled(place), size, PORTS) as running:
            findings = besiege(running, began + _MOST_SECONDS - 60, lambda line: print(line, flush=True))
    text = report(findings, size, time.monotonic() - began, hard)
    print(text)
    if options.report:
        options.report.write_text(text)
    return not findings.held


def compiled(directory: Path) -> Path:
    """Where the programs of bench/load are."""
    programs = [f"{directory}/client", f"{directory}/backend", f"{directory}/clock.so"]
    subprocess.run(["make", "-sC", str(_ROOT), f"BENCH={directory}", *programs], check=True)
    return directory


if __name__ == "__main__":
    sys.exit(main())
