"""Any access token: which of the two ways tells whether it is good."""

from __future__ import annotations

from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.jwt import JwtCheck
from tlsgate.auth.oauth.token import access_token
from tlsgate.auth.oauth.verdict import Invalid, Verdict


class TokenCheck:
    """By the issuer's keys, by asking it, or both: then a JWT is checked by the keys, and only there."""

    def __init__(self, by_keys: JwtCheck | None, by_asking: Introspection | None) -> None:
        self._by_keys = by_keys
        self._by_asking = by_asking

    async def judge(self, secret: bytes) -> Verdict:
        """``secret``: what a client has shown as a token, of any length and form. Never raises for it."""
        token = access_token(secret)
        if token is None:
            return Invalid("no access token")
        if self._by_keys is not None and (token.is_signed or self._by_asking is None):
            return await self._by_keys.judge(token)
        if self._by_asking is not None:
            return await self._by_asking.judge(token)
        return Invalid("no access token")
