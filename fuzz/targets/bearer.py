"""OAUTHBEARER's and XOAUTH2's messages."""

from __future__ import annotations

import json

from tlsgate.dialogue.access_token import LONGEST_TOKEN, BearerToken, TokenAdvice, TokenError
from tlsgate.dialogue.bearer import OAuthBearer, XOAuth2
from tlsgate.dialogue.challenge import SaslError
from tlsgate.dialogue.proofs import Rejected

_ADVICE = TokenAdvice("mail", "https://issuer.example/")


def fuzz(data: bytes) -> None:
    for exchange in (OAuthBearer(_ADVICE), XOAuth2(_ADVICE)):
        for initial in (None, data):
            try:
                found = exchange.start(initial)
            except SaslError as error:
                assert str(error).isprintable()
                continue
            match found:
                case BearerToken(token, authzid):
                    assert 0 < len(token) <= LONGEST_TOKEN
                    assert token.isascii()
                    assert len(token) < 20 or token in authzid or token not in repr(found)
                case Rejected(challenge):
                    assert json.loads(challenge.data)["status"]
                case _:
                    assert initial is None
        for refusal in TokenError:
            assert json.loads(exchange.refused(refusal).data)["status"]
