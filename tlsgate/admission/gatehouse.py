"""All of admission that a process keeps while it runs: what is counted, who is banned, which lists are in force."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from tlsgate import config
from tlsgate.admission import reread
from tlsgate.admission.ban_file import BanFile
from tlsgate.admission.bans import Ban, Bans, BanTrace, encode
from tlsgate.admission.door import Door, Entry
from tlsgate.admission.handshakes import Handshakes
from tlsgate.admission.network import NetworkLengths
from tlsgate.admission.penalties import StoredPenalties
from tlsgate.admission.reread import ListTrace
from tlsgate.admission.rules import AddressRules
from tlsgate.admission.shared_bans import SharedBans
from tlsgate.admission.visit import Desk
from tlsgate.state.memory import Memory
from tlsgate.state.store import StateTrace, Store

if TYPE_CHECKING:
    from tlsgate.state.valkey import ValkeyStore

_SWEEP = 1.0


class Trace(BanTrace, ListTrace, StateTrace, Protocol):
    """What is told about admission apart from single connections."""

    def ban_file_fault(self, path: str, reason: str) -> None: ...


class Gatehouse:
    """Lives as long as the process; ``apply`` takes over what a reload brings. Reads the ban file when it is made.

    ``here``: what is counted of this host's connections. ``store``: who counts what else there is.
    """

    def __init__(self, settings: config.Config, rules: AddressRules, trace: Trace) -> None:
        limits = settings.limits
        self.shared = shared_store(settings.state, trace)
        self.here = Memory()
        self.store: Store = self.here if self.shared is None else self.shared
        self.bans = Bans(trace)
        self.door = Door(limits, rules, self.here, self.bans, self.shared)
        self.handshakes = Handshakes(limits.handshakes)
        key = secrets.token_bytes(32)
        self.penalties = StoredPenalties(
            settings.bans,
            _lengths(limits),
            self.store,
            self.bans,
            lambda: key if self.shared is None else self.shared.hash_key,
        )
        self._trace = trace
        self._rereading = trio.CancelScope()
        directory = settings.server.state_directory
        self._file = None if directory is None else BanFile(directory)
        # Changes of the bans, and how many of them the file has.
        self._changes = self._saved = 0
        self._fault: str | None = None
        self._writing = trio.CapacityLimiter(1)
        self._read_bans()
        self.bans.changed = self._changed

    def apply(self, settings: config.Config, rules: AddressRules, room: int) -> None:
        """The rules and limits for those to come. ``room``: the most connections, as there are descriptors for them."""
        limits = settings.limits
        self.door.rules, self.door.limits, self.door.room = rules, limits, room
        self.handshakes.limit = limits.handshakes
        self.penalties.settings, self.penalties.lengths = settings.bans, _lengths(limits)
        if self.shared is not None:
            self.shared.when_down = settings.state.when_down
        self._rereading.cancel()

    def desk(self, limits: config.Limits, left: Callable[[Entry], None]) -> Desk:
        """What a listener's visits need. ``left`` is told of each connection that ends, and calls the door's leave."""
        per_user = limits.connections_per_user
        return Desk(self.store, self.penalties, self.handshakes, per_user, lambda visit: left(visit.entry))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep lists as their files are, end bans and save them, until it is cancelled.

        Reports when the store of all replicas is there, or is known to be away.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_files)
            nursery.start_soon(self._follow_bans)
            nursery.start_soon(self._follow_handshakes)
            if self.shared is not None:
                await nursery.start(self.shared.run)
                nursery.start_soon(SharedBans(self.bans, self.shared).run)
            task_status.started()

    async def _follow_files(self) -> None:
        while True:
            with trio.CancelScope() as self._rereading:
                for file in self.door.rules.files:
                    reread.tell_remarks(file, self._trace)
                await reread.watch(self.door.rules.files, self._trace)
                await trio.sleep_forever()

    async def _follow_bans(self) -> None:
        try:
            while True:
                await trio.sleep(_SWEEP)
                self.bans.sweep()
                if self._file is not None and self._saved != self._changes:
                    changes, bans = self._changes, self.bans.snapshot()
                    fault = await trio.to_thread.run_sync(_write, self._file, bans, limiter=self._writing)
                    self._written(changes, fault)
        finally:
            if self._file is not None and self._saved != self._changes:  # nothing else runs any more
                self._written(self._changes, _write(self._file, self.bans.snapshot()))

    async def _follow_handshakes(self) -> None:
        while True:
            await trio.sleep(_SWEEP)
            self.handshakes.sweep()

    # -- bans that outlive a restart ----------------------------------------------------------------

    def _read_bans(self) -> None:
        if self._file is None:
            return
        try:
            encoded = self._file.read()
            if encoded is not None:
                self.bans.load(encoded)
        except (OSError, ValueError) as error:
            self._trace.ban_file_fault(str(self._file.path), _reason(error))

    def _changed(self) -> None:
        self._changes += 1

    def _written(self, changes: int, fault: str | None) -> None:
        """The file has ``changes`` now; or none more for a ``fault``, which is told once and tried again."""
        if fault is None:
            self._saved = changes
        elif fault != self._fault and self._file is not None:
            self._trace.ban_file_fault(str(self._file.path), fault)
        self._fault = fault


def _write(file: BanFile, bans: Sequence[Ban]) -> str | None:
    """What went wrong. Encodes and writes a file: not for the trio loop."""
    try:
        file.write(encode(bans))
    except OSError as error:
        return _reason(error)
    return None


def shared_store(settings: config.State, trace: StateTrace) -> ValkeyStore | None:
    """The store of all replicas, None where this host is alone."""
    if settings.url is None:
        return None
    from tlsgate.state.server import parse_server  # dear to import, and few have one
    from tlsgate.state.valkey import ValkeyStore

    return ValkeyStore(parse_server(settings.url), settings.when_down, trace)


def _lengths(limits: config.Limits) -> NetworkLengths:
    return NetworkLengths(limits.ipv4_prefix, limits.ipv6_prefix)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a list of bans"
