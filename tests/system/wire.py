"""A line-by-line client, for what the library clients cannot do."""

from __future__ import annotations

import socket
import ssl
import zlib
from pathlib import Path
from types import TracebackType

from tests.system.certificates import GATEWAY_NAME
from tests.system.peers import HOST


def trusting(ca: Path) -> ssl.SSLContext:
    """A client context that trusts ``ca`` alone and checks the name."""
    return ssl.create_default_context(cafile=str(ca))


class Wire:
    """A connection to loopback ``port``. Every wait is bounded; the end of input is an empty line."""

    def __init__(self, port: int, seconds: float = 20.0) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=seconds)
        self._received = b""
        self._over = False
        self._deflate: zlib._Compress | None = None
        self._inflate: zlib._Decompress | None = None

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def start_tls(self, ca: Path) -> None:
        """Do the handshake; nothing may have been received ahead of it."""
        assert not self._received
        self._socket = trusting(ca).wrap_socket(self._socket, server_hostname=GATEWAY_NAME)

    def start_deflate(self) -> None:
        """Compress both ways from here on (RFC 4978)."""
        assert not self._received
        self._deflate = zlib.compressobj(wbits=-15)
        self._inflate = zlib.decompressobj(wbits=-15)

    def send(self, data: bytes) -> None:
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(data)

    def _more(self) -> bool:
        data = self._socket.recv(65536)
        self._over = not data
        self._received += data if self._inflate is None else self._inflate.decompress(data)
        return not self._over

    def line(self) -> bytes:
        """The next line without its CRLF."""
        while b"\r\n" not in self._received:
            if not self._more():
                line, self._received = self._received, b""
                return line
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    def until(self, start: bytes) -> list[bytes]:
        """Lines up to and with the first that begins with ``start``."""
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1].startswith(start):
                return lines
            assert not self._over, f"connection ended before {start!r}: {lines}"

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing at all arrives within ``seconds``, neither octets nor the end."""
        before = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            self._more()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(before)
        return False

    def ended(self) -> bool:
        """Whether the peer has nothing more to say and closed."""
        try:
            return not self._received and not self._more()
        except (ConnectionError, ssl.SSLEOFError):
            return True
