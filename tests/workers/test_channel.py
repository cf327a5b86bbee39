"""Packets between the parent and a worker, and descriptors beside them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

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


async def test_what_was_sent_before_the_end_arrives_though_something_was_left_unread() -> None:
    """A worker that ends while it is asked something: the last that it has counted must not be lost."""
    near, far = (Channel(end) for end in pair())
    near.send(b"never read")
    far.send(b"the last")
    far.close()
    assert await near.receive() == (b"the last", None)
    assert await near.receive() == (b"", None)
    near.close()


async def test_descriptors_that_nobody_asked_for_are_closed(tmp_path: Path) -> None:
    """From a worker that was taken over: each would stay open in the parent, and what is no socket end it."""
    near, far = pair()
    channel = Channel(near)
    (tmp_path / "file").touch()
    file = os.open(tmp_path / "file", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for descriptors in ([file], [far.fileno(), far.fileno()], [file, far.fileno()]):
        socket.send_fds(far, [b"x"], descriptors)
        packet, connected = await channel.receive()
        assert packet == b"x"
        if connected is not None:
            connected.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    os.close(file)
    channel.close()
    far.close()


async def test_a_peer_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is meant for it would fill the memory."""
    monkeypatch.setattr("tlsgate.workers.channel._MOST_UNSENT", 50)
    near, far = (Channel(end) for end in pair())
    sent = 0
    while not near.broken:
        near.send(b"x" * 10_000)
        sent += 1
        assert sent < 1000
    assert not near.behind
    assert await near.receive() == (b"", None)
    near.close()
    far.close()


async def test_a_peer_that_talks_without_end_lets_others_have_their_turn(nursery: trio.Nursery) -> None:
    near, far = (Channel(end) for end in pair())
    heard = 0

    async def hear() -> None:
        nonlocal heard
        while (await near.receive())[0]:
            heard += 1
            far.send(b"and more")

    far.send(b"more")
    nursery.start_soon(hear)
    with trio.fail_after(10):
        while heard < 1000:
            await trio.lowlevel.checkpoint()
    near.close()
    far.close()


async def test_closing_ends_whoever_sends_and_receives() -> None:
    near, far = (Channel(end) for end in pair())
    while not near.behind:
        near.send(b"x" * 100_000)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.run)
            nursery.start_soon(near.receive)
            await trio.testing.wait_all_tasks_blocked()
            near.close()
    far.close()
