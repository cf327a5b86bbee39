"""The mail transactions of one SMTP session: what is done at the backend before it is answered.

tlsgate keeps no mail: 250 to a message is said only after the backend has said it. A message that can't stand
(smuggling, size, a lost client, a listed link) is never ended at the backend: its connection is cut before the final
dot, and the next transaction connects there again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio

from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession
from tlsgate.dialogue.events import (
    AuthRejected,
    CleartextAuthRefused,
    Close,
    Ending,
    NeedData,
    Reply,
    StartTls,
)
from tlsgate.dialogue.smtp import TOO_LARGE, Smtp, State
from tlsgate.dialogue.smtp_data import END_OF_DATA, BodyFault
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import command
from tlsgate.mail.backend_commands import (
    COMMAND_TIMEOUT,
    END_TIMEOUT,
    BackendLost,
    ask,
    ask_all,
    keywords,
    nothing_said,
)
from tlsgate.mail.forged_results import HEADER_TOO_LARGE
from tlsgate.mail.passage import Passage
from tlsgate.mail.policy import Policy
from tlsgate.tls.stream import StreamLost

# A client that pipelines is answered out of what is here already: no read and no write waits, so nobody else would have
# a turn for the thousands of commands that fit into a record or two. 32 answers take about a millisecond.
_EVENTS_PER_TURN = 32
_OK = reply("250 2.1.0", "Ok")
_LOST = reply("451 4.4.2", "Mail server is not reachable, try again later")
_BODY_FAULTS = {
    BodyFault.BARE_CR: reply("550 5.6.0", "Message has a bare CR, which is not allowed"),
    BodyFault.BARE_LF: reply("550 5.6.0", "Message has a bare LF, which is not allowed"),
    BodyFault.NUL: reply("550 5.6.0", "Message has a NUL, which is not allowed"),
    BodyFault.LONG_LINE: reply("550 5.6.0", "Message has a line of more than 998 octets, which is not allowed"),
    BodyFault.TOO_LARGE: reply("552 5.3.4", TOO_LARGE),
}

STARTTLS = "starttls"
"""What ``run`` gives when the client begins TLS."""

Connect = Callable[[], Awaitable[BackendSession]]
OnAuth = Callable[[CleartextAuthRefused | AuthRejected], Awaitable[None]]
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

    def no_backend(self, reason: str) -> None: ...

    def message(self, result: str, sender: str, recipients: int, size: int, said: str) -> None: ...


class Transactions:
    """Runs an SMTP client against its backend until one of them ends.

    ``backend``: the session that a login left, which ``close`` closes; None for a client without one, whose MAIL waits
    for its first recipient: so nothing is asked of a backend for mail that isn't taken. ``connect``: makes a session;
    raises NoBackend. ``policy``: asked before the backend. ``idle_timeout``: seconds that the client may be silent.
    ``on_auth``: told of a client that tries to log in where nobody can. ``up``, ``down``: octets.
    """

    def __init__(
        self,
        client: Client,
        dialogue: Smtp,
        backend: BackendSession | None,
        connect: Connect,
        policy: Policy,
        idle_timeout: float,
        trace: MailTrace,
        on_auth: OnAuth | None = None,
    ) -> None:
        self._client = client
        self._dialogue = dialogue
        self._backend = backend
        self._connect = connect
        self._policy = policy
        self._idle_timeout = idle_timeout
        self._trace = trace
        self._on_auth = on_auth
        self._waits = backend is None
        # What the client called itself when the backend was told of it, and whether in EHLO.
        self._told_of = ("", False)
        self._due: Mail | None = None
        self._sender = ""
        self._recipients = 0
        self._in_body = False
        self._passed = 0
        self._passage: Passage | None = None
        self.up = self.down = 0
        if backend is not None:
            self._narrow(backend)

    async def run(self) -> str:
        """Gives the reason of the end, or STARTTLS. Raises StreamLost for a lost client, Expired for an idle one."""
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
                case Rcpt() as asked:
                    await self._say(await self._answer_recipients([asked, *self._dialogue.following()]))
                case Mail() | Data() | EndOfData() as asked:
                    if said := self._dialogue.answer(await self._answer(asked)):
                        await self._say(said)
                case CleartextAuthRefused(data) | AuthRejected(data) as refused if self._on_auth is not None:
                    await self._on_auth(refused)
                    await self._say(data)
                case StartTls(data):
                    await self._say(data)
                    return STARTTLS
                case event:
                    raise TypeError(f"{type(event).__name__} among mail")
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

    async def _answer(self, asked: Mail | Data | EndOfData) -> SmtpReply:
        try:
            match asked:
                case Mail():
                    return await self._policy.sender(asked) or await self._mail(asked)
                case Data():
                    return await self._policy.message() or await self._data()
                case EndOfData():
                    said = await self._end(asked)
                    self._over()
                    return said
        except BackendLost:
            self._drop()
            if isinstance(asked, EndOfData):
                self._told("lost", asked.size, _LOST)
                self._over()
            return _LOST

    async def _answer_recipients(self, asked: list[Rcpt]) -> bytes:
        """The replies to recipients that the client has named in one go."""
        said = b""
        for each in await self._recipients_replies(asked):
            if self._dialogue.state is State.PENDING:
                said += self._dialogue.answer(each)
        return said

    async def _recipients_replies(self, asked: list[Rcpt]) -> list[SmtpReply]:
        judged = [await self._policy.recipient(each.recipient) for each in asked]
        wanted = [
            command("RCPT TO", path, rcpt.parameters)
            for rcpt, path in zip(asked, judged, strict=True)
            if not isinstance(path, SmtpReply)
        ]
        try:
            answers = iter(await self._name(wanted) if wanted else [])
        except BackendLost:
            self._drop()
            answers = iter([_LOST] * len(wanted))
        return [each if isinstance(each, SmtpReply) else next(answers) for each in judged]

    async def _name(self, recipients: list[bytes]) -> list[SmtpReply]:
        """Name recipients to the backend, and the sender before them if that is due still. Raises BackendLost."""
        first: list[bytes] = []
        if self._due is not None:
            if (fault := await self._connected()) is not None:
                return [fault] * len(recipients)
            first = [self._mail_command(self._due)]
        if self._backend is None:
            raise BackendLost
        said = await ask_all(self._backend, [*first, *recipients])
        if said[-1].code == 421:
            self._drop()
            said += [said[-1]] * (len(first) + len(recipients) - len(said))
            said = [SmtpReply(451, each.lines) if each.code == 421 else each for each in said]
        if first:
            sender = said.pop(0)
            if not sender.positive:
                return [sender] * len(recipients)
            self._due = None
        self._recipients += sum(each.positive for each in said)
        return said

    async def _mail(self, mail: Mail) -> SmtpReply:
        self._sender, self._recipients = mail.sender.mailbox, 0
        if self._waits:
            self._due = mail
            return _OK
        if (fault := await self._connected()) is not None:
            return fault
        return await self._command(self._mail_command(mail), 2)

    async def _connected(self) -> SmtpReply | None:
        """See that there is a backend; what to say when there is none."""
        if self._waits and self._told_of != self._called:
            self._leave()  # it can't be told anew of a client that has greeted us by another name
        if self._backend is not None:
            try:
                nothing_said(self._backend)
            except StreamLost:  # it closed while the client was idle: a new connection serves as well
                self._drop()
        if self._backend is None:
            try:
                self._backend = await self._connect()
            except NoBackend as error:
                self._trace.no_backend(str(error))
                return _LOST
            self._told_of = self._called
            self._narrow(self._backend)
        return None

    def _mail_command(self, mail: Mail) -> bytes:
        # Who waited for this backend couldn't know that it lacks SIZE, and would refuse the command for it.
        lacks_size = self._backend is not None and "SIZE" not in keywords(self._backend)
        parameters = tuple(each for each in mail.parameters if each[0] != "SIZE" or not lacks_size)
        return command("MAIL FROM", mail.sender, parameters)

    async def _data(self) -> SmtpReply:
        said = await self._command(b"DATA\r\n", 3)
        if said.positive:
            self._in_body, self._passed = True, 0
            self._passage = self._policy.passage()
        return said

    async def _end(self, end: EndOfData) -> SmtpReply:
        passage = self._passage
        if passage is None:
            raise BackendLost
        refusal = _BODY_FAULTS[end.fault] if end.fault else None
        result: str = end.fault or "rejected"
        if refusal is None and passage.too_large:
            refusal, result = HEADER_TOO_LARGE, BodyFault.TOO_LARGE
        if refusal is None and (refusal := await self._policy.whole(passage)) is not None and refusal.code < 500:
            result = "deferred"
        if refusal is not None:
            # Cut before the final dot: the backend must not keep a part of it.
            self._drop()
            self._told(result, end.size, refusal)
            return refusal
        said = await self._command(passage.finish() + END_OF_DATA, 2, END_TIMEOUT)
        self._in_body = False
        self._told("accepted" if said.positive else "rejected" if said.code >= 500 else "deferred", end.size, said)
        return said

    def _over(self) -> None:
        """Nothing of the transaction is left."""
        self._due = None
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.cancel()
        self._policy.over()

    async def _abandon(self, data: bytes) -> None:
        if self._in_body:  # between two chunks: nothing but a cut says that the message must not stand
            self._drop()
        try:
            # A MAIL that is due still hasn't come to the backend.
            begun = self._backend is not None and self._due is None
            if begun and not (await self._command(b"RSET\r\n", 2)).positive:
                self._drop()
        except BackendLost:
            self._drop()
        self._over()
        await self._say(data)

    def _told(self, result: str, size: int, said: SmtpReply) -> None:
        self._trace.message(result, self._sender, self._recipients, size, f"{said.code} {said.lines[0]}")

    # -- the backend --------------------------------------------------------------------------------

    async def _command(self, data: bytes, kind: int, timeout: float = COMMAND_TIMEOUT) -> SmtpReply:
        """As ``ask``; a backend that takes leave by 421 is one that can't be reached for now."""
        if self._backend is None:
            raise BackendLost
        said = await ask(self._backend, data, kind, timeout)
        if said.code == 421:
            self._drop()
            return SmtpReply(451, said.lines)
        return said

    async def _forward(self, data: bytes) -> None:
        """Pass on a piece of the body. A backend that is lost here is missed at the end of the data."""
        if self._backend is None or self._passage is None:
            return
        self._passed += len(data)
        data = await self._passage.feed(data)
        self._backend.stream.expires(trio.current_time() + COMMAND_TIMEOUT)
        try:
            if data:
                await self._backend.stream.send(data)
        except StreamLost:
            self._drop()

    def _narrow(self, backend: BackendSession) -> None:
        self._dialogue.shorten(keywords(backend))

    def _drop(self) -> None:
        """Close the backend's connection at once, whatever is under way there."""
        backend, self._backend = self._backend, None
        self._in_body = False
        if backend is not None:
            backend.close()

    def close(self) -> None:
        """The session has ended, whatever way."""
        if self._in_body:
            # The backend may have it, if its end was under way: whoever looks for a message must find a word of it.
            self._trace.message("lost", self._sender, self._recipients, self._passed, "")
        self._leave()
        self._over()

    @property
    def _called(self) -> tuple[str, bool]:
        return self._dialogue.client_name, self._dialogue.esmtp

    def _leave(self) -> None:
        """Take leave of the backend.

        In the middle of a message it is only cut: that alone says that the message must not stand.
        """
        if self._backend is not None and not self._in_body:
            try:
                self._backend.stream.write(memoryview(b"QUIT\r\n"))
            except StreamLost:  # it is gone already, as we are about to be
                pass
        self._drop()
