"""What sources of sessions' logins go by: a users file, issuers and authentication servers of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.auth.oauth.issuer import AUDIENCE, ISSUER, Issuer
from tests.auth.test_auth_http import answer
from tests.gate import pool_of
from tests.http.server import Server
from tests.legacy_server import USER
from tlsgate.auth import app_passwords_file, stored_secrets, users_file
from tlsgate.auth.auth_http import AuthHttp
from tlsgate.auth.by_auth_http import ByAuthHttp
from tlsgate.auth.chain import chain
from tlsgate.auth.followed import Followed
from tlsgate.auth.judgement import Judge, Right
from tlsgate.auth.oauth.check import TokenCheck
from tlsgate.auth.oauth.claims import Expected
from tlsgate.auth.oauth.client import Client as ClientName
from tlsgate.auth.oauth.introspection import Introspection
from tlsgate.auth.oauth.over_http import OverHttp
from tlsgate.auth.oauth.source import ByToken
from tlsgate.auth.stored_secrets import StoredSecrets
from tlsgate.auth.success_cache import SuccessCache
from tlsgate.auth.users_file import UsersFile
from tlsgate.backends.pool import Pool
from tlsgate.config import Address, HostPort, LoginMode, Url
from tlsgate.dialogue.scram_secret import from_password, written
from tlsgate.http.client import Client as HttpClient

OWN = "the user's own, 12 chars"


def line_of(user: str, password: str = OWN) -> str:
    return f"{user}:{written(from_password(password, b'sixteen octets..', 4096))}"


class UsersHere:
    """A users file, and app passwords beside it, as a source."""

    def __init__(self, directory: Path, *lines: str, apps: tuple[str, ...] = ()) -> None:
        self._path = directory / "users"
        self.write(*lines)
        apps_path = directory / "apps"
        apps_path.write_text("".join(f"{each}\n" for each in apps))
        load_apps = app_passwords_file.load_app_passwords
        followed = Followed(apps_path, load_apps(apps_path), load_apps, lambda _: None)
        self.cache: SuccessCache[Right] = SuccessCache(600.0, b"k" * 32, trio.current_time)
        self.source = UsersFile(
            self._path, users_file.load(self._path), lambda _: self.cache.clear(), app_passwords=followed
        )

    def write(self, *lines: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{each}\n" for each in lines))
        new.chmod(0o640)
        new.rename(self._path)

    @property
    def judge(self) -> Judge:
        return chain([self.source])


def secrets_of(directory: Path, *lines: str) -> dict[str, Followed[StoredSecrets]]:
    """What opens the pool "pool"."""
    path = directory / "secrets"
    path.write_text("".join(f"{each}\n" for each in lines))
    path.chmod(0o600)
    return {"pool": Followed(path, stored_secrets.load(path), stored_secrets.load, lambda _: None)}


def stored_pool(address: Address) -> Pool:
    return pool_of(address, login=LoginMode.STORED)


@asynccontextmanager
async def http_client() -> AsyncIterator[HttpClient]:
    client = HttpClient(None)
    try:
        yield client
    finally:
        client.close()


def by_auth_http(client: HttpClient, server: Server) -> Judge:
    return chain([ByAuthHttp(AuthHttp(client, Url(server.url())))])


def by_token(client: HttpClient, issuer: Issuer, pool_claim: str = "", **more: str) -> ByToken:
    kept = (pool_claim,) if pool_claim else ()
    expected = Expected(ISSUER, AUDIENCE, more.get("user_claim", "email"), more.get("scope", ""), kept)
    asking = Introspection(
        issuer.introspection_url, ClientName("gate", "secret"), OverHttp(client).post, expected, lambda: 1_000_000.0
    )
    return ByToken(TokenCheck(None, asking), pool_claim, more.get("domain", ""))


def good(**claims: object) -> dict[str, object]:
    return {"active": True, "iss": ISSUER, "aud": AUDIENCE, "exp": 9_999_999_999, "email": USER} | claims


def let_in(address: Address, *headers: str) -> bytes:
    assert isinstance(address, HostPort)
    return answer("Auth-Status: OK", f"Auth-Server: {address.host}", f"Auth-Port: {address.port}", *headers)


class StoredFor:
    """A file of one secret that is everybody's."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def now(self) -> StoredFor:
        return self

    def find(self, user: str) -> stored_secrets.StoredSecret:
        return stored_secrets.StoredSecret("", self._secret)
