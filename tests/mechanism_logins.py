"""Logins of a gate's client by any mechanism, and what the client is offered before."""

from __future__ import annotations

from tests.dialogue.scram_client import client_first
from tests.gate import Client, Gate
from tests.mechanism_table import COMMAND
from tests.sasl_client import BoundSasl, Sasl, bound, sasl
from tlsgate.config import Protocol

GRANTED = {Protocol.IMAP: b"a OK ", Protocol.POP3: b"+OK ", Protocol.SUBMISSION: b"235 2.7.0 "}
REFUSED = {
    Protocol.IMAP: (b"a NO [AUTHENTICATIONFAILED] ", b"a NO [AUTHORIZATIONFAILED] "),
    Protocol.POP3: (b"-ERR [AUTH] ",),
    Protocol.SUBMISSION: (b"535 5.7.8 ",),
}
NOT_OFFERED = {
    Protocol.IMAP: b"a NO [CANNOT] Mechanism not supported",
    Protocol.POP3: b"-ERR Mechanism not supported",
    Protocol.SUBMISSION: b"504 5.5.4 Mechanism not supported",
}
IN_CLEAR = {
    Protocol.IMAP: b"a NO [PRIVACYREQUIRED] Authentication is refused before STARTTLS",
    Protocol.POP3: b"-ERR Authentication is refused before STLS",
    Protocol.SUBMISSION: b"538 5.7.11 Authentication is refused before STARTTLS",
}


async def client_of(running: Gate, mechanism: str, owner: str) -> Sasl:
    """One that can use the mechanism: that knows its connection's exporter, or has a certificate of the owner's."""
    if mechanism == "SCRAM-SHA-256-PLUS":
        return await bound(running)
    return await sasl(running, owner=owner if mechanism == "EXTERNAL" else "")


async def offered(client: Client, protocol: Protocol) -> set[str]:
    """What the client is told that it may log in by, by the names of mechanism_table."""
    await client.hello()
    match protocol:
        case Protocol.IMAP:
            await client.send(b"a CAPABILITY\r\n")
            said = (await client.line()).decode().split()
            assert (await client.line()).startswith(b"a OK ")
            command = set() if "LOGINDISABLED" in said else {COMMAND}
            return command | {each.removeprefix("AUTH=") for each in said if each.startswith("AUTH=")}
        case Protocol.POP3:
            await client.send(b"CAPA\r\n")
            lines = []
            while (line := await client.line()) != b".":
                lines.append(line.decode().split())
            command = {COMMAND} if ["USER"] in lines else set()
            return command.union(*(names for word, *names in lines if word == "SASL"))
        case _:
            await client.send(b"EHLO client.example\r\n")
            told = [line[4:].decode().split() for line in await client.lines()]
            return set().union(*(names for word, *names in told if word == "AUTH"))


async def begins(by: Sasl, protocol: Protocol, mechanism: str, user: str, secret: str) -> bytes:
    """The first answer to a login."""
    match mechanism:
        case "command" if protocol is Protocol.IMAP:
            return await by.client.ask(f'a LOGIN "{user}" "{secret}"'.encode())
        case "command":
            return await by.client.ask(f"USER {user}".encode())
        case "PLAIN":
            return await by.plain(user, secret)
        case "LOGIN":
            return await by.begin("LOGIN", user.encode())
        case "SCRAM-SHA-256":
            return await by.begin(mechanism, client_first("n,,", user))
        case "SCRAM-SHA-256-PLUS":
            return await by.begin(mechanism, client_first("p=tls-exporter,,", user))
        case "OAUTHBEARER":
            return await by.bearer(secret, user)
        case "XOAUTH2":
            return await by.xoauth2(secret, user)
        case _:
            return await by.begin("EXTERNAL", secret.encode())


async def logs_in(by: Sasl, protocol: Protocol, mechanism: str, user: str, secret: str) -> bytes:
    """The answer that decides. ``secret``: the password, or the token, or whom a certificate's owner would act as."""
    if mechanism.startswith("SCRAM"):
        assert mechanism != "SCRAM-SHA-256-PLUS" or isinstance(by, BoundSasl)
        said = await by.proof(user, secret, by.exporter if isinstance(by, BoundSasl) else None)
        assert said.startswith((b"v=", b"e=invalid-proof")), said
        return await by.respond(b"")
    said = await begins(by, protocol, mechanism, user, secret)
    if mechanism == COMMAND and protocol is Protocol.POP3:
        assert said.startswith(b"+OK"), said
        return await by.client.ask(f"PASS {secret}".encode())
    if mechanism == "LOGIN":
        assert by.told(said) == b"Password:"
        return await by.respond(secret.encode())
    if mechanism in ("OAUTHBEARER", "XOAUTH2") and said.startswith((b"+ ", b"334 ")):
        return await by.respond(b"\x01")  # RFC 7628 3.2.3; what XOAUTH2's clients say doesn't matter
    return said
