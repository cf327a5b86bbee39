"""Sockets that were bound for us and passed on, as systemd does (sd_listen_fds(3)).

They stay open here as long as we live, and what listens is a copy: a listener that a reload removes, and another brings
back, has its socket again, though nobody may bind it any more.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from tlsgate import config
from tlsgate.workers.process import CannotStart

_FIRST, _MOST = 3, 1024


@dataclass(slots=True)
class _Passed:
    name: str
    listening: socket.socket
    copy: socket.socket | None = None

    @property
    def unused(self) -> bool:
        return self.copy is None or self.copy.fileno() < 0


class PassedSockets:
    """``sockets``: that listen, with the names that they have in units."""

    def __init__(self, sockets: Iterable[tuple[str, socket.socket]] = ()) -> None:
        self._all = [_Passed(name, each) for name, each in sockets]

    def take(self, address: config.Address) -> socket.socket | None:
        """One that listens there, non-blocking, to be closed by the caller; None if nobody has passed it."""
        for each in self._all:
            if each.unused and _is_at(each.listening, address):
                each.copy = copy = each.listening.dup()
                copy.setblocking(False)
                if copy.family != socket.AF_UNIX:
                    copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as where we bind
                return copy
        return None

    def unused(self) -> list[tuple[str, str]]:
        """Names and places of those that nobody has taken, or not again: their clients wait for ever."""
        return [(each.name, _place(each.listening)) for each in self._all if each.unused]

    def on_port(self, address: config.Address) -> str | None:
        """Where another one with the port of ``address`` listens."""
        if isinstance(address, config.HostPort):
            for each in self._all:
                if each.listening.family != socket.AF_UNIX and each.listening.getsockname()[1] == address.port:
                    return _place(each.listening)
        return None

    def close(self) -> None:
        """For a process that isn't to have them."""
        for each in self._all:
            each.listening.close()


def receive(environment: MutableMapping[str, str]) -> PassedSockets:
    """Those that were passed to this process; what says so is removed. Raises CannotStart where they are others.

    Only once, and before descriptors are opened.
    """
    told = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if told["LISTEN_PID"] != str(os.getpid()):
        return PassedSockets()
    if not (told["LISTEN_FDS"].isdecimal() and int(told["LISTEN_FDS"]) <= _MOST):
        raise CannotStart(f"LISTEN_FDS: is no number up to {_MOST}")
    count, names = int(told["LISTEN_FDS"]), told["LISTEN_FDNAMES"].split(":")
    names += [""] * (count - len(names))
    return PassedSockets([(names[at], _listening(_FIRST + at)) for at in range(count)])


def _listening(descriptor: int) -> socket.socket:
    with suppress(OSError):
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        if found.type == socket.SOCK_STREAM and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return found
        found.detach()
    raise CannotStart(f"LISTEN_FDS: descriptor {descriptor} is no listening socket; use ListenStream= and Accept=no")


def _is_at(listening: socket.socket, address: config.Address) -> bool:
    name = listening.getsockname()
    if isinstance(address, config.UnixPath):
        return listening.family == socket.AF_UNIX and name == str(address.path)
    if listening.family == socket.AF_UNIX:
        return False
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:  # who binds instead says it
        return False
    return found[0] == listening.family and found[4][:2] == name[:2]


def _place(listening: socket.socket) -> str:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    return str(config.HostPort(name[0], name[1]))
