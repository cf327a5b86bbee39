"""The source "oauth" among the others: whose the token is that a client has shown."""

from __future__ import annotations

import trio

from tlsgate.auth.attempt import Attempt
from tlsgate.auth.judgement import Judgement, Right
from tlsgate.auth.judgement import Unavailable as NotNow
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.claims import EXPIRED
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict
from tlsgate.auth.user_names import full_name
from tlsgate.dialogue.access_token import BearerToken, TokenError
from tlsgate.dialogue.events import Refusal, Refused


class ByToken:
    """The source. ``pool_claim``: the claim that names the user's pool, "" for none. ``default_domain``: of users."""

    def __init__(self, check: TokenCheck, pool_claim: str = "", default_domain: str = "") -> None:
        self._check = check
        self._pool_claim = pool_claim
        self._default_domain = default_domain

    async def __call__(self, attempt: Attempt) -> Judgement | None:
        shown = attempt.shown
        if not isinstance(shown, BearerToken):
            return None
        found: Verdict = Unavailable("no answer in the client's time to log in")
        with trio.move_on_at(attempt.deadline):
            found = await self._check.judge(shown.token.encode())
        match found:
            case Valid(named, _, claims):
                user = full_name(named, self._default_domain)  # as what the client has shown
                # A token is its owner's: whoever names somebody else has the wrong one.
                if shown.authzid and shown.authzid.casefold() != user.casefold():
                    return Refused(Refusal.AUTHENTICATION_FAILED, why="the token is somebody else's")
                return Right(user, pool=claims.get(self._pool_claim, ""))
            case Invalid(reason, TokenError.INSUFFICIENT_SCOPE):
                return Refused(Refusal.AUTHORIZATION_FAILED, why=reason)
            case Invalid(reason) if reason == EXPIRED:  # it was a good one: no guess
                return Refused(Refusal.EXPIRED, "Token expired", why=reason)
            case Invalid(reason):
                return Refused(Refusal.AUTHENTICATION_FAILED, why=reason)
            case Unavailable(reason):
                return NotNow(f"oauth: {reason}")
