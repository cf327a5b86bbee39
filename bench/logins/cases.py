"""What is measured: sources with what their users show, and the config of a gateway that goes by each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

from bench.logins.asked import AUDIENCE, ISSUER, USER, token
from bench.mail.gate import Ports
from bench.mail.store import HOST
from tlsgate.auth.edit import hashed

RIGHT = "correct horse battery"
_CONFIG = """
[server]
hostname = "localhost"
drain = "0s"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "{host}:{port}"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "{host}:{backend}" }}]
{login}
[limits]
connections_per_network = 1000
connections_per_user = 1000
rate_per_network = "1000000/1s"
[admin]
address = "{host}:{admin}"
[log]
level = "info"
[auth]
mechanisms = ["{mechanism}"]
{auth}
"""
_MASTER = 'login = "master"\nmaster_user = "gate"\nmaster_password_file = "master"'
_USERS = 'source = "users-file"\nusers_file = "users"'
_OAUTH = f'source = "oauth"\n[auth.oauth]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
_JWT = _OAUTH + 'jwks_url = "http://127.0.0.1:{asked}/keys"'
_OPAQUE = (
    _OAUTH + 'introspection_url = "http://127.0.0.1:{asked}/"\nclient_id = "gate"\nclient_secret_file = "client-secret"'
)
_HTTP = 'source = "auth-http"\nauth_http = "http://127.0.0.1:{asked}/"'


@dataclass(frozen=True, slots=True)
class Case:
    """``auth``: lines of [auth]. ``stored``: makes the user's hash. ``secret``: makes what the client shows.

    ``slow``: fewer logins say as much. ``questions``: how many the asked server gets for a login.
    """

    source: str
    mechanism: str
    auth: str
    stored: Callable[[], str] = str
    secret: Callable[[], str] = lambda: RIGHT
    slow: bool = False
    questions: int = 0

    def config(self, directory: Path, ports: Ports, asked: int) -> str:
        """Writes the files that it names. ``asked``: the port of who is."""
        for name, text in {"master": "secret", "client-secret": "secret", "users": f"{USER}:{self.stored()}"}.items():
            (directory / name).write_text(f"{text}\n")
            (directory / name).chmod(0o600)
        return _CONFIG.format(
            host=HOST,
            port=ports.gate,
            backend=ports.backend,
            admin=ports.admin,
            mechanism=self.mechanism,
            login="" if '"backend"' in self.auth else _MASTER,
            auth=self.auth.format(asked=asked),
        )


def _sha512() -> str:
    return str(sha512_crypt.using(rounds=5000).hash(RIGHT))


def _argon2() -> str:
    return hashed(RIGHT.encode(), "ARGON2ID")


def _scram() -> str:
    return hashed(RIGHT.encode(), "SCRAM-SHA-256")


_CACHED = '\nsuccess_cache = "10m"'
CASES = (
    Case("backend", "PLAIN", 'source = "backend"'),
    Case("users-file, SHA512-CRYPT", "PLAIN", _USERS, _sha512, slow=True),
    Case("users-file, ARGON2ID", "PLAIN", _USERS, _argon2, slow=True),
    Case("users-file, ARGON2ID, success_cache", "PLAIN", _USERS + _CACHED, _argon2),
    Case("users-file, SCRAM-SHA-256", "PLAIN", _USERS, _scram, slow=True),
    Case("users-file, SCRAM-SHA-256", "SCRAM-SHA-256", _USERS, _scram),
    Case("users-file, SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", _USERS, _scram),
    Case("auth-http", "PLAIN", _HTTP, questions=1),
    Case("auth-http, success_cache", "PLAIN", _HTTP.replace("\n", _CACHED + "\n", 1)),
    *(
        Case(f"oauth, JWT by {algorithm}", mechanism, _JWT, secret=lambda algorithm=algorithm: token(algorithm))
        for algorithm in ("ES256", "RS256")
        for mechanism in ("OAUTHBEARER", "XOAUTH2")
    ),
    *(
        Case(f"oauth, introspection{kind}", mechanism, _OPAQUE, secret=lambda text=text: text, questions=questions)
        for kind, text, questions in ((", a new token each", "opaque-{n}", 1), (", the same token", "opaque", 0))
        for mechanism in ("OAUTHBEARER", "XOAUTH2")
    ),
)
