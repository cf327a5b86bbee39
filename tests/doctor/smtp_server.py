"""An SMTP server on loopback that says what a test wants, and a backend to examine there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from tlsgate.backends.pool import Backend
from tlsgate.config import Backend as BackendSettings
from tlsgate.config import ClientAddress, HostPort, LoginMode, Pool, Protocol
from tlsgate.doctor.subject import Subject, Untold

Says = Callable[[str, bool], str]
"""The reply to a command, "" for the usual one; the flag: whether it has been told of a stranger. "END" hangs up,
"SILENT" is no reply."""


@dataclass
class SmtpServer:
    """``heard``: every line; ``xclient``: the reply to EHLO has it; ``proxied``: a header of version 1 begins."""

    says: Says
    xclient: bool = False
    proxied: bool = False
    heard: list[str] = field(default_factory=list)

    async def subject(
        self,
        nursery: trio.Nursery,
        told: ClientAddress = ClientAddress.NONE,
        protocol: Protocol = Protocol.MX,
        login: LoginMode = LoginMode.SAME,
    ) -> Subject:
        """Serve from now on: what to examine."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, self._serve, [listener])
        settings = BackendSettings(address=HostPort("127.0.0.1", listener.socket.getsockname()[1]))
        pool = Pool(backends=(settings,), login=login, client_address=told)
        backend = Backend("smtp", settings, Untold(), None, told)
        return Subject(backend, pool, frozenset({protocol}), "mail.ours.test")

    async def _serve(self, stream: trio.SocketStream) -> None:
        stranger = False
        buffer = b""
        try:
            if not self.proxied:
                await stream.send_all(b"220 legacy\r\n")
            while data := await stream.receive_some(4096):
                buffer += data
                while b"\r\n" in buffer:
                    line, _, buffer = buffer.partition(b"\r\n")
                    said, stranger = self._reply(line.decode(), stranger)
                    if said == "END":
                        await stream.aclose()
                        return
                    if said != "SILENT":
                        await stream.send_all(said.encode() + b"\r\n")
        except trio.BrokenResourceError:
            pass  # it has heard enough

    def _reply(self, line: str, stranger: bool) -> tuple[str, bool]:
        self.heard.append(line)
        if line.startswith("PROXY "):
            return "220 legacy", "192.0.2.1" in line
        if line.startswith("XCLIENT"):
            return "220 legacy", "ADDR=192.0.2.1" in line
        said = self.says(line, stranger)
        if not said and line.startswith("EHLO"):
            said = "250-legacy\r\n250 XCLIENT ADDR NAME" if self.xclient else "250 legacy"
        return said or "250 OK", stranger
