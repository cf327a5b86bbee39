"""HTTP answers as they come over a connection, and what auth_http reads out of them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import cast

import h11

from fuzz.choices import Choices, cut
from tlsgate.auth.auth_http_answer import LONGEST_WAIT, Again, Allowed, Denied, read_answer
from tlsgate.auth.auth_http_request import Question
from tlsgate.config import Protocol
from tlsgate.dialogue.credentials import Credentials
from tlsgate.http.exchange import Connection, Silent
from tlsgate.http.message import HttpError, Response
from tlsgate.tls.stream import Stream

_QUESTION = Question(Protocol.IMAP, Credentials("ann", b"hunter 2"), IPv4Address("192.0.2.7"))
_REQUEST = h11.Request(method="GET", target="/auth", headers=[("Host", "auth.example")])
_LARGEST = 1000


class _Pieces:
    """A stream that gives these octets."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def receive(self) -> bytes:
        return next(self._pieces, b"")

    async def send(self, data: bytes) -> None:
        assert data.startswith(b"GET /auth HTTP/1.1\r\n")


def fuzz(data: bytes) -> None:
    choices = Choices(data)
    sizes = choices.some(3)
    whole = _asked([choices.rest])
    assert _asked([*cut([choices.rest], sizes)]) == whole
    if not isinstance(whole, Response):
        return
    assert len(whole.body) <= _LARGEST
    for name, value in whole.headers:
        assert name == name.lower()
        assert not any(each in value for each in (b"\0", b"\r", b"\n"))
    match read_answer(whole, _QUESTION):
        case Allowed(server, user, secret):
            assert server is None or 0 < server.port < 65536
            assert user is None or user.strip()
            assert secret is None or b"\n" not in secret
        case Denied(text, code, wait):
            assert text.isascii()
            assert "hunter 2" not in text
            assert code == "" or code[0] in "45"
            assert 0 <= wait <= LONGEST_WAIT
        case Again(wait):
            assert 0 <= wait <= LONGEST_WAIT
        case unavailable:
            assert unavailable.reason.isprintable()


def _asked(pieces: list[bytes]) -> Response | Silent | str:
    """The answer, or the kind of the fault."""
    connection = Connection(cast("Stream", _Pieces(iter([each for each in pieces if each]))))
    exchange = connection.exchange(_REQUEST, b"", _LARGEST)
    try:
        exchange.send(None)
    except StopIteration as end:
        answer: Response | Silent = end.value
        return answer
    except HttpError as error:
        return type(error).__name__
    raise AssertionError("it waits, though nothing here does")
