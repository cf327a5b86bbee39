"""What the process may do on its host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.system.peers import program
from tlsgate.workers.process import CannotStart, sessions_within, user_id

# What a process that has given up, as the words of its program say, finds itself to be; its child too.
_LOOK = """
import ctypes, json, os, resource
from tlsgate.workers.process import CannotStart, drop_privileges, give_up

def look():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    groups = {name: status[name].split() for name in ("Uid", "Gid", "Groups")}
    rights = {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")}
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    core = resource.getrlimit(resource.RLIMIT_CORE)
    return groups | rights | {"NoNewPrivs": status["NoNewPrivs"], "dumpable": dumpable, "core": core}

def way_back():
    for call in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
                 lambda: os.setgroups([0]), lambda: os.chroot("/")):
        try:
            call()
        except PermissionError:
            continue
        return True
    return False

def child(look):
    end, other = os.pipe()
    if os.fork():
        os.close(other)
        return json.loads(os.read(end, 10000))
    os.write(other, json.dumps(look()).encode())
    os._exit(0)
"""


def looked(words: str, *before: str) -> Any:
    """What the program finds, started by ``before``; its ``words`` end with what it prints."""
    done = subprocess.run(
        [*before, sys.executable, "-c", f"{_LOOK}{words}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("descriptors", "sessions"), [(0, 1), (60, 1), (103, 1), (104, 2), (1024, 462), (20_100, 10_000)]
)
def test_sessions_within_descriptors(descriptors: int, sessions: int) -> None:
    """More would be accepted than can be served; fewer than one, and a small container serves nobody."""
    assert sessions_within(descriptors) == sessions


def test_a_users_id() -> None:
    assert user_id("root") == 0
    assert user_id("") == -1
    with pytest.raises(CannotStart, match="no-such-user"):
        user_id("no-such-user")


def test_its_memory_is_never_dumped_and_no_program_gives_it_rights() -> None:
    """Private keys and passwords would lie on the disk; a shell that somebody gets here would find sudo of use."""
    before, after, child = looked("print(json.dumps([look(), (give_up(), look())[1], child(look)]))")
    assert (before["dumpable"], before["NoNewPrivs"]) == (1, "0")  # there was something to give up
    for found in (after, child):
        assert (found["dumpable"], found["NoNewPrivs"], found["core"]) == (0, "1", [0, 0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change who it is")
def test_who_has_become_the_user_keeps_nothing_and_finds_no_way_back() -> None:
    """An intruder in the process that talks to strangers would be root again by one call."""
    found, back = looked('give_up(); drop_privileges("nobody"); print(json.dumps([look(), way_back()]))')
    assert found["Uid"] == ["65534"] * 4  # real, effective, saved, of files
    assert set(found["Gid"]) == {"65534"}
    assert set(found["Groups"]) == {"65534"}
    assert (found["CapPrm"], found["CapEff"], found["CapAmb"]) == (0, 0, 0)
    assert found["dumpable"] == 0  # a change of user may set another value (fs.suid_dumpable)
    assert not back


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change who it is")
def test_who_could_go_back_does_not_start() -> None:
    """Started with the securebits of some sandboxes, setuid keeps every capability, that to become root among them."""
    words = """
try:
    drop_privileges("nobody")
except CannotStart as fault:
    print(json.dumps(str(fault)))
"""
    capsh = (program("capsh"), "--secbits=4", "--", "-c", 'exec "$0" "$@"')  # SECBIT_NO_SETUID_FIXUP
    assert looked(words, *capsh).startswith("server.user: ")
