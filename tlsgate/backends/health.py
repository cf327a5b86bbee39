"""Probes that speak the protocol: is a backend there, and what can it do."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from tlsgate.backends.backend import Backend
from tlsgate.backends.entry import Entry
from tlsgate.backends.faults import BackendFault, Reason
from tlsgate.backends.login import NewDialogue, ask
from tlsgate.backends.pool import Pool
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
    """Ask every backend of some pools once, side by side; the DNS first, where it names them."""
    async with trio.open_nursery() as nursery:
        for pool, new_dialogue in pools:
            for entry in pool.entries:
                nursery.start_soon(_probe_entry, entry, new_dialogue, pool)


async def watch(pools: Spoken) -> None:
    """Ask every backend of some pools again and again: each ``health_interval``, sooner while one is down.

    Names that stand for servers are looked up again by their TTL, and their servers followed.
    """
    async with trio.open_nursery() as nursery:
        for pool, new_dialogue in pools:
            for entry in pool.entries:
                if entry.many is not None:
                    nursery.start_soon(_watch_many, entry, new_dialogue, pool)
                for backend in entry.backends if entry.many is None else ():
                    nursery.start_soon(_watch_one, backend, new_dialogue, pool)


async def _probe_entry(entry: Entry, new_dialogue: NewDialogue, pool: Pool) -> None:
    if entry.many is not None:
        await entry.look_up(pool.hostname)
    async with trio.open_nursery() as nursery:
        for backend in entry.backends:
            nursery.start_soon(probe, backend, new_dialogue, pool.settings.connect_timeout)


async def _watch_many(entry: Entry, new_dialogue: NewDialogue, pool: Pool) -> None:
    watched: dict[Backend, trio.Nursery] = {}
    async with trio.open_nursery() as nursery:
        while True:
            pause = await entry.look_up(pool.hostname)
            for gone in watched.keys() - {*entry.backends}:
                watched.pop(gone).cancel_scope.cancel()
            for new in entry.backends:
                if new not in watched:
                    watched[new] = await nursery.start(_watch_while_there, new, new_dialogue, pool)
            await trio.sleep(pause)


async def _watch_while_there(
    backend: Backend, new_dialogue: NewDialogue, pool: Pool, task_status: trio.TaskStatus[trio.Nursery]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_one, backend, new_dialogue, pool)
        task_status.started(nursery)


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
