"""tlsgate user app-password: what it prints, and that what it prints lets in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from tlsgate.auth.app_passwords import read_app_passwords
from tlsgate.config import Protocol

COMMAND = (sys.executable, "-m", "tlsgate", "user", "app-password")
GROUPS = re.compile(r"(?:[a-z2-9]{4}-){4}[a-z2-9]{4}\n")
CONFIG = """
[server]
hostname = "mail.example.org"
{state}
[tls]
certificate = "c"
private_key = "k"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:993"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:143" }}]
"""


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    return tmp_path / "apps"


def run(apps: Path, *line: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    done = subprocess.run([*COMMAND, *line, "--file", str(apps)], capture_output=True, timeout=60, text=True)
    return done.returncode, done.stdout, done.stderr


def made(apps: Path, *line: str) -> str:
    code, out, err = run(apps, "add", *line)
    assert (code, err) == (0, "")
    assert GROUPS.fullmatch(out)
    return out.strip()


def test_one_is_made_for_its_protocols_and_networks_and_taken_away(apps: Path) -> None:
    password = made(
        apps, "ann", "--label", "phone", "--protocols", "imap,submission", "--networks", "192.0.2.0/24,2001:db8::/32"
    )
    assert apps.stat().st_mode & 0o777 == 0o600
    assert password.replace("-", "") not in apps.read_text().replace("-", "")
    own = read_app_passwords(apps.read_bytes()).find("ann", password.encode())
    assert own is not None and own.label == "phone"
    assert own.unfit(Protocol.SUBMISSION, ip_address("2001:db8::1")) == ""
    assert own.unfit(Protocol.POP3, ip_address("192.0.2.1")) != ""
    assert own.unfit(Protocol.IMAP, ip_address("192.0.3.1")) != ""
    other = made(apps, "ann", "--label", "pad")
    assert run(apps, "remove", "ann", "--label", "phone")[0] == 0
    read = read_app_passwords(apps.read_bytes())
    assert read.find("ann", password.encode()) is None
    assert read.find("ann", other.encode()) is not None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("add", "ann", "--label", "phone"), "has one of label 'phone' already"),
        (("add", "ann", "--label", "a:b"), "a label has"),
        (("add", "ann", "--label", ""), "a label has"),
        (("add", "a:n", "--label", "pad"), '":"'),
        (("add", "ann", "--label", "pad", "--protocols", "imaps"), "protocols aren't some of"),
        (("add", "ann", "--label", "pad", "--protocols", "mx"), "protocols aren't some of"),
        (("add", "ann", "--label", "pad", "--networks", "192.0.2.1/24"), "networks aren't prefixes"),
        (("add", "ann", "--label", "pad", "--networks", "home"), "networks aren't prefixes"),
        (("remove", "ann", "--label", "pad"), "has none of label 'pad'"),
        (("remove", "bob", "--label", "phone"), "has none of label 'phone'"),
    ],
)
def test_no(apps: Path, line: tuple[str, ...], why: str) -> None:
    """Exit code 1, no password, and the file is as it was."""
    made(apps, "ann", "--label", "phone")
    before = apps.read_bytes()
    code, out, err = run(apps, *line)
    assert (code, out) == (1, "")
    assert why in err and "Traceback" not in err
    assert apps.read_bytes() == before


def test_the_list_tells_where_they_are_good_and_when_they_were_used(apps: Path, tmp_path: Path) -> None:
    made(apps, "ann", "--label", "phone", "--protocols", "imap,pop3", "--networks", "192.0.2.0/24")
    made(apps, "bob", "--label", "my pad")
    with apps.open("a") as file:
        file.write("cay:hunter2\n")
    today = datetime.now(UTC)
    phone = f"ann\tphone\tmade {today:%Y-%m-%d}\timap,pop3\t192.0.2.0/24"
    pad = f"bob\tmy pad\tmade {today:%Y-%m-%d}\tall protocols\teverywhere"
    code, out, err = run(apps, "list")
    assert (code, out) == (0, f"{phone}\n{pad}\n")
    assert err.startswith(f"{apps}:3: ") and "hunter2" not in err
    assert run(apps, "list", "bob")[1] == f"{pad}\n"

    assert run(apps, "list", "--state-directory", str(tmp_path))[1] == f"{phone}\tnever used\n{pad}\tnever used\n"
    before = (today - timedelta(days=2)).isoformat()  # one that is no more, with the same label
    uses = [["ann", "phone", today.isoformat()], ["bob", "my pad", before]]
    (tmp_path / "app-passwords-used.json").write_text(json.dumps(uses))
    used = f"{phone}\tused {today:%Y-%m-%d %H:%M} UTC\n{pad}\tnever used\n"
    assert run(apps, "list", "--state-directory", str(tmp_path))[1] == used
    config = tmp_path / "tlsgate.toml"
    config.write_text(CONFIG.format(state=f'state_directory = "{tmp_path}"'))
    assert run(apps, "list", "--config", str(config))[1] == used


def test_a_config_that_can_not_tell(apps: Path, tmp_path: Path) -> None:
    made(apps, "ann", "--label", "phone")
    config = tmp_path / "tlsgate.toml"
    config.write_text(CONFIG.format(state=""))
    code, out, err = run(apps, "list", "--config", str(config))
    assert (code, out) == (1, "") and "has no server.state_directory" in err
    config.write_text("x")
    code, out, err = run(apps, "list", "--config", str(config))
    assert (code, out) == (1, "") and f"{config}:1: " in err and "None" not in err


def test_a_file_that_is_not_there(apps: Path) -> None:
    for line in (("remove", "ann", "--label", "phone"), ("list",)):
        assert run(apps, *line) == (1, "", f"{apps}: No such file or directory\n")
    assert not apps.exists()
