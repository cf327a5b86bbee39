"""The image: its Dockerfile is sound, has what it copies, pins what it installs, and knows when it is ill."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, hadolint, succeeds

ROOT = DEPLOY.parent
DOCKERFILE = DEPLOY / "Dockerfile"
_PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def _instructions() -> list[str]:
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line for line in text.splitlines() if line]


def _exec_form(instruction: str) -> list[str]:
    (line,) = [line for line in _instructions() if line.startswith(instruction)]
    found: list[str] = json.loads(line[line.index("[") :])
    return found


@pytest.mark.parametrize("path", [DOCKERFILE, DEPLOY / "compose" / "legacy" / "Dockerfile"], ids=str)
def test_the_linter_finds_nothing(path: Path) -> None:
    succeeds(hadolint(), path)


def test_what_it_copies_gets_into_the_context() -> None:
    """.dockerignore leaves out everything that it doesn't name: a build would fail that nobody tries here."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in _instructions()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / source).exists() for source in copied)


def test_no_key_gets_into_the_context() -> None:
    """A layer is for ever."""
    last_words = (ROOT / ".dockerignore").read_text().splitlines()[-4:]
    for name in ("x/__pycache__", "x/a.pem", "x/a.key", "x/a.crt"):
        assert any(fnmatch(name, pattern) for pattern in last_words)


def test_everything_is_installed_by_its_hash() -> None:
    """Else a registry, or who stands before it, decides what runs."""
    installs = [part for line in _instructions() for part in line.split("&&") if re.search(r"\binstall\b", part)]
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_the_image_has_every_extra_at_the_versions_that_are_tested() -> None:
    """A config with state.url must not need another image."""
    pins = {name: dict(_PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text())) for name in ("all", "run")}
    assert pins["run"].items() <= pins["all"].items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {re.split(r"[<>=\[]", text)[0].lower() for text in project["optional-dependencies"]["all"]}
    assert extras <= pins["all"].keys()


def test_it_runs_as_nobody_in_particular_and_without_a_shell() -> None:
    """Who breaks in is to find nothing; and a shell would not pass SIGTERM on."""
    users = [line.split()[1] for line in _instructions() if line.startswith("USER ")]
    assert [int(part) > 0 for part in users[-1].split(":")] == [True, True]
    assert _exec_form("ENTRYPOINT")[0].startswith("/opt/tlsgate/")
    assert _exec_form("CMD")[0] == "run"


@contextmanager
def _answering(status: int) -> Iterator[int]:
    """An admin address that answers /healthz so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _health(port: int) -> int:
    (line,) = [line for line in _instructions() if line.startswith("HEALTHCHECK ")]
    command = json.loads(line[line.index("[") :])
    assert command[0] == "/opt/tlsgate/bin/python"
    command = [sys.executable, *(part.replace("9090", str(port)) for part in command[1:])]
    # A proxy of the environment is not to be asked about ourselves.
    proxy = {"http_proxy": "http://127.0.0.1:1", "PATH": ""}
    return subprocess.run(command, capture_output=True, timeout=30, env=proxy).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False)])
def test_the_health_check_tells_well_from_ill(status: int, healthy: bool) -> None:
    with _answering(status) as port:
        assert (_health(port) == 0) == healthy
    assert _health(port) != 0
