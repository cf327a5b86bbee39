"""What a session does with a login that a client tries: may it try now, who judges it, and which backend takes it."""

from __future__ import annotations

import secrets
from functools import partial
from ipaddress import IPv4Address

import trio
from msgspec import Struct

from tlsgate.admission.screened import Screened
from tlsgate.admission.screening import Outcome
from tlsgate.admission.visit import Visit
from tlsgate.arrival import Arrival
from tlsgate.auth.attempt import Attempt, Caller, Proxied
from tlsgate.auth.judgement import Purpose, Right, Unavailable, answer, login_purpose
from tlsgate.auth.user_names import UnfitName, backend_name
from tlsgate.backends.faults import NoBackend
from tlsgate.backends.login import BackendSession, log_in
from tlsgate.backends.pool import Pool
from tlsgate.config import HostPort
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.client import NoName
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    ABOUT_CREDENTIALS,
    AuthRejected,
    Channel,
    Ending,
    Refusal,
    Refused,
    Shown,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.sasl import CANCELLED, Connection
from tlsgate.dialogue.submission import Submission
from tlsgate.service import Service, Trace
from tlsgate.session import Session
from tlsgate.state.store import STATE_DOWN
from tlsgate.tls.stream import Expired

LoginDialogue = Imap | Pop3 | Submission

# The client has given up, asks where a token is to be had (RFC 7628 4.3), or can't bind as we do (RFC 5802 6).
_NO_GUESS = (CANCELLED, "no token", "channel-binding-not-supported", "unsupported-channel-binding-type")
_NO_CONNECTION = Connection()
_THIS_HOST = IPv4Address("127.0.0.1")
_TOO_MANY = Refused(Refusal.LIMIT, "too many connections of this user")
_STATE_AWAY = Refused(Refusal.UNAVAILABLE, "the shared state is away")


class Target(Struct, frozen=True):
    """Where a login goes. ``server``: the one backend that it may go to, None for any of the pool."""

    pool: Pool
    purpose: Purpose
    server: HostPort | None

    async def log_in(self, service: Service, before: float | None = None) -> BackendSession:
        """Raises NoBackend."""
        return await log_in(self.pool, self.purpose, service.backend_dialogue, before, self.server)


class Authentication(Session):
    """One client that must log in: the part of its story between what it shows and a backend that has let it in."""

    def __init__(self, service: Service, arrival: Arrival, trace: Trace, visit: Visit, owner: object = None) -> None:
        super().__init__(service, arrival, trace, visit, owner)
        self._user = ""
        self._attempts = 0
        # Whose proof is awaited, by which mechanism; and whether the one that has come may be looked at.
        self._proof: tuple[str, str] | None = None
        self._admitted = False
        self._target: Target

    def _new_dialogue(self, channel: Channel) -> LoginDialogue:
        connection = _NO_CONNECTION if channel is Channel.CLEARTEXT else self._service.connection(self._stream)
        dialogue = self._service.server_dialogue(channel, connection)
        if isinstance(dialogue, Mx):
            raise TypeError("a login on an mx listener")
        return dialogue

    async def _rejected(self, rejected: AuthRejected) -> None:
        """Tell of an exchange that has failed by itself, and count it."""
        self._proof, self._admitted = None, False
        mechanism, reason = rejected.mechanism, rejected.reason
        user = rejected.user and self._service.known_as(rejected.user)
        self._trace.auth_failed(mechanism, user, reason)
        # Proofs of one old secret can't be told from those of many guesses, so each counts: by whatever rule a phone
        # were let off that has an old one saved, a guesser would be.
        if rejected.guessed:
            await self._visit.failed(user, secrets.token_bytes(16))
        elif reason not in _NO_GUESS:
            await self._visit.mistaken(user, f"{mechanism} {reason}")
        self._visit.judged()

    async def _admit(self, dialogue: LoginDialogue, mechanism: str, user: str) -> None:
        """Whether this client may try a login now. Raises Over, Expired."""
        if self._screened is not None and isinstance(dialogue, Submission):
            await self._screen(self._screened, dialogue)
        await self._wait_turn(dialogue, mechanism, user)

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

    async def _authenticate(self, dialogue: LoginDialogue, mechanism: str, shown: Shown) -> BackendSession | Refused:
        """The verdict on what a client has shown: a login that stands is also in ``_login`` then."""
        service = self._service
        self._attempts += 1
        caller = partial(self._caller, dialogue)
        attempt = Attempt(shown, mechanism, service.protocol, self._attempts, self._deadline, caller)
        found = await service.judge(attempt)
        match found:
            case Refused():
                return await self._refused(mechanism, shown, found, found.why or found.text)
            case Unavailable(reason):
                return await self._refused(mechanism, shown, Refused(Refusal.UNAVAILABLE), reason)
        user = found.user if isinstance(found, Right) else shown.user
        pool, given = await service.place(user, found.pool if isinstance(found, Right) else "")
        try:
            told_name = found.name if isinstance(found, Right) else ""
            name = backend_name(user, pool.settings.strip_domain, told_name or given)
        except UnfitName as unfit:
            # Whoever has shown a right secret is not to blame for the name.
            reason = Refusal.CONTACT_ADMIN if isinstance(found, Right) else Refusal.AUTHENTICATION_FAILED
            return await self._refused(mechanism, shown, Refused(reason), str(unfit), user)
        own = shown if isinstance(shown, Credentials) else None
        told, opens = await self._told(dialogue, pool), await service.opens(pool, user)
        purpose = login_purpose(found, own, pool.settings.login, name, told, opens)
        if isinstance(purpose, Refused):
            return await self._refused(mechanism, shown, Refused(purpose.reason), purpose.text, user)
        target = Target(pool, purpose, found.server if isinstance(found, Right) else None)
        said = await self._log_in_at(target, mechanism, shown, user)
        if isinstance(found, Right) and self._login is not None:
            self._trace.recognized(user, found.label, found.weak)
        return said

    async def _log_in_at(self, target: Target, mechanism: str, shown: Shown, user: str) -> BackendSession | Refused:
        mode = target.pool.settings.login
        try:
            login = self._login = await target.log_in(self._service, self._deadline)
        except NoBackend as error:
            self._trace.login_unavailable(mechanism, user, str(error))
            return Refused(Refusal.UNAVAILABLE)
        address, verdict = login.backend.address, login.outcome.verdict
        if not isinstance(verdict, Refused):
            if (full := await self._visit.logged_in(user)) is None:
                self._user, self._target = user, target
                self._trace.logged_in(mechanism, user, address, trio.current_time() - self._began)
                return login
            verdict = _STATE_AWAY if full == STATE_DOWN else _TOO_MANY
        self._login = None
        login.close()
        meant = answer(verdict, mode)
        by = f"{address}:" if meant is verdict else f"{address} refuses the {mode} login:"
        why = "" if meant.reason in ABOUT_CREDENTIALS else f"{by} {verdict.reason} {verdict.text}".rstrip()
        return await self._refused(mechanism, shown, meant, why, user)

    async def _refused(self, mechanism: str, shown: Shown, verdict: Refused, why: str = "", known: str = "") -> Refused:
        """Tell of a refusal; it counts if what the client has shown is to blame.

        ``why``: for the log alone. ``known``: who it is, where a source knows it: a token need not say.
        """
        user = known or shown.user or None
        if verdict.reason in ABOUT_CREDENTIALS:
            self._trace.auth_failed(mechanism, user, why or verdict.reason)
            if verdict.reason is not Refusal.EXPIRED:  # the secret was right
                await self._count(mechanism, shown, verdict.reason)
        else:
            self._trace.login_unavailable(mechanism, user or "", why or f"{verdict.reason} {verdict.text}".rstrip())
        return verdict

    async def _count(self, mechanism: str, shown: Shown, reason: Refusal) -> None:
        match shown:
            case Credentials(user, secret):
                await self._visit.failed(user, secret)
            case BearerToken(token, user) if reason is Refusal.AUTHENTICATION_FAILED:  # else the issuer has signed it
                await self._visit.failed(user or None, token.encode())
            case Proven(user):
                await self._visit.mistaken(user, mechanism)

    def _caller(self, dialogue: LoginDialogue) -> Caller:
        """Who the client is, for a source that wants to know."""
        facts, tls = self._facts(dialogue), self._tls
        name = NoName.UNAVAILABLE if self._screened is None else self._screened.confirmed_name
        proxied = None
        if self._destination is not None and facts.source is not None and facts.destination is not None:
            proxied = Proxied(facts.source, facts.destination)
        secured = None if tls is None else self._service.secured(self._stream, tls, self._trace)
        address = _THIS_HOST if facts.source is None else facts.source.address
        return Caller(address, name or NoName.UNAVAILABLE, proxied, secured)
