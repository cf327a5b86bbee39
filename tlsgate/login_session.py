"""The story of a session that logs in: IMAP, POP3 and submission (DESIGN section 1), from top to bottom."""

from __future__ import annotations

import math
from functools import partial
from typing import NoReturn

from tlsgate.admission.screened import Screened
from tlsgate.admission.visit import Visit
from tlsgate.authentication import Authentication, LoginDialogue
from tlsgate.backends.backend import Backend
from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession
from tlsgate.config import Protocol, TlsMode
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Channel,
    CleartextAuthRefused,
    Close,
    Ending,
    Granted,
    NeedData,
    Reply,
    SecretNeeded,
    StartTls,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.submission import Submission
from tlsgate.mail.delivery import Delivery
from tlsgate.mail.submission import SubmissionPolicy
from tlsgate.mail.transaction import Client, Transactions
from tlsgate.relay import Relayed
from tlsgate.service import Trace
from tlsgate.session import Over, end_screening


class LoginSession(Authentication):
    """One client that must log in."""

    async def _story(self) -> bool:
        service = self._service
        if service.tls is TlsMode.STARTTLS:
            await self._speak_clear()
        await self._handshake()
        self._expires(Ending.LOGIN_TIMEOUT, service.limits.login_timeout)
        dialogue = self._new_dialogue(Channel.ENCRYPTED)
        self._dialogue = dialogue
        if service.tls is TlsMode.IMPLICIT:
            await self._send(dialogue.greeting())
        login = await self._log_in(dialogue)
        if isinstance(dialogue, Submission):
            await self._transact(dialogue, login)
        self._relay(dialogue, login)
        return True

    # -- in clear -----------------------------------------------------------------------------------

    async def _speak_clear(self) -> None:
        """The dialogue up to STARTTLS. Nothing of it is left when this returns."""
        dialogue = self._new_dialogue(Channel.CLEARTEXT)
        self._dialogue = dialogue
        await self._send(dialogue.greeting())
        while True:
            match dialogue.next_event():
                case NeedData():
                    dialogue.receive(await self._receive())
                case Reply(data):
                    await self._send(data)
                case CleartextAuthRefused(data, mechanism, as_shown):
                    user = as_shown and self._service.known_as(as_shown)
                    self._trace.cleartext_auth_refused(mechanism, user)
                    await self._visit.mistaken(user, f"cleartext {mechanism}")
                    await self._send(data)
                case StartTls(data):
                    self._dialogue = None
                    await self._send(data)
                    return
                case Close(data, reason):
                    await self._close(data, reason)
                case event:
                    raise TypeError(f"{type(event).__name__} in clear")

    # -- over TLS -----------------------------------------------------------------------------------

    async def _log_in(self, dialogue: LoginDialogue) -> BackendSession:
        """The dialogue up to a login that stands at a backend. Raises Over, StreamLost."""
        while True:
            match dialogue.next_event():
                case NeedData():
                    self._visit.judged()  # an attempt never holds its turn while it waits for the client
                    data = await self._receive()
                    if self._proof is not None and b"\n" in data:
                        await self._admit(dialogue, *self._proof)
                        self._proof, self._admitted = None, True
                    dialogue.receive(data)
                case Reply(data):
                    await self._send(data)
                case AuthRejected() as rejected:
                    await self._rejected(rejected)
                    await self._send(rejected.data)
                case SecretNeeded(mechanism, name):
                    user = self._service.known_as(name)
                    secret = await self._service.scram_secret(user)
                    # It is when the proof comes that something is tried; without the secret none does.
                    self._proof, self._admitted = None if secret is None else (mechanism, user), False
                    await self._send(dialogue.give(secret))
                case Authenticate(mechanism, as_shown):
                    shown = self._service.full(as_shown)
                    if not self._admitted:
                        await self._admit(dialogue, mechanism, shown.user)
                    self._proof, self._admitted = None, False
                    answer = await self._authenticate(dialogue, mechanism, shown)
                    self._visit.judged()
                    if isinstance(answer, BackendSession):
                        return answer
                    await self._send(dialogue.send(answer))
                case Close(data, reason):
                    await self._close(data, reason)
                case event:
                    raise TypeError(f"{type(event).__name__} before login")

    def _relay(self, dialogue: Imap | Pop3, login: BackendSession) -> None:
        """Hand both sockets to the pump; this task ends, and nothing here keeps the secret."""
        trace, visit, backend, screened = self._trace, self._visit, login.backend, self._screened
        granted = login.outcome.verdict
        if not isinstance(granted, Granted):
            raise TypeError("relay without a login")
        trace.relaying()
        self._stream.expires(math.inf)
        to_client = dialogue.send(granted) + login.dialogue.handover()
        self._service.pump.add(
            self._stream,
            login.stream,
            to_backend=dialogue.handover(),
            to_client=to_client,
            idle_timeout=self._service.limits.idle_timeout,
            on_end=lambda relayed: _relay_ended(relayed, backend, trace, visit, screened),
            owner=self._owner,
            about=trace,
            farewell=_FAREWELLS.get(self._service.protocol, b""),
        )
        self._login = None

    async def _transact(self, dialogue: Submission, login: BackendSession) -> NoReturn:
        """SMTP stays in the loop: each message is judged. Raises Over, StreamLost."""
        service = self._service

        async def connect() -> BackendSession:
            # The pool as it was at the login, also after a reload: what is shown there was made for its settings.
            again = await self._target.log_in(service)
            if isinstance(again.outcome.verdict, Granted):
                return again
            again.close()
            raise NoBackend("the backend no longer takes this login")

        policy = SubmissionPolicy(
            self._user,
            self._visit.store,
            service.limits,
            service.senders,
            self._trace,
            partial(self._stamp, dialogue, logged_in=True),
        )
        client = Client(self._stream.receive, self._send, self._stream.expires)
        idle_timeout = service.limits.idle_timeout
        delivery = Delivery(dialogue, login, connect, self._trace)
        transactions = self._mail = Transactions(client, dialogue, delivery, policy, idle_timeout, self._trace)
        self._login = None
        self._timeout = Ending.IDLE_TIMEOUT
        try:
            self._trace.relaying()
            await self._send(dialogue.send(Granted()))
            raise Over("ok", await transactions.run())
        finally:
            transactions.close()
            self._mail = None
            self._trace.relayed(transactions.up, transactions.down)


# Ends of the relay that aren't one side's own.
_RELAY_RESULTS = {"idle_timeout": "timeout", "shutdown": "shutdown", "kicked": "kicked"}
# POP3 (RFC 1939) has no line that a server may begin.
_FAREWELLS = {Protocol.IMAP: b"* BYE Ended by an administrator\r\n"}


def _relay_ended(relayed: Relayed, backend: Backend, trace: Trace, visit: Visit, screened: Screened | None) -> None:
    fault = relayed.reason.startswith("fault")
    try:
        backend.released()
        trace.relayed(relayed.up, relayed.down)
        end_screening(screened, trace)
        trace.ended("fault" if fault else _RELAY_RESULTS.get(relayed.reason, "ok"), relayed.reason)
    finally:
        visit.leave()
