"""Packets between the parent and a worker, and descriptors beside them."""

from __future__ import annotations

import os
import socket

import trio

from tlsgate.workers.channel import Channel, pair


async def test_a_descriptor_arrives_beside_its_message(nursery: trio.Nursery) -> None:
    """A connection that got another's message would be served as another client."""
    near, far = (Channel(end) for end in pair())
    for number in range(50):
        ours, theirs = socket.socketpair()
        ours.send(b"%d" % number)
        near.send(b"message %d" % number, theirs)
        near.send(b"between")
        assert theirs.fileno() < 0  # the sender keeps no copy: the client would never see an end
        ours.close()
    for number in range(50):
        message, connected = await far.receive()
        assert message == b"message %d" % number
        assert connected is not None
        with connected:
            assert connected.recv(10) == b"%d" % number
        assert await far.receive() == (b"between", None)
    near.close()
    assert await far.receive() == (b"", None)
    far.close()


async def test_what_finds_no_room_goes_in_order_once_there_is_some(nursery: trio.Nursery) -> None:
    """A worker that is busy for a while must not stop the parent, and lose nothing."""
    near, far = (Channel(end) for end in pair())
    nursery.start_soon(near.run)
    sent = [b"%d " % number + b"x" * 1000 for number in range(5000)]
    for message in sent:
        near.send(message)
    with trio.fail_after(20):
        assert [(await far.receive())[0] for _ in sent] == sent
    near.close()
    far.close()
    nursery.cancel_scope.cancel()


async def test_a_peer_that_is_gone_costs_no_descriptor(nursery: trio.Nursery) -> None:
    near, far = (Channel(end) for end in pair())
    far.close()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        ours, theirs = socket.socketpair()
        near.send(b"for nobody", theirs)
        ours.close()
    assert near.broken
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    near.close()


async def test_unsent_descriptors_are_closed_at_the_end() -> None:
    near, far = (Channel(end) for end in pair())
    near.send(b"x")
    while not near._unsent:
        near.send(b"x" * 100_000)
    ours, theirs = socket.socketpair()
    near.send(b"late", theirs)
    near.close()
    assert ours.recv(1) == b""
    ours.close()
    far.close()
