"""What the admin API may ask and change, as it is in force now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.network import Network, parse_network
from tlsgate.config.fault import shown
from tlsgate.ops.token import Token

_WIDEST = {4: 8, 6: 16}  # a wider ban by hand is a slip


class Controls:
    """``token``: gives the one that a reload has brought; None without one. ``report``: brings metrics up to date."""

    def __init__(
        self, bans: Bans, token: Callable[[], Token | None], report: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.token = token
        self._bans = bans
        self._report = report

    async def report(self) -> None:
        """Have what other processes have counted be told here."""
        if self._report is not None:
            await self._report()

    def bans(self) -> Sequence[Ban]:
        """Those in force."""
        return list(self._bans.active())

    def ban(self, network: str, seconds: float, reason: str) -> Ban:
        """Ban a prefix, whose bits behind its length are cleared. Raises ValueError: it is none, or too wide."""
        parsed = _network(network)
        if parsed.length < (widest := _WIDEST[parsed.version]):
            raise ValueError(f"{parsed} is too wide: ban no more than a /{widest}")
        return self._bans.add(parsed, seconds, reason)

    def unban(self, network: str) -> bool:
        """Lift the ban of just this prefix; False when there is none in force. Raises ValueError: it is no prefix."""
        return self._bans.lift(_network(network), "admin")


def _network(text: str) -> Network:
    try:
        return parse_network(text)[0]
    except ValueError as wrong:
        raise ValueError(f"{shown(text)} {wrong}") from None
