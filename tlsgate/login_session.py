"""The story of a session that logs in: IMAP, POP3 and submission (DESIGN section 1), from top to bottom."""

from __future__ import annotations

import math
from functools import partial
from typing import NoReturn

import trio

from tlsgate.admission.screened import Screened
from tlsgate.admission.screening import Outcome
from tlsgate.admission.visit import Visit
from tlsgate.arrival import Arrival
from tlsgate.auth.judgement import answer, login_purpose
from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession, log_in
from tlsgate.backends.pool import Backend
from tlsgate.config import TlsMode
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    ABOUT_CREDENTIALS,
    Authenticate,
    AuthRejected,
    Channel,
    CleartextAuthRefused,
    Close,
    Ending,
    Granted,
    NeedData,
    Refusal,
    Refused,
    Reply,
    StartTls,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.sasl import CANCELLED
from tlsgate.dialogue.submission import Submission
from tlsgate.mail.delivery import Delivery
from tlsgate.mail.submission import SubmissionPolicy
from tlsgate.mail.transaction import Client, Transactions
from tlsgate.relay import Relayed
from tlsgate.service import Service, Trace
from tlsgate.session import Over, Session, end_screening
from tlsgate.state.store import STATE_DOWN
from tlsgate.tls.stream import Expired

LoginDialogue = Imap | Pop3 | Submission

_TOO_MANY = Refused(Refusal.LIMIT, "too many connections of this user")
_STATE_AWAY = Refused(Refusal.UNAVAILABLE, "the shared state is away")


class LoginSession(Session):
    """One client that must log in."""

    def __init__(self, service: Service, arrival: Arrival, trace: Trace, visit: Visit, owner: object = None) -> None:
        super().__init__(service, arrival, trace, visit, owner)
        self._user = ""

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

    def _new_dialogue(self, channel: Channel) -> LoginDialogue:
        dialogue = self._service.server_dialogue(channel)
        if isinstance(dialogue, Mx):
            raise TypeError("a login on an mx listener")
        return dialogue

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
                case CleartextAuthRefused(data, mechanism, user):
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
                    dialogue.receive(await self._receive())
                case Reply(data):
                    await self._send(data)
                case AuthRejected(data, mechanism, reason, user):
                    self._trace.auth_failed(mechanism, user, reason)
                    if reason != CANCELLED:  # nothing was guessed
                        await self._visit.mistaken(user, f"{mechanism} {reason}")
                    await self._send(data)
                case Authenticate(mechanism, who):
                    if self._screened is not None and isinstance(dialogue, Submission):
                        await self._screen(self._screened, dialogue)
                    await self._wait_turn(dialogue, mechanism, who.user)
                    answer = await self._authenticate(dialogue, mechanism, who)
                    self._visit.judged()
                    if isinstance(answer, BackendSession):
                        return answer
                    await self._send(dialogue.send(answer))
                case Close(data, reason):
                    await self._close(data, reason)
                case event:
                    raise TypeError(f"{type(event).__name__} before login")

    async def _screen(self, screened: Screened, dialogue: Submission) -> None:
        """Turn a client away whom DNS lists have, before its password is looked at: no guess. Raises Over, Expired."""
        screened.greeted(dialogue.client_name)
        decision = await screened.decision(self._deadline)
        if trio.current_time() >= self._deadline:
            raise Expired
        if decision.outcome is not Outcome.PASS:
            self._trace.screened(decision.outcome, decision.score, "; ".join(decision.reasons))
            reason = Ending.DNSBL if decision.outcome is Outcome.REJECT else Ending.DNSBL_TEMPFAIL
            await self._close(dialogue.ending(reason, screened.lists), reason)

    async def _wait_turn(self, dialogue: LoginDialogue, mechanism: str, user: str) -> None:
        """Hold an attempt back as long as what failed before it demands. Raises Over for a ban by now, Expired."""
        delay = await self._visit.before_login(user)
        if delay:
            self._trace.login_delayed(mechanism, user, delay)
            await trio.sleep_until(min(trio.current_time() + delay, self._deadline))
            if trio.current_time() >= self._deadline:
                raise Expired
            delay = await self._visit.before_login(user, waited=True)  # the ban may have come meanwhile
        if delay is None:
            self._trace.auth_failed(mechanism, user, "banned")
            await self._close(dialogue.ending(Ending.BANNED), Ending.BANNED)

    async def _authenticate(
        self, dialogue: LoginDialogue, mechanism: str, who: Credentials
    ) -> BackendSession | Refused:
        """The verdict on what a client has shown: a login that stands is also in ``_login`` then."""
        service = self._service
        pool = service.pool_of(who.user)
        mode = pool.settings.login
        found = await service.judge(who)
        if isinstance(found, Refused):
            return await self._refused(mechanism, who, found)
        told = await self._told(dialogue, pool)
        purpose = login_purpose(found, who, mode, told, service.masters.get(pool.name))
        if isinstance(purpose, Refused):
            why = purpose.text or "no source can judge a login for this pool"
            return await self._refused(mechanism, who, Refused(purpose.reason), why)
        try:
            login = self._login = await log_in(pool, purpose, service.backend_dialogue, self._deadline)
        except NoBackend as error:
            self._trace.login_unavailable(mechanism, who.user, str(error))
            return Refused(Refusal.UNAVAILABLE)
        address, verdict = login.backend.address, login.outcome.verdict
        if not isinstance(verdict, Refused):
            if (full := await self._visit.logged_in(who.user)) is None:
                self._user = who.user
                self._trace.logged_in(mechanism, who.user, address, trio.current_time() - self._began)
                return login
            verdict = _STATE_AWAY if full == STATE_DOWN else _TOO_MANY
        self._login = None
        login.close()
        meant = answer(verdict, mode)
        by = f"{address}:" if meant is verdict else f"{address} refuses the master login:"
        why = "" if meant.reason in ABOUT_CREDENTIALS else f"{by} {verdict.reason} {verdict.text}".rstrip()
        return await self._refused(mechanism, who, meant, why)

    async def _refused(self, mechanism: str, who: Credentials, verdict: Refused, why: str = "") -> Refused:
        """Tell of a refusal; it counts if what the client has shown is to blame. ``why``: for the log alone."""
        if verdict.reason in ABOUT_CREDENTIALS:
            self._trace.auth_failed(mechanism, who.user, why or verdict.reason)
            if verdict.reason is not Refusal.EXPIRED:  # the secret was right
                await self._visit.failed(who.user, who.secret)
        else:
            self._trace.login_unavailable(mechanism, who.user, why or f"{verdict.reason} {verdict.text}".rstrip())
        return verdict

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
        )
        self._login = None

    async def _transact(self, dialogue: Submission, login: BackendSession) -> NoReturn:
        """SMTP stays in the loop: each message is judged. Raises Over, StreamLost."""
        service = self._service

        async def connect() -> BackendSession:
            again = await log_in(service.pool_of(self._user), login.purpose, service.backend_dialogue)
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
        transactions = Transactions(client, dialogue, delivery, policy, idle_timeout, self._trace)
        self._login = None
        self._timeout = Ending.IDLE_TIMEOUT
        try:
            self._trace.relaying()
            await self._send(dialogue.send(Granted()))
            raise Over("ok", await transactions.run())
        finally:
            transactions.close()
            self._trace.relayed(transactions.up, transactions.down)


# Ends of the relay that aren't one side's own.
_RELAY_RESULTS = {"idle_timeout": "timeout", "shutdown": "shutdown"}


def _relay_ended(relayed: Relayed, backend: Backend, trace: Trace, visit: Visit, screened: Screened | None) -> None:
    fault = relayed.reason.startswith("fault")
    try:
        backend.released()
        trace.relayed(relayed.up, relayed.down)
        end_screening(screened, trace)
        trace.ended("fault" if fault else _RELAY_RESULTS.get(relayed.reason, "ok"), relayed.reason)
    finally:
        visit.leave()
