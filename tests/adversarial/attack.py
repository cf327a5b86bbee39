"""Attacks on a running gateway, over real sockets.

For each case holds, whatever its bytes: a client that was there before is served afterwards, a new one is greeted; each
session tells its end once, and what is counted is back at nothing; the backend has got what the case says and nothing
else; of logins exactly that was told which the case says; and no password is in anything that was told.
"""

from __future__ import annotations

import base64
import re

import trio

from tests.adversarial.attacker import Attacker, same, steps
from tests.adversarial.case import IMAP, MX, POP3, SUBMISSION, WRONG, Case
from tests.dialogue.transcript import octets
from tests.gate import Client, Gate, gate, limits, pool_of
from tests.legacy_server import LegacyServer, Script, Smtp, imap, pop3
from tlsgate.config import Protocol, TlsMode

LEGACY: dict[Protocol, Script] = {IMAP: imap, POP3: pop3, SUBMISSION: Smtp(), MX: Smtp()}
_TOLD = ("cleartext_auth_refused", "auth_failed", "login_unavailable")
_TAG = re.compile(rb"^[0-9a-f]{8}(?= (?:LOGIN|AUTHENTICATE) )", re.MULTILINE)
_FOLDED = rb"[^\r]*+(?:\r\n[ \t][^\r]*+)*+\r\n"
# What we put at a message's head, once: a field like them that was there before is none of ours.
_OUR_FIELDS = re.compile(
    rb"^(?:Authentication-Results: mail\.example\.org;" + _FOLDED + rb")?Received: from " + _FOLDED, re.MULTILINE
)


async def carry_out(case: Case, tls: TlsMode, nursery: trio.Nursery) -> None:
    """Attack a gateway in this mode, and look at what has become of it."""
    usual = LEGACY[case.protocol]
    # The neighbour comes first; at an mx listener it needs no backend until it has mail.
    scripts = (usual, case.backend or usual, usual)[case.protocol is MX :]
    server: LegacyServer = await nursery.start(LegacyServer(*scripts).serve)
    settings = {"domains": ("example.org",), **case.settings}
    pool = pool_of(server.address)
    pool.backends[0].capabilities = case.learned
    async with gate(case.protocol, tls, pool, limits(**case.bounds), **settings) as running:
        try:
            with trio.fail_after(20):
                await _attack(case, running, server)
        finally:
            for client in running.clients:
                client.close()


async def _attack(case: Case, running: Gate, server: LegacyServer) -> None:
    neighbour = await _neighbour(running)
    before = len(server.talks)
    attacker = await Attacker.at(await running.connect(), case, running.tls)
    session = running.trace.sessions[-1]
    for kind, text in steps(case.script):
        await attacker.step(kind, text)
    await attacker.end()
    await _gone(running)
    await _still_served(neighbour, case.protocol)
    await _still_open(running)
    for client in running.clients:
        client.close()
    await _check_backend(case, server, before)
    await running.quiet()
    told = tuple(_words(name, values) for name, values in session.calls if name in _TOLD)
    assert told == case.told, f"\n got:    {told}\n wanted: {case.told}"
    ended = " ".join(map(str, session.end))
    assert ended.startswith(case.ended), ended
    assert session.end[0] != "fault", ended
    for each_session in running.trace.sessions:
        assert not holds(WRONG, repr(each_session.calls))


async def _check_backend(case: Case, server: LegacyServer, before: int) -> None:
    """What the attacker's sessions have brought there."""
    talks = server.talks[before : -1 if case.protocol is MX else None]  # there the neighbour has mail at the end
    for talk in talks:
        await talk.cut.wait()
    heard = _OUR_FIELDS.sub(b"", b"".join(_TAG.sub(b"TAG", talk.heard) for talk in talks))
    same(heard, octets(case.heard))
    stand = server.messages[:-1] if case.protocol in (SUBMISSION, MX) else []
    assert all(map(_OUR_FIELDS.match, stand)), stand
    same(b"|".join(_OUR_FIELDS.sub(b"", each_one) for each_one in stand), b"|".join(map(octets, case.messages)))


async def _neighbour(running: Gate) -> Client:
    if running.protocol is MX:
        client = await running.secure()
        assert (await client.ask(b"EHLO peer.example")).startswith(b"250 ")
        return client
    return await running.logged_in()


async def _still_served(client: Client, protocol: Protocol) -> None:
    if protocol in (IMAP, POP3):
        assert (await client.ask(b"x NOOP")).endswith(b"NOOP")
        return
    for command, code in ((b"MAIL FROM:<ann@example.org>", b"250 "), (b"RCPT TO:<bob@example.org>", b"250 ")):
        assert (await client.ask(command)).startswith(code)
    assert (await client.ask(b"DATA")).startswith(b"354 ")
    assert await client.ask(b"Subject: x\r\n\r\nx\r\n.") == b"250 2.0.0 Queued"


async def _still_open(running: Gate) -> None:
    """Somebody new gets as far as to TLS."""
    client = await running.connect()
    if running.tls is TlsMode.IMPLICIT:
        await client.start_tls()
    assert (await client.line()).startswith(client.speech.greeting)


async def _gone(running: Gate) -> None:
    """The attacker's session has ended, and the neighbour's alone is left."""
    while running.door.used > 1:
        running.ended = trio.Event()
        await running.ended.wait()


def _words(name: str, values: tuple[object, ...]) -> str:
    return " ".join([name, *map(str, values)])


def holds(secret: str, text: str) -> bool:
    """Whether a secret is in a text, as it is or within anybody's base64."""
    raw = secret.encode()
    coded = [base64.b64encode(b"\0" * shift + raw)[shift and 4 : -4].decode() for shift in range(3)]
    return secret in text or any(each_form in text for each_form in coded)
