"""Gates that go by the [auth] of a config, with those that are asked about users and tokens."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import trio

from tests.auth.oauth.issuer import AUDIENCE, ISSUER, Issuer, issuing, private_key, public, signed
from tests.auth_configs import ANN, WAYS, Setup, config_text, loaded, write_files
from tests.gate import BackendRecords, Gate, gate
from tests.legacy_server import SECRET, LegacyServer
from tests.login_backend import Login, LoginBackend
from tests.mechanism_table import COMMAND
from tlsgate.authority import make_authority
from tlsgate.backends.pool import Pool
from tlsgate.config import LogFormat, LogLevel, Protocol, TlsMode
from tlsgate.ops.log import EventLog


def good_claims() -> dict[str, object]:
    now = int(time.time())
    return {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "iat": now, "email": ANN, "active": True}


def good_token() -> str:
    return signed(private_key("ES256"), good_claims(), "ES256").text


def _known(issuer: Issuer) -> Issuer:
    issuer.publish(public(private_key("ES256"), "one"))
    issuer.answers["opaque"] = good_claims()
    return issuer


class AuthServer:
    """One of nginx's protocol: Ann's password is right, and so is her certificate; ``gives``: a password for that.

    ``users``: those it was asked about.
    """

    def __init__(self, gives: str = SECRET) -> None:
        self.users: list[str] = []
        self._gives = gives

    async def __call__(self, stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive_some()
            headers = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if ": " in line)
            said = [b"HTTP/1.1 200 OK", b"Connection: close", b"Content-Length: 0", *self._answer(headers), b"", b""]
            await stream.send_all(b"\r\n".join(said))

    def _answer(self, headers: dict[str, str]) -> list[bytes]:
        method, user, secret = (unquote(headers[f"Auth-{name}"]) for name in ("Method", "User", "Pass"))
        self.users.append(user)
        if (method, user, secret) == ("plain", ANN, SECRET):
            return [b"Auth-Status: OK"]
        if (method, user) == ("external", ANN):
            return [b"Auth-Status: OK", *([f"Auth-Pass: {self._gives}".encode()] if self._gives else [])]
        return [b"Auth-Status: Invalid login or password"]


@dataclass(frozen=True)
class Judged:
    gate: Gate
    backend: LoginBackend
    server: LegacyServer
    issuer: Issuer


@asynccontextmanager
async def judged(
    directory: Path,
    setup: Setup,
    protocol: Protocol,
    way: str,
    mechanisms: Sequence[str],
    *,
    tls: TlsMode = TlsMode.IMPLICIT,
    client_ca: bool = False,
    auth_server: AuthServer | None = None,
    more: str = "",
) -> AsyncIterator[Judged]:
    """A gate whose config says so; ``mechanisms``, ``client_ca``, ``more``: as of ``config_text``."""
    write_files(directory, setup)
    backend = LoginBackend(protocol, WAYS[way].right or Login("", ""))
    log = EventLog(io.BytesIO(), LogFormat.JSON, LogLevel.INFO)
    async with issuing() as issuer, trio.open_nursery() as nursery:
        (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, auth_server or AuthServer(), [listening])
        server: LegacyServer = await nursery.start(LegacyServer(backend).serve)
        ports = {"auth": listening.socket.getsockname()[1], "issuer": _known(issuer).port}
        ports["backend"] = server.address.port  # type: ignore[union-attr]
        names = [each for each in mechanisms if each != COMMAND]
        text = config_text(setup, protocol, way, names, client_ca=client_ca, more=more, **ports)
        prepared = loaded(directory, text)
        made = make_authority(prepared, log)
        async with gate(
            protocol,
            tls,
            Pool("pool", prepared.settings.pools["pool"], lambda _pool, _address: BackendRecords(), connections=1000),
            judge=made.judge,
            masters=prepared.masters,
            mechanisms=made.mechanisms,
            stored=made.stored,
            scram=made.scram,
            advice=made.advice,
            asks=made.asks_certificates,
        ) as running:
            yield Judged(running, backend, server, issuer)
        nursery.cancel_scope.cancel()
    log.close()
