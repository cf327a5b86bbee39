"""Commands of a mail transaction at its backend, and their replies, matched by order (RFC 5321 4.1.1, RFC 2920)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import trio

from tlsgate.backends.faults import Reason
from tlsgate.backends.login import BackendSession
from tlsgate.dialogue.buffer import ReceiveBuffer
from tlsgate.dialogue.events import NeedData, RemoteProtocolError
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_reply import ReplyReader, SmtpReply
from tlsgate.tls.stream import RECORD, WOULD_BLOCK, Expired, StreamLost

# RFC 5321 4.5.3.2: seconds that a client must grant a server. We are the backend's client.
COMMAND_TIMEOUT = 300.0
END_TIMEOUT = 600.0
_early = memoryview(bytearray(RECORD))


class BackendLost(Exception):
    """The backend is gone or talks nonsense in the middle of a transaction.

    ``reason``: None where that was told before. The text is for the log.
    """

    def __init__(self, reason: Reason | None = None, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if reason else "lost before")
        self.reason = reason


def lost(error: StreamLost | RemoteProtocolError) -> BackendLost:
    """The same as a loss of the backend."""
    match error:
        case Expired():
            return BackendLost(Reason.TIMEOUT, error.reason)
        case StreamLost():
            return BackendLost(Reason.CLOSED, error.reason)
        case _:
            return BackendLost(Reason.PROTOCOL, str(error))


async def ask(backend: BackendSession, data: bytes, kind: int, timeout: float = COMMAND_TIMEOUT) -> SmtpReply:
    """Send a command and read its reply, which is of the ``kind`` that grants it (2 or 3), or 4xx, 5xx.

    Raises BackendLost.
    """
    (said,) = await _ask(backend, [data], kind, timeout)
    return said


async def ask_all(backend: BackendSession, commands: Sequence[bytes]) -> list[SmtpReply]:
    """Send commands that 2xx grants, at once if the backend takes that. Gives their replies.

    Without pipelining nothing follows a 421; there are fewer replies then. Raises BackendLost.
    """
    if "PIPELINING" in keywords(backend):
        return await _ask(backend, commands, 2, COMMAND_TIMEOUT)
    said: list[SmtpReply] = []
    for each in commands:
        said += await _ask(backend, [each], 2, COMMAND_TIMEOUT)
        if said[-1].code == 421:
            break
    return said


async def _ask(backend: BackendSession, commands: Sequence[bytes], kind: int, timeout: float) -> list[SmtpReply]:
    stream, said = backend.stream, list[SmtpReply]()
    stream.expires(trio.current_time() + timeout)
    try:
        nothing_said(backend)
        await stream.send(b"".join(commands))
        for behind in reversed(range(len(commands))):
            said.append(await _reply(backend, behind))
            if said[-1].code == 421:
                break
    except (StreamLost, RemoteProtocolError) as error:
        raise lost(error) from None
    stream.expires(math.inf)
    for each in said:
        if each.positive and each.code // 100 != kind:
            raise BackendLost(Reason.PROTOCOL, f"a command is answered by {each.code}")
    return said


async def _reply(backend: BackendSession, behind: int) -> SmtpReply:
    said: SmtpReply | NeedData
    dialogue = backend.dialogue
    if not isinstance(dialogue, SmtpBackend):
        raise TypeError("mail needs an SMTP backend")
    while isinstance(said := dialogue.next_reply(behind), NeedData):
        received = await backend.stream.receive()
        if not received:
            raise StreamLost("closed before it answered")
        dialogue.receive(received)
    return said


def nothing_said(backend: BackendSession) -> None:
    """A reply that came before its command would be taken for the next one's. Raises StreamLost."""
    if backend.dialogue.handover() or backend.stream.read_into(_early) != WOULD_BLOCK:
        raise StreamLost("backend spoke or closed unasked")


def refused_early(backend: BackendSession) -> SmtpReply | None:
    """The refusal of a backend that doesn't wait for a message's end; None when it has said nothing yet.

    Raises StreamLost when it has said anything else, or is gone.
    """
    buffer = ReceiveBuffer()
    buffer.append(backend.dialogue.handover())
    while (count := backend.stream.read_into(_early)) > 0 and len(buffer) < RECORD:
        buffer.append(bytes(_early[:count]))
    if not len(buffer):
        if count == WOULD_BLOCK:
            return None
        raise StreamLost("closed before the end of the message")
    try:
        said = ReplyReader(buffer).next_reply()
    except RemoteProtocolError as error:
        raise StreamLost(str(error)) from None
    if isinstance(said, NeedData) or said.positive or len(buffer):
        raise StreamLost("backend spoke unasked")
    return said


def keywords(backend: BackendSession) -> frozenset[str]:
    """The extensions that a backend has."""
    return _keywords(backend.outcome.capabilities)


@lru_cache(64)
def _keywords(capabilities: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.split(" ")[0].upper() for word in capabilities)
