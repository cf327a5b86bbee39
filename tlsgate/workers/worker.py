"""A worker: it serves the connections that the parent has let in, and asks the parent wherever admission is asked."""

from __future__ import annotations

import random
import socket
import sys
from ipaddress import ip_address

import msgspec
import trio

from tlsgate.admission.door import Entry
from tlsgate.admission.network import NetworkLengths, parse_client
from tlsgate.admission.rules import Standing
from tlsgate.admission.visit import Desk, Visit
from tlsgate.arrival import Arrival
from tlsgate.config import Config
from tlsgate.dialogue.client import Endpoint
from tlsgate.ops import trace
from tlsgate.ops.log import EventLog
from tlsgate.ops.metrics import Metrics
from tlsgate.prepared import Prepared
from tlsgate.serving import Serving
from tlsgate.workers.channel import Channel
from tlsgate.workers.counts import dump_metrics
from tlsgate.workers.messages import Answer, Connection, Counted, Left, Order, Ready, Report, Retire, ToWorker
from tlsgate.workers.orders import carry_out
from tlsgate.workers.process import drop_privileges, raise_descriptor_limit, worker_count
from tlsgate.workers.remote import Link, RemoteHandshakes, RemotePenalties, RemoteStore

_decode = msgspec.msgpack.Decoder(ToWorker).decode


def work(first: Config, prepared: Prepared, end: socket.socket, number: int) -> None:
    """What a forked worker, the ``number``-th, does until it is no longer needed.

    ``first``: the config that the parent was started with. Who we are and how we log is as there, until a restart.
    """
    raise_descriptor_limit()
    drop_privileges(first.server.user)
    random.seed()
    trace.renew_ids(number)
    log = EventLog(sys.stderr.buffer, first.log.format, first.log.level)
    if prepared.users is not None:
        from tlsgate.auth.users_file import share_cores  # only where there is one

        share_cores(worker_count(prepared.settings.server.workers))
    channel = Channel(end)  # closed by our end: the parent takes it for that
    try:
        trio.run(Worker(prepared, channel, log).run)
    finally:
        log.close()


class Worker:
    """Serves until the parent retires it and its last session has ended, or the parent is gone."""

    def __init__(self, prepared: Prepared, channel: Channel, log: EventLog) -> None:
        self._prepared = prepared
        self._channel = channel
        self._link = Link(channel)
        self._metrics = Metrics(log)
        self._serving = Serving(log, self._metrics)
        limits = prepared.settings.limits
        self._lengths = NetworkLengths(limits.ipv4_prefix, limits.ipv6_prefix)
        self._connections = 0
        self._retired = False
        self._empty = trio.Event()
        store = self._serving.elsewhere = RemoteStore(self._link)
        self._serving.desk = Desk(
            store,
            RemotePenalties(self._link),
            RemoteHandshakes(self._link),
            limits.connections_per_user,
            self._left,
        )

    async def run(self) -> None:
        """Returns when all is done."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.run)
            await nursery.start(self._serving.run)
            self._plan = await self._serving.plan(self._prepared)
            await self._serving.settle(self._plan, first=True)
            self._serving.serve(self._plan)
            self._link.send(Ready())
            nursery.start_soon(self._obey, nursery)
            await self._empty.wait()
            self._count()
            while not self._metrics.clients.is_empty:
                self._count()
            nursery.cancel_scope.cancel()

    async def _obey(self, nursery: trio.Nursery) -> None:
        """Do what the parent says; without a parent nobody counts any more, and all ends."""
        while True:
            packet, connected = await self._channel.receive()
            if not packet:
                nursery.cancel_scope.cancel()
                return
            match _decode(packet):
                case Connection(handle) if connected is None:  # we had no descriptor left to take it by
                    self._link.send(Left(handle))
                case Connection() as message if connected is not None:
                    self._begin(message, connected)
                case Answer() as message:
                    self._link.answer(message)
                case Retire(listeners, seconds):
                    self._retire(listeners, seconds)
                case Report():
                    self._count()
                case Order() as order:
                    nursery.start_soon(self._carry_out, order)

    def _begin(self, message: Connection, connected: socket.socket) -> None:
        client = parse_client(message.host)
        entry = Entry(client, self._lengths.network(client), Standing(message.standing), (str(message.handle),))
        end = message.destination
        destination = None if end is None else Endpoint(ip_address(end[0]), end[1])
        self._connections += 1
        arrival = Arrival(connected, message.host, message.port, destination, message.waited)
        if not self._serving.begin(message.listener, arrival, entry):
            arrival.socket.close()
            Visit(entry, self._serving.desk).leave()

    async def _carry_out(self, order: Order) -> None:
        self._link.send(await carry_out(order, self._serving))

    def _left(self, visit: Visit) -> None:
        self._connections -= 1
        self._link.send(Left(int(visit.entry.keys[0])))
        self._look_for_the_end()

    def _retire(self, listeners: tuple[str, ...] | None, seconds: float) -> None:
        self._retired = True
        for key in self._plan.listeners if listeners is None else listeners:
            self._serving.retire(key, seconds)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if self._retired and not self._connections:
            self._empty.set()

    def _count(self) -> None:
        self._link.send(Counted(dump_metrics(self._metrics)))
