"""From what SPF says to what is weighed with the other checks: pure."""

from __future__ import annotations

from tlsgate.admission.screening import Finding
from tlsgate.config import Action
from tlsgate.mail.spf.result import Identity, Result, SpfResult

_WEIGHTS = {Result.FAIL: 3, Result.SOFTFAIL: 1, Result.PERMERROR: 1}
_PREFIXES = {Identity.MAIL_FROM: "", Identity.HELO: "HELO "}
_LONGEST = 200
_LONGEST_REASON = 80


def spf_findings(result: SpfResult, identity: Identity, domain: str, action: Action) -> list[Finding]:
    """What is against a sender of ``domain``.

    With REJECT only "fail" rejects, and "temperror" puts off (RFC 7208 8.4 and 8.6); all else is only noted.
    """
    if action is Action.OFF or result.result in (Result.NONE, Result.NEUTRAL, Result.PASS):
        return []
    why = (result.mechanism or result.problem)[:_LONGEST_REASON]
    said = f"SPF {result.result} for {_PREFIXES[identity]}{_printable(domain)} ({why})"
    if result.result is Result.TEMPERROR:
        return [Finding("spf", said, action, temporary=True)]
    if result.result is Result.FAIL and result.explanation:
        # RFC 7208 6.2: a client has to learn whose words they are.
        said += f"; {_printable(domain)} explains: {result.explanation[:_LONGEST]}"
    if action is Action.REJECT and result.result is not Result.FAIL:
        action = Action.LOG
    return [Finding("spf", said, action, _WEIGHTS[result.result])]


def _printable(domain: str) -> str:
    return "".join(each if "!" <= each <= "~" else "?" for each in domain[:_LONGEST])
