"""A packet socket between the parent process and a worker: messages whole and in order, a descriptor beside one.

Sending never waits: what the socket doesn't take now is kept in order and goes when it does.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
from collections import deque
from contextlib import suppress

import trio

_LONGEST = 1 << 20
_MOST_UNSENT = 100_000
_AT_ONCE = 64  # packets before others have their turn
_FD = array.array("i", [0]).itemsize


class Channel:
    """One end. Owns its socket, and the descriptors that are sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        self._socket = end
        self._buffer = memoryview(mmap.mmap(-1, _LONGEST))  # no more memory than the longest packet so far
        self._unsent: deque[tuple[bytes, socket.socket | None]] = deque()
        self._some_unsent = trio.Event()
        self._in_a_row = 0
        self.broken = False

    @property
    def behind(self) -> bool:
        """Whether the peer reads more slowly than we send."""
        return bool(self._unsent)

    def send(self, message: bytes, connected: socket.socket | None = None) -> None:
        """Send a packet; ``connected`` goes beside it and is closed here. Nothing happens once the peer is gone.

        A peer that leaves too much unread is as good as gone.
        """
        self._unsent.append((message, connected))
        if len(self._unsent) == 1:
            self._flush()
            if self._unsent:
                self._some_unsent.set()
        elif len(self._unsent) > _MOST_UNSENT:
            self._break()

    async def receive(self) -> tuple[bytes, socket.socket | None]:
        """The next packet, and what came beside it; b"" at the peer's end, and at ours."""
        while True:
            if self._in_a_row >= _AT_ONCE:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            try:
                length, ancillary, _, _ = self._socket.recvmsg_into([self._buffer], socket.CMSG_SPACE(_FD))
            except BlockingIOError:
                pass
            except ConnectionResetError:
                continue  # told once, when the peer ended with something unread: what it has sent is still to come
            except OSError:
                return b"", None
            else:
                self._in_a_row += 1
                return bytes(self._buffer[:length]), _descriptor(ancillary)
            self._in_a_row = 0
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                return b"", None

    async def run(self) -> None:
        """Send what had to wait, until it is closed or cancelled."""
        while not self.broken:
            await self._some_unsent.wait()
            self._some_unsent = trio.Event()
            while self._unsent:
                try:
                    await trio.lowlevel.wait_writable(self._socket)
                except trio.ClosedResourceError:
                    return
                self._flush()

    def close(self) -> None:
        """Close, also what wasn't sent."""
        self.broken = True
        self._drop()
        self._some_unsent.set()
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _flush(self) -> None:
        while self._unsent:
            message, connected = self._unsent[0]
            beside = [] if connected is None else [_beside(connected)]
            try:
                self._socket.sendmsg([message], beside)
            except BlockingIOError:
                return
            except OSError:  # the peer is gone
                self._break()
                return
            self._unsent.popleft()
            if connected is not None:
                connected.close()

    def _break(self) -> None:
        """Send no more; who reads here hears of the end."""
        self.broken = True
        self._drop()
        self._some_unsent.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        for _, connected in self._unsent:
            if connected is not None:
                connected.close()
        self._unsent.clear()


def _descriptor(ancillary: list[tuple[int, int, bytes]]) -> socket.socket | None:
    """The one socket of a packet; what else a peer sends is closed."""
    descriptors = array.array("i")
    for _, _, octets in ancillary:
        descriptors.frombytes(octets[: len(octets) - len(octets) % _FD])
    for more in descriptors[1:]:
        os.close(more)
    if not descriptors:
        return None
    try:
        return socket.socket(fileno=descriptors[0])
    except OSError:  # not a socket
        os.close(descriptors[0])
        return None


def _beside(connected: socket.socket) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, connected.fileno().to_bytes(_FD, "little")


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
