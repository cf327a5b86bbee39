"""The mail transactions of one SMTP session: what is done at the backend before it is answered.

tlsgate keeps no mail: 250 to a message is said only after the backend has said it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio
from msgspec import Struct

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
from tlsgate.dialogue.smtp_data import BodyFault
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.backend_commands import BackendLost
from tlsgate.mail.delivery import LOST, Delivery
from tlsgate.mail.forged_results import HEADER_TOO_LARGE
from tlsgate.mail.passage import Passage
from tlsgate.mail.policy import Policy

# A client that pipelines is answered out of what is here already: no read and no write waits, so nobody else would have
# a turn for the thousands of commands that fit into a record or two. 32 answers take about a millisecond.
_EVENTS_PER_TURN = 32
_RECIPIENTS_PER_TURN = 8
_OCTETS_PER_TURN = 65536
_BODY_FAULTS = {
    BodyFault.BARE_CR: reply("550 5.6.0", "Message has a bare CR, which is not allowed"),
    BodyFault.BARE_LF: reply("550 5.6.0", "Message has a bare LF, which is not allowed"),
    BodyFault.NUL: reply("550 5.6.0", "Message has a NUL, which is not allowed"),
    BodyFault.LONG_LINE: reply("550 5.6.0", "Message has a line of more than 998 octets, which is not allowed"),
    BodyFault.TOO_LARGE: reply("552 5.3.4", TOO_LARGE),
}

STARTTLS = "starttls"
"""What ``run`` gives when the client begins TLS."""

OnAuth = Callable[[CleartextAuthRefused | AuthRejected], Awaitable[None]]
_Done = TypeVar("_Done")


class Client(Struct, frozen=True):
    """The client's connection. ``receive`` and ``send`` raise StreamLost; ``receive`` gives b"" at the end.

    ``expires``: until when both may wait.
    """

    receive: Callable[[], Awaitable[bytes]]
    send: Callable[[bytes], Awaitable[None]]
    expires: Callable[[float], None]


class MailTrace(Protocol):
    """What is told about messages as they happen."""

    def message(self, result: str, sender: str, recipients: int, size: int, said: str) -> None: ...


class Transactions:
    """Runs an SMTP client against its backend until one of them ends.

    ``delivery``: towards the backend; ``close`` takes leave of it. ``policy``: asked before. ``idle_timeout``: seconds
    that the client may be silent. ``on_auth``: told of a client that tries to log in where nobody can. ``up``,
    ``down``: octets.
    """

    def __init__(
        self,
        client: Client,
        dialogue: Smtp,
        delivery: Delivery,
        policy: Policy,
        idle_timeout: float,
        trace: MailTrace,
        on_auth: OnAuth | None = None,
    ) -> None:
        self._client = client
        self._dialogue = dialogue
        self._delivery = delivery
        self._policy = policy
        self._idle_timeout = idle_timeout
        self._trace = trace
        self._on_auth = on_auth
        self._sender = ""
        self._recipients = self._passed = 0
        self._passage: Passage | None = None
        self.up = self.down = 0

    async def run(self) -> str:
        """Gives the reason of the end, or STARTTLS. Raises StreamLost for a lost client, Expired for an idle one."""
        events = unshared = 0
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
                    unshared += len(data)
                    if unshared >= _OCTETS_PER_TURN:
                        unshared = 0
                        await trio.lowlevel.checkpoint()
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
                case Mail(sender):
                    self._sender, self._recipients = sender.mailbox, 0
                    return await self._policy.sender(asked) or await self._delivery.mail(asked)
                case Data():
                    return await self._policy.message() or await self._data()
                case EndOfData():
                    said = await self._end(asked)
                    self._over()
                    return said
        except BackendLost as how:
            self._delivery.lost(how)
            if isinstance(asked, EndOfData):
                self._told("lost", asked.size, LOST)
                self._over()
            return LOST

    async def _answer_recipients(self, asked: list[Rcpt]) -> bytes:
        """The replies to recipients that the client has named in one go."""
        said = b""
        for each in await self._judge_recipients(asked):
            if self._dialogue.state is State.PENDING:
                said += self._dialogue.answer(each)
        return said

    async def _judge_recipients(self, asked: list[Rcpt]) -> list[SmtpReply]:
        """Those that the policy lets pass are the backend's to judge, all at once."""
        judged: list[SmtpReply | Path] = []
        for number, each in enumerate(asked):
            if number % _RECIPIENTS_PER_TURN == _RECIPIENTS_PER_TURN - 1:
                await trio.lowlevel.checkpoint()
            judged.append(await self._policy.recipient(each.recipient))
        wanted = [
            (path, rcpt.parameters) for rcpt, path in zip(asked, judged, strict=True) if not isinstance(path, SmtpReply)
        ]
        try:
            said = await self._delivery.recipients(wanted) if wanted else []
        except BackendLost as how:
            self._delivery.lost(how)
            said = [LOST] * len(wanted)
        self._recipients += sum(each.positive for each in said)
        answers = iter(said)
        return [each if isinstance(each, SmtpReply) else next(answers) for each in judged]

    async def _data(self) -> SmtpReply:
        said = await self._delivery.data()
        if said.positive:
            self._passed, self._passage = 0, self._policy.passage()
        return said

    async def _forward(self, data: bytes) -> None:
        """Pass on a piece of the body."""
        self._passed += len(data)
        if self._passage is not None and self._delivery.in_body:
            await self._delivery.pass_on(await self._passage.feed(data))

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
            self._delivery.drop()  # before the final dot: the backend must not keep a part of it
            self._told(result, end.size, refusal)
            return refusal
        said = await self._delivery.end(passage.finish())
        self._told("accepted" if said.positive else "rejected" if said.code >= 500 else "deferred", end.size, said)
        return said

    async def _abandon(self, data: bytes) -> None:
        try:
            await self._delivery.abandon()
        except BackendLost as how:
            self._delivery.lost(how)
        self._over()
        await self._say(data)

    def _over(self) -> None:
        """Nothing of the transaction is left."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.cancel()
        self._policy.over()

    def _told(self, result: str, size: int, said: SmtpReply) -> None:
        self._trace.message(result, self._sender, self._recipients, size, f"{said.code} {said.lines[0]}")

    def close(self) -> None:
        """The session has ended, whatever way."""
        if self._delivery.in_body:
            # The backend may have it, if its end was under way: whoever looks for a message must find a word of it.
            self._trace.message("lost", self._sender, self._recipients, self._passed, "")
        self._delivery.leave()
        self._over()
