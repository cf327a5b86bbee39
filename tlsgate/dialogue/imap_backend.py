"""IMAP towards a backend: greeting, STARTTLS, ID, login (RFC 9051 6.2, RFC 2971, RFC 4959, RFC 5530)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Generator
from functools import lru_cache

from msgspec.structs import replace

from tlsgate.dialogue import challenge
from tlsgate.dialogue.backend import (
    NO_PLAIN,
    BackendDialogue,
    BeginTls,
    NoLogin,
    Outcome,
    Probe,
    SameLogin,
    Send,
    Steps,
    plain_response,
    refusal,
)
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.events import Granted, LocalProtocolError, NeedData, Refusal, Refused, RemoteProtocolError
from tlsgate.dialogue.imap_id import id_fields
from tlsgate.dialogue.imap_syntax import LITERAL, quoted
from tlsgate.dialogue.replies import printable

_CODE = re.compile(rb"\[([A-Za-z][A-Za-z0-9.-]*)(?: ([^\]\r\n]*))?\] ?")
_ATOM = re.compile(r"[^(){%*\"\\\]]+")  # RFC 9051 9, of what can be printed
_REFUSALS = {
    "AUTHENTICATIONFAILED": Refusal.AUTHENTICATION_FAILED,
    "AUTHORIZATIONFAILED": Refusal.AUTHORIZATION_FAILED,
    "EXPIRED": Refusal.EXPIRED,
    "UNAVAILABLE": Refusal.UNAVAILABLE,
    "SERVERBUG": Refusal.UNAVAILABLE,
    "PRIVACYREQUIRED": Refusal.UNAVAILABLE,  # a matter between the backend and us
    "LIMIT": Refusal.LIMIT,
    "INUSE": Refusal.IN_USE,
    "CONTACTADMIN": Refusal.CONTACT_ADMIN,
}
_KEPT = 64
# What a logged-in client must not try through the gate (cases.md B16).
_NOT_CARRIED = ("STARTTLS", "LOGINDISABLED", "UNAUTHENTICATE", "AUTH=", "SASL-IR", "LOGIN-REFERRALS")


class ImapBackend(BackendDialogue):
    """See ``backend.BackendDialogue``."""

    def _run(self) -> Steps:
        # Nobody on the backend's side can know our tag in advance, so no reply to it can be older than the command.
        self._tag = _new_tag()
        capabilities = self._greeted((yield from self._read_line()))
        if self._starttls:
            capabilities = capabilities or (yield from self._capability())
            if "STARTTLS" not in _upper(capabilities):
                raise RemoteProtocolError("backend offers no STARTTLS")
            yield from self._exchange(b"STARTTLS")
            self._nothing_behind()
            yield BeginTls()
            capabilities = ()
        match self._purpose:
            case Probe():
                capabilities = capabilities or (yield from self._capability())
                yield Send(self._tag + b" LOGOUT\r\n")
                return Outcome(None, capabilities)
            case SameLogin(_, ClientFacts() as client) as login:
                capabilities = capabilities or self._known or (yield from self._capability())
                told = yield from self._id(client, capabilities)
                self._nothing_behind()
                outcome = yield from self._login(login, capabilities)
                return replace(outcome, client_told=told)
            case SameLogin(act_as=act_as) as login:
                capabilities = capabilities or self._known
                if act_as and not capabilities:
                    capabilities = yield from self._capability()
                self._nothing_behind()
                return (yield from self._login(login, capabilities))
            case NoLogin():
                raise LocalProtocolError("IMAP needs a login")

    def _greeted(self, line: bytes) -> tuple[str, ...]:
        if (line + b" ")[:5].upper() != b"* OK ":  # some say no more than that
            # PREAUTH too: a session must never exist without a login.
            raise RemoteProtocolError(f"greeting is not OK: {printable(line, 100)}")
        found = _CODE.match(line, 5)
        return _words(found[2]) if found and found[1].upper() == b"CAPABILITY" else ()

    def _capability(self) -> Generator[Send | NeedData, None, tuple[str, ...]]:
        yield Send(self._tag + b" CAPABILITY\r\n")
        _, untagged = yield from self._tagged_ok()
        return untagged

    def _id(self, client: ClientFacts, capabilities: tuple[str, ...]) -> Generator[Send | NeedData, None, bool]:
        """Tell who the client is; whether the backend takes that."""
        if "ID" not in _upper(capabilities):
            return False
        yield Send(self._tag + b" ID " + id_fields(client) + b"\r\n")
        line, _ = yield from self._reply()
        if line.startswith(b"+"):
            raise RemoteProtocolError("ID is answered by a continuation request")
        self._tag = _new_tag()  # a second reply to this one must not be the login's
        return (line + b" ")[:3].upper() == b"OK "

    def _exchange(self, command: bytes) -> Generator[Send | NeedData, None, None]:
        yield Send(self._tag + b" " + command + b"\r\n")
        yield from self._tagged_ok()

    def _tagged_ok(self) -> Generator[NeedData, None, tuple[bytes, tuple[str, ...]]]:
        line, untagged = yield from self._reply()
        if (line + b" ")[:3].upper() != b"OK ":
            raise RemoteProtocolError(f"backend refuses: {printable(line, 100)}")
        return line, untagged

    def _reply(self) -> Generator[NeedData, None, tuple[bytes, tuple[str, ...]]]:
        """The reply to our tag without the tag, or a continuation request, and capabilities told on the way."""
        capabilities: tuple[str, ...] = ()
        while True:
            line = yield from self._read_line()
            if LITERAL.search(line):
                raise RemoteProtocolError("literal before login")
            if line.startswith(self._tag + b" "):
                return line[len(self._tag) + 1 :], capabilities
            if line.startswith(b"+"):
                return line, capabilities
            if line[:5].upper() == b"* BYE":
                raise RemoteProtocolError("backend says BYE")
            if not line.startswith(b"* "):
                raise RemoteProtocolError("reply to a command that was not sent")
            if line[:13].upper() == b"* CAPABILITY ":
                capabilities = _words(line[13:])

    def _login(self, login: SameLogin, capabilities: tuple[str, ...]) -> Steps:
        first, *others = self._login_pieces(login, _upper(capabilities))
        yield Send(first)
        for piece in others:
            line, untagged = yield from self._reply()
            if not line.startswith(b"+"):
                return Outcome(refusal(_verdict(line, untagged)), untagged)
            self._nothing_behind()
            yield Send(piece)
        line, untagged = yield from self._reply()
        return Outcome(_verdict(line, untagged), untagged)

    def _login_pieces(self, login: SameLogin, names: frozenset[str]) -> list[bytes]:
        """What to send to log in; a continuation request must come between one piece and the next."""
        who = login.credentials
        user, secret = quoted(who.user.encode()), quoted(who.secret)
        if not login.act_as and "LOGINDISABLED" not in names and user is not None and secret is not None:
            return [b"%s LOGIN %s %s\r\n" % (self._tag, user, secret)]
        if "AUTH=PLAIN" in names:
            command, response = self._tag + b" AUTHENTICATE PLAIN", challenge.encode(plain_response(login)) + b"\r\n"
            return [command + b" " + response] if "SASL-IR" in names else [command + b"\r\n", response]
        if login.act_as:
            raise RemoteProtocolError(NO_PLAIN)
        if "LOGINDISABLED" in names:
            raise RemoteProtocolError("backend takes no password here (LOGINDISABLED, no AUTH=PLAIN)")
        name = who.user.encode()
        return [
            b"%s LOGIN {%d}\r\n" % (self._tag, len(name)),
            b"%s {%d}\r\n" % (name, len(who.secret)),
            who.secret + b"\r\n",
        ]


def _new_tag() -> bytes:
    return secrets.token_hex(4).encode()


def _verdict(line: bytes, untagged: tuple[str, ...]) -> Granted | Refused:
    condition, _, rest = line.partition(b" ")
    found = _CODE.match(rest)
    code = found[1].decode().upper() if found else ""
    text = printable(rest[found.end() :] if found else rest)
    match condition.upper():
        case b"OK":
            told = _words(found[2]) if found and code == "CAPABILITY" else untagged
            return Granted(text, _carried_code(told))
        case b"NO":
            reason = _REFUSALS.get(code, Refusal.AUTHENTICATION_FAILED)
            return Refused(reason, "" if code == "PRIVACYREQUIRED" else text)
        case _:
            raise RemoteProtocolError("login is answered by neither OK nor NO")


# Backends say the same at each login: what follows from it is kept.


@lru_cache(_KEPT)
def _carried_code(capabilities: tuple[str, ...]) -> str:
    carried = [name for name in capabilities if not name.upper().startswith(_NOT_CARRIED)]
    return " ".join(["CAPABILITY", *carried]) if carried else ""


@lru_cache(_KEPT)
def _upper(capabilities: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.upper() for name in capabilities)


@lru_cache(_KEPT)
def _words(text: bytes | None) -> tuple[str, ...]:
    # In a reply of ours "]" would end the list, "{5}" begin a literal.
    return tuple(word for word in printable(text or b"", 4096).split() if _ATOM.fullmatch(word))
