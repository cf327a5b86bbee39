"""A scripted legacy server on loopback: it plays one script a connection and keeps what it has heard."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from tlsgate.config import Address, HostPort, UnixPath
from tlsgate.dialogue.events import NeedData
from tlsgate.dialogue.proxy import ProxyHeader, read_header

USER = "ann"
SECRET = "open, Sesame 7"


class Gone(Exception):
    """The gateway has closed its connection."""


class Talk:
    """One connection, seen from the server. ``heard``: every octet that came, in order."""

    def __init__(self, server: LegacyServer, stream: trio.SocketStream) -> None:
        self.server = server
        self.heard = bytearray()
        self.cut = trio.Event()
        self._socket = stream.socket
        self._stream: trio.abc.Stream = stream
        self._unread = bytearray()

    async def say(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def more(self) -> bytes:
        """What comes next. Raises Gone at the end."""
        data = await self._stream.receive_some(65536)
        if not data:
            raise Gone
        self.heard += data
        return bytes(data)

    async def line(self) -> bytes:
        """The next line without its CR LF. Raises Gone."""
        return await self.until((b"\r\n",))

    async def until(self, ends: tuple[bytes, ...]) -> bytes:
        """What comes before the first of ``ends``, which is taken too. Raises Gone."""
        while True:
            found = [(at, end) for end in ends if (at := self._unread.find(end)) >= 0]
            if found:
                at, end = min(found)
                data = bytes(self._unread[:at])
                del self._unread[: at + len(end)]
                return data
            self._unread += await self.more()

    async def proxy_header(self) -> ProxyHeader:
        """The PROXY header that comes first. Raises Gone."""
        header = b""
        while True:
            octet = await self._stream.receive_some(1)  # what is behind it may be TLS
            if not octet:
                raise Gone
            header += octet
            found = read_header(header)
            if not isinstance(found, NeedData):
                return found

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._stream = trio.SSLStream(self._stream, context, server_side=True, https_compatible=True)
        await self._stream.do_handshake()

    async def silence(self) -> None:
        """Say nothing more, until the gateway closes."""
        while True:
            await self.more()

    def reset(self) -> None:
        """End the connection by RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def hold_at_most(self, octets: int) -> None:
        """Make the receive buffer small, so that the kernel holds little of what isn't read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


Script = Callable[[Talk], Awaitable[None]]


class LegacyServer:
    """Plays the n-th of ``scripts`` to the n-th connection, the last one to all that follow.

    ``talks``: the connections, in order; ``called``: there is one. ``messages``: the mail that was taken.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.talks: list[Talk] = []
        self.messages: list[bytes] = []
        self.address: Address = HostPort("127.0.0.1", 0)
        self.called = trio.Event()

    async def serve(
        self, path: Path | None = None, task_status: trio.TaskStatus[LegacyServer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve on a port of loopback, or on a unix socket, until cancelled."""
        if path is None:
            listening = trio.socket.socket()
            await listening.bind(("127.0.0.1", 0))
            self.address = HostPort(*listening.getsockname())
        else:
            listening = trio.socket.socket(socket.AF_UNIX)
            await listening.bind(str(path))
            self.address = UnixPath(path)
        listening.listen(512)
        async with trio.open_nursery() as nursery:
            task_status.started(self)
            await trio.serve_listeners(self._play, [trio.SocketListener(listening)], handler_nursery=nursery)

    async def _play(self, stream: trio.SocketStream) -> None:
        talk = Talk(self, stream)
        self.talks.append(talk)
        self.called.set()
        script = self.scripts[min(len(self.talks), len(self.scripts)) - 1]
        try:
            await script(talk)
        except (Gone, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            stream.socket.close()
            talk.cut.set()


def right(user: bytes, secret: bytes) -> bool:
    return (user.decode(), secret.decode()) == (USER, SECRET)


def right_plain(response: bytes) -> bool:
    _, user, secret = base64.b64decode(response).split(b"\0")
    return right(user, secret)


async def imap(talk: Talk) -> None:
    """A plain IMAP server; each command behind the login is answered by its own words."""
    await talk.say(b"* OK legacy ready\r\n")
    while True:
        tag, _, command = (await talk.line()).partition(b" ")
        match command.split(b" ", 1)[0].upper():
            case b"LOGIN":
                _, user, _, secret, _ = command.split(b'"')
                if right(user, secret):
                    await talk.say(tag + b" OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n")
                    break
                await talk.say(tag + b" NO [AUTHENTICATIONFAILED] Wrong\r\n")
            case b"CAPABILITY":
                await talk.say(b"* CAPABILITY IMAP4rev1 IDLE\r\n" + tag + b" OK done\r\n")
            case _:
                await talk.say(tag + b" OK done\r\n")
    while True:
        tag, _, command = (await talk.line()).partition(b" ")
        await talk.say(tag + b" OK done " + command + b"\r\n")


async def pop3(talk: Talk) -> None:
    """A plain POP3 server; each command behind the login is answered by its own words."""
    await talk.say(b"+OK legacy ready\r\n")
    user = b""
    while True:
        verb, _, argument = (await talk.line()).partition(b" ")
        match verb.upper():
            case b"USER":
                user = argument
                await talk.say(b"+OK\r\n")
            case b"PASS":
                if right(user, argument):
                    await talk.say(b"+OK Logged in\r\n")
                    break
                await talk.say(b"-ERR [AUTH] Wrong\r\n")
            case b"CAPA":
                await talk.say(b"+OK\r\nUSER\r\nTOP\r\n.\r\n")
            case _:
                await talk.say(b"+OK\r\n")
    while True:
        await talk.say(b"+OK done " + await talk.line() + b"\r\n")


class Smtp:
    """A plain SMTP server that keeps messages in ``server.messages``.

    ``replies``: what it says instead, by verb (CONNECT and END too: the greeting, and the answer to a message); None
    closes there. ``keywords``: EHLO's. ``ends``: what it takes for the end of a message.
    """

    def __init__(
        self,
        replies: Mapping[bytes, bytes | None] | None = None,
        *,
        keywords: tuple[bytes, ...] = (b"AUTH PLAIN LOGIN", b"SIZE", b"8BITMIME"),
        ends: tuple[bytes, ...] = (b"\r\n.\r\n",),
    ) -> None:
        self._replies = replies or {}
        self._keywords = keywords
        self._ends = ends

    async def __call__(self, talk: Talk) -> None:
        await self._say(talk, b"CONNECT", b"220 legacy ESMTP\r\n")
        while True:
            verb, _, argument = (await talk.line()).partition(b" ")
            match verb.upper():
                case b"EHLO" as verb:
                    lines = [b"legacy", *self._keywords]
                    said = b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"
                    await self._say(talk, verb, said)
                case b"AUTH" as verb:
                    good = await self._right(talk, argument)
                    await self._say(talk, verb, b"235 2.7.0 Ok\r\n" if good else b"535 5.7.8 Wrong\r\n")
                case b"DATA" as verb:
                    if await self._say(talk, verb, b"354 Go on\r\n"):
                        await self._message(talk)
                case b"QUIT":
                    await talk.say(b"221 2.0.0 Bye\r\n")
                    return
                case verb:
                    await self._say(talk, verb, self._refusal(argument) or b"250 2.0.0 Ok " + verb + b"\r\n")

    async def _say(self, talk: Talk, verb: bytes, usual: bytes) -> bool:
        """Whether the usual was said."""
        said = self._replies.get(verb, usual)
        if said is None:
            raise Gone
        await talk.say(said)
        return said[:3] == usual[:3]

    async def _right(self, talk: Talk, argument: bytes) -> bool:
        mechanism, _, initial = argument.partition(b" ")
        if mechanism == b"PLAIN":
            return right_plain(initial)
        await talk.say(b"334 VXNlcm5hbWU6\r\n")
        user = base64.b64decode(await talk.line())
        await talk.say(b"334 UGFzc3dvcmQ6\r\n")
        return right(user, base64.b64decode(await talk.line()))

    async def _message(self, talk: Talk) -> None:
        talk._unread[:0] = b"\r\n"  # the DATA command's own line end may begin the end
        body = await talk.until(self._ends)
        talk.server.messages.append((body + b"\r\n")[2:])
        await self._say(talk, b"END", b"250 2.0.0 Queued\r\n")

    def _refusal(self, argument: bytes) -> bytes | None:
        if b"<nobody@" in argument:
            return b"550 5.1.1 No such user\r\n"
        if b"<later@" in argument:
            return b"450 4.2.1 Mailbox is busy\r\n"
        return None


_TRACE = re.compile(rb"(?:(?:Authentication-Results|Received): [^\r]*+(?:\r\n[ \t][^\r]*+)*+\r\n)+")


def behind_trace(text: bytes) -> bytes:
    """A message, or its beginning, without the fields that the gate puts at its head: they must be there."""
    found = _TRACE.match(text)
    assert found, text
    assert re.search(rb"\sby\s+mail\.example\.org\s+with\s", found[0])
    return text[found.end() :]


async def silent(talk: Talk) -> None:
    """Accepts and never says a word."""
    await talk.silence()


async def closing(talk: Talk) -> None:
    """Accepts and closes."""


async def resetting(talk: Talk) -> None:
    """Accepts and sends RST."""
    talk.reset()


async def nonsense(talk: Talk) -> None:
    """Speaks something else."""
    await talk.say(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n" * 3)
    await talk.silence()


def saying(*lines: bytes) -> Script:
    """Says a greeting, then one of ``lines`` for each line that comes, then nothing."""

    async def script(talk: Talk) -> None:
        for index, line in enumerate(lines):
            if index:
                tag = (await talk.line()).split(b" ")[0]
                line = line.replace(b"TAG", tag)
            await talk.say(line)
        await talk.silence()

    return script


def slowly(script: Script, pause: float) -> Script:
    """The same script, an octet every ``pause`` seconds."""

    async def slow(talk: Talk) -> None:
        say = talk.say

        async def drip(data: bytes) -> None:
            for octet in data:
                await trio.sleep(pause)
                await say(bytes([octet]))

        talk.say = drip  # type: ignore[method-assign]
        await script(talk)

    return slow


def late(script: Script, seconds: float) -> Script:
    """The same script, begun ``seconds`` after the connection."""

    async def delayed(talk: Talk) -> None:
        await trio.sleep(seconds)
        await script(talk)

    return delayed
