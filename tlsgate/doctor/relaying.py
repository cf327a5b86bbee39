"""Asks an SMTP backend whom it relays for. Never gets to DATA: no mail is sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import trio

from tlsgate.backends.faults import BackendFault
from tlsgate.backends.login import BackendSession, ask
from tlsgate.dialogue.backend import NoLogin
from tlsgate.dialogue.client import ClientFacts, Endpoint
from tlsgate.dialogue.events import NEED_DATA, RemoteProtocolError
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.doctor.relay_forms import FOREIGN, Form
from tlsgate.doctor.subject import Subject
from tlsgate.tls.stream import StreamLost

TIMEOUT = 120.0  # seconds for all forms: some servers greet late on purpose
SENDERS = ("", f"sender@{FOREIGN}")
# RFC 5737: a client of nobody's.
STRANGER = ClientFacts(
    Endpoint(IPv4Address("192.0.2.1"), 40000), Endpoint(IPv4Address("192.0.2.25"), 25), helo="[192.0.2.1]"
)
_AT_ONCE = 8  # servers grow slow, then hang up, after ten errors or so
_RELAY_DENIED = (454, "4.7.1")  # Postfix's defer_unauth_destination, its default: for good, whatever the code says


@dataclass(slots=True)
class Heard:
    """What came of it. ``taken``: forms; ``put_off``, ``refused``: replies to RCPT and to MAIL, by sender.

    ``unclear``: why it couldn't be asked to the end; ``not_told``: why it doesn't take who the client is.
    """

    taken: set[Form] = field(default_factory=set)
    put_off: dict[str, list[SmtpReply]] = field(default_factory=dict)
    refused: dict[str, SmtpReply] = field(default_factory=dict)
    unclear: str = ""
    not_told: str = ""


class _Unclear(Exception):
    """The backend couldn't be asked to the end, and why."""


async def asked(subject: Subject, forms: Sequence[Form], client: ClientFacts | None) -> Heard:
    """What it takes without a login from ``client``, told as its pool tells it; None: from our own address."""
    heard = Heard()

    def not_told(_: object, __: int, why: str) -> None:
        heard.not_told = why

    subject.backend.on_not_told = not_told
    with trio.move_on_after(TIMEOUT) as scope:
        try:
            for sender in SENDERS:
                for first in range(0, len(forms), _AT_ONCE):
                    if sender not in heard.refused:
                        await _connection(subject, client, sender, forms[first : first + _AT_ONCE], heard)
        except (BackendFault, StreamLost, RemoteProtocolError, _Unclear) as fault:
            heard.unclear = str(fault)
    if scope.cancelled_caught:
        heard.unclear = f"no end within {TIMEOUT:.0f} seconds"
    return heard


async def _connection(
    subject: Subject, client: ClientFacts | None, sender: str, some: Sequence[Form], heard: Heard
) -> None:
    session = await ask(subject.backend, NoLogin(client), subject.dialogue, subject.pool.connect_timeout)
    try:
        session.stream.expires(trio.current_time() + TIMEOUT)
        await _offer(session, sender, some, heard)
        with suppress(StreamLost, RemoteProtocolError, _Unclear):  # it has said what we wanted to know
            await _say(session, "RSET")
            await _say(session, "QUIT")
    finally:
        session.close()


async def _offer(session: BackendSession, sender: str, some: Sequence[Form], heard: Heard) -> None:
    said = await _say(session, f"MAIL FROM:<{sender}>")
    if said.code // 100 != 2:
        heard.refused[sender] = said
        return
    for form in some:
        said = await _say(session, f"RCPT TO:<{form.path}>")
        if said.code // 100 == 2:
            heard.taken.add(form)
        elif said.code < 500 and (said.code, said.enhanced) != _RELAY_DENIED:
            heard.put_off.setdefault(sender, []).append(said)


async def _say(session: BackendSession, command: str) -> SmtpReply:
    """The reply to a command. Raises StreamLost, RemoteProtocolError, _Unclear."""
    dialogue = session.dialogue
    if not isinstance(dialogue, SmtpBackend):
        raise TypeError("not an SMTP backend")
    await session.stream.send(command.encode() + b"\r\n")
    while (said := dialogue.next_reply()) is NEED_DATA:
        data = await session.stream.receive()
        if not data:
            raise _Unclear("it has hung up")
        dialogue.receive(data)
    assert isinstance(said, SmtpReply)  # noqa: S101 - narrows the enum away
    if said.code == 421:
        raise _Unclear(f"it hangs up: 421 {said.text[:100]}")
    return said
