"""The three listeners of the sample legacy backend."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import trio
from msgspec import Struct

from tlsgate.demo.accounts import Accounts
from tlsgate.demo.connection import Connection, Disconnected, LineTooLong
from tlsgate.demo.imap import serve_imap
from tlsgate.demo.mailbox import Mailbox
from tlsgate.demo.pop3 import serve_pop3
from tlsgate.demo.samples import SAMPLES
from tlsgate.demo.smtp import serve_smtp

MAX_CONNECTIONS = 200


class DemoBackend(Struct, frozen=True):
    """A running backend: the ports it took, and the mailbox of the first user."""

    imap_port: int
    pop3_port: int
    smtp_port: int
    mailbox: Mailbox


class _Service(Struct, frozen=True):
    serve: Callable[[Connection, Accounts], Awaitable[None]]
    busy: bytes
    line_too_long: bytes


_IMAP = _Service(serve_imap, b"* BYE too many connections\r\n", b"* BYE line or literal too long\r\n")
_POP3 = _Service(serve_pop3, b"-ERR [SYS/TEMP] too many connections\r\n", b"-ERR line too long\r\n")
_SMTP = _Service(serve_smtp, b"421 4.7.0 too many connections\r\n", b"421 5.5.6 line too long\r\n")


async def serve(
    users: Mapping[str, str],
    *,
    host: str = "127.0.0.1",
    imap_port: int = 0,
    pop3_port: int = 0,
    smtp_port: int = 0,
    messages: Sequence[bytes] = SAMPLES,
    task_status: trio.TaskStatus[DemoBackend] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve IMAP, POP3 and SMTP in clear until cancelled.

    `users` maps names to passwords (at least one); each has an INBOX that starts with `messages` (CRLF line
    ends). `host` is one numeric address; port 0 takes any free one. Reports a DemoBackend through `task_status`.
    Raises OSError where a port can't be bound.
    """
    accounts = Accounts(users, messages)
    slots = trio.CapacityLimiter(MAX_CONNECTIONS)
    async with trio.open_nursery() as nursery:
        ports: list[int] = []
        for service, port in ((_IMAP, imap_port), (_POP3, pop3_port), (_SMTP, smtp_port)):
            (listener,) = await trio.open_tcp_listeners(port, host=host)
            ports.append(listener.socket.getsockname()[1])
            handler = partial(_handle, service, accounts, slots)
            nursery.start_soon(trio.serve_listeners, handler, [listener])
        task_status.started(DemoBackend(ports[0], ports[1], ports[2], accounts.mailbox(next(iter(users)))))


async def _handle(
    service: _Service, accounts: Accounts, slots: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    connection = Connection(stream)
    try:
        async with stream:
            try:
                slots.acquire_nowait()
            except trio.WouldBlock:
                await connection.send(service.busy)
                return
            try:
                await service.serve(connection, accounts)
            except* LineTooLong:
                await connection.send(service.line_too_long)
            finally:
                slots.release()
    except* (Disconnected, trio.BrokenResourceError, trio.TooSlowError):
        pass  # the client went away, or has said nothing for half an hour: there is nobody left to tell
