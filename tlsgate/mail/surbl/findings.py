"""From sites that are listed to what is weighed with the other checks: pure."""

from __future__ import annotations

from tlsgate.admission.screening import Finding
from tlsgate.admission.zone_name import shown
from tlsgate.config import Action
from tlsgate.mail.surbl.look_ups import SurblListing

_WEIGHT = 3  # once a message: lists share their sources, and one bad link is as bad as ten


def surbl_findings(listing: SurblListing, action: Action) -> list[Finding]:
    """What URI lists say of a message's links. A list that doesn't answer says nothing: it is only noted."""
    if action is Action.OFF:
        return []
    findings = []
    if listing.listed:
        first, *others = listing.listed
        more = f" and {len(others)} more" if others else ""
        said = f"link to {first.site}, listed by {shown(first.zone)} ({first.answer}){more}"
        findings.append(Finding("surbl", said, action, _WEIGHT))
    if listing.unknown:
        zones = ", ".join(map(shown, listing.unknown))
        findings.append(Finding("surbl", f"no answer of {zones} about links", Action.LOG, temporary=True))
    return findings
