"""The backend's side of a session's mail transactions: connected when it is needed, cut when a message must not stand.

A message that can't stand (smuggling, size, a lost client, a listed link) is never ended at the backend: its connection
is cut before the final dot, and the next transaction connects there again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import trio

from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession
from tlsgate.dialogue.smtp import Smtp
from tlsgate.dialogue.smtp_data import END_OF_DATA
from tlsgate.dialogue.smtp_events import Mail
from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import MAIL_PARAMETERS, RCPT_PARAMETERS, Parameters, Path, command
from tlsgate.mail.backend_commands import (
    COMMAND_TIMEOUT,
    END_TIMEOUT,
    BackendLost,
    ask,
    ask_all,
    keywords,
    lost,
    nothing_said,
    refused_early,
)
from tlsgate.tls.stream import StreamLost

LOST = reply("451 4.4.2", "Mail server is not reachable, try again later")
_OK = reply("250 2.1.0", "Ok")
_NOT_NOW = reply("451 4.3.0", "Mail server does not take this kind of message now, try again later")

Connect = Callable[[], Awaitable[BackendSession]]


class DeliveryTrace(Protocol):
    """What is told of backends."""

    def no_backend(self, reason: str) -> None: ...


class Delivery:
    """``backend``: the session that a login left; None for a client without one, whose MAIL waits for its first
    recipient: so nothing is asked of a backend for mail that isn't taken. ``connect``: makes a session; raises
    NoBackend. ``dialogue``: the client's, which is held to what the backend can do.

    Every method but ``lost``, ``drop`` and ``leave`` raises BackendLost; then the caller calls ``lost``. ``in_body``: a
    message is under way that hasn't been ended.
    """

    def __init__(self, dialogue: Smtp, backend: BackendSession | None, connect: Connect, trace: DeliveryTrace) -> None:
        self._dialogue = dialogue
        self._backend = backend
        self._connect = connect
        self._trace = trace
        self._waits = backend is None
        # What the client called itself when the backend was told of it, and whether in EHLO.
        self._told_of = ("", False)
        self._due: Mail | None = None
        self._refusal: SmtpReply | None = None
        self.in_body = False
        if backend is not None:
            dialogue.shorten(keywords(backend))

    async def mail(self, mail: Mail) -> SmtpReply:
        """A transaction begins."""
        if self._waits:
            self._due = mail
            return _OK
        if (fault := await self._connected() or self._lacks(mail)) is not None:
            return fault
        return await self._command(self._mail_command(mail), 2)

    async def recipients(self, recipients: list[tuple[Path, Parameters]]) -> list[SmtpReply]:
        """Name recipients, and the sender before them if that is due still; their replies."""
        first: list[bytes] = []
        if self._due is not None:
            if (fault := await self._connected() or self._lacks(self._due)) is not None:
                return [fault] * len(recipients)
            first = [self._mail_command(self._due)]
        if self._backend is None:
            raise BackendLost
        commands = [
            command("RCPT TO", path, self._taken(parameters, RCPT_PARAMETERS)) for path, parameters in recipients
        ]
        said = await ask_all(self._backend, [*first, *commands])
        if said[-1].code == 421:
            self.drop()
            said += [said[-1]] * (len(first) + len(recipients) - len(said))
            said = [SmtpReply(451, each.lines) if each.code == 421 else each for each in said]
        if first:
            sender = said.pop(0)
            if not sender.positive:
                if any(each.positive for each in said):
                    self.drop()  # it would have them for the next message
                return [sender] * len(recipients)
            self._due = None
        return said

    async def data(self) -> SmtpReply:
        """DATA: a message may follow if the reply is positive."""
        said = await self._command(b"DATA\r\n", 3)
        self.in_body, self._refusal = said.positive, None
        return said

    async def pass_on(self, data: bytes) -> None:
        """A piece of the message. A backend that is lost here is missed at the message's end."""
        if self._backend is None or not data:
            return
        self._backend.stream.expires(trio.current_time() + COMMAND_TIMEOUT)
        try:
            await self._backend.stream.send(data)
        except StreamLost as error:
            with suppress(StreamLost):
                self._refusal = refused_early(self._backend)
            if self._refusal is None:
                self.lost(lost(error))
            else:
                self.drop()

    async def end(self, rest: bytes) -> SmtpReply:
        """The message stands: the ``rest`` of it, and the final dot. A backend may have refused it before its end."""
        refusal, self._refusal = self._refusal, None
        if self._backend is not None:
            try:
                refusal = refused_early(self._backend)
            except StreamLost as error:
                raise lost(error) from None
        if refusal is not None:
            self.drop()
            return SmtpReply(451, refusal.lines) if refusal.code == 421 else refusal
        said = await self._command(rest + END_OF_DATA, 2, END_TIMEOUT)
        self.in_body = False
        return said

    async def abandon(self) -> None:
        """The transaction comes to nothing."""
        due, self._due = self._due, None
        if self.in_body:  # between two chunks: nothing but a cut says that the message must not stand
            self.drop()
        # A MAIL that was due still hasn't come to the backend.
        if self._backend is not None and due is None and not (await self._command(b"RSET\r\n", 2)).positive:
            self.drop()

    def lost(self, how: BackendLost) -> None:
        """Drop a backend that is lost, and tell of it."""
        if self._backend is not None and how.reason is not None:
            self._backend.backend.trace.failed(how.reason)
            self._trace.no_backend(f"{self._backend.backend.address}: {how}")
        self.drop()

    def drop(self) -> None:
        """Close the connection at once, whatever is under way there."""
        backend, self._backend = self._backend, None
        self.in_body = False
        if backend is not None:
            backend.close()

    def leave(self) -> None:
        """Take leave. In the middle of a message it is only cut: that alone says that the message must not stand."""
        if self._backend is not None and not self.in_body:
            try:
                self._backend.stream.write(memoryview(b"QUIT\r\n"))
            except StreamLost:  # it is gone already, as we are about to be
                pass
        self.drop()

    async def _connected(self) -> SmtpReply | None:
        """See that there is a backend; what to say when there is none."""
        called = self._dialogue.client_name, self._dialogue.esmtp
        if self._waits and self._told_of != called:
            self.leave()  # it can't be told anew of a client that has greeted us by another name
        if self._backend is not None:
            try:
                nothing_said(self._backend)
            except StreamLost:  # it closed while the client was idle: a new connection serves as well
                self.drop()
        if self._backend is None:
            try:
                self._backend = await self._connect()
            except NoBackend as error:
                self._trace.no_backend(str(error))
                return LOST
            self._told_of = called
            self._dialogue.shorten(keywords(self._backend))
        return None

    def _lacks(self, mail: Mail) -> SmtpReply | None:
        """A message that this backend can't have, though another one of its pool could when the client greeted us."""
        has = frozenset[str]() if self._backend is None else keywords(self._backend)
        given = dict(mail.parameters)
        eight = (given.get("BODY") or "").upper() == "8BITMIME" and "8BITMIME" not in has
        return _NOT_NOW if eight or ("SMTPUTF8" in given and "SMTPUTF8" not in has) else None

    def _mail_command(self, mail: Mail) -> bytes:
        return command("MAIL FROM", mail.sender, self._taken(mail.parameters, MAIL_PARAMETERS))

    def _taken(self, parameters: Parameters, extensions: Mapping[str, str]) -> Parameters:
        """What of it this backend knows: it would refuse the command for the others."""
        has = frozenset[str]() if self._backend is None else keywords(self._backend)
        return tuple(each for each in parameters if extensions[each[0]] in has)

    async def _command(self, data: bytes, kind: int, timeout: float = COMMAND_TIMEOUT) -> SmtpReply:
        """As ``ask``; a backend that takes leave by 421 is one that can't be reached for now."""
        if self._backend is None:
            raise BackendLost
        said = await ask(self._backend, data, kind, timeout)
        if said.code == 421:
            self.drop()
            return SmtpReply(451, said.lines)
        return said
