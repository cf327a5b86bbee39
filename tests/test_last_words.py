"""Last words reach a client that is still sending: a socket closed over octets that nobody has read is a reset."""

from __future__ import annotations

import select

import pytest
import trio
from trio.testing import MockClock

from tests.gate import Client, gate, limits, pool_of
from tlsgate.config import HostPort, Protocol, TlsMode

JUNK = b"x" * 30 + b"\r\n"
NOBODY = HostPort("127.0.0.1", 1)
ENDINGS = {Protocol.IMAP: b"* BYE ", Protocol.POP3: b"-ERR ", Protocol.SUBMISSION: b"421 ", Protocol.MX: b"421 "}


async def lines(client: Client) -> list[bytes]:
    """All that comes until the end."""
    said = []
    while line := await client.line():
        said.append(line)
    return said


async def hung_up_on(client: Client) -> None:
    """Return once the server's end, or a reset, is here; nothing of it is read."""
    poll = select.poll()
    poll.register(client.socket.fileno(), select.POLLRDHUP)
    assert await trio.to_thread.run_sync(poll.poll, 20_000)


@pytest.mark.parametrize("protocol", ENDINGS)
@pytest.mark.parametrize("secure", [False, True])
async def test_a_client_that_goes_on_sending_is_told_why_it_ends(
    protocol: Protocol, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose sending fails says "connection reset" to its user, or tries again at once; it reads no reason."""
    monkeypatch.setattr("tlsgate.tls.hearing_out._LONGEST", 30.0)
    async with gate(protocol, TlsMode.STARTTLS, pool_of(NOBODY), limits(bad_commands=3)) as here:
        client = await (here.secure() if secure else here.connect())
        if not secure:
            await client.line()
        await client.send(JUNK * 600)  # more than is read at once
        await hung_up_on(client)
        await client.send(JUNK * 600)
        await client.send(JUNK * 600)
        assert (await lines(client))[-1].startswith(ENDINGS[protocol])


async def test_who_goes_on_for_ever_is_cut_off_soon(autojump_clock: MockClock) -> None:
    """It holds its place among the connections until then."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOBODY), limits(bad_commands=3)) as here:
        client = await here.connect()
        sent, began = 0, trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.send(JUNK)
                sent += len(JUNK)
        await here.quiet()
        assert sent < 8 * 1024 * 1024  # what the kernel's buffers hold, and little more
        assert trio.current_time() - began < 1.2


@pytest.mark.parametrize("then", ["", "drip"])
async def test_who_neither_ends_nor_sends_much_is_cut_off_in_a_second(autojump_clock: MockClock, then: str) -> None:
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOBODY), limits(bad_commands=3)) as here:
        client = await here.connect()
        await client.send(JUNK * 600)
        assert (await lines(client))[-1].startswith(b"* BYE ")
        began = trio.current_time()
        async with trio.open_nursery() as dripping:
            if then:
                dripping.start_soon(drip, client)
            await here.quiet()
            dripping.cancel_scope.cancel()
        assert 0.5 < trio.current_time() - began < 1.2


async def drip(client: Client) -> None:
    while True:
        await client.send(b"x")
        await trio.sleep(0.1)


async def test_who_waits_is_gone_at_once(autojump_clock: MockClock) -> None:
    """Most clients end so: theirs is no second more."""
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOBODY), limits(bad_commands=3)) as here:
        client = await here.secure()
        await client.send(JUNK * 5)
        began = trio.current_time()
        assert (await lines(client))[-1].startswith(b"* BYE ")
        await here.quiet()
        assert trio.current_time() - began < 0.1


async def test_the_end_of_the_gateway_waits_for_nobody(autojump_clock: MockClock) -> None:
    async with gate(Protocol.IMAP, TlsMode.STARTTLS, pool_of(NOBODY), limits(bad_commands=3)) as here:
        client = await here.connect()
        await client.send(JUNK * 600)
        assert (await lines(client))[-1].startswith(b"* BYE ")
        assert here.door.used == 1
        began = trio.current_time()
        here.sessions.cancel_scope.cancel()
        await here.quiet()
        assert trio.current_time() == began
        assert here.trace.sessions[0].end == ("no_login", "bad_commands")
