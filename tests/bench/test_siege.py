"""The siege of bench/: nothing is lost that isn't owed to a fault, and it says so when something is.

If this fails, a gateway under load loses sessions or mail to what goes on around it, or nobody would hear of it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from bench.siege.faults import FAULTS, Fault, Going, Outcome, dns_dead, nothing, state_hangs
from bench.siege.gate import Ports
from bench.siege.report import report
from bench.siege.run import Findings, besiege
from bench.siege.site import Crowd, Site, Size, site
from tests.system.peers import free_port, missing

SIZE = Size(120, workers=2, beat=1.0, during=0.8, after=1.0, greeting=2, flood=100)
# What has no effect within so short a time.
LEFT_OUT = (nothing, dns_dead, state_hangs)
# What is counted, and must be zero at the end.
PLACES = ("backend", "connections}", "network", "user")


def _ports() -> Ports:
    names = ("imap", "pop3", "submission")
    first, second = ({name: free_port() for name in (*names, "http")} for _ in range(2))
    return Ports({name: free_port() for name in names}, free_port(), free_port(), free_port(), (first, second))


def _besieged(directory: Path, built: Path, size: Size, faults: Mapping[str, Fault]) -> Findings:
    if shutil.which("valkey-server") is None and shutil.which("redis-server") is None:
        missing("neither valkey-server nor redis-server is installed")
    said: list[str] = []
    with site(directory, built, size, _ports()) as running:
        return besiege(running, time.monotonic() + 100, said.append, faults)


def test_who_is_logged_in_lives_on_whatever_breaks(built: Path, tmp_path: Path) -> None:
    findings = _besieged(tmp_path, built, SIZE, {name: each for name, each in FAULTS.items() if each not in LEFT_OUT})
    text = report(findings, SIZE, 30.0, 1000)
    assert findings.held, text
    lost = {row.name: row.lost for row in findings.rows if row.lost}
    assert lost.keys() == {"a backend is killed, and started again", "a worker is killed"}, text
    assert findings.stored and "All of it held." in text


def _backend_killed_without_a_word(site: Site, crowd: Crowd) -> Going:
    site.backends[0].kill()
    yield 0.5
    site.backends[0].start()
    yield 0.5
    return Outcome()


def _looked_at(site: Site, crowd: Crowd) -> Going:
    yield 0.1
    return Outcome(seen=" ".join(sorted({key.partition(" ")[0] for key in site.places()})))


def _mail_lost(site: Site, crowd: Crowd) -> Going:
    yield 1.0
    for path in site.stored:
        path.write_text("")
    return Outcome()


def test_what_does_not_hold_is_told(built: Path, tmp_path: Path) -> None:
    """Sessions lost that nobody owes, and mail that a backend has forgotten."""
    size = Size(60, workers=1, beat=0.5, greeting=2)
    faults: dict[str, Fault] = {
        "nothing": _looked_at,
        "backend": _backend_killed_without_a_word,
        "mail": _mail_lost,
    }
    findings = _besieged(tmp_path, built, size, faults)
    assert not findings.held
    looked_at, killed, _ = findings.rows
    assert looked_at.seen == " ".join(f"tlsgate:place{{tlsgate:place:{what}" for what in PLACES)
    assert any(each.startswith("sessions lost") for each in killed.broken)
    assert any("are nowhere" in each for each in findings.broken)
    assert "**no**" in report(findings, size, 10.0, 1000)
