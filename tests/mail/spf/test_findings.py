"""What SPF does to mail: a table. Only a fail turns it away for good, and nothing that a stranger wrote does harm."""

from __future__ import annotations

import pytest

from tlsgate.admission.screening import Outcome, decide
from tlsgate.config import Action, Screening
from tlsgate.mail.spf import Identity, Result, SpfResult
from tlsgate.mail.spf.findings import spf_findings


@pytest.mark.parametrize(
    ("result", "rejecting", "scoring", "score"),
    [
        (Result.FAIL, Outcome.REJECT, Outcome.REJECT, 3),
        (Result.SOFTFAIL, Outcome.PASS, Outcome.PASS, 1),
        (Result.PERMERROR, Outcome.PASS, Outcome.PASS, 1),
        (Result.TEMPERROR, Outcome.TEMPFAIL, Outcome.PASS, 0),
        (Result.NEUTRAL, Outcome.PASS, Outcome.PASS, 0),
        (Result.NONE, Outcome.PASS, Outcome.PASS, 0),
        (Result.PASS, Outcome.PASS, Outcome.PASS, 0),
    ],
)
def test_actions(result: Result, rejecting: Outcome, scoring: Outcome, score: int) -> None:
    """RFC 7208 8: a domain without a policy, or with a wrong one, loses no mail by "reject"."""

    def done(action: Action) -> tuple[Outcome, int]:
        found = spf_findings(SpfResult(result), Identity.MAIL_FROM, "a.test", action)
        assert bool(found) is (action is not Action.OFF and result not in ("neutral", "none", "pass"))
        decision = decide(found, Screening())
        return decision.outcome, decision.score

    assert done(Action.REJECT) == (rejecting, 0)
    assert done(Action.SCORE) == (scoring, score)
    assert done(Action.LOG) == done(Action.OFF) == (Outcome.PASS, 0)


@pytest.mark.parametrize(
    ("result", "identity", "said"),
    [
        (SpfResult(Result.FAIL, "-all"), Identity.MAIL_FROM, "SPF fail for a.test (-all)"),
        (SpfResult(Result.FAIL, "-all"), Identity.HELO, "SPF fail for HELO a.test (-all)"),
        (
            SpfResult(Result.FAIL, "-all", "ask our desk"),
            Identity.MAIL_FROM,
            "SPF fail for a.test (-all); a.test explains: ask our desk",
        ),
        (SpfResult(Result.SOFTFAIL, "~all"), Identity.MAIL_FROM, "SPF softfail for a.test (~all)"),
        (
            SpfResult(Result.PERMERROR, problem="more than one SPF record"),
            Identity.MAIL_FROM,
            "SPF permerror for a.test (more than one SPF record)",
        ),
        (
            SpfResult(Result.TEMPERROR, problem="the DNS takes too long"),
            Identity.MAIL_FROM,
            "SPF temperror for a.test (the DNS takes too long)",
        ),
    ],
)
def test_the_sender_is_told_what_is_wrong(result: SpfResult, identity: Identity, said: str) -> None:
    """And whose words an explanation is: it may say "click here" (RFC 7208 6.2)."""
    (finding,) = spf_findings(result, identity, "a.test", Action.REJECT)
    assert finding.said == said


def test_what_strangers_choose_is_printable_and_bounded() -> None:
    result = SpfResult(Result.FAIL, f"-exists:{'x' * 500}", "e" * 500)
    (finding,) = spf_findings(result, Identity.HELO, "a\r\n\u00e9 b" + "d" * 5000, Action.REJECT)
    assert finding.said.isascii()
    assert finding.said.isprintable()
    assert "a????b" in finding.said
    assert len(finding.said) < 800
