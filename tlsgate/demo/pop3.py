"""POP3 (RFC 1939, 2449, 5034) as an old server speaks it: in clear."""

import re

from tlsgate.demo.accounts import Accounts, SaslError
from tlsgate.demo.connection import Connection
from tlsgate.demo.mailbox import Mailbox, Message

_CAPABILITIES = (
    b"USER",
    b"SASL PLAIN LOGIN",
    b"TOP",
    b"UIDL",
    b"PIPELINING",
    b"RESP-CODES",
    b"AUTH-RESP-CODE",
    b"IMPLEMENTATION tlsgate-demo",
)
_BARE_LF = re.compile(rb"(?<!\r)\n")


class _Refused(Exception):
    """What to say after -ERR."""


async def serve_pop3(connection: Connection, accounts: Accounts) -> None:
    """Serve one POP3 client until QUIT. Raises what Connection raises."""
    await connection.send(b"+OK tlsgate demo POP3\r\n")
    mailbox = await _authorization(connection, accounts)
    if mailbox is not None:
        await _transaction(connection, mailbox)


async def _authorization(connection: Connection, accounts: Accounts) -> Mailbox | None:
    user: bytes | None = None
    while True:
        command, _, argument = (await connection.read_line()).partition(b" ")
        mailbox = None
        try:
            match command.upper():
                case b"CAPA":
                    reply = _lines(b"capabilities", _CAPABILITIES)
                case b"AUTH" if not argument:
                    reply = _lines(b"mechanisms", (b"PLAIN", b"LOGIN"))
                case b"AUTH":
                    mailbox = await _auth(connection, accounts, argument)
                    reply = b"+OK logged in\r\n"
                case b"USER":
                    user, reply = argument, b"+OK\r\n"
                case b"PASS":
                    mailbox, user = _login(accounts, user, argument), None
                    reply = b"+OK logged in\r\n"
                case b"QUIT":
                    reply = b"+OK bye\r\n"
                case _:
                    raise _Refused("not now, or unknown")
        except _Refused as refused:
            reply = b"-ERR %b\r\n" % str(refused).encode()
        await connection.send(reply)
        if mailbox is not None or command.upper() == b"QUIT":
            return mailbox


async def _auth(connection: Connection, accounts: Accounts, argument: bytes) -> Mailbox:
    async def ask(challenge: bytes) -> bytes:
        await connection.send(b"+ %b\r\n" % challenge)
        return await connection.read_line()

    mechanism, _, initial = argument.partition(b" ")
    try:
        mailbox = await accounts.authenticate(mechanism, initial or None, ask)
    except SaslError as error:
        raise _Refused(str(error)) from None
    return _known(mailbox)


def _login(accounts: Accounts, user: bytes | None, password: bytes) -> Mailbox:
    if user is None:
        raise _Refused("USER first")
    return _known(accounts.login(user, password))


def _known(mailbox: Mailbox | None) -> Mailbox:
    if mailbox is None:
        raise _Refused("[AUTH] authentication failed")
    return mailbox


async def _transaction(connection: Connection, mailbox: Mailbox) -> None:
    drop = list(mailbox.messages.values())
    deleted: set[int] = set()
    while True:
        command, _, argument = (await connection.read_line()).partition(b" ")
        match command.upper():
            case b"QUIT":
                mailbox.remove(deleted)
                await connection.send(b"+OK bye\r\n")
                return
            case b"RSET":
                deleted.clear()
                reply = b"+OK\r\n"
            case b"NOOP":
                reply = b"+OK\r\n"
            case b"CAPA":
                reply = _lines(b"capabilities", _CAPABILITIES)
            case name:
                try:
                    reply = _answer(name, argument, mailbox, drop, deleted)
                except _Refused as refused:
                    reply = b"-ERR %b\r\n" % str(refused).encode()
        await connection.send(reply)


def _answer(command: bytes, argument: bytes, mailbox: Mailbox, drop: list[Message], deleted: set[int]) -> bytes:
    kept = [(number, message) for number, message in enumerate(drop, 1) if message.uid not in deleted]
    match command, argument.split():
        case b"STAT", []:
            return b"+OK %d %d\r\n" % (len(kept), sum(len(message.raw) for _, message in kept))
        case b"LIST", []:
            return _lines(b"sizes", [b"%d %d" % (number, len(message.raw)) for number, message in kept])
        case b"LIST", [word]:
            number, message = _find(word, kept)
            return b"+OK %d %d\r\n" % (number, len(message.raw))
        case b"UIDL", []:
            return _lines(b"unique ids", [_uidl(mailbox, number, message) for number, message in kept])
        case b"UIDL", [word]:
            return b"+OK %b\r\n" % _uidl(mailbox, *_find(word, kept))
        case b"RETR", [word]:
            _, message = _find(word, kept)
            return b"+OK message follows\r\n" + _stuffed(message.raw)
        case b"TOP", [word, count] if count.isdigit() and len(count) < 10:
            return b"+OK top follows\r\n" + _stuffed(_top(_find(word, kept)[1].raw, int(count)))
        case b"DELE", [word]:
            deleted.add(_find(word, kept)[1].uid)
            return b"+OK deleted\r\n"
        case _:
            raise _Refused("unknown command or wrong argument")


def _find(word: bytes, kept: list[tuple[int, Message]]) -> tuple[int, Message]:
    if word.isdigit() and len(word) < 10:
        for number, message in kept:
            if number == int(word):
                return number, message
    raise _Refused("no such message")


def _uidl(mailbox: Mailbox, number: int, message: Message) -> bytes:
    return b"%d %d.%d" % (number, mailbox.uidvalidity, message.uid)


def _lines(title: bytes, lines: list[bytes] | tuple[bytes, ...]) -> bytes:
    return b"\r\n".join((b"+OK " + title, *lines, b".", b""))


def _top(raw: bytes, count: int) -> bytes:
    header, blank, body = _crlf(raw).partition(b"\r\n\r\n")
    lines = body.split(b"\r\n", count)
    return header + blank + (b"\r\n".join([*lines[:count], b""]) if len(lines) > count else body)


def _stuffed(raw: bytes) -> bytes:
    """The multi-line response of RFC 1939 section 3."""
    text = b"\r\n" + _crlf(raw)
    end = b".\r\n" if text.endswith(b"\r\n") else b"\r\n.\r\n"
    return text.replace(b"\r\n.", b"\r\n..")[2:] + end


def _crlf(raw: bytes) -> bytes:
    return raw if raw.count(b"\n") == raw.count(b"\r\n") else _BARE_LF.sub(b"\r\n", raw)
