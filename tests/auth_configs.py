"""Configs whose [auth] has a source or a list of them, before a pool with each way to log in, and their files."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.auth.oauth.issuer import AUDIENCE, ISSUER
from tests.gate import HOSTNAME, authority
from tests.legacy_server import SECRET
from tests.login_backend import Login
from tests.sources import line_of
from tlsgate.auth.app_passwords_edit import new_line
from tlsgate.config import AuthSource, LoginMode, Protocol, load
from tlsgate.prepared import Prepared, prepare

ANN, BOB = "ann@example.org", "bob@example.org"
APP = "aaaa-bbbb-cccc-dddd-eeee"
USERS = 'users_file = "users"\n'
AUTH_HTTP = 'auth_http = "http://127.0.0.1:{auth}/auth"\n'
OAUTH = f'[auth.oauth]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
JWT = OAUTH + 'jwks_url = "http://127.0.0.1:{issuer}/jwks"\n'
ASKING = (
    OAUTH + 'introspection_url = "http://127.0.0.1:{issuer}/introspect"\nclient_id = "gate"\n'
    'client_secret_file = "client-secret"\n'
)


@dataclass(frozen=True)
class Setup:
    """``lines``: of [auth]. ``secret``: Ann's. ``hashed``: the users file has her password's hash of SCRAM's kind."""

    name: str
    sources: tuple[AuthSource, ...]
    lines: str = ""
    secret: str = SECRET
    hashed: bool = True


_FILE, _ASKED, _BACKEND, _TOKEN = AuthSource.USERS_FILE, AuthSource.AUTH_HTTP, AuthSource.BACKEND, AuthSource.OAUTH
ALONE = (
    Setup("backend", (_BACKEND,)),
    Setup("users-file", (_FILE,), USERS),
    Setup("app-passwords", (_FILE,), USERS + 'app_passwords_file = "apps"\n', APP, hashed=False),
    Setup("auth-http", (_ASKED,), AUTH_HTTP),
    Setup("oauth-jwt", (_TOKEN,), JWT),
    Setup("oauth-introspection", (_TOKEN,), ASKING),
)
LISTS = (
    Setup("users-file+backend", (_FILE, _BACKEND), USERS),
    Setup("users-file+oauth", (_FILE, _TOKEN), USERS + JWT),
    Setup("users-file+auth-http", (_FILE, _ASKED), USERS + AUTH_HTTP),
    Setup("auth-http+oauth", (_ASKED, _TOKEN), AUTH_HTTP + ASKING),
    Setup("oauth+backend", (_TOKEN, _BACKEND), JWT),
)


@dataclass(frozen=True)
class Way:
    """A pool's way to log in: its lines, and what lets Ann in at its backend, None where nothing is asked of her."""

    login: LoginMode
    lines: str
    right: Login | None


_MASTER = 'master_user = "gate"\nmaster_password_file = "master"\n'
WAYS = {
    "same": Way(LoginMode.SAME, "", Login(ANN, SECRET)),
    "master": Way(LoginMode.MASTER, _MASTER, Login(f"{ANN}*gate", "the master's own")),
    "master-authzid": Way(
        LoginMode.MASTER, f'{_MASTER}master_separator = ""\n', Login("gate", "the master's own", ANN)
    ),
    "stored": Way(LoginMode.STORED, 'secrets_file = "secrets"\n', Login("box", "the stored one")),
    "none": Way(LoginMode.NONE, "", None),
    "none-xclient": Way(LoginMode.NONE, 'client_address = "xclient"\n', None),
}


def natural(setup: Setup) -> str:
    """The way that all that it can judge may go."""
    return "same" if AuthSource.BACKEND in setup.sources else "stored"


@functools.cache
def salted() -> str:
    """Ann's password as a hash that is none of SCRAM's."""
    return "{SSHA256}" + base64.b64encode(hashlib.sha256(SECRET.encode() + b"saltsalt").digest() + b"saltsalt").decode()


@functools.cache
def _certificate() -> tuple[bytes, bytes]:
    issued = authority().issue_cert(HOSTNAME)
    return b"".join(pem.bytes() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes()


def write_files(directory: Path, setup: Setup) -> None:
    """All that a config of ``config_text`` names."""
    chain, key = _certificate()
    phone = new_line(ANN, "phone", APP, date(2026, 1, 31), frozenset(), ())
    files = {
        "chain.pem": chain.decode(),
        "key.pem": key.decode(),
        "ca.pem": authority().cert_pem.bytes().decode(),
        "users": f"{line_of(ANN, SECRET) if setup.hashed else ANN + ':{APP-PASSWORDS-ONLY}'}\n{BOB}:{salted()}\n",
        "others": f"{BOB}:{salted()}\n",
        "apps": f"{phone}\n",
        "master": "the master's own\n",
        "secrets": f"{ANN}:box:the stored one\n{BOB}:box:the stored one\n",
        "client-secret": "secret\n",
    }
    for name, text in files.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)


def config_text(
    setup: Setup,
    protocol: Protocol,
    way: str,
    mechanisms: Sequence[str],
    *,
    client_ca: bool = False,
    more: str = "",
    **ports: int,
) -> str:
    """``mechanisms``: none leaves the default ones. ``more``: of [auth]."""
    sources, names = (", ".join(f'"{each}"' for each in every) for every in (setup.sources, mechanisms))
    return f"""
[server]
hostname = "{HOSTNAME}"
[tls]
certificate = "chain.pem"
private_key = "key.pem"
{'client_ca = "ca.pem"' if client_ca else ""}
[[listeners]]
name = "gate"
protocol = "{protocol}"
address = "127.0.0.1:0"
tls = "implicit"
pool = "pool"
[pools.pool]
backends = [{{ address = "127.0.0.1:{ports.get("backend", 1)}" }}]
login = "{WAYS[way].login}"
{WAYS[way].lines}
[auth]
source = [{sources}]
{f"mechanisms = [{names}]" if mechanisms else ""}
{more}
{setup.lines.format(auth=ports.get("auth", 1), issuer=ports.get("issuer", 1))}
"""


def loaded(directory: Path, text: str) -> Prepared:
    """Raises ConfigError."""
    path = directory / "tlsgate.toml"
    path.write_text(text)
    return prepare(load(path))
