"""A backend that is killed while clients log in: nobody hears that it was there, as long as another one is."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.backends.test_login import IMAP
from tests.gate import Gate, gate, limits, pool_of, records
from tlsgate.backends.health import probe_all
from tlsgate.config import HostPort, Protocol, TlsMode

_MANY = 50
_LIMITS = limits(connections_per_user=10 * _MANY)
# Says its port, then each login that it hears; "hold" answers none.
_BACKEND = """
import os, socket, sys, threading, time
def serve(client):
    with client, client.makefile("rb") as lines:
        client.sendall(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\\r\\n")
        for line in lines:
            tag, verb = line.split()[:2]
            if verb in (b"AUTHENTICATE", b"LOGIN"):
                os.write(1, b"login\\n")
                time.sleep(3600 if sys.argv[2] == "hold" else 0)
            client.sendall(tag + b" OK done\\r\\n")
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
print(listening.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


class Server:
    """A backend that is a process of its own."""

    def __init__(self, port: int, how: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", _BACKEND, str(port), how], stdout=subprocess.PIPE)
        self.address = HostPort("127.0.0.1", int(self._line()))

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    async def logins(self, count: int) -> None:
        """Wait for so many more of them."""
        for _ in range(count):
            assert await trio.to_thread.run_sync(self._line) == b"login\n"

    def kill(self) -> None:
        """By SIGKILL."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def server(how: str, port: int = 0) -> Iterator[Server]:
    running = Server(port, how)
    try:
        yield running
    finally:
        running.kill()


async def _log_in(built: Gate, said: Counter[bytes]) -> None:
    client = await built.secure()
    said[(await client.log_in())[:18]] += 1
    client.close()


async def test_logins_under_way_at_a_backend_that_is_killed_go_to_the_other() -> None:
    """And those that follow; and when it is back it is used again, by itself."""
    with server("hold") as first, server("answer") as other:
        pool = pool_of(first.address, other.address)
        async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, _LIMITS) as built:
            said: Counter[bytes] = Counter()
            async with trio.open_nursery() as clients:
                for _ in range(_MANY):
                    clients.start_soon(_log_in, built, said)
                await first.logins(_MANY)
                assert not said
                first.kill()
            assert _granted(said) == _MANY, said
            async with trio.open_nursery() as clients:
                for _ in range(_MANY):
                    clients.start_soon(_log_in, built, said)
            assert _granted(said) == 2 * _MANY, said
            await other.logins(2 * _MANY)
            assert Counter(records(pool).failures)["closed"] == _MANY
            assert not pool.backends[0].up
            assert records(pool, 1).failures == []
            with server("answer", first.address.port) as again:
                await probe_all([(pool, IMAP)])
                async with trio.open_nursery() as clients:
                    for _ in range(_MANY):
                        clients.start_soon(_log_in, built, said)
                await again.logins(_MANY)
            assert _granted(said) == 3 * _MANY, said
            await built.quiet()


async def test_without_another_they_hear_that_it_is_for_now() -> None:
    """A client that hears NO alone takes its password for wrong, and asks its user; and no guess is counted."""
    with server("hold") as only:
        pool = pool_of(only.address)
        async with gate(Protocol.IMAP, TlsMode.IMPLICIT, pool, _LIMITS) as built:
            said: Counter[bytes] = Counter()
            async with trio.open_nursery() as clients:
                for _ in range(_MANY):
                    clients.start_soon(_log_in, built, said)
                await only.logins(_MANY)
                only.kill()
            assert said == {b"a NO [UNAVAILABLE]": _MANY}
            assert not any(session.of("auth_failed") for session in built.trace.sessions)
            with server("answer", only.address.port):
                await _log_in(built, said)
            assert _granted(said) == 1
            await built.quiet()


def _granted(said: Counter[bytes]) -> int:
    return sum(count for reply, count in said.items() if reply.startswith(b"a OK"))
