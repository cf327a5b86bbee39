"""SMTP towards a backend: greeting, EHLO, STARTTLS, XCLIENT, AUTH (RFC 5321, RFC 3207, RFC 4954)."""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache

from tlsgate.dialogue import challenge, xclient
from tlsgate.dialogue.backend import (
    NO_PLAIN,
    BackendDialogue,
    BeginTls,
    Misconfigured,
    NoLogin,
    Outcome,
    Probe,
    Purpose,
    SameLogin,
    Send,
    Steps,
    plain_response,
    refusal,
)
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.events import NEED_DATA, Granted, NeedData, Refusal, Refused, RemoteProtocolError
from tlsgate.dialogue.smtp_reply import ReplyReader, SmtpReply

# Beside 535, what servers say to a wrong password. 530 and 538 ask for TLS: a matter between the backend and us.
_AUTH_REFUSALS = (501, 534, 550, 554)
# XCLIENT is not for us, or not for this client (an IPv6 address where the server has IPv4 only).
_XCLIENT_REFUSALS = (500, 501, 502, 503, 504, 550)
_LONGEST_COMMAND = 510  # RFC 5321 4.5.3.1.4, without CR LF; RFC 4954 4 holds an initial response to it


class SmtpBackend(BackendDialogue):
    """See ``backend.BackendDialogue``. After the login the same object reads the replies of the mail transaction."""

    def __init__(self, purpose: Purpose, *, starttls: bool, hostname: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(purpose, starttls=starttls, hostname=hostname, known=known)
        self._replies = ReplyReader(self._buffer)
        self._unasked = False

    def next_reply(self, behind: int = 0) -> SmtpReply | NeedData:
        """The reply to the first command that is open, or NEED_DATA. Raises RemoteProtocolError on nonsense.

        ``behind``: how many more are open (RFC 2920). What came behind the last one's reply was said before the next
        command was sent, so it can't be its answer: a "250" behind a "354" would else be taken for the end of a message
        that the backend doesn't have (cases.md D16).
        """
        if self._unasked:
            raise RemoteProtocolError("reply to a command that was not sent")
        said = self._replies.next_reply()
        self._unasked = said is not NEED_DATA and not behind and len(self._buffer) > 0
        return said

    def _run(self) -> Steps:
        greeting = yield from self._reply()
        if greeting.code != 220:
            raise RemoteProtocolError(f"greeting is {greeting.code} {greeting.lines[0]}")
        keywords = yield from self._ehlo()
        if self._starttls:
            if "STARTTLS" not in _names(keywords):
                raise RemoteProtocolError("backend offers no STARTTLS")
            yield Send(b"STARTTLS\r\n")
            said = yield from self._reply()
            if said.code != 220:
                raise RemoteProtocolError(f"STARTTLS is answered by {said.code}")
            self._nothing_behind()
            yield BeginTls()
            keywords = yield from self._ehlo()
        match self._purpose:
            case Probe():
                yield Send(b"QUIT\r\n")
                return Outcome(None, keywords)
            case NoLogin(ClientFacts() as client):
                return (yield from self._vouch(client, keywords))
            case NoLogin():
                return Outcome(Granted(), keywords)
            case SameLogin(client=client) as login:
                again = None if client is None else (yield from self._xclient(client, "", keywords))
                keywords = keywords if again is None else again
                self._nothing_behind()
                verdict = yield from self._auth(login, keywords)
                return Outcome(verdict, keywords, again is not None)

    def _reply(self) -> Generator[NeedData, None, SmtpReply]:
        while (said := self.next_reply()) is NEED_DATA:
            yield NEED_DATA
        assert isinstance(said, SmtpReply)  # noqa: S101 - narrows the enum away
        return said

    def _ehlo(self, name: str | None = None) -> Generator[Send | NeedData, None, tuple[str, ...]]:
        name = name or self._hostname
        yield Send(f"EHLO {name}\r\n".encode())
        said = yield from self._reply()
        if said.code == 250:
            return said.lines[1:]
        yield Send(f"HELO {name}\r\n".encode())
        said = yield from self._reply()
        if said.code != 250:
            raise RemoteProtocolError(f"EHLO and HELO are refused: {said.code}")
        return ()

    def _vouch(self, client: ClientFacts, keywords: tuple[str, ...]) -> Steps:
        """Tell who the client is in the place of a login."""
        try:
            again = yield from self._xclient(client, client.login, keywords)
        except xclient.LoginTooLong:
            return Outcome(Refused(Refusal.CONTACT_ADMIN, "User name is too long"), keywords)
        if again is None:
            raise Misconfigured("backend doesn't take XCLIENT from us, and would take the client's mail for ours")
        return Outcome(Granted(), again, client_told=True)

    def _xclient(
        self, client: ClientFacts, login: str, keywords: tuple[str, ...]
    ) -> Generator[Send | NeedData, None, tuple[str, ...] | None]:
        """Tell who the client is: the keywords that count then, None where the backend doesn't take it.

        Raises LoginTooLong.
        """
        attributes = xclient.offered(keywords)
        if not attributes:
            return None
        for number, command in enumerate(xclient.smtp_commands(client, login, attributes)):
            yield Send(command)
            said = yield from self._reply()
            if said.code in _XCLIENT_REFUSALS and not number:
                return None
            if said.code != 220:
                raise RemoteProtocolError(f"XCLIENT is answered by {said.code} {said.text[:100]}")
        return (yield from self._ehlo(xclient.ehlo_name(client, self._hostname)))

    def _auth(self, login: SameLogin, keywords: tuple[str, ...]) -> Generator[Send | NeedData, None, Granted | Refused]:
        first, *others = _auth_lines(login, keywords)
        yield Send(first + b"\r\n")
        for line in others:
            said = yield from self._reply()
            if said.code != 334:
                return refusal(_verdict(said))
            self._nothing_behind()
            yield Send(line + b"\r\n")
        return _verdict((yield from self._reply()))


def _auth_lines(login: SameLogin, keywords: tuple[str, ...]) -> list[bytes]:
    """What to send to log in; a 334 must come between one line and the next."""
    who = login.credentials
    offered = _mechanisms(keywords)
    if "PLAIN" in offered:
        response = challenge.encode(plain_response(login))
        at_once = b"AUTH PLAIN " + response
        return [at_once] if len(at_once) <= _LONGEST_COMMAND else [b"AUTH PLAIN", response]
    if login.act_as:
        raise RemoteProtocolError(NO_PLAIN)
    if "LOGIN" in offered:
        return [b"AUTH LOGIN", challenge.encode(who.user.encode()), challenge.encode(who.secret)]
    raise RemoteProtocolError("backend offers neither AUTH PLAIN nor AUTH LOGIN")


@lru_cache(64)
def _mechanisms(keywords: tuple[str, ...]) -> frozenset[str]:
    # Old servers (and Exchange) write "AUTH=LOGIN" beside or instead of "AUTH LOGIN".
    auth = (line.upper().replace("=", " ") for line in keywords if _is_auth(line))
    return frozenset(word for line in auth for word in line.split()[1:])


def _verdict(said: SmtpReply) -> Granted | Refused:
    if said.code == 235:
        return Granted(said.text)
    if said.code == 535 or (said.code in _AUTH_REFUSALS and said.enhanced in ("5.7.8", "5.7.1", "5.7.0", "5.7.9")):
        return Refused(Refusal.AUTHENTICATION_FAILED, said.text)
    if 400 <= said.code < 500:
        return Refused(Refusal.UNAVAILABLE, said.text)
    raise RemoteProtocolError(f"AUTH is answered by {said.code}")


@lru_cache(64)
def _names(keywords: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.split(" ")[0].upper() for word in keywords)


def _is_auth(line: str) -> bool:
    return line.upper().startswith(("AUTH ", "AUTH="))
