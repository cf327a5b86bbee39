"""An issuer of the tests' own: keys and introspection over HTTP on loopback, and tokens of every kind."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tlsgate.auth.oauth.claims import Expected
from tlsgate.auth.oauth.exchange import FetchFailed
from tlsgate.auth.oauth.token import AccessToken, access_token

ISSUER = "https://id.example.org/"
AUDIENCE = "https://mail.example.org"
EXPECTED = Expected(ISSUER, AUDIENCE, "email")
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 3600,
    "iat": NOW,
    "email": "ann@example.org",
    "jti": "once",
}


def now() -> float:
    return NOW


# -- keys and tokens -------------------------------------------------------------------------------------


@functools.cache
def private_key(algorithm: str, number: int = 0) -> Key:
    """One for the algorithm; the same at each call."""
    match algorithm:
        case "ES256" | "ES384" | "ES512":
            return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
        case "EdDSA" | "Ed25519":
            return OKPKey.generate_key("Ed25519")
        case _:
            return RSAKey.generate_key(2048)


def public(key: Key, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """What an issuer publishes of a key."""
    entry: dict[str, Any] = {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}
    return entry | ({} if kid is None else {"kid": kid}) | more


def key_set(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jws(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    """A JWS of anything: what is bytes is taken as it is, else as JSON."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, payload)]
    signed = ".".join(map(base64url, parts))
    return f"{signed}.{base64url(sign(signed.encode()))}"


def signed(
    key: Key, claims: object = GOOD, algorithm: str = "RS256", kid: str | None = "one", **header: Any
) -> AccessToken:
    """A token that is signed truly."""
    head = {"alg": algorithm, "typ": "at+jwt"} | ({} if kid is None else {"kid": kid}) | header
    return shown(jws(head, claims, lambda message: JWSRegistry.algorithms[algorithm].sign(message, key)))


def shown(text: str) -> AccessToken:
    token = access_token(text.encode())
    assert token is not None
    return token


# -- the server ------------------------------------------------------------------------------------------


@dataclass
class Request:
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, list[str]]


@dataclass
class Issuer:
    """``held``: answers wait for it. ``arrived``: set when a request has come."""

    port: int
    content: bytes = b""
    status: int = 200
    answers: dict[str, object] = field(default_factory=dict)
    client: str = "Basic Z2F0ZTpzZWNyZXQ="  # gate:secret
    requests: list[Request] = field(default_factory=list)
    held: trio.Event | None = None
    arrived: trio.Event = field(default_factory=trio.Event)

    @property
    def jwks_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks"

    @property
    def introspection_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/introspect"

    def publish(self, *entries: object) -> None:
        self.content = key_set(*entries)

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head, body = await _message(stream)
            request_line, *lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
            request = Request(request_line.split(" ")[1], headers, parse_qs(body.decode()))
            self.requests.append(request)
            self.arrived.set()
            if self.held is not None:
                await self.held.wait()
            status, content = self._answer(request)
            head = f"HTTP/1.1 {status} It\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
            await stream.send_all(head.encode() + content)

    def _answer(self, request: Request) -> tuple[int, bytes]:
        if self.status != 200:
            return self.status, b"<html>"
        if request.path == "/jwks":
            return 200, self.content
        if request.headers.get("authorization") != self.client:
            return 401, b"{}"
        answer = self.answers.get(request.form["token"][0], {"active": False})
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        issuer = Issuer(listeners[0].socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, issuer.serve, listeners)
        yield issuer
        nursery.cancel_scope.cancel()


# -- the client's side of HTTP ---------------------------------------------------------------------------


async def fetch(url: str) -> bytes:
    return await _exchange("GET", url, b"", {})


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    return await _exchange("POST", url, body, headers)


async def _exchange(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    head = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    try:
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
    except OSError:
        raise FetchFailed("can't be connected to") from None
    async with stream:
        await stream.send_all("\r\n".join([*head, "", ""]).encode() + body)
        answer, content = await _message(stream)
    if (status := answer.split(" ")[1]) != "200":
        raise FetchFailed(f"status {status}")
    return content


async def _message(stream: trio.SocketStream) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        assert more
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode()
    length = int(text.lower().partition("content-length: ")[2].partition("\r\n")[0] or 0)
    while len(body) < length:
        body += await stream.receive_some()
    return text, body
