"""The client contexts of all backends, loaded from the config with every fault named."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from tlsgate.backends.stream import client_context
from tlsgate.config import Backend, BackendTls, Pool

Contexts = dict[str, tuple[ssl.SSLContext | None, ...]]


def load_client_contexts(pools: Mapping[str, Pool]) -> tuple[Contexts, list[str]]:
    """By pool, for its backends in their order, None for one without TLS; and the faults, a line each.

    Reads files: not for the trio loop.
    """
    faults: list[str] = []

    def load(key: str, backend: Backend) -> ssl.SSLContext | None:
        if backend.tls is BackendTls.NONE:
            return None
        try:
            return client_context(backend)
        except OSError as error:
            why = "holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            faults.append(f"{key}.ca: {backend.ca}: {why}; name a readable PEM file with the CA's certificate")
            return None

    contexts = {
        name: tuple(load(f"pools.{name}.backends[{at}]", backend) for at, backend in enumerate(pool.backends))
        for name, pool in pools.items()
    }
    return contexts, faults
