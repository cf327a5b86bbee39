"""Recipients that are passed on together: the client can't tell (RFC 2920)."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.authenticating import Awaited
from tlsgate.dialogue.events import Bounds, Channel, LocalProtocolError, NeedData, Offer, ServerEvent
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.smtp import MessageRules, State
from tlsgate.dialogue.smtp_events import Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply

_BEGIN = b"EHLO x\r\nMAIL FROM:<>\r\n"
_lines = st.sampled_from(
    [
        b"RCPT TO:<a@b.example>\r\n",
        b"RCPT TO:<a@b.example>\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"rcpt to:<e@f.example> \t\r\n",
        b"RCPT  TO:<g@h.example>\r\n",
        b"RCPT TO:<j@k.example> NOTIFY=NEVER\r\n",
        b"RCPT nonsense\r\n",
        b"RCPT\r\n",
        b"RCPT TO:<l@m.example>\n",
        b"RCPT TO:<n\0@o.example>\r\n",
        b"RCPT TO:<p\r@q.example>\r\n",
        "RCPT TO:<ä@r.example>\r\n".encode(),
        b"RCPT TO:<\xff@s.example>\r\n",
        b"RCPT TO:<%s@t.example>\r\n" % (b"u" * 300),
        b"NOOP\r\n",
        b"RSET\r\n",
        b"MAIL FROM:<>\r\n",
        b"DATA\r\nx\r\n.\r\n",
        b"BDAT 23 LAST\r\nRCPT TO:<v@w.example>\r\n",
        b"GET / HTTP/1.1\r\n",
        b"RCPT TO:<x@y.exam",
    ]
)
_codes = st.lists(st.sampled_from([250, 250, 250, 421, 451, 550]), max_size=12)


def _mx() -> Mx:
    offer = Offer("mail.example.org", capabilities=("DSN",))
    return Mx(offer, Channel.ENCRYPTED, Bounds(line_length=200, bad_commands=4), MessageRules(100, 3))


def _told(
    data: bytes, codes: list[int], *, together: bool
) -> tuple[list[ServerEvent | MailEvent | bytes], State | Awaited]:
    """What comes of ``data``, each answer behind its event. ``together``: recipients are asked for ahead."""
    dialogue, answers = _mx(), iter(codes)
    told: list[ServerEvent | MailEvent | bytes] = []
    dialogue.receive(data)
    while dialogue.state is not State.CLOSED and not isinstance(event := dialogue.next_event(), NeedData):
        told.append(event)
        if isinstance(event, Mail | Rcpt | Data | EndOfData):
            more = dialogue.following() if together and isinstance(event, Rcpt) else []
            told.append(dialogue.answer(SmtpReply(next(answers, 250))))
            for rcpt in more:
                if dialogue.state is State.PENDING:
                    told += [rcpt, dialogue.answer(SmtpReply(next(answers, 250)))]
    return told, dialogue.state


@settings(max_examples=300, deadline=None)
@given(st.lists(_lines, max_size=14), _codes)
@example([b"RCPT TO:<a@b.example>\r\n"] * 40, [250] + [451] * 40)
@example([b"RCPT TO:<a@b.example>\r\n"] * 12, [550] * 12)
def test_recipients_together_are_recipients_one_by_one(lines: list[bytes], codes: list[int]) -> None:
    """Whatever else is among them, whatever the backend says: the same answers to the same, in the same order."""
    data = _BEGIN + b"".join(lines)
    assert _told(data, codes, together=True) == _told(data, codes, together=False)


def test_they_are_together() -> None:
    """Else each costs a round trip; but no more than a message may have, all of them standing."""
    dialogue = _mx()
    dialogue.receive(_BEGIN + b"RCPT TO:<a@b.example>\r\n" * 5)
    while not isinstance(event := dialogue.next_event(), Rcpt):
        if isinstance(event, Mail):
            dialogue.answer(SmtpReply(250))
    assert len(dialogue.following()) == 2
    for _ in range(2):
        dialogue.answer(SmtpReply(250))
        with pytest.raises(LocalProtocolError):
            dialogue.next_event()
    dialogue.answer(SmtpReply(250))
    assert dialogue.state is State.MAIL


def test_nothing_follows_what_was_not_asked() -> None:
    """A command read ahead of another one's answer would be answered in its place."""
    dialogue = _mx()
    with pytest.raises(LocalProtocolError):
        dialogue.following()
    dialogue.receive(_BEGIN + b"RCPT TO:<a@b.example>\r\n")
    while not isinstance(dialogue.next_event(), Mail):
        pass
    with pytest.raises(LocalProtocolError):
        dialogue.following()
