"""An SMTP server that keeps every message: it is in a file before it is answered, and so outlives a SIGKILL.

    python -m bench.mail.store PORT DIRECTORY [SECONDS]

It waits for ``SECONDS`` before it stores a message, and again before it answers. Each process has a file of its own
there, of records that may only end too early where the process was killed. A message whose client goes away before its
end is dropped (RFC 5321 4.1.1.4).
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
_SIZES = struct.Struct("!II")
_END = b"\r\n.\r\n"
_OK = b"250 2.0.0 Ok\r\n"


@dataclass(frozen=True, slots=True)
class Kept:
    """A message for one recipient, as its text was before dot-stuffing."""

    recipient: str
    text: bytes


def kept(directory: Path) -> Iterator[Kept]:
    """Every message that is stored."""
    for path in sorted(directory.iterdir()):
        content, at = path.read_bytes(), 0
        while at + _SIZES.size <= len(content):
            name, text = _SIZES.unpack_from(content, at)
            begin = at + _SIZES.size
            at = begin + name + text
            if at <= len(content):
                yield Kept(content[begin : begin + name].decode(), content[begin + name : at])


def record(recipient: str, text: bytes) -> bytes:
    """A message as it is in a file."""
    return _SIZES.pack(len(recipient.encode()), len(text)) + recipient.encode() + text


class _Session(asyncio.Protocol):
    def __init__(self, file: int, pause: float) -> None:
        self._file = file
        self._pause = pause
        self._received = bytearray()
        self._recipient = ""
        self._in_data = False
        self._searched = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 store.example.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._go_on()

    def _go_on(self) -> None:
        while self._message() if self._in_data else self._command():
            pass

    def _message(self) -> bool:
        """Whether a whole message was there. What is received begins with the line end before it."""
        end = self._received.find(_END, self._searched)
        if end < 0:
            self._searched = max(0, len(self._received) - len(_END))
            return False
        text = bytes(self._received[2 : end + 2]).replace(b"\r\n..", b"\r\n.").removeprefix(b".")
        del self._received[: end + len(_END)]
        self._in_data = False
        whole = record(self._recipient, text)
        if self._pause:  # nobody sends anything before our answer
            asyncio.get_running_loop().call_later(self._pause, self._keep, whole)
            return False
        self._keep(whole)
        return True

    def _keep(self, whole: bytes) -> None:
        if os.write(self._file, whole) != len(whole):
            raise OSError("the store is full")
        if self._pause:
            asyncio.get_running_loop().call_later(self._pause, self._transport.write, _OK)
        else:
            self._transport.write(_OK)

    def _command(self) -> bool:
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._received[:end])
        verb = line[:4].upper()
        if verb == b"DATA":  # its own line end stands before the text, so that an empty one ends too
            del self._received[:end]
            self._in_data, self._searched = True, 0
            self._transport.write(b"354 Go on\r\n")
            return True
        del self._received[: end + 2]
        if verb == b"RCPT":
            self._recipient = line.partition(b"<")[2].partition(b">")[0].decode()
        self._transport.write(
            b"250-store.example.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n" if verb == b"EHLO" else _OK
        )
        if verb == b"QUIT":
            self._transport.close()
        return True


async def _serve(port: int, directory: Path, pause: float = 0.0) -> None:
    file = os.open(directory / f"{time.time_ns()}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = await asyncio.get_running_loop().create_server(lambda: _Session(file, pause), HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:])))
