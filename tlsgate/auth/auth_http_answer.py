"""The answer of nginx's auth_http protocol: what an authentication server's headers say. Its body is not looked at.

Stricter than nginx, which looks at no status and takes no Auth-Status for OK: any server's start page would let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address

from msgspec import Struct

from tlsgate.auth.auth_http_request import Question, escaped
from tlsgate.config import HostPort
from tlsgate.dialogue.credentials import Credentials, CredentialsError
from tlsgate.dialogue.replies import printable
from tlsgate.http.message import Response

LONGEST_WAIT = 60
"""Seconds; a server that wants a client to wait longer gets this."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The login stands. ``server``: the backend, by its address; None: the server leaves that to us, nginx can't.

    ``user`` and ``secret``: for the backend, None for what the client has shown.
    """

    server: HostPort | None
    user: str | None
    secret: bytes | None = field(repr=False)


class Denied(Struct, frozen=True):
    """It doesn't. ``text``: for the client, printable ASCII, "" for none that may be shown.

    ``code``: of an SMTP reply with its enhanced one if there is one, "" for the usual. ``wait``: seconds before the
    client is told and may try again; 0: it is told now, and the connection ends.
    """

    text: str
    code: str
    wait: int

    @property
    def temporary(self) -> bool:
        """Whether no password is to blame."""
        return self.code.startswith("4")


class Again(Struct, frozen=True):
    """Ask once more, after ``wait`` seconds: Auth-Status: WAIT, which only nginx's source knows."""

    wait: int


class Unavailable(Struct, frozen=True):
    """Nothing can be said of the login. ``reason``: for the log; it shows nothing of an answer."""

    reason: str


Answer = Allowed | Denied | Again | Unavailable


class _Nonsense(Exception):
    """An answer that can't be used. The text says why, and doesn't show it."""


def read_answer(response: Response, question: Question) -> Answer:
    """What the server says to the ``question``."""
    if response.status >= 500:
        return Unavailable(f"status {response.status}")
    try:
        return _answer(response, question)
    except _Nonsense as nonsense:
        return Unavailable(f"status {response.status}, {nonsense}")


def _answer(response: Response, question: Question) -> Answer:
    status = _one(response, "auth-status")
    match status:
        case b"":
            raise _Nonsense("no Auth-Status")
        case b"OK" if not 200 <= response.status < 300:
            raise _Nonsense("and yet Auth-Status: OK")
        case b"OK":
            return Allowed(_server(response), *_login(response))
        case b"WAIT":
            return Again(_wait(response))
        case _:
            return Denied(_text(status, question), _code(response), _wait(response))


def _one(response: Response, name: str) -> bytes:
    """The value of a header that may be there once, b"" without it."""
    values = response.values(name)
    if len(values) > 1:
        raise _Nonsense(f"more than one {name.title()}")
    return values[0] if values else b""


def _server(response: Response) -> HostPort | None:
    address, port = _one(response, "auth-server"), _one(response, "auth-port")
    if not address and not port:
        return None
    if not (port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _Nonsense("Auth-Port is no port")
    try:
        found = ip_address(address.decode("ascii"))
    except ValueError:
        raise _Nonsense("Auth-Server is no IP address") from None
    if getattr(found, "scope_id", None) is not None:
        raise _Nonsense("Auth-Server has a zone")
    return HostPort(str(found), int(port))


def _login(response: Response) -> tuple[str | None, bytes | None]:
    """User and secret, where there are other ones for the backend, not escaped. An empty one is nonsense."""
    user = _one(response, "auth-user") if response.values("auth-user") else None
    secret = _one(response, "auth-pass") if response.values("auth-pass") else None
    try:
        shown = Credentials("any" if user is None else user.decode(), b"any" if secret is None else secret)
    except UnicodeDecodeError:
        raise _Nonsense("Auth-User is not UTF-8") from None
    except CredentialsError as fault:
        raise _Nonsense(f"Auth-User or Auth-Pass that no backend can get: {fault}") from None
    return None if user is None else shown.user, secret


def _text(status: bytes, question: Question) -> str:
    """The refusal's words, without those that quote the password: they go on to the client and to the log."""
    text = printable(status)
    if not isinstance(question.who, Credentials):
        return text
    secret = question.who.secret
    return "" if any(printable(form) in text for form in (secret, escaped(secret))) else text


_CODE = re.compile(rb"([45])[0-9]{2}(?: \1\.[0-9]{1,3}\.[0-9]{1,3})?")


def _code(response: Response) -> str:
    code = _one(response, "auth-error-code")
    if code and _CODE.fullmatch(code) is None:
        raise _Nonsense("Auth-Error-Code is no code of SMTP")
    return code.decode()


def _wait(response: Response) -> int:
    """Like nginx's, which takes for 0 what is no number."""
    wait = _one(response, "auth-wait")
    return min(int(wait.lstrip(b"0")[:4] or b"0"), LONGEST_WAIT) if wait.isdigit() else 0
