"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): an access token instead of a password."""

from __future__ import annotations

import json
import re

from tlsgate.dialogue.access_token import LONGEST_TOKEN, BearerToken, TokenAdvice, TokenError
from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.credentials import CredentialsError, readable_user
from tlsgate.dialogue.gs2 import read_gs2
from tlsgate.dialogue.proofs import Rejected

_LONGEST_MESSAGE = LONGEST_TOKEN + 4096
_MOST_PAIRS = 16
_PAIR = re.compile(r"([A-Za-z]+)=([\x20-\x7e\t\r\n]*)")  # RFC 7628 3.1
_XOAUTH2 = re.compile(r"user=([^\x01]*)\x01auth=([^\x01]*)\x01\x01")
_BEARER = re.compile(r"bearer +(.*)", re.IGNORECASE)
_PORT = re.compile(r"[0-9]{1,5}")


# What HTTP would have said (RFC 6750 3.1).
_STATUS = {TokenError.INVALID_REQUEST: "400", TokenError.INVALID_TOKEN: "401", TokenError.INSUFFICIENT_SCOPE: "403"}


class OAuthBearer:
    """One exchange of OAUTHBEARER."""

    def __init__(self, advice: TokenAdvice) -> None:
        self.user: str | None = None
        self._advice = advice

    def start(self, initial: bytes | None) -> Challenge | BearerToken | Rejected:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> BearerToken | Rejected:
        """The client's message. An empty "auth" asks where a token is to be had (RFC 7628 4.3). Raises SaslError."""
        gs2, rest = read_gs2(_text(response))
        self.user = readable_user(gs2.authzid.encode())
        if gs2.flag == "p":
            raise SaslError("OAUTHBEARER has no channel binding")
        pairs = _pairs(rest)
        if "port" in pairs and _PORT.fullmatch(pairs["port"]) is None:
            raise SaslError("malformed OAUTHBEARER port")
        if "auth" not in pairs:
            raise SaslError("OAUTHBEARER without auth")
        if not pairs["auth"]:
            return Rejected(self.refused(TokenError.INVALID_TOKEN), "no token", self.user)
        return _token(pairs["auth"], gs2.authzid)

    def refused(self, error: TokenError) -> Challenge:
        """What to say to a token that isn't taken; the client answers it with %x01 (RFC 7628 3.2.2, 3.2.3)."""
        said = {
            "status": error.value,
            "scope": self._advice.scope,
            "openid-configuration": self._advice.openid_configuration,
        }
        return _json(said)


class XOAuth2:
    """One exchange of XOAUTH2: "user=" name ^A "auth=Bearer " token ^A ^A."""

    def __init__(self, advice: TokenAdvice) -> None:
        self.user: str | None = None
        self._advice = advice

    def start(self, initial: bytes | None) -> Challenge | BearerToken:
        """Begin, with the client's initial response if it sent one. Raises SaslError."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> BearerToken:
        """The client's message. Raises SaslError."""
        found = _XOAUTH2.fullmatch(_text(response))
        if found is None:
            raise SaslError("malformed XOAUTH2 response")
        self.user = readable_user(found[1].encode())
        if not found[1]:
            raise SaslError("empty user name")
        return _token(found[2], found[1])

    def refused(self, error: TokenError) -> Challenge:
        """What to say to a token that isn't taken; the client answers it with an empty response."""
        return _json({"status": _STATUS[error], "schemes": "bearer", "scope": self._advice.scope})


def _text(message: bytes) -> str:
    if len(message) > _LONGEST_MESSAGE:
        raise SaslError("message too long")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise SaslError("message is not UTF-8") from None


def _pairs(text: str) -> dict[str, str]:
    """kvpairs of RFC 7628 3.1: each ends in ^A, one more ^A ends them. Raises SaslError."""
    if not (text.startswith("\x01") and text.endswith("\x01\x01")):
        raise SaslError("malformed OAUTHBEARER response")
    found: dict[str, str] = {}
    for each in text[1:-2].split("\x01", _MOST_PAIRS - 1):
        pair = _PAIR.fullmatch(each)
        if pair is None:
            raise SaslError("malformed OAUTHBEARER response")
        if pair[1] in found:
            raise SaslError("OAUTHBEARER key given twice")
        found[pair[1]] = pair[2]
    return found


def _token(authorization: str, authzid: str) -> BearerToken:
    """What HTTP's Authorization field would hold. Raises SaslError."""
    found = _BEARER.fullmatch(authorization)
    if found is None:
        raise SaslError("no bearer token")
    try:
        return BearerToken(found[1], authzid)
    except CredentialsError as error:
        raise SaslError(str(error)) from None


def _json(values: dict[str, str]) -> Challenge:
    told = {name: value for name, value in values.items() if value}
    return Challenge(json.dumps(told, separators=(",", ":")).encode())
