"""Opaque access tokens: their issuer is asked about each (RFC 7662), and what it says is kept for a moment."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import msgspec
import trio

from tlsgate.auth.oauth.claims import EXPIRED, Expected, judge_claims
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.oauth.exchange import LARGEST_ANSWER, PATIENCE, FetchFailed, Post
from tlsgate.auth.oauth.once_good import OnceGood
from tlsgate.auth.oauth.token import AccessToken
from tlsgate.auth.oauth.verdict import Invalid, Unavailable, Valid, Verdict

# Seconds that a verdict is kept: a token that is revoked may still log in for so long.
KEPT = 60.0
MOST_KEPT = 10_000
MOST_AT_ONCE = 32
_NOT_ACTIVE = Invalid("not active")


class Introspection:
    """Asks at ``url``, as ``client``. ``now``: Unix time.

    At most MOST_AT_ONCE questions are under way; who gets no answer within PATIENCE, the wait for its turn included,
    isn't told that its token is bad.
    """

    def __init__(
        self, url: str, client: Client, post: Post, expected: Expected, now: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._headers: Mapping[str, str] = {
            "Authorization": client.authorization(),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        self._post = post
        self._expected = expected
        self._now = now
        self._asking = trio.CapacityLimiter(MOST_AT_ONCE)
        self._kept = VerdictCache()
        self._once_good = OnceGood()

    async def judge(self, token: AccessToken) -> Verdict:
        """What the issuer says of it now, or has said within KEPT."""
        if (kept := self._kept.get(token, self._now())) is not None:
            return kept
        found: Verdict = Unavailable("the issuer: no answer in time")
        with trio.move_on_after(PATIENCE):
            async with self._asking:
                found = await self._ask(token)
        if isinstance(found, Valid):
            self._once_good.note(token, self._now())
        elif found == _NOT_ACTIVE and self._once_good.was(token, self._now()):
            found = Invalid(EXPIRED)  # the issuer needn't say why it isn't (RFC 7662 2.2)
        if not isinstance(found, Unavailable):
            self._kept.put(token, found, self._now())
        return found

    async def _ask(self, token: AccessToken) -> Verdict:
        form = urlencode({"token": token.text, "token_type_hint": "access_token"})
        try:
            content = await self._post(self._url, form.encode(), self._headers)
        except FetchFailed as fault:
            return Unavailable(f"the issuer: {fault}")
        return _verdict(content, self._expected, self._now())


def _verdict(content: bytes, expected: Expected, now: float) -> Verdict:
    """What an answer says (RFC 7662 2.2)."""
    if len(content) > LARGEST_ANSWER:
        return Unavailable("the issuer: its answer is too large")
    try:
        claims = msgspec.json.decode(content, type=dict[str, object])
    except (ValueError, RecursionError):
        return Unavailable("the issuer: its answer is no JSON object")
    active = claims.get("active")
    if not isinstance(active, bool):
        return Unavailable('the issuer: its answer has no "active"')
    if not active:
        return _NOT_ACTIVE
    # It needn't say that it is itself, nor until when: "active" tells. For whom the token is, it must.
    return judge_claims({"iss": expected.issuer, "exp": now + KEPT} | claims, expected, now)


class VerdictCache:
    """Verdicts by a keyed hash of the token: a look into memory shows none. What wasn't used for longest goes first."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[float, Valid | Invalid]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, token: AccessToken, now: float) -> Valid | Invalid | None:
        """The one that is still good ``now``."""
        name = self._name(token)
        until, verdict = self._kept.get(name, (now, None))
        if verdict is None:
            return None
        # A clock that was set back mustn't make it last.
        if not until - KEPT <= now < until:
            del self._kept[name]
            return None
        self._kept.move_to_end(name)
        return verdict

    def put(self, token: AccessToken, verdict: Valid | Invalid, now: float) -> None:
        """Keep it for KEPT, and not longer than the token is good."""
        until = min(now + KEPT, verdict.expires) if isinstance(verdict, Valid) else now + KEPT
        name = self._name(token)
        self._kept[name] = (until, verdict)
        self._kept.move_to_end(name)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _name(self, token: AccessToken) -> bytes:
        return hashlib.blake2b(token.text.encode(), key=self._key, digest_size=32).digest()
