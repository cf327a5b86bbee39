"""What a session that is logged in notices while others try wrong passwords whose hashes are slow (argon2id).

    .venv/bin/python bench/login_storm.py [--guesses 200] [--noops 3000]

One IMAP session sends NOOP after NOOP, first alone, then while 200 clients of 100 networks show a wrong password each
at once, again and again. Printed are the round trips of both, in us. Hashes are computed by as many threads as there
are cores, so what the session notices is that there are fewer cores than before, and whether the loop is held.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path

from bench.imap_service import backend, gateway, started
from tlsgate.auth.edit import hashed

PORT, BACKEND = 12743, 12744
CONFIG = """
[server]
hostname = "localhost"
[[listeners]]
name = "imap"
protocol = "imap"
address = "127.0.0.1:{port}"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:{backend}" }}]
[auth]
source = "users-file"
users_file = "{users}"
[bans]
failures = 1000
user_failures = 900
[admin]
address = "127.0.0.1:12745"
"""
PASSWORD = "correct horse"  # noqa: S105 - nobody's


class Client:
    """An IMAP client that is connected from ``source``."""

    def __init__(self, source: str, trusted: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", PORT), 60, (source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = trusted.wrap_socket(plain, server_hostname="localhost")
        self._lines = self._socket.makefile("rb")
        self._lines.readline()

    def ask(self, command: str) -> bytes:
        self._socket.sendall(b"a " + command.encode() + b"\r\n")
        while not (line := self._lines.readline()).startswith((b"a ", b"* BYE")) and line:
            pass
        return line

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def round_trips(client: Client, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        client.ask("NOOP")
        taken.append((time.perf_counter() - began) * 1e6)
        time.sleep(0.002)
    return sorted(taken)


class Storm:
    """Clients that guess until ``stop``. ``judged``: how many guesses were answered."""

    def __init__(self, guesses: int, trusted: ssl.SSLContext) -> None:
        self.judged = 0
        self._trusted = trusted
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._guess, args=(number,), daemon=True) for number in range(guesses)]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join(60)

    def _guess(self, number: int) -> None:
        while not self._over.is_set():
            try:
                client = Client(f"127.0.{number % 100 + 1}.1", self._trusted)
                client.ask(f'LOGIN "user{number % 4}" "wrong {number}"')
                self.judged += 1
                client.close()
            except OSError:  # turned away
                time.sleep(0.05)


def show(name: str, taken: list[float]) -> None:
    middle, late = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    print(f"{name:12} p50 {middle:7.0f}  p99 {late:7.0f}  most {taken[-1]:7.0f} us", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guesses", type=int, default=200)
    parser.add_argument("--noops", type=int, default=3000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        users = Path(name) / "users"
        users.write_text("".join(f"user{number}:{hashed(PASSWORD.encode(), 'ARGON2ID')}\n" for number in range(4)))
        config = CONFIG.format(port=PORT, backend=BACKEND, users=users)
        served, certificate = gateway(Path(name), config, PORT)
        with started(backend(Path(name), BACKEND), served):
            trusted = ssl.create_default_context(cafile=certificate)
            session = Client("127.0.0.1", trusted)
            assert session.ask(f'LOGIN "user0" "{PASSWORD}"').startswith(b"a OK")
            round_trips(session, 200)
            show("quiet", round_trips(session, arguments.noops))
            storm = Storm(arguments.guesses, trusted)
            storm.start()
            time.sleep(2)
            began, before = time.perf_counter(), storm.judged
            show("in the storm", round_trips(session, arguments.noops))
            seconds = time.perf_counter() - began
            print(f"{storm.judged - before} guesses were judged in {seconds:.1f} s")
            storm.stop()
            session.close()


if __name__ == "__main__":
    main()
