"""All of admission that a process keeps while it runs: what is counted, who is banned, which lists are in force."""

from __future__ import annotations

import secrets
from typing import Protocol

import trio

from tlsgate import config
from tlsgate.admission import reread
from tlsgate.admission.ban_file import BanFile
from tlsgate.admission.bans import Bans, BanTrace
from tlsgate.admission.door import Door
from tlsgate.admission.handshakes import Handshakes
from tlsgate.admission.network import NetworkLengths
from tlsgate.admission.penalties import StoredPenalties
from tlsgate.admission.reread import ListTrace
from tlsgate.admission.rules import AddressRules
from tlsgate.admission.visit import Desk, Visit
from tlsgate.state.memory import Memory

_SWEEP = 1.0


class Trace(BanTrace, ListTrace, Protocol):
    """What is told about admission apart from single connections."""

    def ban_file_fault(self, path: str, reason: str) -> None: ...


class Gatehouse:
    """Lives as long as the process; ``apply`` takes over what a reload brings. Reads the ban file when it is made."""

    def __init__(self, settings: config.Config, rules: AddressRules, trace: Trace) -> None:
        limits = settings.limits
        self.store = Memory()
        self.bans = Bans(trace)
        self.door = Door(limits, rules, self.store, self.bans)
        self.handshakes = Handshakes(limits.handshakes)
        self.penalties = StoredPenalties(
            settings.bans, _lengths(limits), self.store, self.bans, secrets.token_bytes(32)
        )
        self._trace = trace
        self._rereading = trio.CancelScope()
        directory = settings.server.state_directory
        self._file = None if directory is None else BanFile(directory)
        self._unsaved = False
        self._writing = trio.CapacityLimiter(1)
        self._read_bans()
        self.bans.changed = self._changed

    def apply(self, settings: config.Config, rules: AddressRules, room: int) -> None:
        """The rules and limits for those to come. ``room``: the most connections, as there are descriptors for them."""
        limits = settings.limits
        self.door.rules, self.door.limits, self.door.room = rules, limits, room
        self.handshakes.limit = limits.handshakes
        self.penalties.settings, self.penalties.lengths = settings.bans, _lengths(limits)
        self._rereading.cancel()

    def desk(self, limits: config.Limits) -> Desk:
        """What a listener's visits need."""
        return Desk(self.store, self.penalties, self.handshakes, limits.connections_per_user, self.leave)

    def leave(self, visit: Visit) -> None:
        """A connection is closed; what it held is given back by now."""
        self.door.leave(visit.entry)

    async def run(self) -> None:
        """Keep lists as their files are, end bans and save them, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_files)
            nursery.start_soon(self._follow_bans)

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
                if self._unsaved:
                    await trio.to_thread.run_sync(self._save, self.bans.dump(), limiter=self._writing)
        finally:
            if self._unsaved:
                self._save(self.bans.dump())  # nothing else runs any more

    # -- bans that outlive a restart ----------------------------------------------------------------

    def _read_bans(self) -> None:
        if self._file is None:
            return
        try:
            dumped = self._file.read()
            if dumped is not None:
                self.bans.load(dumped)
        except (OSError, ValueError) as error:
            self._trace.ban_file_fault(str(self._file.path), _reason(error))

    def _changed(self) -> None:
        self._unsaved = self._file is not None

    def _save(self, dumped: bytes) -> None:
        self._unsaved = False
        if self._file is None:
            return
        try:
            self._file.write(dumped)
        except OSError as error:
            self._trace.ban_file_fault(str(self._file.path), _reason(error))


def _lengths(limits: config.Limits) -> NetworkLengths:
    return NetworkLengths(limits.ipv4_prefix, limits.ipv6_prefix)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a list of bans"
