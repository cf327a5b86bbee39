"""Probes that speak the protocol: is a backend there, and what can it do."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from tlsgate.backends.faults import BackendFault, Reason
from tlsgate.backends.login import NewDialogue, ask
from tlsgate.backends.pool import Backend, Pool
from tlsgate.dialogue.backend import Probe

Spoken = Iterable[tuple[Pool, NewDialogue]]
"""Pools, each with the protocol that is spoken there."""

_FIRST_RETRY = 1.0


async def probe(backend: Backend, new_dialogue: NewDialogue, connect_timeout: float) -> None:
    """Ask a backend once and note what it says. ``connect_timeout``: seconds."""
    try:
        session = await ask(backend, Probe(), new_dialogue, connect_timeout)
    except BackendFault as fault:
        backend.trace.failed(fault.reason)
        if fault.reason is not Reason.CAPACITY:
            backend.mark(up=False, why=str(fault), sure=True)
        return
    session.stream.end_writing()
    session.close()
    backend.capabilities = session.outcome.capabilities
    backend.mark(up=True)


async def probe_all(pools: Spoken) -> None:
    """Ask every backend of some pools once, side by side."""
    async with trio.open_nursery() as nursery:
        for pool, new_dialogue in pools:
            for backend in pool.backends:
                nursery.start_soon(probe, backend, new_dialogue, pool.settings.connect_timeout)


async def watch(pools: Spoken) -> None:
    """Ask every backend of some pools again and again: each ``health_interval``, sooner while one is down."""
    async with trio.open_nursery() as nursery:
        for pool, new_dialogue in pools:
            for backend in pool.backends:
                nursery.start_soon(_watch_one, backend, new_dialogue, pool)


async def _watch_one(backend: Backend, new_dialogue: NewDialogue, pool: Pool) -> None:
    interval = pool.settings.health_interval
    retry = _FIRST_RETRY
    if backend.up and backend.capabilities is None:
        await probe(backend, new_dialogue, pool.settings.connect_timeout)
    while True:
        if backend.up:
            pause, retry = interval, _FIRST_RETRY
        else:
            pause, retry = min(retry, interval), retry * 2
        await trio.sleep(pause)
        await probe(backend, new_dialogue, pool.settings.connect_timeout)
