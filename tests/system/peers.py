"""What every real peer needs: its program, a port, and being waited for."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HOST = "127.0.0.1"
_SYSTEM_PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def missing(what: str) -> None:
    """Skip the test; under CI=true fail it: there a peer that is not there would hide a fault."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true", pytrace=False)
    pytest.skip(what)


def program(name: str) -> str:
    """The path of ``name``; without it the test skips, or fails under CI=true."""
    path = shutil.which(name, path=_SYSTEM_PATHS)
    if path is None:
        missing(f"{name} is not installed")
    assert path is not None
    return path


def needs_root(why: str) -> None:
    if os.geteuid() != 0:
        missing(why)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, where possible outside of the range the kernel hands out."""
    try:
        first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first_ephemeral = 0
    candidates = random.sample(range(10000, first_ephemeral), 50) if first_ephemeral > 10100 else []
    for port in [*candidates, 0]:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Ask ``condition`` again and again until it holds; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether a TCP connection to ``port`` is accepted."""
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True


def greets(port: int) -> bool:
    """Whether a server on ``port`` accepts and says anything at all."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def run(*command: str, text: str = "", seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a client to its end, with ``text`` as its standard input; output and errors are kept."""
    return subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=seconds
    )


def stop(process: subprocess.Popen[bytes], seconds: float = 15.0) -> int:
    """End a server that we started by SIGTERM, by SIGKILL if that takes too long; its exit status."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(5)
