"""What dialogues that log a client in have in common: the steps of its SASL exchanges (RFC 4422), in their words."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.challenge import Challenge
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    Authenticate,
    AuthRejected,
    Ending,
    LocalProtocolError,
    Refused,
    Reply,
    SecretNeeded,
    ServerEvent,
    ending_after,
)
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.sasl import Authentication, Failed, Failure, Finished, Step

if TYPE_CHECKING:
    from tlsgate.dialogue.scram_secret import ScramSecret


class Awaited(enum.Enum):
    """The states of dialogues in an exchange, by what is due: the client's response, or the caller's answer."""

    RESPONSE = enum.auto()
    SECRET = enum.auto()
    VERDICT = enum.auto()


class Authenticating(ABC):
    """``_sasl``: the client's exchanges. ``state``: an Awaited in one, the dialogue's own outside."""

    _sasl: Authentication
    state: enum.Enum

    @abstractmethod
    def _attempted(self, ending: Ending) -> None:
        """An attempt has failed; ``ending``: why the connection ends if it was the last."""

    @abstractmethod
    def _continuation(self, challenge: bytes) -> bytes:
        """A challenge in the protocol's form."""

    @abstractmethod
    def _failure(self, failure: Failure) -> bytes:
        """The reply to an exchange that came to nothing."""

    @abstractmethod
    def _refusal(self, refused: Refused) -> bytes:
        """The reply to a login that doesn't stand."""

    def give(self, secret: ScramSecret | None) -> bytes:
        """Answer SecretNeeded; None: it can't be told now. Raises LocalProtocolError when none is needed."""
        if self.state is not Awaited.SECRET:
            raise LocalProtocolError("no secret is needed")
        self.state = Awaited.RESPONSE
        return self._continuation(self._sasl.give(secret).data)

    def _deny(self, refused: Refused) -> bytes:
        """Answer what was shown by a refusal, which some mechanisms tell in a challenge first."""
        if (challenge := self._sasl.refuse(refused)) is not None:
            self.state = Awaited.RESPONSE
            return self._continuation(challenge.data)
        self._attempted(ending_after(refused.reason))
        return self._refusal(refused)

    def _step(self, step: Step) -> ServerEvent:
        mechanism = self._sasl.mechanism
        match step:
            case Credentials() | BearerToken() | Proven():
                self.state = Awaited.VERDICT
                return Authenticate(mechanism, step)
            case Challenge(data):
                self.state = Awaited.RESPONSE
                return Reply(self._continuation(data))
            case SecretWanted(user):
                self.state = Awaited.SECRET
                return SecretNeeded(mechanism, user)
            case Rejected(challenge, reason, user, guessed):
                self.state = Awaited.RESPONSE
                return AuthRejected(self._continuation(challenge.data), mechanism, reason, user, guessed)
            case Finished(refused):
                self._attempted(ending_after(refused.reason))
                return Reply(self._refusal(refused))
            case Failed(failure, reason, user):
                self._attempted(Ending.AUTH_ATTEMPTS)
                return AuthRejected(self._failure(failure), mechanism, reason, user)
