"""A client of our MX side, and all that comes of what it sends."""

from __future__ import annotations

from collections.abc import Iterator

from tlsgate.dialogue.events import NeedData, ServerEvent
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.smtp import State
from tlsgate.dialogue.smtp_events import Body, Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply

Told = list[ServerEvent | MailEvent | bytes]
"""Events, neighbouring bodies as one, and what ``answer`` gave."""


def segments(data: bytes, cut: list[int]) -> Iterator[bytes]:
    """``data`` in segments of these sizes, over and over."""
    at = number = 0
    while at < len(data):
        size = cut[number % len(cut)]
        yield data[at : at + size]
        at, number = at + size, number + 1


def send(dialogue: Mx, data: bytes, cut: list[int], answers: Iterator[int]) -> Told:
    """What comes of ``data``. ``answers``: the backend's codes, 250 behind the last of them."""
    told: Told = []
    for piece in segments(data, cut):
        dialogue.receive(piece)
        while dialogue.state is not State.CLOSED and not isinstance(event := dialogue.next_event(), NeedData):
            if isinstance(event, Body) and told and isinstance(last := told[-1], Body):
                told[-1] = Body(last.data + event.data)
            else:
                told.append(event)
            if isinstance(event, Mail | Rcpt | Data | EndOfData):
                told.append(dialogue.answer(SmtpReply(next(answers, 250))))
    return told
