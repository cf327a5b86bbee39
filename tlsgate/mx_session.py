"""The story of a session with another mail server (DESIGN section 1), from top to bottom."""

from __future__ import annotations

import socket
from functools import partial

import trio

from tlsgate.backends.login import BackendSession, log_in
from tlsgate.dialogue.backend import NoLogin
from tlsgate.dialogue.events import AuthRejected, Channel, CleartextAuthRefused, Ending
from tlsgate.dialogue.mx import Mx
from tlsgate.mail.delivery import Delivery
from tlsgate.mail.inbound import InboundPolicy
from tlsgate.mail.transaction import STARTTLS, Client, Transactions
from tlsgate.session import Over, Session
from tlsgate.tls.stream import Expired

# RFC 5321 4.5.3.2.7: what a server must wait for a command. Whoever is silent for longer has nothing to say.
_SILENCE = 300.0


class MxSession(Session):
    """One client, a server of others: no login, and mail in clear too where the config allows it."""

    async def _story(self) -> bool:
        await self._wait_for_silence()
        dialogue = self._new_dialogue(Channel.CLEARTEXT)
        await self._send(dialogue.greeting())
        while (ended := await self._transact(dialogue)) == STARTTLS:
            self._dialogue = None
            self._timeout = Ending.GREETING_TIMEOUT
            self._deadline = trio.current_time() + self._service.limits.greeting_timeout
            self._stream.expires(self._deadline)
            await self._handshake()
            dialogue = self._new_dialogue(Channel.ENCRYPTED)
        raise Over("ok", ended)

    def _new_dialogue(self, channel: Channel) -> Mx:
        dialogue = self._service.server_dialogue(channel)
        if not isinstance(dialogue, Mx):
            raise TypeError(f"{type(dialogue).__name__} on an mx listener")
        self._dialogue = dialogue
        return dialogue

    async def _wait_for_silence(self) -> None:
        """Note who talks before it is greeted: no server does (RFC 5321 4.3.1)."""
        screener, screened = self._service.screener, self._screened
        if screener is None or screened is None or not screener.settings.pregreet_delay:
            return
        delay = screener.settings.pregreet_delay
        self._deadline += delay  # it is ours, and is none of the client's time to be greeted
        self._stream.expires(trio.current_time() + delay)
        try:
            await self._stream.wait_readable()
        except Expired:
            pass
        else:
            if _has_spoken(self._stream.socket):
                screened.pregreeted()
        self._stream.expires(self._deadline)

    async def _transact(self, dialogue: Mx) -> str:
        """Mail, in clear or over TLS. Gives why it ends. Raises StreamLost, Expired."""
        service = self._service
        policy = InboundPolicy(
            service.domains,
            service.screener,
            self._screened,
            service.links,
            partial(self._stamp, dialogue, logged_in=False),
            self._trace,
        )
        client = Client(self._stream.receive, self._send, self._stream.expires)
        silence = min(service.limits.idle_timeout, _SILENCE)
        delivery = Delivery(dialogue, None, partial(self._connect, dialogue), self._trace)
        transactions = self._mail = Transactions(client, dialogue, delivery, policy, silence, self._trace, self._noted)
        self._timeout = Ending.IDLE_TIMEOUT
        self._trace.relaying()
        try:
            return await transactions.run()
        finally:
            transactions.close()
            self._mail = None
            self._trace.relayed(transactions.up, transactions.down)

    async def _connect(self, dialogue: Mx) -> BackendSession:
        """A backend that knows whose mail it gets. Raises NoBackend."""
        pool = self._service.pool
        purpose = NoLogin(await self._told(dialogue, pool))
        session = await log_in(pool, purpose, self._service.backend_dialogue)
        self._trace.backend_used(session.backend.address)
        return session

    async def _noted(self, refused: CleartextAuthRefused | AuthRejected) -> None:
        """A client has tried to log in: no server does, so it is guessing."""
        if isinstance(refused, CleartextAuthRefused):
            self._trace.cleartext_auth_refused(refused.mechanism, refused.user)
            await self._visit.mistaken(refused.user, f"cleartext {refused.mechanism}")
        else:
            self._trace.auth_failed(refused.mechanism, refused.user, refused.reason)
            await self._visit.mistaken(refused.user, f"{refused.mechanism} {refused.reason}")


def _has_spoken(connected: socket.socket) -> bool:
    """Whether octets are here; the client's end, or its loss, is no speech."""
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
