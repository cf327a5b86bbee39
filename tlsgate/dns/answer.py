"""Questions to the DNS and what becomes of them, as values."""

from __future__ import annotations

import enum

from msgspec import Struct


class Kind(enum.StrEnum):
    """The record types that are asked for (RFC 1035 3.2.2, RFC 3596, RFC 2782)."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    SRV = "SRV"
    TXT = "TXT"


class Failure(enum.StrEnum):
    """Why a question has no answer."""

    TIMEOUT = "timeout"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"  # no name server takes a question, or none is known
    GARBLED = "garbled"  # what came back is no answer: a CNAME loop, an odd RCODE, nonsense
    DOWN = "down"  # not asked: the name servers have been silent for a while


class Found(Struct, frozen=True):
    """At least one record, in the order of the answer.

    A, AAAA: an address; PTR: a name; MX: "preference name"; SRV: "priority weight port name"; TXT: its strings joined,
    octets as Latin-1 (RFC 7208 3.3).
    Names are lower-case without the last dot; what isn't a printable ASCII character is escaped (RFC 1035 5.1).
    """

    records: tuple[str, ...]


class Missing(Struct, frozen=True):
    """There is no such name, or no such record of it (RFC 2308 2)."""


class Failed(Struct, frozen=True):
    """Nothing is known: the name may exist or not."""

    reason: Failure


Answer = Found | Missing | Failed
Question = tuple[str, Kind]
"""A name, lower-case without the last dot, and what is asked of it."""
