"""IMAP4rev1 (RFC 3501, 2088, 2177, 2342, 2971, 3691, 4315, 4959) as an old server speaks it: in clear."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import trio

from tlsgate.demo.accounts import Accounts, SaslError
from tlsgate.demo.connection import MAX_LINE, MAX_MESSAGE, Connection, LineTooLong
from tlsgate.demo.imap_selected import Selected, parse_flags
from tlsgate.demo.imap_syntax import SyntaxFault, Token, nstring, text, tokens
from tlsgate.demo.mailbox import Mailbox, MailboxFull

_CAPABILITY = b"CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID IDLE NAMESPACE UIDPLUS UNSELECT AUTH=PLAIN AUTH=LOGIN"
_COMMAND = re.compile(rb"(?s)([^\s(){%*\"\\+]{1,100}) (UID )?([A-Z]{1,20})(?: (.*))?", re.IGNORECASE)
_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}\Z")
_SEND_AT = 1024 * 1024

_BEFORE_LOGIN = {b"LOGIN", b"AUTHENTICATE"}
_ALWAYS = {b"CAPABILITY", b"NOOP", b"ID", b"LOGOUT"}
_SELECTED = {b"CHECK", b"CLOSE", b"UNSELECT", b"EXPUNGE", b"FETCH", b"STORE", b"SEARCH", b"COPY"}
_WITH_UID = {b"FETCH", b"STORE", b"SEARCH", b"COPY", b"EXPUNGE"}
_WRITING = {b"STORE", b"EXPUNGE"}


class _No(Exception):
    """What to say after NO."""


async def serve_imap(connection: Connection, accounts: Accounts) -> None:
    """Serve one IMAP client until LOGOUT. Raises what Connection raises."""
    await _Session(connection, accounts).run()


class _Session:
    def __init__(self, connection: Connection, accounts: Accounts) -> None:
        self._connection = connection
        self._accounts = accounts
        self._mailbox: Mailbox | None = None
        self._selected: Selected | None = None

    async def run(self) -> None:
        await self._connection.send(b"* OK [%b] tlsgate demo IMAP\r\n" % _CAPABILITY)
        while True:
            tag, name = b"*", b""
            try:
                command = await self._read_command()
                match = _COMMAND.fullmatch(command)
                if match is None:
                    raise SyntaxFault("no tag or no command")
                tag, name = match[1], match[3].upper()
                reply = await self._execute(tag, name, match[4] or b"", uid=bool(match[2]))
            except _No as no:
                reply = b"NO %b" % str(no).encode()
            except (SyntaxFault, SaslError) as fault:
                reply = b"BAD %b" % str(fault).encode()
            changes = self._changes(expunge=name not in (b"FETCH", b"STORE", b"SEARCH"))
            await self._connection.send(b"%b%b %b\r\n" % (b"".join(changes), tag, reply))
            if name == b"LOGOUT":
                return

    async def _read_command(self) -> bytes:
        """Read a line and the literals in it; they stay where they stood, as tokens() reads them."""
        limit = MAX_MESSAGE if self._mailbox else MAX_LINE
        parts: list[bytes] = []
        text_size = literal_size = 0
        while True:
            line = await self._connection.read_line()
            parts.append(line)
            text_size += len(line)
            if text_size > MAX_LINE:
                raise LineTooLong
            literal = _LITERAL.search(line)
            if literal is None:
                return b"".join(parts)
            literal_size += int(literal[1])
            if literal_size > limit:
                raise LineTooLong
            if not literal[2]:
                await self._connection.send(b"+ go ahead\r\n")
            parts += [b"\r\n", await self._connection.read_exactly(int(literal[1]))]

    async def _execute(self, tag: bytes, name: bytes, data: bytes, uid: bool) -> bytes:
        """Run one command: send its untagged responses, return the tagged one without its tag."""
        if uid and name not in _WITH_UID:
            raise SyntaxFault("no such UID command")
        if name in _BEFORE_LOGIN and self._mailbox is not None:
            raise SyntaxFault("logged in already")
        if name in _ALWAYS:
            return await self._answer_always(name)
        argument = tokens(data)
        if self._mailbox is None:
            match name, argument:
                case b"LOGIN", [bytes(user), bytes(password)]:
                    return self._enter(self._accounts.login(user, password))
                case b"AUTHENTICATE", [bytes(mechanism), *initial] if len(initial) < 2:
                    response = text(initial[0]) if initial else None
                    return self._enter(await self._accounts.authenticate(mechanism, response, self._ask))
            raise SyntaxFault("log in first, or bad arguments")
        if name not in _SELECTED:
            return await self._execute_authenticated(self._mailbox, tag, name, argument)
        if self._selected is None:
            raise SyntaxFault("no mailbox selected")
        return await self._execute_selected(self._selected, name, argument, uid)

    async def _answer_always(self, name: bytes) -> bytes:
        match name:
            case b"CAPABILITY":
                await self._connection.send(b"* %b\r\n" % _CAPABILITY)
            case b"ID":
                await self._connection.send(b'* ID ("name" "tlsgate-demo")\r\n')
            case b"LOGOUT":
                await self._connection.send(b"* BYE logging out\r\n")
        return b"OK done"

    def _enter(self, mailbox: Mailbox | None) -> bytes:
        if mailbox is None:
            raise _No("[AUTHENTICATIONFAILED] authentication failed")
        self._mailbox = mailbox
        return b"OK [%b] logged in" % _CAPABILITY

    async def _ask(self, challenge: bytes) -> bytes:
        await self._connection.send(b"+ %b\r\n" % challenge)
        return await self._connection.read_line()

    async def _execute_authenticated(self, mailbox: Mailbox, tag: bytes, name: bytes, argument: list[Token]) -> bytes:
        match name, argument:
            case ((b"SELECT" | b"EXAMINE"), [bytes(folder)]):
                return await self._select(mailbox, folder, read_only=name == b"EXAMINE")
            case ((b"LIST" | b"LSUB"), [bytes(reference), bytes(pattern)]):
                await self._connection.send(_list(name, reference, pattern))
            case b"STATUS", [bytes(folder), list(items)]:
                _only_inbox(folder)
                await self._connection.send(_status(mailbox, items))
            case b"NAMESPACE", []:
                await self._connection.send(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
            case b"APPEND", [bytes(folder), *options, bytes(raw)]:
                return _append(mailbox, folder, options, raw)
            case b"IDLE", []:
                await self._idle(mailbox)
            case ((b"SUBSCRIBE" | b"UNSUBSCRIBE"), [bytes(folder)]):
                _only_inbox(folder)
            case ((b"CREATE" | b"DELETE" | b"RENAME"), _):
                raise _No("[CANNOT] INBOX is all there is")
            case _:
                raise SyntaxFault("unknown command or bad arguments")
        return b"OK done"

    async def _execute_selected(self, selected: Selected, name: bytes, argument: list[Token], uid: bool) -> bytes:
        if selected.read_only and name in _WRITING:
            raise _No("[READ-ONLY] mailbox is open for reading only")
        match name, argument:
            case b"FETCH", [_, _, *_]:
                await self._send_all(selected.fetch(argument, uid))
            case b"STORE", _:
                await self._send_all(selected.store(argument, uid))
            case b"SEARCH", _:
                await self._connection.send(selected.search(argument, uid))
            case b"EXPUNGE", [*uids] if len(uids) == uid:
                selected.expunge(*uids)
            case b"COPY", _:
                raise _No("[CANNOT] INBOX is all there is")
            case b"CHECK", []:
                pass
            case ((b"CLOSE" | b"UNSELECT"), []):
                if name == b"CLOSE" and not selected.read_only:
                    selected.expunge()
                self._selected = None
            case _:
                raise SyntaxFault("bad arguments")
        return b"OK done"

    async def _select(self, mailbox: Mailbox, folder: bytes, read_only: bool) -> bytes:
        self._selected = None
        _only_inbox(folder)
        self._selected = Selected(mailbox, read_only)
        await self._send_all(self._selected.opening())
        return b"OK [READ-ONLY] selected" if read_only else b"OK [READ-WRITE] selected"

    async def _idle(self, mailbox: Mailbox) -> None:
        """RFC 2177. The pusher is told to stop, not cancelled: a response is never cut in its middle."""
        with mailbox.watch() as (stop, notices):
            await self._connection.send(b"+ idling\r\n")
            line = b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._push, notices)
                line = await self._connection.read_line()
                stop.close()
        if line.upper() != b"DONE":
            raise SyntaxFault("DONE expected")

    async def _push(self, notices: trio.MemoryReceiveChannel[None]) -> None:
        await self._send_all(self._changes(expunge=True))
        async for _ in notices:
            await self._send_all(self._changes(expunge=True))

    def _changes(self, expunge: bool) -> list[bytes]:
        return self._selected.changes(expunge) if self._selected else []

    async def _send_all(self, responses: Iterable[bytes]) -> None:
        """Send in batches: few system calls for many small responses, and no copy of a whole mailbox."""
        pending = bytearray()
        for response in responses:
            pending += response
            if len(pending) >= _SEND_AT:
                await self._connection.send(bytes(pending))
                pending.clear()
        if pending:
            await self._connection.send(bytes(pending))


def _only_inbox(folder: bytes, code: str = "[NONEXISTENT]") -> None:
    if folder.upper() != b"INBOX":
        raise _No(f"{code} INBOX is all there is")


def _list(command: bytes, reference: bytes, pattern: bytes) -> bytes:
    if not pattern:
        return b'* %b (\\Noselect) "/" ""\r\n' % command
    runs = re.split(rb"[*%]+", (reference + pattern).upper())
    matches = re.fullmatch(b".*".join(map(re.escape, runs)), b"INBOX")
    return b'* %b (\\HasNoChildren) "/" INBOX\r\n' % command if matches else b""


def _status(mailbox: Mailbox, items: list[Token]) -> bytes:
    known = {
        b"MESSAGES": len(mailbox.messages),
        b"RECENT": 0,
        b"UIDNEXT": mailbox.uidnext,
        b"UIDVALIDITY": mailbox.uidvalidity,
        b"UNSEEN": sum(b"\\Seen" not in message.flags for message in mailbox.messages.values()),
    }
    names = [text(item).upper() for item in items]
    if not names or not known.keys() >= set(names):
        raise SyntaxFault("unknown status item")
    return b"* STATUS %b (%b)\r\n" % (nstring(b"INBOX"), b" ".join(b"%b %d" % (n, known[n]) for n in names))


def _append(mailbox: Mailbox, folder: bytes, options: list[Token], raw: bytes) -> bytes:
    _only_inbox(folder, "[TRYCREATE]")
    flags: set[bytes] = set()
    received = None
    for option in options:
        if isinstance(option, list):
            flags = parse_flags(option)
        else:
            received = _date_time(option)
    try:
        message = mailbox.append(raw, flags, received)
    except MailboxFull:
        raise _No("[OVERQUOTA] mailbox full") from None
    return b"OK [APPENDUID %d %d] kept" % (mailbox.uidvalidity, message.uid)


def _date_time(value: bytes) -> datetime:
    try:
        return datetime.strptime(value.decode().strip(), "%d-%b-%Y %H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyntaxFault("bad date-time") from None
