"""The systemd unit: systemd takes it, and what it may do is little."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, succeeds
from tests.system.peers import program
from tlsgate.config import Server
from tlsgate.config.values import parse_address

UNIT = DEPLOY / "systemd" / "tlsgate.service"
SOCKET = UNIT.with_suffix(".socket")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, for a program that is there."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/tlsgate/bin/tlsgate", shutil.which("true") or "/bin/true"))
    return path


def test_systemd_finds_no_fault(unit: Path) -> None:
    """A key that it doesn't know is left out with a warning, and so is what it was to forbid."""
    assert succeeds(program("systemd-analyze"), "verify", unit) == ""


def test_systemd_finds_no_fault_with_the_ports_that_it_holds(unit: Path) -> None:
    """It looks for the service of that name, and for keys that it doesn't know."""
    held = unit.with_suffix(".socket")
    held.write_text(SOCKET.read_text())
    assert succeeds(program("systemd-analyze"), "verify", held) == ""


def test_the_ports_are_written_as_in_a_config() -> None:
    """Sockets are matched by address: one that is written otherwise is held, and served by nobody."""
    lines = re.findall(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE)
    assert lines
    assert [str(parse_address(each)) for each in lines] == lines
    assert re.search(r"^BindIPv6Only=both$", SOCKET.read_text(), re.MULTILINE)  # as tlsgate binds [::] itself
    assert "\nAccept=" not in SOCKET.read_text()  # yes would pass clients


def test_its_exposure_is_low(unit: Path) -> None:
    said = succeeds(program("systemd-analyze"), "security", "--offline=yes", "--no-pager", unit)
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert score, said
    assert float(score[1]) <= 2.0


def test_tls_callbacks_can_be_made() -> None:
    """They are written into memory and executed: under MemoryDenyWriteExecute nothing starts."""
    assert not re.search(r"^MemoryDenyWriteExecute=(yes|true|on|1)", UNIT.read_text(), re.MULTILINE)


def test_it_waits_for_the_drain() -> None:
    """Else the sessions that drain are killed."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found
    assert int(found[1]) > Server(hostname="mail.example.org").drain
