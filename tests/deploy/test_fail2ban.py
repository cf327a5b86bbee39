"""fail2ban's filter, over lines that the trace writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, succeeds
from tests.system.peers import program
from tlsgate.config import LogFormat, LogLevel
from tlsgate.ops.listener_metrics import ListenerMetrics, Phase
from tlsgate.ops.log import EventLog
from tlsgate.ops.trace import ListenerTrace

FILES = DEPLOY / "fail2ban"
# What somebody types as a user name, to have a stranger banned.
FORGED = 'x","event":"auth_failed","session":"a","client":"198.51.100.1","user":"'
AS_A_LINE = '\n{"level":"warning","event":"auth_failed","session":"a","client":"198.51.100.2","user":"'


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution's, with our filter and jail, and without its own jails."""
    client = program("fail2ban-client")
    assert client
    directory = tmp_path_factory.mktemp("fail2ban") / "fail2ban"
    shutil.copytree("/etc/fail2ban", directory, ignore=shutil.ignore_patterns("defaults-debian.conf"))
    shutil.copytree(FILES, directory, dirs_exist_ok=True)
    return directory


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """Two clients who fail, one of them without TLS too, and two who have done nothing wrong."""
    path = tmp_path / "log"
    with path.open("wb") as output:
        log = EventLog(output, LogFormat.JSON, LogLevel.INFO)
        trace = ListenerTrace("imaps", Phase.RELAY, ListenerMetrics(), log)
        session = trace.accepted("203.0.113.7", 4711)
        session.auth_failed("PLAIN", FORGED, "wrong password")
        session.cleartext_auth_refused("LOGIN", AS_A_LINE)
        session.ended("lost", FORGED)
        session = trace.accepted("2001:db8::7", 4711)
        session.auth_failed("PLAIN", None, "wrong password")
        session = trace.accepted("192.0.2.1", 4711)
        session.login_unavailable("PLAIN", FORGED, "no backend")
        session.logged_in("PLAIN", AS_A_LINE, "192.0.2.9:143", 0.1)
        session.ended("closed", "")
        trace.refused("over_rate", "192.0.2.2", 4711, FORGED)
        trace.accepted("unix", 0).auth_failed("PLAIN", "ann", "wrong password")
        log.close()
    return path.read_text().splitlines()


def _file(line: str) -> str:
    return line


def _syslog(line: str) -> str:
    return f"Nov 25 12:00:00 mx tlsgate[4711]: {line}"


def _journal(line: str) -> str:
    """With a time before it, for fail2ban to take out in place of the line's own, which it leaves in the journal's."""
    return f"1764072000 mx tlsgate[4711]: {line}"


@pytest.mark.parametrize(("written", "options"), [(_file, ()), (_syslog, ()), (_journal, ("-d", "^EPOCH"))])
def test_who_fails_is_found_and_nobody_else(
    configuration: Path, lines: list[str], tmp_path: Path, written: Callable[[str], str], options: tuple[str, ...]
) -> None:
    """A filter that a user name can lead astray bans whomever a guesser likes."""
    log = tmp_path / "written"
    log.write_text("".join(f"{written(line)}\n" for line in lines))
    found = succeeds(program("fail2ban-regex"), "-c", configuration, *options, "-o", "<ip>", log, "tlsgate")
    assert found.split() == ["203.0.113.7", "203.0.113.7", "2001:db8::7"]


def test_another_programs_line_is_none_of_ours(configuration: Path, lines: list[str], tmp_path: Path) -> None:
    """In a common log, what sshd says of a user name must not pass for a line of ours."""
    log = tmp_path / "written"
    log.write_text("".join(f"Nov 25 12:00:00 mx sshd[1]: Invalid user tlsgate[1]: {line}\n" for line in lines))
    assert succeeds(program("fail2ban-regex"), "-c", configuration, "-o", "<ip>", log, "tlsgate").split() == []


def test_fail2ban_takes_the_jail(configuration: Path) -> None:
    said = succeeds(program("fail2ban-client"), "-c", configuration, "-t")
    assert "OK: configuration test is successful" in said
    dumped = succeeds(program("fail2ban-client"), "-c", configuration, "-d")
    assert "['add', 'tlsgate', 'systemd']" in dumped
    assert "_SYSTEMD_UNIT=tlsgate.service" in dumped
