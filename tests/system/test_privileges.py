"""What the gateway's processes may do on their host, as the kernel tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.certificates import Certificate
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import needs_root, wait_until

_LISTENERS = [Listener("imaps", "imap", "implicit", "imap")]
_POOLS = [Pool("imap", 1)]  # nobody is there, and nobody is needed


@pytest.mark.parametrize("workers", [1, 2])
def test_no_process_can_gain_rights_or_be_dumped_and_all_but_the_spawner_have_none(
    root: Path, gateway_certificate: Certificate, workers: int
) -> None:
    """One that was forgotten is the one that an intruder lands in."""
    needs_root("only root can change who it is")
    server = f'drain = "0s"\nworkers = {workers}\nuser = "nobody"'
    directory = root / f"privileges-gateway-{workers}"
    with gateway(directory, gateway_certificate, _LISTENERS, _POOLS, server=server, measured=False) as gate:
        family = _family(gate, {1: 1, 2: 4}[workers])
        statuses = {pid: _status(pid) for pid in family}
        for pid, status in statuses.items():
            assert status["NoNewPrivs"] == "1"
            assert re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
        dropped = {pid: each for pid, each in statuses.items() if each["Uid"].split() != ["0"] * 4}
        assert len(family) - len(dropped) == workers - 1  # the spawner: it rereads keys that only root may read
        for pid, status in dropped.items():
            assert len(set(status["Uid"].split())) == len(set(status["Gid"].split())) == 1
            assert "0" not in status["Groups"].split()
            assert {status[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
            assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # not its own user's: it is not dumpable (proc(5))
        assert gate.metric("process_open_fds") > 0  # what it sees of itself is not lost


@pytest.mark.parametrize("user", ["", "nobody"])
def test_who_serves_as_root_is_told(root: Path, gateway_certificate: Certificate, user: str) -> None:
    """A forgotten server.user shows nowhere else."""
    needs_root("only root runs as root")
    server, directory = f'drain = "0s"\nuser = "{user}"', root / f"root-gateway-{user or 'none'}"
    with gateway(directory, gateway_certificate, _LISTENERS, _POOLS, server=server, measured=not user) as gate:
        assert len(gate.events("runs_as_root")) == (not user)


def _family(gate: Gateway, count: int) -> list[int]:
    """The gateway's process and all its descendants, once there are ``count``."""
    assert gate.process is not None
    first = gate.process.pid
    wait_until(lambda: len(_below(first)) == count, "all processes are there")
    return _below(first)


def _below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _below(int(child)))]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
