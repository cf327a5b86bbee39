"""A config that knows a secret of every kind, and what gives one of them away."""

from __future__ import annotations

import gc
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from tests.legacy_server import SECRET
from tests.sources import line_of
from tlsgate.auth.app_passwords_edit import new_line

TOKEN = "admin-token-of-the-test-4711"
STATE, MASTER, STORED = "state-password-4711", "master-password-4711", "stored-secret-4711"
CLIENT, HEADER, AUTH_HTTP = "client-secret-4711", "auth-header-4711", "auth-http-password-4711"
APP = "abcd-efgh-ijkl-mnop"


def write_secrets(directory: Path) -> str:
    """Write the files of all secrets; gives the lines of [admin] and the sections behind it that name them."""
    files = {
        "token": TOKEN,
        "users": line_of("ann", SECRET) + "\n",
        "apps": new_line("ann", "phone", APP, date(2026, 1, 31), frozenset(), ()) + "\n",
        "master": MASTER,
        "stored": f"ann::{SECRET}\nbob:bob-there:{STORED}\n",
        "client": CLIENT,
        "header": f"X-Key: {HEADER}\n",
    }
    for name, text in files.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    return f"""
token_file = "{directory}/token"
[state]
url = "valkey://gate:{STATE}@127.0.0.1:1/0"
[auth]
source = ["users-file", "auth-http", "oauth"]
mechanisms = ["PLAIN", "LOGIN", "XOAUTH2"]
users_file = "{directory}/users"
app_passwords_file = "{directory}/apps"
auth_http = "http://gate:{AUTH_HTTP}@127.0.0.1:1/auth"
auth_http_header_file = "{directory}/header"
[auth.oauth]
issuer = "https://id.example.org/"
audience = "mail"
introspection_url = "http://127.0.0.1:1/introspect"
client_id = "gate"
client_secret_file = "{directory}/client"
[[routes]]
match = "m*"
protocol = "imap"
pool = "mastered"
[pools.mastered]
backends = [{{ address = "127.0.0.1:1" }}]
login = "master"
master_user = "admin"
master_password_file = "{directory}/master"
"""


def stored_login(directory: Path) -> str:
    """The lines of a pool whose backends take stored secrets."""
    return f'login = "stored"\nsecrets_file = "{directory}/stored"\n'


def all_secrets(directory: Path) -> list[str]:
    """Every one, in every form that it could be shown in; hashes too, which can be guessed from."""
    plain = [TOKEN, STATE, MASTER, STORED, CLIENT, HEADER, AUTH_HTTP, APP, APP.replace("-", ""), SECRET]
    basic = [f"gate:{CLIENT}", f"gate:{AUTH_HTTP}", f"gate:{STATE}", f"\0ann\0{SECRET}"]
    encoded = [b64encode(each.encode()).decode() for each in (*plain, *basic)]
    hashed = [
        line.split(":")[field] for name, field in (("users", 1), ("apps", 2)) for line in _lines(directory / name)
    ]
    key = [line for line in _lines(directory / "key.pem") if not line.startswith("-----")]
    return [*plain, *encoded, *hashed, *key]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def shown(text: str, secrets: Iterable[str]) -> list[str]:
    """Those of ``secrets`` that ``text`` gives away."""
    return [each for each in secrets if each in text]


_NO_FURTHER = (type, ModuleType, str, bytes, int, float)


def ours_below(*roots: object) -> Iterator[object]:
    """Every object of a class of tlsgate's that can be reached from ``roots``."""
    seen, left = set[int](), list(roots)
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, _NO_FURTHER):
            continue
        seen.add(id(each))
        if type(each).__module__.startswith("tlsgate"):
            yield each
        if isinstance(each, FunctionType):  # what it has closed over; not its module
            left += [cell.cell_contents for cell in each.__closure__ or ()]
        elif isinstance(each, MethodType | BuiltinFunctionType):
            left.append(each.__self__)
        else:
            left += gc.get_referents(each)
