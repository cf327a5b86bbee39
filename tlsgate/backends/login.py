"""Connecting to a backend and holding its side of the dialogue up to the login, with fail-over inside one attempt."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio
from msgspec import Struct
from msgspec.structs import replace

from tlsgate.backends.backend import Backend
from tlsgate.backends.faults import BackendFault, NoBackend, Reason
from tlsgate.backends.pool import Pool
from tlsgate.backends.proxy_header import BEGINS, proxy_header
from tlsgate.backends.stream import BackendTlsStream, connect, connected
from tlsgate.config import BackendTls, ClientAddress, HostPort
from tlsgate.dialogue.backend import BackendDialogue, BeginTls, Misconfigured, Outcome, Probe, Purpose, Send
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.events import Granted, NeedData, RemoteProtocolError
from tlsgate.state.store import STATE_DOWN
from tlsgate.tls.stream import Expired, Stream, StreamLost

# Servers hold back the answer to a wrong password for seconds; more than this is a server that hangs.
ANSWER_TIMEOUT = 30.0

# Where a backend can say that it doesn't take who the client is: what its operator can do about it.
_ADVICE = {
    ClientAddress.XCLIENT: "name our address in its smtpd_authorized_xclient_hosts (Postfix) or login_trusted_networks"
    " (Dovecot), and let it have the clients' IP version",
    ClientAddress.IMAP_ID: 'use client_address = "proxy-v2", "proxy-v1" or "none"',
}

NewDialogue = Callable[[Purpose, bool, tuple[str, ...]], BackendDialogue]


class BackendSession(Struct, frozen=True):
    """A backend that has answered. Who takes its stream over calls ``backend.released()`` once it is closed."""

    backend: Backend
    stream: Stream
    dialogue: BackendDialogue
    outcome: Outcome
    purpose: Purpose

    def close(self) -> None:
        """Close the connection at once, whatever is under way there. Only once."""
        self.stream.close()
        self.backend.released()


async def log_in(
    pool: Pool,
    purpose: Purpose,
    new_dialogue: NewDialogue,
    before: float | None = None,
    server: HostPort | None = None,
) -> BackendSession:
    """Log in at the first backend of the pool that can be used. Raises NoBackend when none can.

    A backend's refusal of the credentials is an answer, not a fault: no other backend is asked then. ``before``: the
    caller's own deadline, else that of the scopes round it. ``server``: the only one to go to, None for any.
    """
    last = pool.nobody
    for backend in pool.candidates() if server is None else pool.at(server):
        try:
            session = await ask(backend, purpose, new_dialogue, pool.settings.connect_timeout, before)
        except BackendFault as fault:
            backend.trace.failed(fault.reason)
            if fault.down:
                backend.mark(up=False, why=fault.text)
            last = f"{backend.address}: {fault}"
        else:
            backend.mark(up=True)
            return session
    raise NoBackend(last)


async def ask(
    backend: Backend, purpose: Purpose, new_dialogue: NewDialogue, connect_timeout: float, before: float | None = None
) -> BackendSession:
    """Connect to one backend and do ``purpose`` there. Raises BackendFault.

    ``connect_timeout``: seconds until it has greeted and TLS stands; its answers have ANSWER_TIMEOUT, and always end
    early enough for us to answer within the caller's own deadline.
    """
    began = trio.current_time()
    client = None if isinstance(purpose, Probe) else purpose.client
    attempt = _Attempt(backend, client, trio.current_effective_deadline() if before is None else before)
    if (full := await backend.take()) is not None:
        why = "the shared state is away" if full == STATE_DOWN else "at its connection limit"
        raise BackendFault(Reason.CAPACITY, why, down=False)
    done = False
    try:
        asked = purpose
        if client is not None and not isinstance(asked, Probe) and backend.client_address in BEGINS:
            asked = replace(asked, client=None)  # the header tells of it
        dialogue = new_dialogue(asked, backend.settings.tls is BackendTls.STARTTLS, backend.capabilities or ())
        outcome = await attempt.converse(dialogue, connect_timeout)
        backend.trace.answered(trio.current_time() - began)
        done = True
    except Expired as expired:
        raise BackendFault(Reason.TIMEOUT, expired.reason, down=not attempt.hurried) from None
    except StreamLost as lost:
        reason = Reason.CLOSED if attempt.heard else Reason.CONNECT
        raise BackendFault(reason, lost.reason, down=not attempt.asked) from None
    except Misconfigured as error:
        _note(backend, client, told=False)
        advice = _ADVICE.get(backend.client_address, "")
        raise BackendFault(Reason.PROTOCOL, f"{error}; {advice}", down=False) from None
    except RemoteProtocolError as error:
        raise BackendFault(Reason.PROTOCOL, str(error), down=False) from None
    finally:
        if not done:
            attempt.close()
            backend.released()
    if isinstance(outcome.verdict, Granted):
        _note(backend, client, told=outcome.client_told)
    stream = attempt.open_stream()
    stream.expires(math.inf)
    return BackendSession(backend, stream, dialogue, outcome, purpose)


def _note(backend: Backend, client: ClientFacts | None, *, told: bool) -> None:
    """Note whether a backend that can say so took who the client is."""
    if client is not None and (advice := _ADVICE.get(backend.client_address)) is not None:
        version = client.source.address.version if client.source else 0
        backend.client_told(version, "" if told else f"doesn't take from us who the client is; {advice}")


class _Attempt:
    """One connection under way to a backend.

    ``heard``: it has said something. ``asked``: it was sent a command behind its TLS, so a fault may come of what the
    client has shown. ``hurried``: it had less than its time, for the caller has no more.
    """

    def __init__(self, backend: Backend, client: ClientFacts | None, callers_deadline: float) -> None:
        self._backend = backend
        self._client = client
        self._stream: Stream | None = None
        self._callers_deadline = callers_deadline
        self.heard = self.asked = self.hurried = False

    async def converse(self, dialogue: BackendDialogue, connect_timeout: float) -> Outcome:
        """Raises StreamLost, BackendFault, RemoteProtocolError."""
        security = self._backend.settings.tls
        self._stream = await connect(self._backend.where, self._deadline(connect_timeout), self._backend.names)
        begins = self._backend.client_address in BEGINS
        if begins or security is BackendTls.IMPLICIT:
            await connected(self._stream)
        if begins:
            await self._stream.send(self._header())
        if security is BackendTls.IMPLICIT:
            await self._begin_tls()
        while True:
            match dialogue.next_event():
                case NeedData():
                    dialogue.receive(await self._receive())
                case Send(data):
                    if security is not BackendTls.STARTTLS:
                        self.asked = True
                        self.open_stream().expires(self._deadline(ANSWER_TIMEOUT))
                    await self.open_stream().send(data)
                case BeginTls():
                    await self._begin_tls()
                    security = BackendTls.IMPLICIT
                case Outcome() as outcome:
                    return outcome

    def open_stream(self) -> Stream:
        if self._stream is None:
            raise LookupError("not connected")
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def _receive(self) -> bytes:
        data = await self.open_stream().receive()
        if not data:
            raise BackendFault(Reason.CLOSED, "closed before it answered", down=not self.asked)
        self.heard = True
        return data

    def _header(self) -> bytes:
        try:
            return proxy_header(self._backend.client_address, self._client, self.open_stream().socket)
        except OSError as error:  # the connection is gone already
            raise StreamLost(error.strerror or "connection lost") from None

    async def _begin_tls(self) -> None:
        host = getattr(self._backend.where, "host", "localhost")
        name = self._backend.settings.server_name or host
        try:
            over = BackendTlsStream(self.open_stream().socket, self._backend.tls_context, name)
            self._stream = over
            await over.handshake()
        except Expired:
            raise
        except StreamLost as lost:
            raise BackendFault(Reason.TLS, lost.reason) from None

    def _deadline(self, seconds: float) -> float:
        now = trio.current_time()
        most = (self._callers_deadline - now) * 0.9
        self.hurried = most < seconds
        return now + min(seconds, most)
