"""docs/quick-start.md does what it says: its commands, in namespaces of their own, before a Dovecot and a Postfix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.peers import missing, needs_root, program, run

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs" / "quick-start.md"
# Directories that the page's commands change, or that both servers keep things in: private ones instead.
_COPIED, _EMPTY = ("/etc/dovecot", "/etc/postfix"), ("/srv", "/run", "/var/spool/postfix", "/var/lib/dovecot")
_PATIENCE = 60


def _commands() -> list[str]:
    """Those of the section about real servers, but for what fetches and installs."""
    section = _PAGE.read_text(encoding="utf-8").partition("## Before real old servers")[2].partition("\n## ")[0]
    found = re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE)
    fetching = ("apt-get ", "git clone ", "cd tlsgate", "make install")
    assert [each for each in found if each.startswith(fetching)] == found[:4]
    return found[4:]


def _prepared(directory: Path) -> str:
    """A script's beginning: an empty network, private directories, and a clone with an environment that is there."""
    lines = ["set -e", "ip link set lo up"]
    for path in (*_COPIED, "/etc/hosts"):
        copy = directory / Path(path).name
        lines += [f"cp -a {path} {copy}", f"mount --bind {copy} {path}"]
    lines += [f"mount -t tmpfs none {path}" for path in _EMPTY]
    lines += [f"mkdir -p {directory}/clone/.venv/bin", f"cd {directory}/clone"]
    lines += [f"ln -s {ROOT / name} {name}" for name in ("deploy", "certs")]
    return "\n".join(lines)


def _with_own_certificates(directory: Path) -> str:
    """The clone's certs/ is written to: a copy."""
    return f"rm certs; cp -r {ROOT / 'certs'} certs; rm -rf certs/dev"


def _retried(command: str) -> str:
    """Servers come up, and mail is delivered, while a reader goes on to the next line."""
    return f"for attempt in $(seq 100); do {command} && break; sleep 0.2; done"


def test_its_commands_lead_to_logins(tmp_path: Path) -> None:
    """A newcomer whose first paste fails doesn't come back."""
    needs_root("mounts and namespaces need root")
    for each in ("ip", "dovecot", "postfix", "curl", "openssl"):
        program(each)
    if not Path("/usr/lib/dovecot/lmtp").exists():
        missing("dovecot-lmtpd is not installed")
    if (tried := run(program("unshare"), "--net", "--mount", "mount", "-t", "tmpfs", "none", "/srv")).returncode:
        pytest.skip(f"no namespaces here: {tried.stderr.strip()}")
    tlsgate = tmp_path / "clone" / ".venv" / "bin" / "tlsgate"
    script = [_prepared(tmp_path), _with_own_certificates(tmp_path)]
    script += [f"printf '#!/bin/sh\\nexec {sys.executable} -m tlsgate \"$@\"\\n' >{tlsgate}; chmod 755 {tlsgate}"]
    for command in _commands():
        plain = command.endswith("&") or not re.search(r"\b(?:curl|s_client|status)\b", command)
        if "doctor" in command:
            script.append(f"{command} || [ $? = 1 ]")  # there is no DNS to be asked
        else:
            script.append(command if plain else _retried(command))
        if "mail-rcpt" in command:
            script.append("echo SENT")
    done = subprocess.run(
        [program("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash"],
        input="\n".join(script),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout
    for words in ("the config is good", "* LIST", "SENT", "Through tlsgate.", "+OK 1 ", "serving", "0 problems"):
        assert words in said, f"{words}: {said}\n{done.stderr}"
