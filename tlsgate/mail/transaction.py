"""The mail transactions of one submission session: each command is done at the backend before it is answered.

tlsgate keeps no mail: 250 to a message is said only after the backend has said it. A message that can't stand
(smuggling, size, a lost client) is never ended at the backend: its connection is cut before the final dot, and the
next MAIL logs in there again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

import trio

from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession
from tlsgate.dialogue.events import Close, Ending, NeedData, RemoteProtocolError, Reply
from tlsgate.dialogue.smtp import Abandon, Body, Data, EndOfData, Mail, Rcpt, State, Submission
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_data import END_OF_DATA, BodyFault
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import command
from tlsgate.mail.policy import Policy
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, StreamLost

# RFC 5321 4.5.3.2: minutes that a client must grant a server. We are the backend's client.
_COMMAND_TIMEOUT = 300.0
_END_TIMEOUT = 600.0
# A client that pipelines is answered out of what is here already: no read and no write waits, so nobody else would have
# a turn for the thousands of commands that fit into a record or two. 32 answers take about a millisecond.
_EVENTS_PER_TURN = 32
_early = memoryview(bytearray(RECORD))
_LOST = reply("451 4.4.2", "Mail server is not reachable, try again later")
_BODY_FAULTS = {
    BodyFault.BARE_CR: reply("550 5.6.0", "Message has a bare CR, which is not allowed"),
    BodyFault.BARE_LF: reply("550 5.6.0", "Message has a bare LF, which is not allowed"),
    BodyFault.NUL: reply("550 5.6.0", "Message has a NUL, which is not allowed"),
    BodyFault.TOO_LARGE: reply("552 5.3.4", "Message is larger than this server takes"),
}

Connect = Callable[[], Awaitable[BackendSession]]
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class Client:
    """The client's connection. ``receive`` and ``send`` raise StreamLost; ``receive`` gives b"" at the end.

    ``expires``: until when both may wait.
    """

    receive: Callable[[], Awaitable[bytes]]
    send: Callable[[bytes], Awaitable[None]]
    expires: Callable[[float], None]


class MailTrace(Protocol):
    """What is told about messages as they happen."""

    def message(self, result: str, sender: str, recipients: int, size: int, said: str) -> None: ...


class _BackendLost(Exception):
    """The backend is gone or talks nonsense in the middle of a transaction."""


class Transactions:
    """Runs a logged-in submission client against its backend until one of them ends.

    ``backend``: the session that the login left, which ``close`` closes. ``connect``: makes another like it; raises
    NoBackend. ``policy``: asked before the backend. ``idle_timeout``: seconds that the client may be silent. ``up``,
    ``down``: octets.
    """

    def __init__(
        self,
        client: Client,
        dialogue: Submission,
        backend: BackendSession,
        connect: Connect,
        policy: Policy,
        idle_timeout: float,
        trace: MailTrace,
    ) -> None:
        self._client = client
        self._dialogue = dialogue
        self._backend: BackendSession | None = backend
        self._connect = connect
        self._policy = policy
        self._idle_timeout = idle_timeout
        self._trace = trace
        self._sender = ""
        self._recipients = 0
        self._in_body = False
        self.up = self.down = 0
        self._narrow(backend)

    async def run(self) -> str:
        """Gives the reason of the end. Raises StreamLost when the client is lost, Expired when it is idle."""
        events = 0
        while self._dialogue.state is not State.CLOSED:
            events += 1
            if events % _EVENTS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
            match self._dialogue.next_event():
                case NeedData():
                    data = await self._in_time(self._client.receive())
                    if not data:
                        return "client closed"
                    self.up += len(data)
                    self._dialogue.receive(data)
                case Reply(data):
                    await self._say(data)
                case Close(data, reason):
                    await self._say(data)
                    return "client closed" if reason is Ending.LOGOUT else reason
                case Body(data):
                    await self._forward(data)
                case Abandon(data):
                    await self._abandon(data)
                case Mail() | Rcpt() | Data() | EndOfData() as asked:
                    await self._say(self._dialogue.answer(await self._answer(asked)))
                case event:
                    raise TypeError(f"{type(event).__name__} after login")
        return "backend closed"

    async def _say(self, data: bytes) -> None:
        self.down += len(data)
        await self._in_time(self._client.send(data))

    async def _in_time(self, done: Awaitable[_Done]) -> _Done:
        """What the client has its idle_timeout for. Its time doesn't run while the backend takes its own."""
        self._client.expires(trio.current_time() + self._idle_timeout)
        try:
            return await done
        finally:
            self._client.expires(math.inf)

    # -- commands -----------------------------------------------------------------------------------

    async def _answer(self, asked: Mail | Rcpt | Data | EndOfData) -> SmtpReply:
        if (refusal := await self._refusal(asked)) is not None:
            return refusal
        try:
            match asked:
                case Mail():
                    return await self._mail(asked)
                case Rcpt(recipient, parameters):
                    said = await self._command(command("RCPT TO", recipient, parameters), 2)
                    self._recipients += said.positive
                    return said
                case Data():
                    said = await self._command(b"DATA\r\n", 3)
                    self._in_body = said.positive
                    return said
                case EndOfData():
                    return await self._end(asked)
        except _BackendLost:
            self._drop()
            if isinstance(asked, EndOfData):
                self._told("lost", asked.size, _LOST)
            return _LOST

    async def _refusal(self, asked: Mail | Rcpt | Data | EndOfData) -> SmtpReply | None:
        match asked:
            case Mail(sender):
                return await self._policy.sender(sender)
            case Rcpt():
                return await self._policy.recipient()
            case Data():
                return await self._policy.message()
            case EndOfData():
                return None

    async def _mail(self, mail: Mail) -> SmtpReply:
        if self._backend is not None:
            try:
                self._nothing_said(self._backend)
            except StreamLost:  # it closed while the client was idle: a new connection serves as well
                self._drop()
        if self._backend is None:
            try:
                self._backend = await self._connect()
            except NoBackend:
                return _LOST
            self._narrow(self._backend)
        self._sender, self._recipients = mail.sender.mailbox, 0
        return await self._command(command("MAIL FROM", mail.sender, mail.parameters), 2)

    async def _end(self, end: EndOfData) -> SmtpReply:
        if end.fault is not None:
            # Cut before the final dot: the backend must not keep a part of it.
            self._drop()
            said = _BODY_FAULTS[end.fault]
            self._told(end.fault, end.size, said)
            return said
        said = await self._command(END_OF_DATA, 2, _END_TIMEOUT)
        self._in_body = False
        self._told("accepted" if said.positive else "rejected" if said.code >= 500 else "deferred", end.size, said)
        return said

    async def _abandon(self, data: bytes) -> None:
        try:
            if self._backend is not None and not (await self._command(b"RSET\r\n", 2)).positive:
                self._drop()
        except _BackendLost:
            self._drop()
        await self._say(data)

    def _told(self, result: str, size: int, said: SmtpReply) -> None:
        self._trace.message(result, self._sender, self._recipients, size, f"{said.code} {said.lines[0]}")

    # -- the backend --------------------------------------------------------------------------------

    async def _command(self, data: bytes, kind: int, timeout: float = _COMMAND_TIMEOUT) -> SmtpReply:
        """Send a command and read its reply, which is of the ``kind`` that grants it (2 or 3), or 4xx, 5xx.

        Raises _BackendLost.
        """
        backend = self._backend
        if backend is None:
            raise _BackendLost
        said: SmtpReply | NeedData
        backend.stream.expires(trio.current_time() + timeout)
        try:
            self._nothing_said(backend)
            await backend.stream.send(data)
            while isinstance(said := _smtp(backend).next_reply(), NeedData):
                received = await backend.stream.receive()
                if not received:
                    raise _BackendLost
                backend.dialogue.receive(received)
        except (StreamLost, RemoteProtocolError) as error:
            raise _BackendLost from error
        backend.stream.expires(math.inf)
        if said.code == 421:
            self._drop()
            return SmtpReply(451, said.lines)
        if said.positive and said.code // 100 != kind:
            raise _BackendLost
        return said

    def _nothing_said(self, backend: BackendSession) -> None:
        """A reply that came before its command would be taken for the next one's. Raises StreamLost."""
        if backend.dialogue.handover() or backend.stream.read_into(_early) != WOULD_BLOCK:
            raise StreamLost("backend spoke or closed unasked")

    async def _forward(self, data: bytes) -> None:
        """Pass on a piece of the body. A backend that is lost here is missed at the end of the data."""
        if self._backend is None:
            return
        self._backend.stream.expires(trio.current_time() + _COMMAND_TIMEOUT)
        try:
            await self._backend.stream.send(data)
        except StreamLost:
            self._drop()

    def _narrow(self, backend: BackendSession) -> None:
        self._dialogue.shorten(_keywords(backend.outcome.capabilities))

    def _drop(self) -> None:
        """Close the backend's connection at once, whatever is under way there."""
        backend, self._backend = self._backend, None
        self._in_body = False
        if backend is not None:
            backend.close()

    def close(self) -> None:
        """Take leave of the backend, whatever way the session ended.

        In the middle of a message it is only cut: that alone says that the message must not stand.
        """
        if self._backend is not None and not self._in_body:
            try:
                self._backend.stream.write(memoryview(b"QUIT\r\n"))
            except StreamLost:  # it is gone already, as we are about to be
                pass
        self._drop()


@lru_cache(64)
def _keywords(capabilities: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.split(" ")[0].upper() for word in capabilities)


def _smtp(backend: BackendSession) -> SmtpBackend:
    if not isinstance(backend.dialogue, SmtpBackend):
        raise TypeError("mail needs an SMTP backend")
    return backend.dialogue
