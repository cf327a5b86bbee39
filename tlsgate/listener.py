"""Accepting, and the cheap refusal before a session begins."""

from __future__ import annotations

import errno
import math
import socket
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

import trio
from msgspec.structs import replace

from tlsgate.admission.door import Door, Entry, Turned
from tlsgate.admission.network import UNIX, ClientAddress, parse_client
from tlsgate.admission.rules import Standing
from tlsgate.admission.verdict import Verdict
from tlsgate.arrival import Arrival
from tlsgate.config import TlsMode
from tlsgate.dialogue.events import Channel, Ending
from tlsgate.proxied import NoProxyHeader, take_header
from tlsgate.service import Service
from tlsgate.sockets import close

_ACCEPTS_PER_TURN = 64
_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_PAUSE = 0.1
_SHORTAGE_TOLD_EACH = 1.0
# A flood of refused connections is taken in gulps: to be woken for each would cost more than the refusal.
_REFUSED_PAUSE = 0.002
_HEADER_TIMEOUT = 5.0  # a balancer has its PROXY header ready when it connects
# accept(2): Linux gives the new connection's own network errors here. The next one may be well.
_PASSING = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)


_ENDINGS = {
    Verdict.OVER_CAPACITY: Ending.OVER_CAPACITY,
    Verdict.OVER_NETWORK_CAP: Ending.OVER_NETWORK_CAP,
    Verdict.OVER_RATE: Ending.OVER_RATE,
    Verdict.BLOCKED: Ending.BLOCKED,
    Verdict.BANNED: Ending.BANNED,
    Verdict.STATE_DOWN: Ending.UNAVAILABLE,
    Verdict.NOT_SERVED: Ending.UNAVAILABLE,
    Verdict.SHUTDOWN: Ending.SHUTDOWN,
}


class ListenerTrace(Protocol):
    """What is told about one listener's connections."""

    def refused(self, result: str, client: str, port: int, reason: str) -> None: ...
    def shortage(self) -> None: ...


class House(Protocol):
    """Where the connections go that were let in."""

    def begin(self, listener: str, arrival: Arrival, entry: Entry) -> bool:
        """A session begins; it owns the socket, and ``left`` is called once it has ended. False when nobody serves."""

    def left(self, entry: Entry) -> None:
        """What was let in is gone: its places are free."""


class Listener:
    """One listening socket. ``service`` and ``trace`` may be replaced while it runs. ``key``: its name in the house."""

    def __init__(
        self, key: str, listening: socket.socket, service: Service, door: Door, house: House, trace: ListenerTrace
    ) -> None:
        self.socket = listening
        self.service = service
        self.trace = trace
        self._key = key
        self._door = door
        self._house = house
        self._accepting = trio.CancelScope()
        self._stopped = False
        self._shortage_told = -math.inf
        self._refused = False

    async def run(self) -> None:
        """Accept until ``stop``. Raises OSError when the socket is broken."""
        async with trio.open_nursery() as waiting:
            await self._accept(waiting)

    async def _accept(self, waiting: trio.Nursery) -> None:
        with self._accepting:
            while not self._stopped:
                await trio.lowlevel.wait_readable(self.socket)
                try:
                    for _ in range(_ACCEPTS_PER_TURN):
                        connected, peer = self.socket.accept()
                        self._take(connected, peer, waiting)
                except BlockingIOError:
                    if self._refused:
                        self._refused = False
                        await trio.sleep(_REFUSED_PAUSE)
                except OSError as error:
                    if error.errno in _PASSING:
                        continue
                    if error.errno not in _SHORTAGE:
                        raise
                    # The sessions that are here keep their descriptors; the next ones wait in the backlog.
                    self._tell_shortage()
                    await trio.sleep(_SHORTAGE_PAUSE)

    def stop(self) -> None:
        """Accept no more, now or ever. Sessions go on."""
        self._stopped = True
        self._accepting.cancel()
        close(self.socket)

    def _tell_shortage(self) -> None:
        now = trio.current_time()
        if now >= self._shortage_told + _SHORTAGE_TOLD_EACH:
            self._shortage_told = now
            self.trace.shortage()

    def _take(self, connected: socket.socket, peer: object, waiting: trio.Nursery) -> None:
        """Whatever is between the accept and the session."""
        connected.setblocking(False)
        host, port = _client(peer)
        client = parse_client(host)
        proxied = self.service.proxies.find(client) is not None
        # Whom a balancer brings isn't known yet: a place of the total cap and no more, as the client of a unix socket.
        entry = self._door.enter(UNIX if proxied else client)
        if isinstance(entry, Turned):
            self._turn_away(connected, host, port, entry)
        elif proxied:
            waiting.start_soon(self._take_proxied, connected, host, port, entry, waiting)
        else:
            self._let_in(Arrival(connected, host, port), entry, waiting)

    def _let_in(self, arrival: Arrival, entry: Entry, waiting: trio.Nursery) -> None:
        if self._door.elsewhere is None:
            self._begin(arrival, entry)
        else:
            waiting.start_soon(self._confirm, arrival, entry)

    def _begin(self, arrival: Arrival, entry: Entry) -> None:
        """A session; none when we stopped while the client was waited for, since the house may not know us any more."""
        if self._stopped or not self._house.begin(self._key, arrival, entry):
            verdict = Verdict.SHUTDOWN if self._stopped else Verdict.NOT_SERVED
            self._turn_away(arrival.socket, arrival.host, arrival.port, Turned(verdict, ""))
            self._house.left(entry)

    async def _confirm(self, arrival: Arrival, entry: Entry) -> None:
        """A session begins if the count of all replicas lets it."""
        began, answer = trio.current_time(), None
        try:
            answer = await self._door.confirm(entry)
        finally:
            if answer is None:
                arrival.socket.close()
                self._house.left(entry)
        if isinstance(answer, Turned):
            self._turn_away(arrival.socket, arrival.host, arrival.port, answer)
            self._house.left(entry)
        elif answer is not None:
            waited = arrival.waited + trio.current_time() - began
            self._begin(replace(arrival, waited=waited), answer)

    async def _take_proxied(
        self, connected: socket.socket, host: str, port: int, waiting: Entry, tasks: trio.Nursery
    ) -> None:
        """The same, of whom the balancer at ``host`` brings. ``waiting``: the place that it holds."""
        began, header = trio.current_time(), None
        try:
            header = await take_header(connected, began + min(_HEADER_TIMEOUT, self.service.limits.greeting_timeout))
        except NoProxyHeader as fault:
            self.trace.refused(Verdict.NO_PROXY_HEADER, host, port, fault.reason)
        finally:
            if header is None:
                connected.close()
                self._house.left(waiting)
        if header is None:
            return
        waited = trio.current_time() - began
        if header.source is None:  # the balancer itself, to see whether we are here
            entry = waiting._replace(client=parse_client(host), standing=Standing.TRUSTED)
            self._begin(Arrival(connected, host, port, None, waited), entry)
            return
        address = header.source.address
        self._door.leave(waiting)  # its place is free for the one line until the client has it
        entered = self._door.enter(ClientAddress(address.version, int(address)))
        host, port = str(address), header.source.port
        if isinstance(entered, Turned):
            self._turn_away(connected, host, port, entered)
            self._house.left(waiting._replace(keys=()))  # who waits for the last to leave hears of it
        else:
            self._let_in(Arrival(connected, host, port, header.destination, waited), entered, tasks)

    def _turn_away(self, connected: socket.socket, host: str, port: int, turned: Turned) -> None:
        self._refused = True
        self.trace.refused(turned.verdict, host, port, turned.reason)
        self._refuse(connected, _ENDINGS[turned.verdict])

    def _refuse(self, connected: socket.socket, reason: Ending) -> None:
        """One line in clear where the protocol allows it, then the end: no handshake is paid for."""
        if self.service.tls is TlsMode.STARTTLS:
            with suppress(OSError):
                connected.send(_words(self.service, reason))
        connected.close()


@lru_cache(64)
def _words(service: Service, reason: Ending) -> bytes:
    return service.server_dialogue(Channel.CLEARTEXT).ending(reason)


def _client(peer: object) -> tuple[str, int]:
    """The client's address and port; an IPv4 address mapped into IPv6 is the IPv4 address."""
    match peer:
        case (str(host), int(port), *_):
            return host.removeprefix("::ffff:") if "." in host else host, port
        case _:
            return "unix", 0
