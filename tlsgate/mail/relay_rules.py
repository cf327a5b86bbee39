"""Whether an mx listener takes mail for a recipient: never for a domain of others, by whatever spelling.

A local part that a backend might read as the way to somebody else is refused, though its domain is ours: a backend
that trusts us would be an open relay behind us.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterable

from msgspec import Struct

from tlsgate.dialogue.smtp_reply import SmtpReply, reply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.addresses import Address, AddressSyntaxError, canonical_domain, parse_address

# Percent hack, bang path, a second "@", and the specials of RFC 5322 that mean something once quotes are lost; at the
# beginning, what delivery agents take for a file, a program or an option.
_MISLEADING = re.compile(r'[@%!()<>\[\]:;,\\"]|\A[/|.-]|\.\.')


class Reason(enum.StrEnum):
    """Why a recipient isn't taken."""

    SYNTAX = "syntax"
    NO_DOMAIN = "no_domain"
    MISLEADING = "misleading"
    NOT_OURS = "not_ours"


REPLIES: dict[Reason, SmtpReply] = {
    Reason.SYNTAX: reply("501 5.1.3", "Bad recipient address syntax"),
    Reason.NO_DOMAIN: reply("501 5.1.3", "Recipient address needs a domain"),
    Reason.MISLEADING: reply("550 5.7.1", "Relaying denied: local part could lead elsewhere"),
    Reason.NOT_OURS: reply("550 5.7.1", "Relaying denied: no mail is taken for this domain"),
}


class Taken(Struct, frozen=True):
    """``recipient``: the one that was judged, in its canonical form: this goes to the backend, not what was written."""

    recipient: Path


class NotTaken(Struct, frozen=True):
    """The recipient is refused."""

    reason: Reason

    @property
    def reply(self) -> SmtpReply:
        """What the client is told."""
        return REPLIES[self.reason]


Verdict = Taken | NotTaken


class RelayDomains:
    """``[relay] domains``: "example.org" is that domain alone, ".example.org" it and all domains below it."""

    __slots__ = ("_alone", "_with_subdomains")

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises AddressSyntaxError for what is no domain."""
        entries = tuple(entries)
        self._alone = frozenset(canonical_domain(each) for each in entries if not each.startswith("."))
        self._with_subdomains = frozenset(canonical_domain(each[1:]) for each in entries if each.startswith("."))

    def __bool__(self) -> bool:
        return bool(self._alone or self._with_subdomains)

    def __contains__(self, domain: str) -> bool:
        """``domain``: canonical."""
        if domain in self._alone:
            return True
        while domain and domain not in self._with_subdomains:
            domain = domain.partition(".")[2]
        return bool(domain)


def judge(recipient: Path, domains: RelayDomains) -> Verdict:
    """Judge a recipient by its canonical address."""
    try:
        address = parse_address(recipient.mailbox)
    except AddressSyntaxError:
        return NotTaken(Reason.SYNTAX)
    reason = _against(address, domains)
    return Taken(Path(str(address))) if reason is None else NotTaken(reason)


def _against(address: Address, domains: RelayDomains) -> Reason | None:
    # NFKC: a backend that folds what looks alike would find these signs in their full-width and small forms.
    if _MISLEADING.search(unicodedata.normalize("NFKC", address.local)):
        return Reason.MISLEADING
    if not address.domain:
        # RFC 5321 4.5.1: postmaster, and nobody else, may come without a domain, where any mail is taken at all.
        return None if domains and address.local.lower() == "postmaster" else Reason.NO_DOMAIN
    return None if address.domain in domains else Reason.NOT_OURS
