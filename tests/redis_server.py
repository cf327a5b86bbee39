"""A real redis-server (or valkey-server) on loopback, that can be paused, killed and started again empty."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.system.peers import HOST, free_port, missing
from tlsgate.state.server import Server


class RedisServer:
    """On one port as long as it lives. Keeps nothing on disk: who is started again has no keys."""

    def __init__(self, program: str, directory: Path, password: str, options: tuple[str, ...]) -> None:
        self.port = free_port()
        self.password = password
        self._command = (
            program, "--port", str(self.port), "--bind", HOST, "--dir", str(directory), "--daemonize", "no",
            "--save", "", "--appendonly", "no", *(("--requirepass", password) if password else ()), *options,
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> Server:
        """As a store wants it."""
        return Server(HOST, self.port, password=self.password or None)

    def launch(self) -> None:
        """Without waiting."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def start(self) -> None:
        """Until it answers."""
        self.launch()
        process = self._process
        assert process is not None
        with trio.fail_after(20):
            while True:
                try:
                    if await self.command("PING") == b"+PONG\r\n":
                        return
                except OSError:
                    pass
                assert process.poll() is None, "the server ended at once"
                await trio.sleep(0.02)

    async def command(self, *words: str) -> bytes:
        """The first octets of the answer to one command, as they come over the wire."""
        stream = await trio.open_tcp_stream(HOST, self.port)
        async with stream:
            if self.password:
                await stream.send_all(f"AUTH {self.password}\r\n".encode())
                assert await stream.receive_some(100) == b"+OK\r\n"
            await stream.send_all(" ".join(words).encode() + b"\r\n")
            return bytes(await stream.receive_some(65_536))

    def pause(self) -> None:
        """It takes connections and octets, and does nothing."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # a signal takes its time

    def resume(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once, with all its keys; nothing to a server that is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def redis_server(directory: Path, password: str = "", options: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    """A server that isn't started yet. ``options``: more of its command line.

    Without its program the test skips, or fails under CI=true.
    """
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        missing("neither valkey-server nor redis-server is installed")
    assert program is not None
    server = RedisServer(program, directory, password, options)
    try:
        yield server
    finally:
        server.kill()
