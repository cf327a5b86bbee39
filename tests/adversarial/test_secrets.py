"""What is secret is shown nowhere: not by an admin's answer, a repr, a log line, a fault's text or a command line."""

from __future__ import annotations

import ast
import dataclasses
import gc
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import tlsgate
from tests.adversarial.known_secrets import (
    AUTH_HTTP,
    STATE,
    TOKEN,
    all_secrets,
    ours_below,
    shown,
    stored_login,
    write_secrets,
)
from tests.legacy_server import SECRET
from tests.ops.live_gateway import live_gateway
from tlsgate.auth.app_passwords import AppPasswords
from tlsgate.auth.asking import Asking
from tlsgate.auth.hashes import Bcrypt, PasswordHash
from tlsgate.auth.master import Master
from tlsgate.auth.oauth.client import Client
from tlsgate.auth.stored_secrets import StoredSecrets
from tlsgate.cli import _COMMANDS, main
from tlsgate.config import Config, Url
from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.imap_syntax import Literal
from tlsgate.ops.token import Token
from tlsgate.secret_file import SecretFile
from tlsgate.service import Service
from tlsgate.state.server import Server
from tlsgate.tls.certificate import Certificate

BEARER = "aaaa.bbbb.cccc-4711"


async def test_no_endpoint_shows_one(tmp_path: Path) -> None:
    """The status page is on somebody's screen, and metrics are kept for years."""
    paths = ["/", "/metrics", "/healthz", "/readyz", "/nowhere", "/page.js"]
    paths += [
        f"/api/{name}" for name in ("state", "pools", "sessions", "sessions?user=ann", "report", "history", "bans")
    ]
    async with live_gateway(tmp_path, write_secrets(tmp_path), stored_login(tmp_path)) as gate:
        secrets = all_secrets(tmp_path)
        await gate.log_in()
        refused = await gate.connect()
        await refused.log_in(secret=SECRET + "!")
        for token in ("", TOKEN, TOKEN[::-1]):
            for path in paths:
                for method in ("GET", "POST", "DELETE"):
                    if (method, path) == ("DELETE", "/api/sessions?user=ann"):
                        continue
                    answer = await gate.ask(method, path, token)
                    said = answer.body.decode() + str(answer.headers)
                    assert shown(said, secrets) == [], (method, path)
        assert shown(str(gate.log.told), secrets) == []


async def test_no_object_of_a_running_gateway_shows_one_in_its_repr(tmp_path: Path) -> None:
    """A traceback, a debugger's line or a careless log call shows reprs."""
    async with live_gateway(tmp_path, write_secrets(tmp_path), stored_login(tmp_path)) as gate:
        secrets = all_secrets(tmp_path)
        for listener in ("imaps", "pop3s", "submissions"):
            await gate.log_in(listener)
        seen = list(ours_below(*(each for each in gc.get_objects() if type(each).__module__.startswith("tlsgate"))))
        for kind in (Config, Token, Master, Asking, Client, StoredSecrets, AppPasswords, Certificate, Service):
            assert any(isinstance(each, kind) for each in seen), kind  # they were looked at
        for each in seen:
            assert shown(repr(each), secrets) == [], type(each)


@pytest.mark.parametrize(
    "value",
    [
        Credentials("ann", SECRET.encode()),
        BearerToken(BEARER, "ann"),
        PasswordHash(Bcrypt(), SECRET, "BLF-CRYPT"),
        Literal(SECRET.encode()),
        SecretFile(SECRET.encode(), False),
        Server("127.0.0.1", username="gate", password=SECRET),
        Url(f"valkey://gate:{SECRET.replace(' ', '%20')}@127.0.0.1/0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_shows_the_secret_that_it_holds(value: object) -> None:
    """Those that a login makes and drops, and those that are read and used up."""
    held = [SECRET, BEARER, SECRET.replace(" ", "%20")]
    assert shown(f"{value!r} {[value]} {(value,)!r}", held) == []


def test_every_class_hides_its_fields_that_hold_secrets() -> None:
    """Of one that is written later, too."""
    found = [
        f"{kind.__module__}.{kind.__name__}.{name}"
        for kind in _classes()
        for name, hidden in _fields(kind)
        if name in SECRET_FIELDS and not hidden
    ]
    assert found == []


SECRET_FIELDS = {"secret", "password", "salt", "stored_key", "server_key", "proof", "digest", "hashes", "authorization"}
_HOLD_NONE = ("tlsgate.config.schema", "tlsgate.config.kinds")  # names of files, and whether a value is one


def _classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(tlsgate.__path__, "tlsgate."):
        if not module.name.endswith("__main__") and module.name not in _HOLD_NONE:
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, type) and each.__module__ == module.name:
                    yield each


def _fields(kind: type) -> Iterator[tuple[str, bool]]:
    """The fields of a dataclass or a Struct, and whether its repr leaves them out."""
    if dataclasses.is_dataclass(kind):
        own = not hasattr(kind.__repr__, "__wrapped__")  # dataclasses wrap theirs
        yield from ((each.name, own or not each.repr) for each in dataclasses.fields(kind))
    elif issubclass(kind, msgspec.Struct):
        own = any("__repr__" in vars(each) for each in kind.__mro__ if each.__module__.startswith("tlsgate"))
        yield from ((name, own) for name in kind.__struct_fields__)


# -- faults and command lines --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        (STATE, f"valkey://gate:{STATE}@127.0.0.1:1/none"),
        (STATE, f"http://gate:{STATE}@127.0.0.1:1/0"),
        (STATE, f"valkey://gate:{STATE}@[127.0.0.1:1/0"),
        (AUTH_HTTP, f"ftp://gate:{AUTH_HTTP}@127.0.0.1:1/auth"),
        (AUTH_HTTP, f"http://gate:{AUTH_HTTP}@127.0.0.1:99999/auth"),
    ],
)
async def test_a_fault_in_a_config_does_not_show_the_password_beside_it(tmp_path: Path, key: str, bad: str) -> None:
    """A reload's faults go to the log and to an admin's screen."""
    more = write_secrets(tmp_path)
    async with live_gateway(tmp_path, more, stored_login(tmp_path)) as gate:
        text = gate.config.read_text()
        (line,) = [each for each in text.splitlines() if f":{key}@" in each]
        gate.config.write_text(text.replace(line, f'{line.partition(" = ")[0]} = "{bad}"'))
        answer = await gate.ask("POST", "/api/reload", TOKEN)
        assert answer.status == 422
        assert shown(answer.body.decode() + str(gate.log.told) + str(await gate.get("/api/state")), [key]) == []


@pytest.mark.parametrize("name", ["token", "master", "client", "header", "users", "apps", "stored"])
async def test_a_secret_in_a_file_that_is_not_as_it_should_be_is_not_shown(tmp_path: Path, name: str) -> None:
    """Two lines where there should be one, an octet of another character set, a field too many."""
    more = write_secrets(tmp_path)
    async with live_gateway(tmp_path, more, stored_login(tmp_path)) as gate:
        secrets = all_secrets(tmp_path)
        path = tmp_path / name
        for broken in (
            path.read_bytes() * 2,
            b"\xff " + path.read_bytes(),
            path.read_bytes().replace(b":", b"::") + b" :",
        ):
            path.write_bytes(broken)
            answer = await gate.ask("POST", "/api/reload", TOKEN)
            assert shown(answer.body.decode() + str(gate.log.told), secrets) == []


@pytest.mark.parametrize("command", _COMMANDS)
def test_no_command_takes_a_secret_as_an_argument(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody on the host can read command lines, and shells keep them."""
    for line in _command_lines(command):
        with pytest.raises(SystemExit):
            main([*line, "--help"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        named = {each for each in options if re.search("token|pass|secret|key", each)}
        assert named <= {"--token-file", "--app-passwords-only"}


def _command_lines(command: str) -> list[list[str]]:
    if command != "user":
        return [[command]]
    below = ["add", "passwd", "remove", "verify", "list", "app-password"]
    return [["user", each] for each in below] + [["user", "app-password", each] for each in ("add", "remove", "list")]


# -- comparing -----------------------------------------------------------------------------------------


def test_secrets_are_compared_in_constant_time() -> None:
    """How long "==" takes tells how many octets are right. What counts is compared by hmac.compare_digest."""
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for path in Path(tlsgate.__file__).parent.rglob("*.py")
        if path.parent.name != "cli"  # there somebody types his own twice
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        if any(_is_secret(each) for each in (node.left, *node.comparators))
    ]
    assert found == []


def _is_secret(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in SECRET_FIELDS | {"token", "shown", "client_proof", "client_key", "signature"}
