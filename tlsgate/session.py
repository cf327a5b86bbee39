"""One client connection from accept to close: what the stories of all sessions have in common."""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod

import trio
from msgspec.structs import replace

from tlsgate.admission.reverse_dns import Confirmed, TemporaryFailure
from tlsgate.admission.screened import Screened
from tlsgate.admission.visit import Visit
from tlsgate.arrival import Arrival
from tlsgate.backends.login import BackendSession
from tlsgate.backends.pool import Pool
from tlsgate.client_facts import client_facts
from tlsgate.config import ClientAddress
from tlsgate.dialogue.client import ClientFacts, NoName
from tlsgate.dialogue.events import Ending
from tlsgate.dialogue.smtp import Smtp, State
from tlsgate.mail.received import Tls
from tlsgate.mail.stamp import Stamp
from tlsgate.mail.transaction import Transactions
from tlsgate.service import ServerDialogue, Service, Trace
from tlsgate.tls.accept import TlsFacts, accept_tls, octets_are_here, tls_facts
from tlsgate.tls.hearing_out import hear_out
from tlsgate.tls.stream import Expired, PlainStream, Stream, StreamLost, TlsStream

# Seconds from a client's first octets of TLS to the end of the handshake: two of its round trips, and what gets lost.
_HANDSHAKE = 10.0
# Ends before which nothing was said that a client could miss.
_UNSAID = ("lost", "handshake_failed")
_WITHIN_A_MESSAGE = (State.BODY, State.CHUNK, State.SKIP)


class Over(Exception):
    """The session ends here; everything has been said."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(result, reason)
        self.result = result
        self.reason = reason


class Session(ABC):
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
        self._tls: TlsFacts | None = None
        self._mail: Transactions | None = None
        self._kicked = False

    @property
    def octets(self) -> tuple[int, int]:
        """Octets of mail from the client and to it that its trace doesn't know yet."""
        return (0, 0) if self._mail is None else (self._mail.up, self._mail.down)

    def dismiss(self, *, at_once: bool) -> None:
        """Have it end when it next waits for its client, who is told unless it sends a message; or ``at_once``."""
        self._kicked = True
        if not at_once:
            self._stream.expires(trio.current_time())
            return
        try:
            self._stream.socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client is gone
            pass

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
            if not self._kicked:
                self._last_words(self._timeout)
            elif not (isinstance(self._dialogue, Smtp) and self._dialogue.state in _WITHIN_A_MESSAGE):
                self._last_words(Ending.KICKED)
        except Over as over:
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
                if self._kicked and result != "fault":
                    result = reason = "kicked"
                try:
                    if self._login is not None:
                        self._login.close()
                    if result not in _UNSAID:
                        await hear_out(self._stream)
                finally:
                    self._end(result, reason)

    @abstractmethod
    async def _story(self) -> bool:
        """True when the relay has taken the session over. Raises Over, StreamLost, Expired."""

    # -- TLS ----------------------------------------------------------------------------------------

    async def _handshake(self) -> None:
        began = trio.current_time()
        client, failure = None, "cut short"
        try:
            client = await self._accept_tls()
        except Expired:
            raise
        except StreamLost as lost:
            failure = lost.reason
            raise Over("handshake_failed", lost.reason) from None
        finally:
            if client is None:
                self._trace.handshake_failed(failure)
        self._stream = client
        self._tls = tls_facts(client)
        self._trace.handshaken(self._tls, trio.current_time() - began)

    async def _accept_tls(self) -> TlsStream:
        """The handshake, at its place among those under way: who says nothing, or stalls, must hold none for long."""
        if not octets_are_here(self._stream.socket):
            await self._stream.wait_readable()
        handshakes = self._visit.handshakes
        if not (place := await handshakes.enter(self._deadline)):
            raise Expired
        try:
            self._stream.expires(min(self._deadline, trio.current_time() + _HANDSHAKE))
            return await accept_tls(self._stream.socket, self._service.contexts, self._service.protocol)
        finally:
            handshakes.leave(place)

    # -- who the client is --------------------------------------------------------------------------

    def _facts(self, dialogue: ServerDialogue) -> ClientFacts:
        """Who the client is, as far as it is known by now."""
        client, connected = self._visit.entry.client, self._stream.socket
        facts = client_facts(client, self._port, self._destination, connected, self._trace.session_id, dialogue)
        name = None if self._screened is None else self._screened.confirmed_name
        return facts if name is None else replace(facts, name=name)

    async def _told(self, dialogue: ServerDialogue, pool: Pool) -> ClientFacts | None:
        """The same, for a pool whose backends are told: others don't pay for it."""
        how = pool.settings.client_address
        if how is ClientAddress.NONE:
            return None
        facts = self._facts(dialogue)
        if how is not ClientAddress.XCLIENT or self._screened is None or not isinstance(dialogue, Smtp):
            return facts
        return replace(facts, name=await self._name(self._screened))

    def _stamp(self, dialogue: ServerDialogue, *, logged_in: bool) -> Stamp:
        """What the messages of this client get from us."""
        tls = None if self._tls is None else Tls(self._tls.version, self._tls.cipher)
        return Stamp(self._service.hostname, self._facts(dialogue), tls, logged_in)

    async def _name(self, screened: Screened) -> str | NoName:
        match await screened.name(self._deadline):
            case Confirmed(name):
                return name
            case TemporaryFailure():
                return NoName.TEMPUNAVAIL
            case _:
                return NoName.UNAVAILABLE

    # -- ends ---------------------------------------------------------------------------------------

    def _expires(self, timeout: Ending, seconds: float) -> None:
        """What the client is told when the session isn't further ``seconds`` after it began."""
        self._timeout, self._deadline = timeout, self._began + seconds
        self._stream.expires(self._deadline)

    async def _receive(self) -> bytes:
        data = await self._stream.receive()
        if not data:
            raise Over("no_login", "client closed")
        return data

    async def _send(self, data: bytes) -> None:
        self._mid_reply = True
        await self._stream.send(data)
        self._mid_reply = False

    async def _close(self, data: bytes, reason: Ending) -> None:
        await self._send(data)
        raise Over("no_login", reason)

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
            if not self._stream.end_told:
                self._stream.end_writing()
            self._stream.close()
            end_screening(self._screened, self._trace)
            self._trace.ended(result, reason)
        finally:
            self._visit.leave()


def end_screening(screened: Screened | None, trace: Trace) -> None:
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
