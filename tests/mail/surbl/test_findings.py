"""What is done with what lists say of links: a table. Lists that are away never cost anybody a message."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from tlsgate.admission.screening import Outcome, decide
from tlsgate.config import Action, Screening
from tlsgate.mail.surbl.findings import surbl_findings
from tlsgate.mail.surbl.lists import Listed
from tlsgate.mail.surbl.look_ups import SurblListing

_ONE = Listed("example.com", "multi.surbl.org", IPv4Address("127.0.0.8"))
_TWO = Listed(ip_address("2001:db8::1"), "multi.surbl.org", IPv4Address("127.0.0.64"))


@pytest.mark.parametrize(
    ("listing", "action", "outcome", "score"),
    [
        (SurblListing(), Action.REJECT, Outcome.PASS, 0),
        (SurblListing((_ONE,)), Action.OFF, Outcome.PASS, 0),
        (SurblListing((_ONE,)), Action.LOG, Outcome.PASS, 0),
        (SurblListing((_ONE,)), Action.SCORE, Outcome.REJECT, 3),
        (SurblListing((_ONE, _TWO)), Action.SCORE, Outcome.REJECT, 3),
        (SurblListing((_ONE,)), Action.REJECT, Outcome.REJECT, 0),
        (SurblListing((_ONE,), ("multi.surbl.org",)), Action.REJECT, Outcome.REJECT, 0),
        (SurblListing((), ("multi.surbl.org",)), Action.REJECT, Outcome.PASS, 0),
        (SurblListing((), ("multi.surbl.org",)), Action.SCORE, Outcome.PASS, 0),
    ],
)
def test_actions(listing: SurblListing, action: Action, outcome: Outcome, score: int) -> None:
    decision = decide(surbl_findings(listing, action), Screening())
    assert (decision.outcome, decision.score) == (outcome, score)


@pytest.mark.parametrize(
    ("listing", "reasons"),
    [
        (SurblListing((_ONE,)), ("link to example.com, listed by multi.surbl.org (127.0.0.8)",)),
        (SurblListing((_TWO, _ONE)), ("link to 2001:db8::1, listed by multi.surbl.org (127.0.0.64) and 1 more",)),
        (SurblListing((), ("a.example",)), ("no answer of a.example about links",)),
    ],
)
def test_the_reasons_say_what_was_found(listing: SurblListing, reasons: tuple[str, ...]) -> None:
    """A sender whose mail is turned away has to learn which link it was."""
    assert decide(surbl_findings(listing, Action.REJECT), Screening()).reasons == reasons


def test_a_customer_s_key_is_not_told() -> None:
    """Whoever knows it asks at the customer's cost."""
    zone = "abcdefgh12345678abcd.dbl.dq.spamhaus.net"
    listing = SurblListing((Listed("example.com", zone, IPv4Address("127.0.1.2")),), (zone,))
    assert not any("abcdefgh" in each.said for each in surbl_findings(listing, Action.REJECT))
