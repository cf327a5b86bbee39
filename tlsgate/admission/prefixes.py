"""A set of prefixes, each with a reason, that is asked for every connection.

One dict a prefix length, longest first. Measured with 100,000 prefixes (a fifth IPv6, 16 and 8 lengths):

| structure                      | built in | memory    | hit, miss          |
| ------------------------------ | -------- | --------- | ------------------ |
| dict a length                  |   0.05 s |   7.0 MiB | 0.5-0.7, 0.7-1.0 us |
| sorted disjoint ranges, bisect |   0.18 s | 2.0 (15 while building) | 0.7-1.2, 0.7-1.0 us |
| pytricia 1.3 (text keys)       |   0.26 s |  14 MiB   | 0.9-1.2, 0.9-1.1 us |
| py-radix 1.1 (packed keys)     |   0.38 s |  56 MiB   | 1.4-1.9, 0.6-1.7 us |

The ranges' memory isn't worth four times the code, and a sort that holds the interpreter for long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tlsgate.admission.network import BITS, ClientAddress, Network


class Found(NamedTuple):
    """The longest prefix that holds an address, and why it is listed ("": nobody said)."""

    network: Network
    reason: str


class PrefixSet:
    """Never changes once it is made. Of a prefix given twice, the first reason holds."""

    __slots__ = ("_tables", "count")

    def __init__(self, prefixes: Iterable[tuple[Network, str]]) -> None:
        tables: dict[int, dict[int, dict[int, str]]] = {0: {}, 4: {}, 6: {}}
        reasons: dict[str, str] = {}
        for (version, value, length), reason in prefixes:
            shift = BITS[version] - length
            table = tables[version].setdefault(shift, {})
            # Equal reasons are kept once.
            table.setdefault(value >> shift, reasons.setdefault(reason, reason))
        self._tables = {version: tuple(sorted(by_shift.items())) for version, by_shift in tables.items()}
        self.count = sum(len(table) for by_shift in tables.values() for table in by_shift.values())

    def find(self, address: ClientAddress) -> Found | None:
        """The longest prefix that holds ``address``. A unix socket's client is in none."""
        version, value = address
        for shift, table in self._tables[version]:
            reason = table.get(value >> shift)
            if reason is not None:
                return Found(Network(version, value >> shift << shift, BITS[version] - shift), reason)
        return None
