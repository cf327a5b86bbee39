"""One client connection from accept to close: the story of DESIGN section 1, from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NoReturn, assert_never
from typing import Protocol as Interface

import trio

from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.reverse_dns import Confirmed, TemporaryFailure
from tlsgate.admission.screened import Screened, Screener
from tlsgate.admission.screening import Outcome
from tlsgate.admission.visit import Visit
from tlsgate.arrival import Arrival
from tlsgate.auth import backend as asking_backend
from tlsgate.auth.judgement import Judge, login_purpose
from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession, log_in
from tlsgate.backends.pool import Backend, Pool
from tlsgate.client_facts import client_facts
from tlsgate.config import ClientAddress, Limits, Protocol, TlsMode
from tlsgate.dialogue.backend import BackendDialogue, Purpose
from tlsgate.dialogue.client import ClientFacts, NoName
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    ABOUT_CREDENTIALS,
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Ending,
    Granted,
    NeedData,
    Offer,
    Refusal,
    Refused,
    Reply,
    StartTls,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.sasl import CANCELLED
from tlsgate.dialogue.smtp import Submission
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.mail.submission import Senders, SubmissionPolicy, SubmissionTrace
from tlsgate.mail.transaction import Client, MailTrace, Transactions
from tlsgate.relay import Pump, Relayed
from tlsgate.state.store import STATE_DOWN
from tlsgate.tls.accept import TlsFacts, accept_tls, octets_are_here, tls_facts
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import Expired, PlainStream, Stream, StreamLost, TlsStream

ServerDialogue = Imap | Pop3 | Submission


class Trace(MailTrace, SubmissionTrace, Interface):
    """What a session tells as it goes: one hook for logs and metrics. ``session_id``: what the log calls it."""

    @property
    def session_id(self) -> str: ...
    def handshaken(self, facts: TlsFacts, seconds: float) -> None: ...
    def handshake_failed(self, reason: str) -> None: ...
    def cleartext_auth_refused(self, mechanism: str, user: str | None) -> None: ...
    def auth_failed(self, mechanism: str, user: str | None, reason: str) -> None: ...
    def screened(self, result: str, score: int, found: str) -> None: ...
    def client_known(self, name: str | None, found: str) -> None: ...
    def login_delayed(self, mechanism: str, user: str, seconds: float) -> None: ...
    def login_unavailable(self, mechanism: str, user: str, reason: str) -> None: ...
    def logged_in(self, mechanism: str, user: str, backend: str, seconds: float) -> None: ...
    def relaying(self) -> None: ...
    def relayed(self, up: int, down: int) -> None: ...
    def ended(self, result: str, reason: str) -> None: ...


# Seconds from a client's first octets of TLS to the end of the handshake: two of its round trips, and what gets lost.
_HANDSHAKE = 10.0
_NO_PROXIES = PrefixSet(())
# Sessions of a listener have the same ones.
_offer, _bounds = lru_cache(64)(Offer), lru_cache(64)(Bounds)


@dataclass(frozen=True, slots=True)
class Service:
    """What a listener's sessions share: one state of the config. A reload makes a new one for those to come.

    ``proxies``: who must send a PROXY header. ``screener``: who asks the DNS about clients, None for nobody.
    ``senders``: who knows whose addresses are whose, None where that is all the same.
    """

    protocol: Protocol
    tls: TlsMode
    contexts: ServerContexts
    pool: Pool
    pump: Pump
    limits: Limits
    hostname: str
    mechanisms: tuple[str, ...]
    judge: Judge = asking_backend.judge
    proxies: PrefixSet = _NO_PROXIES
    screener: Screener | None = None
    senders: Senders | None = None

    def server_dialogue(self, channel: Channel) -> ServerDialogue:
        """A dialogue that knows nothing of any before it."""
        limits = self.limits
        offer = _offer(self.hostname, self.mechanisms, self.pool.capabilities)
        bounds = _bounds(limits.line_length, limits.bad_commands, limits.auth_attempts)
        match self.protocol:
            case Protocol.IMAP:
                return Imap(offer, channel, bounds)
            case Protocol.POP3:
                return Pop3(offer, channel, bounds)
            case Protocol.SUBMISSION | Protocol.MX:
                return Submission(offer, channel, bounds, size=limits.message_size, recipients=limits.recipients)
            case _:
                assert_never(self.protocol)

    def backend_dialogue(self, purpose: Purpose, starttls: bool, known: tuple[str, ...]) -> BackendDialogue:
        """The other side of it, towards a backend of this listener's protocol."""
        return _BACKEND_DIALOGUES[self.protocol](purpose, starttls=starttls, hostname=self.hostname, known=known)


_BACKEND_DIALOGUES: dict[Protocol, Callable[..., BackendDialogue]] = {
    Protocol.IMAP: ImapBackend,
    Protocol.POP3: Pop3Backend,
    Protocol.SUBMISSION: SmtpBackend,
    Protocol.MX: SmtpBackend,
}


_TOO_MANY = Refused(Refusal.LIMIT, "too many connections of this user")
_STATE_AWAY = Refused(Refusal.UNAVAILABLE, "the shared state is away")


class _Over(Exception):
    """The session ends here; everything has been said."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(result, reason)
        self.result = result
        self.reason = reason


class Session:
    """One client. ``run`` returns when its socket is closed or the relay pump has taken it over, for ``owner``."""

    def __init__(self, service: Service, arrival: Arrival, trace: Trace, visit: Visit, owner: object = None) -> None:
        self._service = service
        self._owner = owner
        self._port, self._destination = arrival.port, arrival.destination
        self._trace = trace
        self._visit = visit
        self._screened: Screened | None = None
        self._began = trio.current_time() - arrival.waited
        self._stream: Stream = PlainStream(arrival.socket)
        # Who can be told that the session ends: nobody while a handshake is under way, or a reply.
        self._dialogue: ServerDialogue | None = None
        self._mid_reply = False
        self._timeout, self._deadline = Ending.GREETING_TIMEOUT, math.inf
        # The backend's connection, from the login until somebody else takes it over.
        self._login: BackendSession | None = None
        self._user = ""

    async def run(self) -> None:
        """Never raises but for cancellation: what goes wrong here ends this session and no other."""
        handed_over = False
        result, reason = "shutdown", "shutdown"
        try:
            self._expires(Ending.GREETING_TIMEOUT, self._service.limits.greeting_timeout)
            if self._service.screener is not None:
                self._screened = self._service.screener.begin(self._visit.entry)
            handed_over = await self._story()
        except Expired:
            result, reason = "timeout", self._timeout
            self._last_words(self._timeout)
        except _Over as over:
            result, reason = over.result, over.reason
        except StreamLost as lost:
            result, reason = "lost", lost.reason
        except Exception as fault:  # noqa: BLE001 - a fault in one session must not end the others; the log has it
            result, reason = "fault", f"{type(fault).__name__} in {_place(fault)}"
            self._last_words(Ending.FAULT)
        finally:
            if not handed_over:
                if result == "shutdown":
                    self._last_words(Ending.SHUTDOWN)
                self._end(result, reason)

    async def _story(self) -> bool:
        """True when the relay has taken the session over. Raises _Over, StreamLost."""
        service = self._service
        if service.tls is TlsMode.STARTTLS:
            await self._speak_clear()
        await self._handshake()
        self._expires(Ending.LOGIN_TIMEOUT, service.limits.login_timeout)
        dialogue = service.server_dialogue(Channel.ENCRYPTED)
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
        dialogue = self._service.server_dialogue(Channel.CLEARTEXT)
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

    async def _handshake(self) -> None:
        began = trio.current_time()
        client, failure = None, "cut short"
        try:
            client = await self._accept_tls()
        except Expired:
            raise
        except StreamLost as lost:
            failure = lost.reason
            raise _Over("handshake_failed", lost.reason) from None
        finally:
            if client is None:
                self._trace.handshake_failed(failure)
        self._stream = client
        self._trace.handshaken(tls_facts(client), trio.current_time() - began)

    async def _accept_tls(self) -> TlsStream:
        """The handshake, at its place among those under way: who says nothing, or stalls, must hold none for long."""
        if not octets_are_here(self._stream.socket):
            await self._stream.wait_readable()
        handshakes = self._visit.handshakes
        if not await handshakes.enter(self._deadline):
            raise Expired
        try:
            self._stream.expires(min(self._deadline, trio.current_time() + _HANDSHAKE))
            return await accept_tls(self._stream.socket, self._service.contexts, self._service.protocol)
        finally:
            handshakes.leave()

    # -- over TLS -----------------------------------------------------------------------------------

    async def _log_in(self, dialogue: ServerDialogue) -> BackendSession:
        """The dialogue up to a login that stands at a backend. Raises _Over, StreamLost."""
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
        """Turn a client away whom DNS lists have, before its password is looked at: no guess. Raises _Over, Expired."""
        screened.greeted(dialogue.client_name)
        decision = await screened.decision(self._deadline)
        if trio.current_time() >= self._deadline:
            raise Expired
        if decision.outcome is not Outcome.PASS:
            self._trace.screened(decision.outcome, decision.score, "; ".join(decision.reasons))
            reason = Ending.DNSBL if decision.outcome is Outcome.REJECT else Ending.DNSBL_TEMPFAIL
            await self._close(dialogue.ending(reason, screened.lists), reason)

    async def _wait_turn(self, dialogue: ServerDialogue, mechanism: str, user: str) -> None:
        """Hold an attempt back as long as what failed before it demands. Raises _Over for a ban by now, Expired."""
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
        self, dialogue: ServerDialogue, mechanism: str, who: Credentials
    ) -> BackendSession | Refused:
        """The verdict on what a client has shown: a login that stands is also in ``_login`` then."""
        pool = self._service.pool
        found = await self._service.judge(who)
        if isinstance(found, Refused):
            return await self._refused(mechanism, who, found)
        purpose = login_purpose(found, who, pool.settings.login, await self._facts(dialogue, pool))
        if isinstance(purpose, Refused):
            self._trace.login_unavailable(mechanism, who.user, "no source can judge a login for this pool")
            return purpose
        try:
            login = self._login = await log_in(pool, purpose, self._service.backend_dialogue, self._deadline)
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
        return await self._refused(mechanism, who, verdict, f"{address}: ")

    async def _facts(self, dialogue: ServerDialogue, pool: Pool) -> ClientFacts | None:
        """Who the client is, for a pool whose backends are told: others don't pay for it."""
        if pool.settings.client_address is ClientAddress.NONE:
            return None
        client, connected = self._visit.entry.client, self._stream.socket
        facts = client_facts(client, self._port, self._destination, connected, self._trace.session_id, dialogue)
        told = pool.settings.client_address is ClientAddress.XCLIENT and isinstance(dialogue, Submission)
        return replace(facts, name=await self._name(self._screened)) if told and self._screened is not None else facts

    async def _name(self, screened: Screened) -> str | NoName:
        match await screened.name(self._deadline):
            case Confirmed(name):
                return name
            case TemporaryFailure():
                return NoName.TEMPUNAVAIL
            case _:
                return NoName.UNAVAILABLE

    async def _refused(self, mechanism: str, who: Credentials, verdict: Refused, by: str = "") -> Refused:
        """Tell of a refusal; it counts if what the client has shown is to blame."""
        if verdict.reason in ABOUT_CREDENTIALS:
            self._trace.auth_failed(mechanism, who.user, verdict.reason)
            if verdict.reason is not Refusal.EXPIRED:  # the secret was right
                await self._visit.failed(who.user, who.secret)
        else:
            self._trace.login_unavailable(mechanism, who.user, f"{by}{verdict.reason} {verdict.text}".rstrip())
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
        """SMTP stays in the loop: each message is judged. Raises _Over, StreamLost."""

        async def connect() -> BackendSession:
            again = await log_in(self._service.pool, login.purpose, self._service.backend_dialogue)
            if isinstance(again.outcome.verdict, Granted):
                return again
            again.close()
            raise NoBackend("the backend no longer takes this login")

        limits = self._service.limits
        transactions = Transactions(
            Client(self._stream.receive, self._send, self._stream.expires),
            dialogue,
            login,
            connect,
            SubmissionPolicy(self._user, self._visit.store, limits, self._service.senders, self._trace),
            limits.idle_timeout,
            self._trace,
        )
        self._login = None
        self._timeout = Ending.IDLE_TIMEOUT
        try:
            self._trace.relaying()
            await self._send(dialogue.send(Granted()))
            raise _Over("ok", await transactions.run())
        finally:
            transactions.close()
            self._trace.relayed(transactions.up, transactions.down)

    # -- ends ---------------------------------------------------------------------------------------

    def _expires(self, timeout: Ending, seconds: float) -> None:
        """What the client is told when the session isn't further ``seconds`` after it began."""
        self._timeout, self._deadline = timeout, self._began + seconds
        self._stream.expires(self._deadline)

    async def _receive(self) -> bytes:
        data = await self._stream.receive()
        if not data:
            raise _Over("no_login", "client closed")
        return data

    async def _send(self, data: bytes) -> None:
        self._mid_reply = True
        await self._stream.send(data)
        self._mid_reply = False

    async def _close(self, data: bytes, reason: Ending) -> None:
        await self._send(data)
        raise _Over("no_login", reason)

    def _last_words(self, reason: Ending) -> None:
        """Say why, if there is a dialogue to say it in and the client takes it at once."""
        if self._dialogue is None or self._mid_reply:
            return
        try:
            self._stream.write(memoryview(self._dialogue.ending(reason)))
        except StreamLost:  # the client is gone: nobody is left to tell
            pass

    def _end(self, result: str, reason: str) -> None:
        try:
            if self._login is not None:
                self._login.close()
            self._stream.end_writing()
            self._stream.close()
            _end_screening(self._screened, self._trace)
            self._trace.ended(result, reason)
        finally:
            self._visit.leave()


# Ends of the relay that aren't one side's own.
_RELAY_RESULTS = {"idle_timeout": "timeout", "shutdown": "shutdown"}


def _relay_ended(relayed: Relayed, backend: Backend, trace: Trace, visit: Visit, screened: Screened | None) -> None:
    fault = relayed.reason.startswith("fault")
    try:
        backend.released()
        trace.relayed(relayed.up, relayed.down)
        _end_screening(screened, trace)
        trace.ended("fault" if fault else _RELAY_RESULTS.get(relayed.reason, "ok"), relayed.reason)
    finally:
        visit.leave()


def _end_screening(screened: Screened | None, trace: Trace) -> None:
    """Nobody waits for the DNS any more; what it has said by now is for the log."""
    if screened is not None:
        screened.end()
        trace.client_known(screened.confirmed_name, screened.found)


def _place(fault: Exception) -> str:
    """Where a fault was raised: a file's name and a line, never a value."""
    entry = fault.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return "unknown" if entry is None else f"{entry.tb_frame.f_code.co_filename.rpartition('/')[2]}:{entry.tb_lineno}"
