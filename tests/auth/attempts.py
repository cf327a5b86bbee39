"""Attempts for tests of those who judge them."""

from __future__ import annotations

import math
from ipaddress import IPv4Address

from tlsgate.auth.attempt import Attempt, Caller
from tlsgate.auth.judgement import Judgement, Right
from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused, Shown

CALLER = Caller(IPv4Address("192.0.2.7"))


def attempt(
    shown: Shown, mechanism: str = "PLAIN", protocol: Protocol = Protocol.IMAP, number: int = 1, caller: Caller = CALLER
) -> Attempt:
    return Attempt(shown, mechanism, protocol, number, math.inf, lambda: caller)


class RightHere:
    """A source that checks passwords itself: this one is everybody's."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def __call__(self, tried: Attempt) -> Judgement:
        shown = tried.shown
        if isinstance(shown, Credentials) and shown.secret == self._secret:
            return Right(shown.user)
        return Refused(Refusal.AUTHENTICATION_FAILED)
