"""Handshakes, and reading and writing decrypted octets: the calls that every login and relayed byte goes through.

pyOpenSSL's own ``recv_into`` allocates and copies a record each time, and says "nothing now" by an exception. So
OpenSSL is called through pyOpenSSL's binding, which its API doesn't promise; without it the public API does the same
for more.
"""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL

WOULD_BLOCK = -1
DONE, WANT_READ, WANT_WRITE = range(3)

Octets = Callable[[SSL.Connection, memoryview], int]


def public_read(connection: SSL.Connection, buffer: memoryview) -> int:
    """Read at most one record: a count of octets, 0 at the peer's close_notify, or WOULD_BLOCK. Raises SSL.Error."""
    try:
        return connection.recv_into(buffer)
    except (SSL.WantReadError, SSL.WantWriteError):
        return WOULD_BLOCK
    except SSL.ZeroReturnError:
        return 0


def public_write(connection: SSL.Connection, data: memoryview) -> int:
    """Write ``data``, not empty: a count of octets, or WOULD_BLOCK. Raises SSL.Error."""
    try:
        return connection.send(data)
    except (SSL.WantReadError, SSL.WantWriteError):
        return WOULD_BLOCK


def public_handshake(connection: SSL.Connection) -> int:
    """Go on with a handshake: DONE, or what to wait for. Raises SSL.Error, and what callbacks have raised."""
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return WANT_READ
    except SSL.WantWriteError:
        return WANT_WRITE
    return DONE


def _bound() -> tuple[Octets, Octets, Callable[[SSL.Connection], int]]:
    """All three, by the binding. Raises ImportError or AttributeError where it isn't as it was."""
    from OpenSSL._util import ffi, lib

    pointer, ssl_read, ssl_write, ssl_error = ffi.from_buffer, lib.SSL_read, lib.SSL_write, lib.SSL_get_error
    not_now, at_end = (lib.SSL_ERROR_WANT_READ, lib.SSL_ERROR_WANT_WRITE), lib.SSL_ERROR_ZERO_RETURN
    _ = SSL.Connection._raise_ssl_error

    def read(connection: SSL.Connection, buffer: memoryview) -> int:
        ssl = connection._ssl
        result: int = ssl_read(ssl, pointer(buffer), len(buffer))
        if result > 0:
            return result
        error = ssl_error(ssl, result)
        if error in not_now:
            return WOULD_BLOCK
        if error != at_end:
            connection._raise_ssl_error(ssl, result)
        return 0

    def write(connection: SSL.Connection, data: memoryview) -> int:
        ssl = connection._ssl
        result: int = ssl_write(ssl, pointer(data), len(data))
        if result > 0:
            return result
        if ssl_error(ssl, result) in not_now:
            return WOULD_BLOCK
        connection._raise_ssl_error(ssl, result)
        return result

    def handshake(connection: SSL.Connection) -> int:
        ssl = connection._ssl
        result: int = lib.SSL_do_handshake(ssl)
        if result <= 0:
            wanted = ssl_error(ssl, result)
            if wanted in not_now:
                return WANT_READ if wanted == not_now[0] else WANT_WRITE
        connection._raise_ssl_error(ssl, result)
        return DONE

    return read, write, handshake


try:
    read, write, handshake = _bound()
except (ImportError, AttributeError):
    read, write, handshake = public_read, public_write, public_handshake
