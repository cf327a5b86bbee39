"""What the admin API may ask and change, as it is in force now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.network import Network, parse_network
from tlsgate.config.fault import shown
from tlsgate.ops.client_report import Noted
from tlsgate.ops.gateway_view import GatewayView, ReloadView
from tlsgate.ops.pool_view import PoolView
from tlsgate.ops.session_view import Page, Wanted
from tlsgate.ops.token import Token

_WIDEST = {4: 8, 6: 16}  # a wider ban by hand is a slip


class Gateway(Protocol):
    """What is asked of the gateway as a whole, and of who serves its sessions."""

    async def report(self) -> None: ...
    async def state(self) -> GatewayView: ...
    async def pools(self) -> list[PoolView]: ...
    async def clients(self, most: int) -> list[Noted]: ...
    async def sessions(self, wanted: Wanted) -> Page: ...
    async def kick(self, wanted: Wanted) -> int: ...
    async def drain(self) -> bool: ...
    async def reload(self) -> ReloadView | None: ...


class Controls:
    """``token``: gives the one that a reload has brought; None without one."""

    def __init__(self, bans: Bans, token: Callable[[], Token | None], gateway: Gateway) -> None:
        self.token = token
        self._bans = bans
        self._gateway = gateway
        self.report = gateway.report
        self.state = gateway.state
        self.pools = gateway.pools
        self.clients = gateway.clients
        self.kick = gateway.kick
        self.drain = gateway.drain
        self.reload = gateway.reload

    async def sessions(self, wanted: Wanted) -> Page:
        """Those that live and are wanted. Raises ValueError: ``wanted.client`` is no prefix."""
        if wanted.client:
            _network(wanted.client)
        return await self._gateway.sessions(wanted)

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
