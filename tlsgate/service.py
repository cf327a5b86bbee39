"""What a listener's sessions share, and what they tell as they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never
from typing import Protocol as Interface

from tlsgate.admission.prefixes import PrefixSet
from tlsgate.admission.screened import Screener
from tlsgate.auth import backend as asking_backend
from tlsgate.auth.judgement import Judge
from tlsgate.auth.master import Master
from tlsgate.auth.routing import Routes
from tlsgate.backends.pool import Pool
from tlsgate.config import BareNewlines, Limits, Protocol, TlsMode
from tlsgate.dialogue.backend import BackendDialogue, Purpose
from tlsgate.dialogue.events import Bounds, Channel, Offer
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
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
from tlsgate.tls.contexts import ServerContexts

if TYPE_CHECKING:
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
    def logged_in(self, mechanism: str, user: str, backend: str, seconds: float) -> None: ...
    def backend_used(self, address: str) -> None: ...
    def relaying(self) -> None: ...
    def relayed(self, up: int, down: int) -> None: ...
    def ended(self, result: str, reason: str) -> None: ...


_NO_PROXIES = PrefixSet(())
_NO_DOMAINS = RelayDomains(())
_NO_ROUTES = Routes()
# Sessions of a listener have the same ones.
_offer, _bounds, _rules = lru_cache(64)(Offer), lru_cache(64)(Bounds), lru_cache(64)(MessageRules)


@dataclass(frozen=True, slots=True)
class Service:
    """What a listener's sessions share: one state of the config. A reload makes a new one for those to come.

    ``proxies``: who must send a PROXY header. ``screener``: who asks the DNS about clients, None for nobody; ``links``:
    about the links in their messages. ``senders``: who knows whose addresses are whose, None where that is all the
    same. ``domains``: whose mail an mx listener takes. ``require_tls``: it takes none in clear. ``routed``: other pools
    that ``routes`` lead to, by name. ``masters``: by pool, for those that log in so.
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
    domains: RelayDomains = _NO_DOMAINS
    links: Links | None = None
    require_tls: bool = False
    bare_newlines: BareNewlines = BareNewlines.REJECT
    routes: Routes = _NO_ROUTES
    # A service is a key to what is kept of it, and tables are none.
    routed: Mapping[str, Pool] = field(default_factory=dict, hash=False)
    masters: Mapping[str, Master] = field(default_factory=dict, hash=False)

    def pool_of(self, user: str) -> Pool:
        """Where this user's mail is."""
        name = self.routes.pool(user, self.protocol)
        return self.pool if name in (None, self.pool.name) else self.routed[name]

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Every pool that its sessions can end up in."""
        return (self.pool, *self.routed.values())

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
            case Protocol.SUBMISSION:
                return Submission(offer, channel, bounds, self._message_rules)
            case Protocol.MX:
                return Mx(offer, channel, bounds, self._message_rules, require_tls=self.require_tls)
            case _:
                assert_never(self.protocol)

    @property
    def _message_rules(self) -> MessageRules:
        # Who the user is, and so where the mail goes, isn't known yet.
        longest = None if all(each.settings.long_lines for each in self.pools) else LONGEST_LINE
        limits = self.limits
        return _rules(limits.message_size, limits.recipients, self.bare_newlines is BareNewlines.NORMALIZE, longest)

    def backend_dialogue(self, purpose: Purpose, starttls: bool, known: tuple[str, ...]) -> BackendDialogue:
        """The other side of it, towards a backend of this listener's protocol."""
        return _BACKEND_DIALOGUES[self.protocol](purpose, starttls=starttls, hostname=self.hostname, known=known)


_BACKEND_DIALOGUES: dict[Protocol, Callable[..., BackendDialogue]] = {
    Protocol.IMAP: ImapBackend,
    Protocol.POP3: Pop3Backend,
    Protocol.SUBMISSION: SmtpBackend,
    Protocol.MX: SmtpBackend,
}
