"""tlsgate status, sessions, top, kick, drain and reload, against a gateway of two workers and against what is none."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LISTENERS, PASSWORD, USER
from tests.cli.test_bans import OK, TOKEN, run, stranger
from tests.system.certificates import Certificate
from tests.system.gateway import Gateway, Pool, gateway
from tests.system.peers import HOST, free_port, wait_until
from tests.system.wire import Wire

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, pools: list[Pool]) -> Iterator[Gateway]:
    """Two workers, and a token."""
    directory = tmp_path_factory.mktemp("watching") / "gateway"
    with gateway(directory, certificate, LISTENERS, pools, server='drain = "2s"\nworkers = 2') as gate:
        give_token(gate)
        yield gate
        assert TOKEN not in gate.log.read_text()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLSGATE_TOKEN_FILE", raising=False)


def give_token(gate: Gateway) -> None:
    token = gate.config.with_name("token")
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    gate.config.write_text(gate.config.read_text().replace("[admin]\n", '[admin]\ntoken_file = "token"\n'))
    gate.signal(signal.SIGHUP)
    gate.event("config_reloaded", lambda _: True)


def log_in(gate: Gateway) -> Wire:
    wire = Wire(gate.ports["imaps"])
    wire.start_tls(gate.ca)
    wire.send(f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode())
    assert wire.until(b"a ")[-1].startswith(b"a OK")
    return wire


def listed(capsys: pytest.CaptureFixture[str], gate: Gateway, *filters: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, "sessions", "--json", "--config", str(gate.config), *filters)
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def relayed(capsys: pytest.CaptureFixture[str], gate: Gateway, *, be: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(listed(capsys, gate, "--user", USER)) == be, f"{be} sessions are listed")
    return listed(capsys, gate, "--user", USER)


# -- sessions ---------------------------------------------------------------------------------------------


def test_sessions_of_all_workers_are_listed_and_ended(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(gate.config))
    relayed(capsys, gate, be=0)
    assert run(capsys, "sessions", *config) == (0, "nobody is connected\n", "")
    assert run(capsys, "sessions", "--user", "eve", *config) == (0, "there is no such session\n", "")
    with ExitStack() as stack:
        wires = [stack.enter_context(log_in(gate)) for _ in range(4)]
        found = relayed(capsys, gate, be=4)
        # Each worker has its own prefix, and the next connection goes to the one with the fewest.
        assert len({each["id"][:6] for each in found}) == 2
        assert [each["since"] for each in found] == sorted(each["since"] for each in found)
        assert listed(capsys, gate, "--listener", "imap") == []
        assert len(listed(capsys, gate, "--client", "127.0.0.0/8", "--listener", "imaps")) == 4

        code, out, err = run(capsys, "sessions", *config)
        assert (code, err) == (0, "")
        headings, *rows = out.splitlines()
        assert headings.split() == [
            "id", "listener", "client", "user", "phase", "for", "tls", "cipher", "backend", "in", "out",
        ]  # fmt: skip
        assert [row.split()[:5] for row in rows] == [[each["id"], "imaps", HOST, USER, "relay"] for each in found]

        assert run(capsys, "kick", found[0]["id"], *config) == (0, f"ended {found[0]['id']}\n", "")
        told = gate.event("session", lambda event: event["session"] == found[0]["id"])
        assert told["result"] == "kicked"
        relayed(capsys, gate, be=3)
        assert run(capsys, "kick", "--user", USER, *config) == (0, f"ended 3 sessions of {USER}\n", "")
        relayed(capsys, gate, be=0)
        for wire in wires:
            assert wire.until(b"* BYE ")
        for whom in (found[0]["id"], ("--user", USER)):
            code, out, err = run(capsys, "kick", *([whom] if isinstance(whom, str) else whom), *config)
            assert (code, out) == (1, "")
            assert err.startswith("there is no such session")


def test_more_sessions_than_a_page_holds(
    gate: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = "tlsgate.cli.sessions.urlencode"

    def small_pages(wanted: dict[str, str]) -> str:
        asked.append(wanted["after"])
        return f"limit=2&after={wanted['after']}"

    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(log_in(gate))
        ids = {each["id"] for each in relayed(capsys, gate, be=5)}
        monkeypatch.setattr(real, small_pages)
        assert {each["id"] for each in listed(capsys, gate)} == ids
        assert len(asked) == 3
        monkeypatch.undo()
        assert run(capsys, "kick", "--user", USER, "--config", str(gate.config))[0] == 0


@pytest.mark.parametrize("session", ["../bans", "", "a b", "?user=demo", "%2e%2e"])
def test_what_is_no_id_ends_nothing(gate: Gateway, capsys: pytest.CaptureFixture[str], session: str) -> None:
    code, _, err = run(capsys, "kick", session, "--config", str(gate.config))
    assert code == 1
    assert "is no session's id" in err


# -- status -----------------------------------------------------------------------------------------------


def test_status(gate: Gateway, capsys: pytest.CaptureFixture[str], pools: list[Pool]) -> None:
    with log_in(gate):
        relayed(capsys, gate, be=1)
        code, out, err = run(capsys, "status", "--config", str(gate.config))
        assert (code, err) == (0, "")
        first, *rest = out.splitlines()
        assert "of gate.example.test: serving, up " in first
        assert ", 1 of " in first
        rows = [line.split() for line in rest]
        assert ["imaps", "imap", "implicit", f"{HOST}:{gate.ports['imaps']}", "0", "0", "1", "0"] in rows
        assert ["imap", f"{HOST}:{pools[0].port}", "up", "1", "-"] in rows
        workers = [row for row in rows if row[1:] in (["serving", "0", "yes"], ["serving", "1", "yes"])]
        assert len(workers) == 2

        code, out, err = run(capsys, "status", "--json", "--config", str(gate.config))
        assert (code, err) == (0, "")
        state = json.loads(out)
        assert (state["connections"], state["phase"], len(state["workers"])) == (1, "serving", 2)
        assert sum(listener["sessions"]["relay"] for listener in state["listeners"]) == 1
        (backend,) = next(pool["backends"] for pool in state["pools"] if pool["name"] == "imap")
        assert (backend["up"], backend["connections"]) == (True, 1)
        assert TOKEN not in out
        assert run(capsys, "kick", "--user", USER, "--config", str(gate.config))[0] == 0


# -- top --------------------------------------------------------------------------------------------------


def test_top_as_json_and_without_a_terminal_looks_once(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    with log_in(gate):
        relayed(capsys, gate, be=1)
        look = json.loads(run(capsys, "top", "--json", "--config", str(gate.config))[1])
        assert look.keys() == {"at", "state", "pools", "sessions"}
        assert look["sessions"]["sessions"][0]["user"] == USER
        code, out, err = run(capsys, "top", "--config", str(gate.config))
        assert (code, err) == (0, "")
        assert f"  {USER}  {HOST}" in out
        assert "\x1b" not in out
        assert run(capsys, "kick", "--user", USER, "--config", str(gate.config))[0] == 0


def test_top_on_a_terminal_is_drawn_again_and_gives_the_terminal_back(
    gate: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_in(gate):
        relayed(capsys, gate, be=1)
        ours, its = pty.openpty()
        termios.tcsetwinsize(its, (24, 80))
        before = termios.tcgetattr(its)
        line = [sys.executable, "-m", "tlsgate", "top", "--config", str(gate.config)]
        terminal = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(line, stdin=its, stdout=its, stderr=its, env=terminal)
        try:
            shown = _read_until(ours, lambda text: text.count("\x1b[H") >= 2)
            os.write(ours, b"q")
            shown += _read_until(ours, lambda text: "\x1b[?1049l" in text)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
        assert termios.tcgetattr(its) == before
        os.close(ours)
        os.close(its)
        assert shown.startswith("\x1b[?1049h")
        for drawn in shown.partition("\x1b[?1049l")[0].split("\x1b[H")[1:]:
            lines = drawn.replace("\x1b[K", "").replace("\x1b[J", "").split("\r\n")
            assert len(lines) <= 24
            assert all(len(each.removesuffix("\x1b[?7h\x1b[?25h")) <= 80 for each in lines)
            assert any(each.split()[4:6] == [USER, HOST] for each in lines), lines
        assert run(capsys, "kick", "--user", USER, "--config", str(gate.config))[0] == 0


def _read_until(terminal: int, enough: Any) -> str:
    text, until = "", time.monotonic() + 20
    while not enough(text):
        assert select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0], text
        text += os.read(terminal, 65536).decode()
    return text


# -- reload and drain --------------------------------------------------------------------------------------


def test_reload_says_what_came_of_it(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(gate.config))
    text = gate.config.read_text()
    workers = {each["pid"] for each in json.loads(run(capsys, "status", "--json", *config)[1])["workers"]}
    assert run(capsys, "reload", *config) == (0, "reloaded\n", "")
    state = json.loads(run(capsys, "status", "--json", *config)[1])
    assert state["reload"]["ok"]
    serving = {each["pid"] for each in state["workers"] if each["phase"] == "serving"}
    assert len(serving) == 2
    assert not serving & workers
    gate.config.write_text(text.replace("workers = 2", "workers = 3"))
    assert run(capsys, "reload", *config) == (0, "reloaded; only a restart changes server.workers\n", "")

    admin = ("--admin", f"{HOST}:{gate.admin}", "--token-file", str(gate.config.with_name("token")))
    gate.config.write_text(text.replace("[limits]", "[limits]\nconnections = 0\ncolour = 1"))
    code, out, err = run(capsys, "reload", *admin)
    assert (code, out) == (1, "")
    assert err.startswith("the config is rejected, and nothing has changed:\n")
    assert "limits.connections" in err
    assert "limits.colour" in err
    assert len(err.splitlines()) >= 3
    _, out, _ = run(capsys, "status", *admin)
    assert "a reload was rejected, and the config of before is in force" in out
    assert "limits.colour" in out
    gate.config.write_text(text)
    assert run(capsys, "reload", *config)[0] == 0


def test_drain(
    directory: Path, certificate: Certificate, pools: list[Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    server = 'drain = "20s"\nworkers = 2'
    with gateway(directory, certificate, LISTENERS, pools, server=server) as gate:
        code, out, err = run(capsys, "drain", "--config", str(gate.config))
        assert (code, out) == (1, "")
        assert "admin.token_file" in err
        give_token(gate)
        config = ("--config", str(gate.config))
        assert run(capsys, "drain", "--admin", f"{HOST}:{gate.admin}")[0] == 1
        with log_in(gate) as wire:
            relayed(capsys, gate, be=1)
            assert run(capsys, "drain", *config) == (0, "it drains, and stops then\n", "")
            assert run(capsys, "drain", *config) == (0, "it drains already\n", "")
            gate.event("draining", lambda event: event["sessions"] == 1)
            assert len(relayed(capsys, gate, be=1)) == 1
            assert ": draining, up " in run(capsys, "status", *config)[1]
            code, _, err = run(capsys, "reload", *config)
            assert code == 1
            assert "drains" in err
            wire.send(b"b LOGOUT\r\n")
            assert wire.until(b"b ")[-1].startswith(b"b OK")
        assert gate.process is not None
        assert gate.process.wait(10) == 0


# -- what is no gateway, and what clients call themselves --------------------------------------------------


@pytest.mark.parametrize("command", ["status", "sessions", "top", "drain", "reload", "kick"])
def test_nobody_there_is_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    rest = ("x1",) if command == "kick" else ()
    for address in (f"{HOST}:{free_port()}", f"unix:{tmp_path / 'gone'}"):
        code, out, err = run(capsys, command, *rest, "--admin", address)
        assert (code, out) == (1, "")
        assert err.startswith(f"can't reach {address}: ")


@pytest.mark.parametrize("command", ["status", "sessions", "top", "drain", "reload"])
@pytest.mark.parametrize("answer", [b"", OK + b"<html>", OK + b"[]", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_what_is_no_gateway_is_exit_code_1(capsys: pytest.CaptureFixture[str], command: str, answer: bytes) -> None:
    with stranger(answer) as address:
        code, out, err = run(capsys, command, "--admin", address)
    assert (code, out) == (1, "")
    assert "tlsgate" in err or "can't reach" in err


def test_what_clients_call_themselves_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A name may hold what clears the screen, retitles the window or reverses the line; also in its one-octet forms."""
    name = "a\x1b[2J\x9b2J\r\n\u202eb\x07"
    session = {
        "id": "a1", "listener": "imaps", "client": "192.0.2.1", "client_port": 1, "phase": "relay", "since": 1.0,
        "user": name, "mechanism": "PLAIN", "backend": "b\x1b:143", "tls_version": "t", "cipher": "c", "bytes_in": 5,
        "bytes_out": 6_000_000,
    }  # fmt: skip
    answer = OK + json.dumps({"sessions": [session], "total": 1, "next": None}).encode()
    with stranger(answer) as address:
        code, out, _ = run(capsys, "sessions", "--admin", address)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "a?[2J?2J???b?" in out
    assert out.endswith("  5   5.7M\n")
    with stranger(answer) as address:
        out = run(capsys, "sessions", "--json", "--admin", address)[1]
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out)[0]["user"] == name


@pytest.mark.parametrize(
    "line",
    [
        ("kick",),
        ("kick", "a1", "--user", "ann"),
        ("top", "--interval", "1"),
        ("status", "more"),
        ("sessions", "--limit", "1"),
        ("drain", "--json"),
    ],
    ids=" ".join,
)
def test_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], line: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *line)
    assert (code, out) == (2, "")
    assert "usage: tlsgate" in err
