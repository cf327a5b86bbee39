"""POP3 towards a backend: greeting, STLS, XCLIENT, login (RFC 1939, RFC 2449, RFC 2595, RFC 3206, RFC 5034)."""

from __future__ import annotations

import re
from collections.abc import Generator

from tlsgate.dialogue import challenge, xclient
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
from tlsgate.dialogue.replies import printable

_OK = re.compile(rb"\+OK.*", re.IGNORECASE | re.DOTALL)
_CHALLENGE = re.compile(rb"\+(?: .*)?", re.DOTALL)
_CODE = re.compile(rb"\[([A-Za-z][A-Za-z0-9/-]*)\] ?")
_REFUSALS = {
    "AUTH": Refusal.AUTHENTICATION_FAILED,
    "SYS/TEMP": Refusal.UNAVAILABLE,
    "SYS/PERM": Refusal.CONTACT_ADMIN,
    "IN-USE": Refusal.IN_USE,
    "LOGIN-DELAY": Refusal.LIMIT,
}
# Servers without codes say it in words alone: a lock as RFC 1939 has it ("unable to lock maildrop"; VPOP3's "Mailbox
# Locked"; qpopper's "lock busy!  Is another session active?", whose code is for clients that have asked for CAPA, as
# none does to log in), and an account database that is down ("Temporary problem, please try again later", Courier).
# A bare "try again" may be about a wrong password.
_WORDS = (
    (re.compile(r"\block(?:ed)?\b|\bin use\b", re.IGNORECASE), Refusal.IN_USE),
    (re.compile(r"\btemporar|\bunavailable\b|\bbusy\b|\btry again later\b", re.IGNORECASE), Refusal.UNAVAILABLE),
)


class Pop3Backend(BackendDialogue):
    """See ``backend.BackendDialogue``."""

    def _run(self) -> Steps:
        greeting = yield from self._positive("greeting")
        if self._starttls:
            yield Send(b"STLS\r\n")
            yield from self._positive("STLS")
            self._nothing_behind()
            yield BeginTls()
        match self._purpose:
            case Probe():
                capabilities = yield from self._capa()
                yield Send(b"QUIT\r\n")
                return Outcome(None, capabilities)
            case SameLogin(client=client) as login:
                told = client is not None and (yield from self._xclient(client, greeting))
                known = self._known
                if login.act_as and not known:
                    known = yield from self._capa()
                self._nothing_behind()
                verdict = yield from self._login(login, known)
                return Outcome(verdict, self._known, told)
            case NoLogin():
                raise LocalProtocolError("POP3 needs a login")

    def _positive(self, what: str) -> Generator[NeedData, None, bytes]:
        line = yield from self._read_line()
        if line[:3].upper() != b"+OK":
            raise RemoteProtocolError(f"{what} is not +OK: {printable(line, 100)}")
        return line

    def _capa(self) -> Generator[Send | NeedData, None, tuple[str, ...]]:
        yield Send(b"CAPA\r\n")
        line = yield from self._read_line()
        if line[:3].upper() != b"+OK":
            return ()
        capabilities: list[str] = []
        while (line := (yield from self._read_line())) != b".":
            capabilities.append(printable(line))
        return tuple(capabilities)

    def _xclient(self, client: ClientFacts, greeting: bytes) -> Generator[Send | NeedData, None, bool]:
        """Tell who the client is; whether the backend takes that. Dovecot offers it in its greeting alone."""
        if b"[XCLIENT]" not in greeting.upper():
            capabilities = self._known or (yield from self._capa())
            if not any(name.upper().split(" ")[0] == "XCLIENT" for name in capabilities):
                return False
        command = xclient.pop3_command(client)
        if command is None:
            return False
        self._nothing_behind()
        yield Send(command)
        line = yield from self._read_line()
        if line[:3].upper() != b"+OK" and line[:4].upper() != b"-ERR":
            raise RemoteProtocolError("XCLIENT is answered by neither +OK nor -ERR")
        return line[:1] == b"+"

    def _login(self, login: SameLogin, known: tuple[str, ...]) -> Generator[Send | NeedData, None, Granted | Refused]:
        who = login.credentials
        kinds = {name.split(" ")[0].upper(): name.upper().split(" ")[1:] for name in known}
        spaced = " " in who.user  # what a server makes of that in USER is its own idea
        if "PLAIN" in kinds.get("SASL", []) and (spaced or login.act_as or "USER" not in kinds):
            pieces, go_on = [b"AUTH PLAIN", challenge.encode(plain_response(login))], _CHALLENGE
        elif login.act_as:
            raise RemoteProtocolError(NO_PLAIN)
        elif spaced:
            return Refused(Refusal.AUTHENTICATION_FAILED)
        else:
            pieces, go_on = [b"USER " + who.user.encode(), b"PASS " + who.secret], _OK
        yield Send(pieces[0] + b"\r\n")
        line = yield from self._read_line()
        if go_on.fullmatch(line) is None:
            return refusal(_verdict(line))
        self._nothing_behind()
        yield Send(pieces[1] + b"\r\n")
        return _verdict((yield from self._read_line()))


def _verdict(line: bytes) -> Granted | Refused:
    if line[:3].upper() == b"+OK":
        return Granted(printable(line[3:]))
    if line[:4].upper() != b"-ERR":
        raise RemoteProtocolError("login is answered by neither +OK nor -ERR")
    rest = line[4:].lstrip()
    found = _CODE.match(rest)
    text = printable(rest[found.end() :] if found else rest)
    if found:
        return Refused(_REFUSALS.get(found[1].decode().upper(), Refusal.AUTHENTICATION_FAILED), text)
    reason = next((reason for words, reason in _WORDS if words.search(text)), Refusal.AUTHENTICATION_FAILED)
    return Refused(reason, text)
