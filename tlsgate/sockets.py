"""Where the gateway listens: binding, and sockets by what they listen on, so that a reload keeps those that stay."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from tlsgate import config
from tlsgate.activation import PassedSockets
from tlsgate.workers.process import CannotStart

_BACKLOG = 4096
# Anyone may knock at a listener, as with TCP; what the admin address tells is for its owner.
_ANYONE, _OWNER = 0o666, 0o600


class Place(Struct, frozen=True):
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


def bind_all(
    places: Mapping[str, Place], leaving: Iterable[Place] = (), passed: PassedSockets | None = None
) -> dict[str, socket.socket]:
    """Listen at all of them, or at none. ``leaving``: places that we still hold and won't want any more.

    ``passed``: sockets that are taken where they are at a place. Raises CannotStart.
    """
    passed = PassedSockets() if passed is None else passed
    bound: dict[str, socket.socket] = {}
    try:
        for name, place in places.items():
            bound[name] = _take(place, passed) or _bind(place, leaving, passed)
    except CannotStart:
        for taken in bound.values():
            close(taken)
        raise
    return bound


def shown(listening: socket.socket) -> str:
    """Where a socket listens, as a config writes it, with the port that the kernel chose."""
    name = listening.getsockname()
    return f"unix:{name}" if isinstance(name, str) else str(config.HostPort(name[0], name[1]))


def _take(place: Place, passed: PassedSockets) -> socket.socket | None:
    taken = passed.take(place.address)
    if taken is not None and isinstance(place.address, config.UnixPath):
        mode = place.address.path.stat().st_mode & 0o777
        if mode & ~place.mode:
            taken.close()
            raise CannotStart(
                f"{place.key}: the socket that was passed has mode {mode:04o}; SocketMode={place.mode:04o} in its unit"
            )
    return taken


def _bind(place: Place, leaving: Iterable[Place], passed: PassedSockets) -> socket.socket:
    try:
        return bind(place.address, place.mode, place.owner)
    except OSError as error:
        why = str(error.strerror or error)
        ours = [each.key for each in leaving if _same_port(each.address, place.address)]
        if error.errno == errno.EADDRINUSE and ours:
            # Letting go of it first could leave us without either.
            why = f"{ours[0]} still has that port; this change needs a restart"
        elif error.errno == errno.EADDRINUSE and (other := passed.on_port(place.address)):
            why = f"a socket at {other} was passed; its unit must have the same address as the config"
        raise CannotStart(f"{place.key}: can't listen on {place.address}: {why}") from None


def _same_port(one: config.Address, other: config.Address) -> bool:
    return isinstance(one, config.HostPort) and isinstance(other, config.HostPort) and one.port == other.port


# -- one socket ------------------------------------------------------------------------------------------


def bind(address: config.Address, mode: int = 0o666, owner: int = -1) -> socket.socket:
    """A listening, non-blocking socket. ``mode``, ``owner``: of a unix socket's file. Raises OSError."""
    target: tuple[str | int | bytes, ...] | str
    if isinstance(address, config.HostPort):
        family, _, _, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    else:
        target = str(address.path)
        _remove_stale(address.path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if listening.family != socket.AF_UNIX:
            # Accepted sockets inherit it: without it a login takes 44 ms.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(target, str):
            _bind_file(listening, target, mode, owner)
        else:
            listening.bind(target)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _bind_file(listening: socket.socket, path: str, mode: int, owner: int) -> None:
    # Not by chmod: who can write in the directory could put a link to another file of ours in its place.
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(path)
    finally:
        os.umask(before)
    os.chown(path, owner, -1, follow_symlinks=False)


def close(listening: socket.socket) -> None:
    """Listen no more; a unix socket's file goes too, unless somebody else listens there now."""
    if listening.fileno() < 0:
        return
    name = listening.getsockname()
    listening.close()
    if isinstance(name, str):
        remove_stale(Path(name))


def remove_stale(path: Path) -> None:
    """Remove the file of a unix socket that nobody listens on any more, if we may."""
    with suppress(OSError):
        _remove_stale(path)


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.setblocking(False)
        if knocking.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink(missing_ok=True)
