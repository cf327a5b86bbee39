"""What all messages of one config share to have their links looked up."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tlsgate.dns import Resolver
from tlsgate.mail.surbl.lists import SurblLists, SurblTrace, tell_fault
from tlsgate.mail.surbl.suffixes import Suffixes

_LOAD_AGAIN = 60.0


class Links:
    """``[screening] surbl_zones``. ``nursery``: where look-ups run, which outlives the messages.

    ``timeout``: seconds that a message's end may wait for answers. ``suffixes``: None until ``watch`` has loaded them,
    and until then no message is scanned.
    """

    def __init__(
        self, zones: Sequence[str], resolver: Resolver, trace: SurblTrace, nursery: trio.Nursery, timeout: float
    ) -> None:
        self.lists = SurblLists(zones, resolver, trace)
        self.trace = trace
        self.nursery = nursery
        self.timeout = timeout
        self.suffixes: Suffixes | None = None
        self._tested = trio.Event()
        self._watching = trio.CancelScope()

    def serves(self, zones: Sequence[str]) -> bool:
        """Whether these are the lists that are asked."""
        return tuple(dict.fromkeys(zones)) == self.lists.zones

    async def watch(self) -> None:
        """Load the suffixes and keep the lists tested, until ``stop``. Raises nothing: faults are told, and retried."""
        try:
            with self._watching:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._load)
                    await nursery.start(self.lists.watch)
                    self._tested.set()
        except Exception as fault:  # noqa: BLE001 - one that comes together with ``stop``
            tell_fault(self.trace, fault)
        finally:
            self._tested.set()

    async def tested(self) -> None:
        """Wait for the first test of the lists, which ``watch`` makes. It takes as long as the DNS does."""
        await self._tested.wait()

    def stop(self) -> None:
        """Test no more. Messages may go on asking."""
        self._watching.cancel()

    async def _load(self) -> None:
        while self.suffixes is None:
            try:
                self.suffixes = await Suffixes.load()
            except Exception as fault:  # noqa: BLE001 - the log has it
                tell_fault(self.trace, fault)
                await trio.sleep(_LOAD_AGAIN)
