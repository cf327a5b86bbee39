"""The source "auth-http" among the others: what an attempt is in nginx's words, and what the server's answer means."""

from __future__ import annotations

from typing import Protocol

import trio

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.auth_http_answer import Allowed, Denied, Unavailable
from tlsgate.auth.auth_http_request import External, Question
from tlsgate.auth.judgement import Judgement, Right
from tlsgate.auth.judgement import Unavailable as NotNow
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused
from tlsgate.dialogue.proofs import Proven


class Asked(Protocol):
    """Who can be asked."""

    async def ask(self, question: Question) -> Allowed | Denied | Unavailable: ...


class ByAuthHttp:
    """The source. It decides every login that the protocol can tell of: those of passwords and of certificates."""

    def __init__(self, server: Asked) -> None:
        self._server = server

    async def __call__(self, attempt: Attempt) -> Judgement | None:
        shown = attempt.shown
        if not isinstance(shown, Credentials) and not (isinstance(shown, Proven) and attempt.mechanism == "EXTERNAL"):
            return None
        if shown.authzid not in ("", shown.user):
            return Refused(Refusal.AUTHORIZATION_FAILED)
        answer: Allowed | Denied | Unavailable = Unavailable("no answer in the client's time to log in")
        with trio.move_on_at(attempt.deadline):
            answer = await self._server.ask(_question(attempt, shown))
        match answer:
            case Allowed() as allowed:
                # Who it is stays the client's own name: for limits, quotas and the log.
                return Right(shown.user, allowed.user or "", allowed.secret, allowed.server)
            case Denied() as denied:
                await _wait(denied.wait, attempt.deadline)
                return _refused(denied)
            case Unavailable(reason):
                return NotNow(f"auth_http: {reason}")


def _question(attempt: Attempt, shown: Credentials | Proven) -> Question:
    caller = attempt.caller()
    who = shown if isinstance(shown, Credentials) else External(shown.user)
    return Question(attempt.protocol, who, caller.address, attempt.number, caller.name, caller.proxied, caller.tls)


def _refused(denied: Denied) -> Refused:
    reason = Refusal.UNAVAILABLE if denied.temporary else Refusal.AUTHENTICATION_FAILED
    return Refused(reason, denied.text, denied.code)


async def _wait(seconds: int, deadline: float) -> None:
    """What the server wants a client to wait that has guessed (Auth-Wait); nobody waits beyond its own time."""
    if seconds:
        await trio.sleep_until(min(trio.current_time() + seconds, deadline))
