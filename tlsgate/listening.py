"""The sockets that a gateway holds, and the listeners that accept from them."""

from __future__ import annotations

import socket
from collections.abc import Collection

import trio

from tlsgate.activation import PassedSockets
from tlsgate.admission.door import Door
from tlsgate.listener import House, Listener
from tlsgate.plan import Plan
from tlsgate.prepared import Prepared
from tlsgate.sockets import admin_place, bind_all, close, listener_places, shown, socket_key
from tlsgate.workers.process import user_id

_ADMIN = "admin"


class Listening:
    """``passed``: sockets that are bound already. ``addresses``: where each listener listens, by its name."""

    def __init__(self, passed: PassedSockets) -> None:
        self.addresses: dict[str, str] = {}
        self._passed = passed
        self._sockets: dict[str, socket.socket] = {}
        self._listeners: dict[str, Listener] = {}

    def bind(self, prepared: Prepared) -> dict[str, str]:
        """Bind every address; gives those of the listeners by name. Raises CannotStart. Needs privileges."""
        settings = prepared.settings
        places = listener_places(prepared.listeners)
        places[_ADMIN] = admin_place(settings.admin, user_id(settings.server.user))
        self._sockets = bind_all(places, (), self._passed)
        return {each.name: shown(self._sockets[socket_key(each)]) for each in prepared.listeners}

    def admin(self) -> socket.socket:
        """That of the admin address, once."""
        return self._sockets.pop(_ADMIN)

    def bind_new(self, prepared: Prepared, now: Prepared) -> dict[str, socket.socket]:
        """What ``prepared`` has and ``now`` hasn't, for ``hold``. Raises CannotStart: then none is bound."""
        wanted, held = listener_places(prepared.listeners), listener_places(now.listeners)
        new = {key: place for key, place in wanted.items() if key not in held}
        return bind_all(new, [place for key, place in held.items() if key not in wanted], self._passed)

    def hold(self, bound: dict[str, socket.socket]) -> None:
        """To be listened at from the next ``open`` on."""
        self._sockets |= bound

    def stop_gone(self, plan: Plan) -> Collection[str]:
        """Accept no more where ``plan`` doesn't; gives their keys."""
        gone = self._listeners.keys() - plan.listeners.keys()
        for key in gone:
            self._listeners.pop(key).stop()
        return gone

    def open(self, plan: Plan, door: Door, house: House, nursery: trio.Nursery) -> None:
        """Accept by ``plan``, whose sockets are held, in tasks of ``nursery``."""
        for key, (service, trace) in plan.listeners.items():
            if (listener := self._listeners.get(key)) is not None:
                listener.service, listener.trace = service, trace
                continue
            listener = Listener(key, self._sockets.pop(key), service, door, house, trace)
            self._listeners[key] = listener
            nursery.start_soon(listener.run)
        bound = {each.name: self._listeners[socket_key(each)].socket for each in plan.prepared.listeners}
        self.addresses = {name: shown(listening) for name, listening in bound.items()}

    def unused(self) -> list[tuple[str, str]]:
        """Names and places of the passed sockets that nothing listens at."""
        return self._passed.unused()

    def stop(self) -> None:
        """Accept no more."""
        for listener in self._listeners.values():
            listener.stop()


def close_all(bound: dict[str, socket.socket]) -> None:
    """Those of ``bind_new``, which aren't to be held."""
    for each in bound.values():
        close(each)
