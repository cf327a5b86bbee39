"""What failed logins lead to: a delay for the network or the user name, then a ban of the network ([bans]).

Only failures count, never logins. A user name alone is never banned, or strangers could lock its owner out; and a
network from which a user has logged in lately isn't slowed by strangers who guess at that name.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from tlsgate import config
from tlsgate.admission import failures
from tlsgate.admission.bans import Bans
from tlsgate.admission.failures import Failure
from tlsgate.admission.network import ClientAddress, Network, NetworkLengths
from tlsgate.state.store import Store

_KNOWN = 30 * 86_400.0  # "lately": a phone that comes back from the holidays is still known
_DAY = 86_400
_ATTEMPTS = 20  # to change a record that others change too


class Penalties(Protocol):
    """What a session asks and tells about its client's logins."""

    async def before_login(self, client: ClientAddress, user: str) -> float | None:
        """How many seconds the attempt waits before it is looked at; None when the client is banned by now."""

    async def failed(self, client: ClientAddress, user: str | None, secret: bytes | None) -> None:
        """A login was refused. ``secret``: what was shown, None when it wasn't looked at."""

    async def logged_in(self, client: ClientAddress, user: str) -> None:
        """A login stands."""


class StoredPenalties:
    """Penalties over a store. ``key``: for the hashes that secrets and names are compared by. ``clock``: as of Bans."""

    def __init__(
        self,
        settings: config.Bans,
        lengths: NetworkLengths,
        store: Store,
        bans: Bans,
        key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.lengths = lengths
        self._store = store
        self._bans = bans
        self._key = key
        self._clock = clock

    async def before_login(self, client: ClientAddress, user: str) -> float | None:
        if self._bans.find(client) is not None:
            return None
        network = self.lengths.network(client)
        if await self._store.read(self._known(network, user)) is not None:
            return 0.0
        of_network = len(await self._recent(_of_network(network)))
        of_user = len(await self._recent(self._of_user(user))) - self.settings.user_failures + 1
        return max(failures.delay(of_network), failures.delay(of_user))

    async def failed(self, client: ClientAddress, user: str | None, secret: bytes | None) -> None:
        network, what = self.lengths.network(client), b""
        if secret is not None:
            what = self._hash((user or "").encode(), secret)
        if user is not None:
            await self._note(self._of_user(user), Failure(self._clock(), what), self.settings.user_failures + 3)
        most = self.settings.failures
        if len(await self._note(_of_network(network), Failure(self._clock(), what), most)) >= most:
            await self._forget(_of_network(network))
            self._bans.punish(network, self.settings.duration, "failed logins")

    async def logged_in(self, client: ClientAddress, user: str) -> None:
        key, today = self._known(self.lengths.network(client), user), b"%d" % (self._clock() // _DAY)
        before = await self._store.read(key)
        if before != today:
            await self._store.swap(key, before, today, _KNOWN)

    # -- records ------------------------------------------------------------------------------------

    async def _recent(self, key: str) -> tuple[Failure, ...]:
        noted = failures.decode(await self._store.read(key))
        return failures.recent(noted, self._clock(), self.settings.window)

    async def _note(self, key: str, new: Failure, most: int) -> tuple[Failure, ...]:
        for _ in range(_ATTEMPTS):
            before = await self._store.read(key)
            noted = failures.recent(failures.decode(before), self._clock(), self.settings.window)
            after = failures.with_one_more(noted, new, most)
            if after == noted or await self._store.swap(key, before, failures.encode(after), self.settings.window):
                return after
        return ()

    async def _forget(self, key: str) -> None:
        for _ in range(_ATTEMPTS):
            if await self._store.swap(key, await self._store.read(key), None, 0.0):
                return

    def _known(self, network: Network, user: str) -> str:
        return "known " + self._hash(str(network).encode(), user.casefold().encode()).hex()

    def _of_user(self, user: str) -> str:
        return "failures of user " + self._hash(b"", user.casefold().encode()).hex()

    def _hash(self, first: bytes, second: bytes) -> bytes:
        # Names can't hold NUL: no other pair makes the same octets.
        return hashlib.blake2b(first + b"\0" + second, key=self._key, digest_size=16).digest()


def _of_network(network: Network) -> str:
    return f"failures of {network}"
