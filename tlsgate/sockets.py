"""Where the gateway listens: sockets by what they listen on, so that a reload can keep those that stay."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tlsgate import config
from tlsgate.listener import bind, close
from tlsgate.workers.process import CannotStart

# Anyone may knock at a listener, as with TCP; what the admin address tells is for its owner.
_ANYONE, _OWNER = 0o666, 0o600


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen. ``key``: the config's name for it; ``mode``, ``owner``: of a unix socket's file."""

    key: str
    address: config.Address
    mode: int = _ANYONE
    owner: int = -1


def listener_places(listeners: Iterable[config.Listener]) -> dict[str, Place]:
    """The listeners' places by what tells their sockets apart."""
    return {socket_key(each): Place(f"listeners.{each.name}.address", each.address) for each in listeners}


def admin_place(admin: config.Admin, owner: int) -> Place:
    """The admin address; ``owner``: the user id to reach it, -1 for our own."""
    return Place("admin.address", admin.address, _OWNER, owner)


def socket_key(listener: config.Listener) -> str:
    """Listeners with one key share a socket over a reload; with port 0 each has one of its own."""
    address = listener.address
    return f"{address} {listener.name}" if isinstance(address, config.HostPort) and not address.port else str(address)


def bind_all(places: Mapping[str, Place], leaving: Iterable[Place] = ()) -> dict[str, socket.socket]:
    """Listen at all of them, or at none. ``leaving``: places that we still hold and won't want any more.

    Raises CannotStart.
    """
    bound: dict[str, socket.socket] = {}
    try:
        for name, place in places.items():
            bound[name] = _bind(place, leaving)
    except CannotStart:
        for taken in bound.values():
            close(taken)
        raise
    return bound


def shown(listening: socket.socket) -> str:
    """Where a socket listens, as a config writes it, with the port that the kernel chose."""
    name = listening.getsockname()
    return f"unix:{name}" if isinstance(name, str) else str(config.HostPort(name[0], name[1]))


def _bind(place: Place, leaving: Iterable[Place]) -> socket.socket:
    try:
        return bind(place.address, place.mode, place.owner)
    except OSError as error:
        why = str(error.strerror or error)
        ours = [each.key for each in leaving if _same_port(each.address, place.address)]
        if error.errno == errno.EADDRINUSE and ours:
            # Letting go of it first could leave us without either.
            why = f"{ours[0]} still has that port; this change needs a restart"
        raise CannotStart(f"{place.key}: can't listen on {place.address}: {why}") from None


def _same_port(one: config.Address, other: config.Address) -> bool:
    return isinstance(one, config.HostPort) and isinstance(other, config.HostPort) and one.port == other.port
