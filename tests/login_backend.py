"""Legacy servers that let in by one login, and keep which they were shown: the user's own, a master's, a stored one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from tests.legacy_server import Talk
from tlsgate.config import Protocol


@dataclass(frozen=True)
class Login:
    """``authzid``: whom to act as, "" for nobody else."""

    user: str
    secret: str = field(repr=False)
    authzid: str = ""


def by_plain(response: bytes) -> Login:
    authzid, user, secret = base64.b64decode(response).decode().split("\0")
    return Login(user, secret, authzid)


class LoginBackend:
    """A script. ``shown``: the logins, in order; ``told``: what XCLIENT has said of clients."""

    def __init__(self, protocol: Protocol, right: Login) -> None:
        self.shown: list[Login] = []
        self.told: list[dict[str, str]] = []
        self._right = right
        self._script = {Protocol.IMAP: self._imap, Protocol.POP3: self._pop3, Protocol.SUBMISSION: self._smtp}[protocol]

    async def __call__(self, talk: Talk) -> None:
        await self._script(talk)

    async def _answer(self, talk: Talk, login: Login, yes: bytes, no: bytes) -> None:
        self.shown.append(login)
        await talk.say((yes if login == self._right else no) + b"\r\n")

    async def _imap(self, talk: Talk) -> None:
        await talk.say(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] legacy\r\n")
        while True:
            tag, verb, rest = (await talk.line()).split(b" ", 2)
            if verb == b"LOGIN":
                _, user, _, secret, _ = rest.decode().split('"')
                login = Login(user, secret)
            else:
                assert verb == b"AUTHENTICATE"
                login = by_plain(rest.removeprefix(b"PLAIN "))
            await self._answer(talk, login, tag + b" OK in", tag + b" NO [AUTHENTICATIONFAILED] wrong")

    async def _pop3(self, talk: Talk) -> None:
        await talk.say(b"+OK legacy\r\n")
        user = ""
        while True:
            verb, _, rest = (await talk.line()).partition(b" ")
            match verb:
                case b"CAPA":
                    await talk.say(b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n")
                case b"USER":
                    user = rest.decode()
                    await talk.say(b"+OK\r\n")
                case b"PASS":
                    await self._answer(talk, Login(user, rest.decode()), b"+OK in", b"-ERR [AUTH] wrong")
                case b"AUTH":
                    await talk.say(b"+ \r\n")
                    await self._answer(talk, by_plain(await talk.line()), b"+OK in", b"-ERR [AUTH] wrong")

    async def _smtp(self, talk: Talk) -> None:
        await talk.say(b"220 legacy ESMTP\r\n")
        while True:
            verb, _, rest = (await talk.line()).partition(b" ")
            match verb:
                case b"AUTH":
                    login = by_plain(rest.removeprefix(b"PLAIN "))
                    await self._answer(talk, login, b"235 2.7.0 in", b"535 5.7.8 wrong")
                case b"XCLIENT":
                    self.told.append(dict(each.split("=", 1) for each in rest.decode().split(" ")))
                    await talk.say(b"220 legacy ESMTP\r\n")
                case _:
                    await talk.say(b"250-legacy\r\n250-XCLIENT ADDR PORT LOGIN\r\n250 AUTH PLAIN\r\n")
