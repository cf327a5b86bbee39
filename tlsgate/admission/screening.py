"""From what the checks have found of a mail's sender to what is done: pure, and the one place that weighs it.

The DNS being down never turns mail away for good: what it leaves open can only put mail off.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable

from msgspec import Struct

from tlsgate.admission.dnsbl import Listing
from tlsgate.admission.helo import Helo
from tlsgate.admission.reverse_dns import Confirmed, ReverseName, TemporaryFailure, Unconfirmed
from tlsgate.config import Action, Screening
from tlsgate.dns import Missing


class Outcome(enum.StrEnum):
    """What is done: a 4xx or a 5xx reply, or neither."""

    PASS = "pass"  # noqa: S105
    TEMPFAIL = "tempfail"
    REJECT = "reject"


class Finding(Struct, frozen=True):
    """Something against a client, or for it. ``said``: a few words of printable ASCII, for logs and replies.

    ``temporary``: the check couldn't be made; a negative ``score`` is then what it might have given.
    """

    check: str
    said: str
    action: Action
    score: int = 0
    temporary: bool = False


class Decision(Struct, frozen=True):
    """``reasons``: what was found, the findings that are only logged too."""

    outcome: Outcome
    score: int
    reasons: tuple[str, ...]


def decide(findings: Iterable[Finding], settings: Screening) -> Decision:
    """Weigh the findings of all checks together."""
    findings = [each for each in findings if each.action is not Action.OFF]
    scoring = [each for each in findings if each.action is Action.SCORE]
    rejecting = [each for each in findings if each.action is Action.REJECT]
    score = sum(each.score for each in scoring if not each.temporary)
    least = score + sum(min(each.score, 0) for each in scoring if each.temporary)
    if any(not each.temporary for each in rejecting) or least >= settings.reject_score:
        outcome = Outcome.REJECT
    elif rejecting or score >= settings.reject_score or 0 < settings.tempfail_score <= score:
        outcome = Outcome.TEMPFAIL
    else:
        outcome = Outcome.PASS
    return Decision(outcome, score, tuple(each.said for each in findings))


def dnsbl_findings(listing: Listing, allow_lists: Collection[str] = ()) -> list[Finding]:
    """What DNS lists say. Their weights are the config's. ``allow_lists``: zones that no client is to complain to."""
    findings = []
    if listing.listed:
        words = (f"{'allowed' if zone in allow_lists else 'listed'} by {zone} ({at})" for zone, at in listing.listed)
        findings.append(Finding("dnsbl", ", ".join(words), Action.SCORE, listing.score))
    if listing.unknown:
        said = f"no answer of {', '.join(listing.unknown)}"
        findings.append(Finding("dnsbl", said, Action.SCORE, listing.least - listing.score, temporary=True))
    return findings


def reverse_dns_findings(found: ReverseName, action: Action) -> list[Finding]:
    """What is against a client's name. One that isn't confirmed weighs least: honest servers have such names too."""
    match found:
        case Confirmed():
            return []
        case Unconfirmed(name):
            return [Finding("reverse_dns", f"name {name} of the address doesn't lead back to it", action, 1)]
        case Missing():
            return [Finding("reverse_dns", "address has no name", action, 2)]
        case TemporaryFailure(reason):
            return [Finding("reverse_dns", f"name of the address is not known now ({reason})", action, temporary=True)]


_HELO = {
    Helo.UNKNOWN_HOST: ("name in HELO doesn't exist", 1),
    Helo.NOT_A_HOST_NAME: ("name in HELO is not a host name", 2),
    Helo.BARE_WORD: ("name in HELO has no dot", 1),
    Helo.OUR_NAME: ("name in HELO is ours", 3),
    Helo.WRONG_LITERAL: ("address in HELO is not the client's", 2),
}


def helo_findings(found: Helo, action: Action) -> list[Finding]:
    """What is against a client's name in HELO."""
    if found is Helo.TEMPORARY_FAILURE:
        return [Finding("helo", "name in HELO is not known now", action, temporary=True)]
    return [Finding("helo", said, action, score) for said, score in [_HELO[found]]] if found in _HELO else []
