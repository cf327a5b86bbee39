"""A demo backend for each test, and a raw client for what no library sends."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol

import pytest
import trio

from tlsgate.demo import DemoBackend, serve
from tlsgate.demo.connection import Connection

USERS = {"demo": "sec ret", "ann": "other"}


class Talk(Connection):
    """A client that waits no longer than ten seconds for anything."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._socket = stream.socket

    def close(self) -> None:
        """Vanish, without a word."""
        self._socket.close()

    async def line(self) -> bytes:
        with trio.fail_after(10):
            return await self.read_line()

    async def lines(self, last: bytes) -> list[bytes]:
        """Read up to and with the line that starts with `last`."""
        read = [await self.line()]
        while not read[-1].startswith(last):
            read.append(await self.line())
        return read

    async def ask(self, command: bytes, last: bytes | None = None) -> list[bytes]:
        """Send a command and read up to its tagged response (IMAP) or to the line that starts with `last`."""
        await self.send(command + b"\r\n")
        return await self.lines(command.split(b" ")[0] + b" " if last is None else last)


class Connect(Protocol):
    async def __call__(self, port: int, greeted: bool = True) -> Talk: ...


@pytest.fixture
async def backend(nursery: trio.Nursery) -> DemoBackend:
    started: DemoBackend = await nursery.start(partial(serve, USERS))
    return started


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects to a port and reads the greeting, unless told not to. Closes at the test's end."""
    talks = []

    async def connect(port: int, greeted: bool = True) -> Talk:
        talks.append(Talk(await trio.open_tcp_stream("127.0.0.1", port)))
        if greeted:
            await talks[-1].line()
        return talks[-1]

    yield connect
    for talk in talks:
        talk.close()


async def in_thread(client: Callable[[], None]) -> None:
    """Run a blocking client, whose own socket timeouts bound it."""
    await trio.to_thread.run_sync(client)


def program(name: str) -> str:
    """Return a real client's path; without it skip, or fail under CI=true."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
