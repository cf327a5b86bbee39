"""What a listener's sessions share, and what they tell as they go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, assert_never
from typing import Protocol as Interface

from msgspec.structs import replace

from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.screened import Screener
from tlsgate.auth import backend as asking_backend
from tlsgate.auth.attempt import Secured
from tlsgate.auth.certificate_user import certificate_user
from tlsgate.auth.chain import chain
from tlsgate.auth.followed import Followed
from tlsgate.auth.judgement import Judge
from tlsgate.auth.master import Master
from tlsgate.auth.routing import Routes, Routing
from tlsgate.auth.stored_secrets import StoredSecret, StoredSecrets
from tlsgate.auth.user_names import full_name
from tlsgate.backends.pool import Pool
from tlsgate.config import BareNewlines, Limits, Protocol, TlsMode
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice
from tlsgate.dialogue.backend import BackendDialogue, Purpose
from tlsgate.dialogue.events import Bounds, Channel, Offer, Shown
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.sasl import PLUS, Connection, usable
from tlsgate.dialogue.smtp import MessageRules
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_data import LONGEST_LINE
from tlsgate.dialogue.submission import Submission
from tlsgate.mail.delivery import DeliveryTrace
from tlsgate.mail.inbound_trace import InboundTrace
from tlsgate.mail.relay_rules import RelayDomains
from tlsgate.mail.submission import Senders, SubmissionTrace
from tlsgate.mail.transaction import MailTrace
from tlsgate.relay import Pump
from tlsgate.tls.accept import TlsFacts
from tlsgate.tls.client_certificate import exporter, peer_certificate
from tlsgate.tls.contexts import ServerContexts
from tlsgate.tls.stream import Stream, TlsStream

if TYPE_CHECKING:
    from tlsgate.dialogue.scram_secret import ScramSecret
    from tlsgate.mail.surbl.links import Links

ServerDialogue = Imap | Pop3 | Submission | Mx


class Trace(MailTrace, DeliveryTrace, SubmissionTrace, InboundTrace, Interface):
    """What a session tells as it goes: one hook for logs and metrics. ``session_id``: what the log calls it."""

    @property
    def session_id(self) -> str: ...
    def handshaken(self, facts: TlsFacts, seconds: float) -> None: ...
    def handshake_failed(self, reason: str) -> None: ...
    def cleartext_auth_refused(self, mechanism: str, user: str | None) -> None: ...
    def auth_failed(self, mechanism: str, user: str | None, reason: str) -> None: ...
    def client_known(self, name: str | None, found: str) -> None: ...
    def login_delayed(self, mechanism: str, user: str, seconds: float) -> None: ...
    def login_unavailable(self, mechanism: str, user: str, reason: str) -> None: ...
    def certificate_unreadable(self) -> None: ...
    def recognized(self, user: str, label: str, weak: str) -> None: ...
    def logged_in(self, mechanism: str, user: str, backend: str, seconds: float) -> None: ...
    def backend_used(self, address: str) -> None: ...
    def relaying(self) -> None: ...
    def relayed(self, up: int, down: int) -> None: ...
    def ended(self, result: str, reason: str) -> None: ...


_NO_PROXIES = PrefixSet(())
_NO_DOMAINS = RelayDomains(())
_NO_ROUTES = Routing(Routes())
_NO_CONNECTION = Connection()
_NO_ADVICE = TokenAdvice()
_BACKEND_ALONE = chain([asking_backend.judge])
# What most listeners offer: nothing of it needs to know the connection.
_UNBOUND = (("PLAIN", "LOGIN"), ("PLAIN",), ("LOGIN",))
_LONGEST_RESPONSE = 16384
_TOKENS = frozenset({"OAUTHBEARER", "XOAUTH2"})

ScramSecrets = Callable[[str], Awaitable["ScramSecret | None"]]
# Sessions of a listener have the same one, as long as its backends can do the same.
_offer = lru_cache(64)(Offer)


@dataclass(frozen=True)
class Service:
    """What a listener's sessions share: one state of the config. A reload makes a new one for those to come.

    ``proxies``: who must send a PROXY header. ``screener``: who asks the DNS about clients, None for nobody; ``links``:
    about the links in their messages. ``senders``: who knows whose addresses are whose, None where that is all the
    same. ``domains``: whose mail an mx listener takes. ``require_tls``: it takes none in clear.

    ``routing``: where users' mail is; ``routed``: other pools that it leads to, by name. ``masters``, ``stored``: by
    pool, for those that log in so. ``default_domain``: of names without one. ``scram``: who has users' secrets, None
    for nobody. ``advice``: where tokens are had. ``asks_certificates``: clients may log in by one.
    """

    protocol: Protocol
    tls: TlsMode
    contexts: ServerContexts
    pool: Pool
    pump: Pump
    limits: Limits
    hostname: str
    mechanisms: tuple[str, ...]
    judge: Judge = _BACKEND_ALONE
    proxies: PrefixSet = _NO_PROXIES
    screener: Screener | None = None
    senders: Senders | None = None
    domains: RelayDomains = _NO_DOMAINS
    links: Links | None = None
    require_tls: bool = False
    bare_newlines: BareNewlines = BareNewlines.REJECT
    routing: Routing = _NO_ROUTES
    # A service is a key to what is kept of it, and tables are none.
    routed: Mapping[str, Pool] = field(default_factory=dict, hash=False)
    masters: Mapping[str, Master] = field(default_factory=dict, hash=False)
    stored: Mapping[str, Followed[StoredSecrets]] = field(default_factory=dict, hash=False)
    default_domain: str = ""
    scram: ScramSecrets | None = None
    advice: TokenAdvice = _NO_ADVICE
    asks_certificates: bool = False

    async def place(self, user: str, named: str = "") -> tuple[Pool, str]:
        """Where this user's mail is, and its name there, "" for its own.

        ``named``: the pool that a source has named; one that isn't behind us is none.
        """
        place = await self.routing.place(user, self.protocol)
        name = named if named and (named == self.pool.name or named in self.routed) else place.pool
        # The map's name is the one in the map's pool.
        return self.routed.get(name or "", self.pool), place.name if place.pool in (None, name) else ""

    async def opens(self, pool: Pool, user: str) -> Master | StoredSecret | None:
        """What a pool's backends let this user in with, where that isn't its own password."""
        if (file := self.stored.get(pool.name)) is not None:
            return (await file.now()).find(user)
        return self.masters.get(pool.name)

    def known_as(self, user: str) -> str:
        """The name that a user has here, whichever way it was shown."""
        return full_name(user, self.default_domain)

    def full(self, shown: Shown) -> Shown:
        """The same, of the name that this user has here. Raises CredentialsError."""
        if not self.default_domain:
            return shown
        match shown:
            case BearerToken(_, authzid):
                return replace(shown, authzid=full_name(authzid, self.default_domain))
            case _:
                user, acts_as = (full_name(each, self.default_domain) for each in (shown.user, shown.authzid))
                return replace(shown, user=user, authzid=acts_as)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Every pool that its sessions can end up in."""
        return (self.pool, *self.routed.values())

    def connection(self, stream: Stream) -> Connection:
        """What mechanisms make use of, of a client's connection over TLS."""
        if self.mechanisms in _UNBOUND or not isinstance(stream, TlsStream):
            return _NO_CONNECTION
        certificate = peer_certificate(stream) if self.asks_certificates else None
        named = None if certificate is None else certificate_user(certificate)
        return Connection(exporter(stream) if PLUS in self.mechanisms else None, named, self.advice)

    def secured(self, stream: Stream, tls: TlsFacts, trace: Trace) -> Secured:
        """A client's TLS, for a source that wants to know. A certificate that can't be read is none."""
        facts = None
        if self.asks_certificates and isinstance(stream, TlsStream):
            from tlsgate.auth.certificate_facts import certificate_facts  # few have certificates

            certificate = peer_certificate(stream)
            try:
                facts = None if certificate is None else certificate_facts(certificate)
            except ValueError:  # old CAs write names that OpenSSL takes
                trace.certificate_unreadable()
        return Secured(tls.version, tls.cipher, self.asks_certificates, facts)

    async def scram_secret(self, user: str) -> ScramSecret | None:
        """What is kept of this user's password; None if that can't be told now."""
        return None if self.scram is None else await self.scram(full_name(user, self.default_domain))

    def server_dialogue(self, channel: Channel, connection: Connection = _NO_CONNECTION) -> ServerDialogue:
        """A dialogue that knows nothing of any before it."""
        mechanisms, bounds = usable(self.mechanisms, connection), self._bounds
        offer = _offer(self.hostname, mechanisms, self.pool.capabilities)
        match self.protocol:
            case Protocol.IMAP:
                return Imap(offer, channel, bounds, connection)
            case Protocol.POP3:
                return Pop3(offer, channel, bounds, connection)
            case Protocol.SUBMISSION:
                return Submission(offer, channel, bounds, self._message_rules, connection)
            case Protocol.MX:
                return Mx(offer, channel, bounds, self._message_rules, require_tls=self.require_tls)
            case _:
                assert_never(self.protocol)

    @cached_property
    def _bounds(self) -> Bounds:
        # Tokens are long; RFC 4954 4 gives responses 12288 octets.
        longest = max(self.limits.line_length, _LONGEST_RESPONSE if _TOKENS.intersection(self.mechanisms) else 0)
        return Bounds(longest, self.limits.bad_commands, self.limits.auth_attempts)

    @cached_property
    def _message_rules(self) -> MessageRules:
        # Who the user is, and so where the mail goes, isn't known yet.
        longest = None if all(each.settings.long_lines for each in self.pools) else LONGEST_LINE
        normalize = self.bare_newlines is BareNewlines.NORMALIZE
        return MessageRules(self.limits.message_size, self.limits.recipients, normalize, longest)

    def backend_dialogue(self, purpose: Purpose, starttls: bool, known: tuple[str, ...]) -> BackendDialogue:
        """The other side of it, towards a backend of this listener's protocol."""
        return _BACKEND_DIALOGUES[self.protocol](purpose, starttls=starttls, hostname=self.hostname, known=known)


_BACKEND_DIALOGUES: dict[Protocol, Callable[..., BackendDialogue]] = {
    Protocol.IMAP: ImapBackend,
    Protocol.POP3: Pop3Backend,
    Protocol.SUBMISSION: SmtpBackend,
    Protocol.MX: SmtpBackend,
}
