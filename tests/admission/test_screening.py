"""What is done with what was found: a table. The DNS being down never turns mail away for good."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from tlsgate.admission.dnsbl import Listing
from tlsgate.admission.helo import Helo
from tlsgate.admission.reverse_dns import Confirmed, ReverseName, TemporaryFailure, Unconfirmed
from tlsgate.admission.screening import (
    Finding,
    Outcome,
    decide,
    dnsbl_findings,
    helo_findings,
    reverse_dns_findings,
)
from tlsgate.config import Action, Screening
from tlsgate.dns import Failure, Missing

_SPAMMER = (("bl.test", IPv4Address("127.0.0.2")),)
_AWAY = TemporaryFailure(Failure.TIMEOUT)
_MINE = Confirmed("mail.example.org")


def outcome(
    settings: Screening, listing: Listing, reverse: ReverseName = _MINE, helo: Helo = Helo.CLIENT
) -> tuple[Outcome, int]:
    """What is done, and the score."""
    findings = [
        *dnsbl_findings(listing),
        *reverse_dns_findings(reverse, settings.reverse_dns),
        *helo_findings(helo, settings.helo),
    ]
    decision = decide(findings, settings)
    return decision.outcome, decision.score


@pytest.mark.parametrize(
    ("listing", "reverse", "helo", "expected"),
    [
        (Listing(), _MINE, Helo.CLIENT, (Outcome.PASS, 0)),
        (Listing(), _MINE, Helo.ELSEWHERE, (Outcome.PASS, 0)),
        (Listing(3, _SPAMMER, (), 3), _MINE, Helo.CLIENT, (Outcome.REJECT, 3)),
        (Listing(2, _SPAMMER, (), 2), _MINE, Helo.CLIENT, (Outcome.PASS, 2)),
        (Listing(2, _SPAMMER, (), 2), Unconfirmed("x.test"), Helo.CLIENT, (Outcome.REJECT, 3)),
        (Listing(-2, _SPAMMER, (), -2), Missing(), Helo.BARE_WORD, (Outcome.PASS, 1)),
        (Listing(), Missing(), Helo.CLIENT, (Outcome.PASS, 2)),
        (Listing(), Missing(), Helo.UNKNOWN_HOST, (Outcome.REJECT, 3)),
        (Listing(), Unconfirmed("x.test"), Helo.UNKNOWN_HOST, (Outcome.PASS, 2)),
        (Listing(), _MINE, Helo.OUR_NAME, (Outcome.REJECT, 3)),
        (Listing(), _AWAY, Helo.TEMPORARY_FAILURE, (Outcome.PASS, 0)),
        (Listing(0, (), ("bl.test",), 0), _AWAY, Helo.TEMPORARY_FAILURE, (Outcome.PASS, 0)),
        # The allow list might have had the client: the mail is put off until it is heard.
        (Listing(3, _SPAMMER, ("wl.test",), 1), _MINE, Helo.CLIENT, (Outcome.TEMPFAIL, 3)),
        (Listing(9, _SPAMMER, ("wl.test",), 7), _MINE, Helo.CLIENT, (Outcome.REJECT, 9)),
        (Listing(2, _SPAMMER, ("wl.test",), 0), _MINE, Helo.CLIENT, (Outcome.PASS, 2)),
    ],
)
def test_scores(listing: Listing, reverse: ReverseName, helo: Helo, expected: tuple[Outcome, int]) -> None:
    assert outcome(Screening(), listing, reverse, helo) == expected


@pytest.mark.parametrize(("score", "expected"), [(1, "pass"), (2, "tempfail"), (4, "tempfail"), (5, "reject")])
def test_a_score_may_put_mail_off(score: int, expected: str) -> None:
    settings = Screening(tempfail_score=2, reject_score=5)
    assert outcome(settings, Listing(score, _SPAMMER, (), score))[0] == expected


@pytest.mark.parametrize(
    ("action", "reverse", "expected"),
    [
        (Action.OFF, Missing(), (Outcome.PASS, 0)),
        (Action.LOG, Missing(), (Outcome.PASS, 0)),
        (Action.SCORE, Missing(), (Outcome.PASS, 2)),
        (Action.REJECT, Missing(), (Outcome.REJECT, 0)),
        (Action.REJECT, Unconfirmed("x.test"), (Outcome.REJECT, 0)),
        (Action.REJECT, _AWAY, (Outcome.TEMPFAIL, 0)),
        (Action.LOG, _AWAY, (Outcome.PASS, 0)),
        (Action.REJECT, _MINE, (Outcome.PASS, 0)),
    ],
)
def test_actions(action: Action, reverse: ReverseName, expected: tuple[Outcome, int]) -> None:
    assert outcome(Screening(reverse_dns=action), Listing(), reverse) == expected


@pytest.mark.parametrize(
    ("helo", "expected"),
    [(each, Outcome.PASS) for each in (Helo.CLIENT, Helo.ELSEWHERE)]
    + [(Helo.TEMPORARY_FAILURE, Outcome.TEMPFAIL)]
    + [
        (each, Outcome.REJECT)
        for each in (Helo.UNKNOWN_HOST, Helo.NOT_A_HOST_NAME, Helo.BARE_WORD, Helo.OUR_NAME, Helo.WRONG_LITERAL)
    ],
)
def test_every_verdict_on_helo(helo: Helo, expected: Outcome) -> None:
    assert outcome(Screening(helo=Action.REJECT), Listing(), helo=helo)[0] is expected


def test_an_allow_list_is_not_told_as_a_list_of_the_bad() -> None:
    """Who is turned away goes to complain where the reply points."""
    listed = (("bl.test", IPv4Address("127.0.0.2")), ("wl.test", IPv4Address("127.0.0.3")))
    (finding,) = dnsbl_findings(Listing(4, listed, (), 4), {"wl.test"})
    assert (finding.said, finding.score) == ("listed by bl.test (127.0.0.2), allowed by wl.test (127.0.0.3)", 4)


def test_the_reasons_say_what_was_found() -> None:
    """An administrator reads them, and so does the sender of mail that was turned away."""
    findings = [
        *dnsbl_findings(Listing(3, _SPAMMER, ("wl.test",), 1)),
        *reverse_dns_findings(Missing(), Action.LOG),
        Finding("helo", "not said", Action.OFF, 5),
    ]
    assert decide(findings, Screening()).reasons == (
        "listed by bl.test (127.0.0.2)",
        "no answer of wl.test",
        "address has no name",
    )
