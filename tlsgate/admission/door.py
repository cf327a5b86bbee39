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
from tlsgate.state.store import Place

TOTAL = "connections"


class Turned(NamedTuple):
    """Turned away: why, and what the log says about it."""

    verdict: Verdict
    reason: str


class Entry(NamedTuple):
    """Let in. ``keys``: where a place is taken, to be given back."""

    client: ClientAddress
    network: Network
    standing: Standing
    keys: tuple[str, ...]


class Door:
    """Counts who is in. ``limits``, ``rules`` and ``room`` may be replaced; whoever is in stays.

    ``room``: the most connections, no more than ``limits.connections``.
    """

    def __init__(self, limits: config.Limits, rules: AddressRules, store: Memory, bans: Bans) -> None:
        self.room = limits.connections
        self.rules = rules
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
        total = Place(TOTAL, self.room)
        standing = ruling.standing if client.version else Standing.ALLOWED  # a local process that the file lets connect
        places: tuple[Place, ...] = (total,)
        match standing:
            case Standing.BLOCKED:
                return Turned(Verdict.BLOCKED, ruling.reason)
            case Standing.STRANGER:
                if (ban := self._bans.find(client)) is not None:
                    return Turned(Verdict.BANNED, f"{ban.network}: {ban.reason}")
                places = (total, Place(f"network {network}", self._limits.connections_per_network))
        if (full := self._store.enter_now(places)) is not None:
            return Turned(*((Verdict.OVER_CAPACITY, "") if full is total else (Verdict.OVER_NETWORK_CAP, str(network))))
        keys = tuple([place.key for place in places])
        rate = self._limits.rate_per_network
        if standing is not Standing.ALLOWED and not self._store.spend_now(f"rate {network}", rate.count, rate.seconds):
            self._store.leave(keys)
            return Turned(Verdict.OVER_RATE, str(network))
        return Entry(client, network, standing, keys)

    def leave(self, entry: Entry) -> None:
        """Whoever was let in is gone."""
        self._store.leave(entry.keys)
