"""The door: who may come in, by the client's address alone, between accept and the first byte.

Cheapest first, and without waiting: a flood of refused connections pays for every line here. What needs to be counted
over replicas is asked behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsgate import config
from tlsgate.admission.bans import Bans
from tlsgate.admission.network import ClientAddress, Network, NetworkLengths
from tlsgate.admission.rules import AddressRules, Standing
from tlsgate.admission.verdict import Verdict
from tlsgate.state.memory import Memory
from tlsgate.state.store import Place, Store

TOTAL = "connections"


class Turned(NamedTuple):
    """Turned away: why, and what the log says about it."""

    verdict: Verdict
    reason: str


class Entry(NamedTuple):
    """Let in. ``keys``: where a place is taken, to be given back; ``elsewhere``: also in the store of all replicas."""

    client: ClientAddress
    network: Network
    standing: Standing
    keys: tuple[str, ...]
    elsewhere: bool = False


class Door:
    """Counts who is in. ``limits``, ``rules`` and ``room`` may be replaced; whoever is in stays.

    ``room``: the most connections, no more than ``limits.connections``. ``elsewhere``: counts for all replicas, None
    without any; whoever was let in by ``enter`` must then be confirmed there.
    """

    def __init__(
        self, limits: config.Limits, rules: AddressRules, store: Memory, bans: Bans, elsewhere: Store | None = None
    ) -> None:
        self.room = limits.connections
        self.rules = rules
        self.elsewhere = elsewhere
        self._store = store
        self._bans = bans
        self.limits = limits

    @property
    def limits(self) -> config.Limits:
        """The [limits] in force."""
        return self._limits

    @limits.setter
    def limits(self, limits: config.Limits) -> None:
        self._limits = limits
        self._lengths = NetworkLengths(limits.ipv4_prefix, limits.ipv6_prefix)

    @property
    def used(self) -> int:
        """How many connections are in."""
        return self._store.used(TOTAL)

    def enter(self, client: ClientAddress) -> Entry | Turned:
        """Judge a new connection; who is let in must ``leave`` once."""
        ruling = self.rules.rule(client)
        network = self._lengths.network(client)
        named, total = str(network), Place(TOTAL, self.room)
        standing = ruling.standing if client.version else Standing.ALLOWED  # a local process that the file lets connect
        places: tuple[Place, ...] = (total,)
        match standing:
            case Standing.BLOCKED:
                return Turned(Verdict.BLOCKED, ruling.reason)
            case Standing.STRANGER:
                if (ban := self._bans.find(client)) is not None:
                    return Turned(Verdict.BANNED, f"{ban.network}: {ban.reason}")
                places = (total, Place("network " + named, self._limits.connections_per_network))
        if (full := self._store.enter_now(places)) is not None:
            return Turned(*((Verdict.OVER_CAPACITY, "") if full is total else (Verdict.OVER_NETWORK_CAP, named)))
        keys = tuple([place.key for place in places])
        if standing is Standing.STRANGER and not self._spend(named):
            self._store.leave(keys)
            return Turned(Verdict.OVER_RATE, named)
        return Entry(client, network, standing, keys)

    async def confirm(self, entry: Entry) -> Entry | Turned:
        """Count ``entry`` among all replicas' connections; the one that is given must ``leave`` in place of it.

        One that is turned away here still has to leave.
        """
        if self.elsewhere is None:
            return entry
        limits = self._limits
        most = {TOTAL: limits.connections}
        places = [Place(key, most.get(key, limits.connections_per_network)) for key in entry.keys]
        if (full := await self.elsewhere.enter(places)) is not None:
            verdicts = {place.key: Verdict.OVER_NETWORK_CAP for place in places} | {TOTAL: Verdict.OVER_CAPACITY}
            return Turned(verdicts.get(full.key, Verdict.STATE_DOWN), str(entry.network))
        turned: Turned | None = Turned(Verdict.OVER_RATE, str(entry.network))
        try:
            if entry.standing is not Standing.STRANGER or await self._spend_elsewhere(self.elsewhere, entry.network):
                turned = None
            elif await self.elsewhere.enter(()) is not None:  # nothing is full but for everybody
                turned = Turned(Verdict.STATE_DOWN, str(entry.network))
        finally:
            if turned is not None:
                self.elsewhere.leave(entry.keys)
        return entry._replace(elsewhere=True) if turned is None else turned

    def _spend(self, network: str) -> bool:
        """Whether the network's rate allows one more. Who must be confirmed is only looked at: they spend there."""
        rate, amount = self._limits.rate_per_network, 1 if self.elsewhere is None else 0
        return self._store.spend_now("rate " + network, rate.count - 1 + amount, rate.seconds, amount)

    async def _spend_elsewhere(self, elsewhere: Store, network: Network) -> bool:
        key, rate = f"rate {network}", self._limits.rate_per_network
        if not await elsewhere.spend(key, rate.count, rate.seconds):
            return False
        self._store.spend_now(key, rate.count, rate.seconds)  # so that a flood is refused here, without asking
        return True

    def leave(self, entry: Entry) -> None:
        """Whoever was let in is gone."""
        self._store.leave(entry.keys)
        if entry.elsewhere and self.elsewhere is not None:
            self.elsewhere.leave(entry.keys)
