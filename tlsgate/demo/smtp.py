"""SMTP submission (RFC 5321, 6409, 4954) as an old server speaks it: in clear, but never without AUTH."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from tlsgate.demo.accounts import Accounts, SaslError
from tlsgate.demo.connection import MAX_MESSAGE, Connection
from tlsgate.demo.mailbox import Mailbox, MailboxFull

_MAX_RECIPIENTS = 1000
_EXTENSIONS = (
    b"PIPELINING",
    b"SIZE %d" % MAX_MESSAGE,
    b"8BITMIME",
    b"ENHANCEDSTATUSCODES",
    b"DSN",
    b"SMTPUTF8",
    b"AUTH PLAIN LOGIN",
)
_NAME = re.compile(rb"[\x21-\x7e]{1,255}")
_PATH = re.compile(rb" ?<([^<>\x00-\x20\x7f]*)>(?: +(.*))?")
_MAIL_PARAMETERS = {b"SIZE", b"BODY", b"RET", b"ENVID", b"SMTPUTF8", b"AUTH"}
_RCPT_PARAMETERS = {b"NOTIFY", b"ORCPT"}


@dataclass(slots=True)
class _Session:
    helo: bytes = b""
    mailbox: Mailbox | None = None
    sender: bytes | None = None
    recipients: list[bytes] = field(default_factory=list)

    def reset(self) -> None:
        self.sender = None
        self.recipients = []


async def serve_smtp(connection: Connection, accounts: Accounts) -> None:
    """Serve one SMTP client until QUIT. Raises what Connection raises."""
    session = _Session()
    await connection.send(b"220 demo.localhost ESMTP tlsgate demo\r\n")
    while True:
        command, _, argument = (await connection.read_line()).partition(b" ")
        match command.upper():
            case b"QUIT":
                await connection.send(b"221 2.0.0 bye\r\n")
                return
            case b"AUTH":
                reply = await _auth(connection, accounts, session, argument)
            case b"DATA" if session.sender is not None and session.recipients:
                await connection.send(b"354 end with a dot alone on a line\r\n")
                reply = _deliver(session, await connection.read_data())
            case b"MAIL" if argument[:5].upper() == b"FROM:":
                reply = _mail(session, argument[5:])
            case b"RCPT" if argument[:3].upper() == b"TO:":
                reply = _rcpt(session, argument[3:])
            case name:
                reply = _answer(name, session, argument)
        await connection.send(reply + b"\r\n")


def _answer(command: bytes, session: _Session, argument: bytes) -> bytes:
    match command:
        case b"EHLO" | b"HELO" if not _NAME.fullmatch(argument):
            return b"501 5.5.4 and who are you?"
        case b"EHLO":
            session.reset()
            session.helo = argument
            lines = (b"demo.localhost", *_EXTENSIONS)
            return b"\r\n".join([*(b"250-" + line for line in lines[:-1]), b"250 " + lines[-1]])
        case b"HELO":
            session.reset()
            session.helo = argument
            return b"250 demo.localhost"
        case b"RSET":
            session.reset()
            return b"250 2.0.0 reset"
        case b"NOOP":
            return b"250 2.0.0 ok"
        case b"VRFY":
            return b"252 2.5.0 send some mail, I'll try"
        case b"DATA":
            return b"503 5.5.1 MAIL and RCPT first"
        case b"MAIL" | b"RCPT":
            return b"501 5.5.4 MAIL FROM:<sender>, RCPT TO:<recipient>"
        case _:
            return b"500 5.5.2 unknown command"


async def _auth(connection: Connection, accounts: Accounts, session: _Session, argument: bytes) -> bytes:
    async def ask(challenge: bytes) -> bytes:
        await connection.send(b"334 %b\r\n" % challenge)
        return await connection.read_line()

    if not session.helo:
        return b"503 5.5.1 EHLO first"
    if session.mailbox is not None:
        return b"503 5.5.1 logged in already"
    mechanism, _, initial = argument.partition(b" ")
    if mechanism.upper() not in (b"PLAIN", b"LOGIN"):
        return b"504 5.5.4 no such mechanism"
    try:
        session.mailbox = await accounts.authenticate(mechanism, initial or None, ask)
    except SaslError as error:
        return b"501 5.5.2 %b" % str(error).encode()
    if session.mailbox is None:
        return b"535 5.7.8 authentication failed"
    return b"235 2.7.0 logged in"


def _mail(session: _Session, argument: bytes) -> bytes:
    if session.mailbox is None:
        return b"530 5.7.0 authentication required"
    if session.sender is not None:
        return b"503 5.5.1 a transaction is under way"
    if not (path := _PATH.fullmatch(argument)):
        return b"501 5.1.7 bad sender address"
    parameters = _parameters(path[2])
    if not parameters.keys() <= _MAIL_PARAMETERS:
        return b"555 5.5.4 unknown parameter"
    size = parameters.get(b"SIZE", b"0")
    if not size.isdigit() or len(size) > 20:
        return b"501 5.5.4 bad SIZE"
    if int(size) > MAX_MESSAGE:
        return b"552 5.3.4 message too big"
    session.sender = path[1]
    return b"250 2.1.0 sender ok"


def _rcpt(session: _Session, argument: bytes) -> bytes:
    if session.sender is None:
        return b"503 5.5.1 MAIL first"
    if not (path := _PATH.fullmatch(argument)) or not path[1]:
        return b"501 5.1.3 bad recipient address"
    if not _parameters(path[2]).keys() <= _RCPT_PARAMETERS:
        return b"555 5.5.4 unknown parameter"
    if len(session.recipients) >= _MAX_RECIPIENTS:
        return b"452 4.5.3 too many recipients"
    session.recipients.append(path[1])
    return b"250 2.1.5 recipient ok"


def _parameters(text: bytes | None) -> dict[bytes, bytes]:
    pairs = (word.partition(b"=") for word in (text or b"").split())
    return {keyword.upper(): value for keyword, _, value in pairs}


def _deliver(session: _Session, data: bytes | None) -> bytes:
    """Whoever it is for, it lands with the user who sent it: nothing leaves the demo."""
    sender, recipients, mailbox = session.sender or b"", session.recipients, session.mailbox
    session.reset()
    if data is None or mailbox is None:
        return b"552 5.3.4 message too big"
    date = format_datetime(datetime.now(UTC)).encode()
    addressee = b" for <%b>" % recipients[0] if len(recipients) == 1 else b""
    trace = b"Return-Path: <%b>\r\nReceived: from %b by demo.localhost with ESMTPA%b;\r\n\t%b\r\n"
    try:
        message = mailbox.append(trace % (sender, session.helo, addressee, date) + data)
    except MailboxFull:
        return b"452 4.2.2 mailbox full"
    return b"250 2.0.0 kept as %d" % message.uid
