"""An issuer's set of keys."""

from __future__ import annotations

from tlsgate.auth.oauth.jwk import ALGORITHMS, MOST_KEYS, KeySetFault, read_key_set


def fuzz(data: bytes) -> None:
    for content in (data, b'{"keys":[' + data + b"]}"):
        try:
            found = read_key_set(content)
        except KeySetFault as fault:
            assert str(fault).isprintable()
            continue
        assert 0 < len(found.keys) <= MOST_KEYS
        for key in found.keys:
            assert key.algorithms
            assert key.algorithms <= ALGORITHMS
            assert not key.key.is_private
            assert key in found.fitting(key.kid, next(iter(key.algorithms)))
