"""Which source can serve which SASL mechanism."""

from __future__ import annotations

from collections.abc import Collection

from tlsgate.config.enums import AuthSource, Mechanism

_PASSWORDS = frozenset({AuthSource.BACKEND, AuthSource.USERS_FILE, AuthSource.AUTH_HTTP})
SERVED_BY: dict[Mechanism, frozenset[AuthSource]] = {
    Mechanism.PLAIN: _PASSWORDS,
    Mechanism.LOGIN: _PASSWORDS,
    Mechanism.SCRAM_SHA_256: frozenset({AuthSource.USERS_FILE}),
    Mechanism.SCRAM_SHA_256_PLUS: frozenset({AuthSource.USERS_FILE}),
    Mechanism.OAUTHBEARER: frozenset({AuthSource.OAUTH}),
    Mechanism.XOAUTH2: frozenset({AuthSource.OAUTH}),
}
# Nothing of what these show could be shown to a backend.
WITHOUT_PASSWORD = frozenset(SERVED_BY.keys() | {Mechanism.EXTERNAL}) - {Mechanism.PLAIN, Mechanism.LOGIN}


def served(mechanism: Mechanism, sources: Collection[AuthSource], *, certificates: bool) -> bool:
    """Whether one of ``sources`` can judge what it shows; ``certificates``: clients are asked for theirs."""
    if mechanism is Mechanism.EXTERNAL:
        return certificates
    return not SERVED_BY[mechanism].isdisjoint(sources)
