"""Clients that log in by IMAP over TLS, by any mechanism, each login on a connection and with a handshake of its own.

    python -m bench.logins.client PORT MECHANISM COUNT AT_ONCE USER SECRET

Makes a few logins and says "ready"; then, for each line that comes, COUNT of them, and says how many seconds they took.
SECRET: the password or the token; "{n}" in it is the number of the login.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

from OpenSSL import SSL

HOST = "127.0.0.1"
_WARM = 16


class Connection:
    """One, behind the greeting."""

    def __init__(self, port: int, context: SSL.Context) -> None:
        self._socket = socket.create_connection((HOST, port), 30)
        self._socket.settimeout(None)  # pyOpenSSL wants it to block truly
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = SSL.Connection(context, self._socket)
        self._tls.set_tlsext_host_name(b"localhost")
        self._tls.set_connect_state()
        self._tls.do_handshake()
        self._unread = b""
        self.line()

    def line(self) -> bytes:
        while b"\r\n" not in self._unread:
            self._unread += self._tls.recv(65536)
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line

    def ask(self, command: bytes) -> bytes:
        self._tls.sendall(command + b"\r\n")
        return self.line()

    def begin(self, mechanism: str, initial: bytes) -> bytes:
        return self.ask(b"a AUTHENTICATE %s %s" % (mechanism.encode(), base64.b64encode(initial)))

    def exporter(self) -> bytes:
        return self._tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    def close(self) -> None:
        self._socket.close()


def plain(connection: Connection, user: str, secret: str) -> bytes:
    return connection.begin("PLAIN", f"\0{user}\0{secret}".encode())


def bearer(connection: Connection, user: str, secret: str) -> bytes:
    return connection.begin("OAUTHBEARER", f"n,a={user},\x01auth=Bearer {secret}\x01\x01".encode())


def xoauth2(connection: Connection, user: str, secret: str) -> bytes:
    return connection.begin("XOAUTH2", f"user={user}\x01auth=Bearer {secret}\x01\x01".encode())


def scram(connection: Connection, user: str, secret: str, *, plus: bool = False) -> bytes:
    """RFC 5802 3, without a look at the server's signature."""
    header, binding = ("p=tls-exporter,,", connection.exporter()) if plus else ("n,,", b"")
    own = secrets.token_urlsafe(18)
    said = connection.begin("SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256", f"{header}n={user},r={own}".encode())
    first = base64.b64decode(said.removeprefix(b"+ "))
    nonce, salt, iterations = (each[2:] for each in first.decode().split(","))
    key = hmac.digest(_salted(secret, salt, int(iterations)), b"Client Key", "sha256")
    final = f"c={base64.b64encode(header.encode() + binding).decode()},r={nonce}"
    message = f"n={user},r={own},{first.decode()},{final}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))
    connection.ask(base64.b64encode(final.encode() + b",p=" + proof))
    return connection.ask(b"")


@functools.cache
def _salted(secret: str, salt: str, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), base64.b64decode(salt), iterations)


MECHANISMS: dict[str, Callable[[Connection, str, str], bytes]] = {
    "PLAIN": plain,
    "OAUTHBEARER": bearer,
    "XOAUTH2": xoauth2,
    "SCRAM-SHA-256": scram,
    "SCRAM-SHA-256-PLUS": functools.partial(scram, plus=True),
}


def run(port: int, mechanism: str, numbers: Iterator[int], at_once: int, user: str, secret: str) -> None:
    """One login for each number. Raises SystemExit when one fails."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    lock, failed = threading.Lock(), list[str]()

    def log_in() -> None:
        while not failed:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                connection = Connection(port, context)
                said = MECHANISMS[mechanism](connection, user, secret.replace("{n}", str(number)))
                connection.close()
            except (OSError, SSL.Error, ValueError) as error:
                said = repr(error).encode()
            if not said.startswith(b"a OK"):
                failed.append(said.decode())

    threads = [threading.Thread(target=log_in) for _ in range(at_once)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failed:
        raise SystemExit(f"{mechanism}: {failed[0]}")


def main() -> None:
    port, mechanism, logins, at_once, user, secret = sys.argv[1:]
    numbers = count()
    some = functools.partial(run, int(port), mechanism, at_once=int(at_once), user=user, secret=secret)
    some(numbers=iter([next(numbers) for _ in range(_WARM)]))
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.monotonic()
        some(numbers=iter([next(numbers) for _ in range(int(logins))]))
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
