"""tlsgate ban, unban and bans, against a running gateway and against what is none."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import LISTENERS
from tests.system.certificates import Certificate
from tests.system.gateway import Gateway, Pool, gateway
from tests.system.peers import HOST, free_port, wait_until
from tlsgate.cli import main

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, pools: list[Pool]) -> Iterator[Gateway]:
    """One with a token, which came by a reload; nobody is trusted."""
    directory = tmp_path_factory.mktemp("bans")
    with gateway(directory / "gateway", certificate, LISTENERS, pools) as gate:
        # Before there is one.
        assert main(["ban", "192.0.2.1", "--config", str(gate.config)]) == 1
        token = gate.config.with_name("token")
        token.write_text(f"{TOKEN}\n")
        token.chmod(0o600)
        text = gate.config.read_text().replace("[admin]\n", '[admin]\ntoken_file = "token"\n')
        gate.config.write_text(text.replace('trust = ["127.0.0.0/8"]', ""))
        gate.signal(signal.SIGHUP)
        assert gate.event("config_reloaded", lambda _: True)["needs_restart"] == ""
        yield gate
        assert TOKEN not in gate.log.read_text()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLSGATE_TOKEN_FILE", raising=False)


def run(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    try:
        code = main(line)
    except SystemExit as left:  # argparse
        code = int(str(left.code))
    said = capsys.readouterr()
    return code, said.out, said.err


def served_to(gate: Gateway, address: str) -> bool:
    """Whether a client with this address gets a greeting."""
    with socket.create_connection((HOST, gate.ports["imap"]), 10, (address, 0)) as client:
        try:
            return client.recv(100).startswith(b"* OK")
        except ConnectionResetError:
            return False


def test_a_ban_is_made_shown_and_lifted(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(gate.config))
    code, out, err = run(capsys, "ban", "127.0.0.2", "--for", "2h", "--reason", "knocks too much", *config)
    assert (code, err) == (0, "")
    assert out.startswith("127.0.0.2/32 is banned until 20")
    told = gate.event("banned", lambda event: event["network"] == "127.0.0.2/32")
    assert (told["seconds"], told["reason"]) == (7200, "knocks too much")
    assert not served_to(gate, "127.0.0.2")
    assert served_to(gate, "127.0.0.3")

    code, out, err = run(capsys, "bans", *config)
    assert (code, err) == (0, "")
    headings, row = out.splitlines()
    assert headings.split() == ["network", "until", "left", "count", "reason"]
    assert re.fullmatch(r"127\.0\.0\.2/32  20.* UTC +(2h|1h 59m) +1 +knocks too much", row)
    code, out, _ = run(capsys, "bans", "--json", *config)
    (listed,) = json.loads(out)
    assert (code, listed["network"], listed["reason"]) == (0, "127.0.0.2/32", "knocks too much")
    assert 0 < listed["seconds_left"] <= 7200

    assert run(capsys, "unban", "127.0.0.2/32", *config) == (0, "127.0.0.2/32 is no longer banned\n", "")
    assert gate.event("unbanned", lambda event: event["network"] == "127.0.0.2/32")["reason"] == "admin"
    assert served_to(gate, "127.0.0.2")
    assert run(capsys, "bans", *config) == (0, "nobody is banned\n", "")
    assert run(capsys, "bans", "--json", *config) == (0, "[]\n", "")


def test_what_is_not_banned_is_exit_code_1(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "unban", "192.0.2.0/24", "--config", str(gate.config))
    assert (code, out) == (1, "")
    assert err.startswith("192.0.2.0/24 is not banned")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "host.example", "", "../../metrics", "192.0.2.1/24?x#y"])
def test_what_the_gateway_refuses_is_exit_code_1_with_its_words(
    gate: Gateway, capsys: pytest.CaptureFixture[str], network: str
) -> None:
    for command in ("ban", "unban"):
        code, out, err = run(capsys, command, network, "--config", str(gate.config))
        assert (code, out) == (1, "")
        assert "too wide" in err or "is not" in err


def test_an_hour_if_not_said(gate: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", str(gate.config))
    assert run(capsys, "ban", "2001:db8::/48", *config)[0] == 0
    (listed,) = json.loads(run(capsys, "bans", "--json", *config)[1])
    assert listed["until"] - listed["since"] == pytest.approx(3600, abs=0.01)
    assert run(capsys, "unban", "2001:DB8::1/48", *config)[0] == 0


# -- the token ------------------------------------------------------------------------------------------


def test_where_the_token_comes_from(
    gate: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin, good, bad = ("--admin", f"{HOST}:{gate.admin}"), gate.config.with_name("token"), tmp_path / "bad"
    bad.write_text(TOKEN[::-1])
    code, _, err = run(capsys, "ban", "192.0.2.1", *admin)
    assert code == 1
    assert "--token-file" in err
    assert "TLSGATE_TOKEN_FILE" in err
    assert run(capsys, "ban", "192.0.2.1", *admin, "--token-file", str(good))[0] == 0
    assert run(capsys, "unban", "192.0.2.1", *admin, "--config", str(gate.config))[0] == 0
    monkeypatch.setenv("TLSGATE_TOKEN_FILE", str(good))
    assert run(capsys, "ban", "192.0.2.1", *admin)[0] == 0
    monkeypatch.setenv("TLSGATE_TOKEN_FILE", str(bad))
    code, out, err = run(capsys, "unban", "192.0.2.1", *admin)
    assert code == 1
    assert TOKEN[::-1] not in out + err
    assert run(capsys, "unban", "192.0.2.1", *admin, "--config", str(gate.config))[0] == 0


def test_a_token_file_that_cannot_be_used_is_told_where_it_is_needed(
    gate: Gateway, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On loopback everybody may look, also who can't read root's files."""
    admin = ("--admin", f"{HOST}:{gate.admin}", "--token-file", str(tmp_path / "gone"))
    assert run(capsys, "bans", *admin)[0] == 0
    assert run(capsys, "ban", "192.0.2.1", *admin) == (1, "", f"{tmp_path / 'gone'}: No such file or directory\n")


def test_the_words_before_there_is_a_token(
    directory: Path, certificate: Certificate, pools: list[Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        code, _, err = run(capsys, "ban", "192.0.2.1", "--config", str(gate.config))
        assert code == 1
        assert "admin.token_file" in err
        assert run(capsys, "bans", "--config", str(gate.config)) == (0, "nobody is banned\n", "")


def test_over_a_unix_socket_without_a_token(
    directory: Path, certificate: Certificate, pools: list[Pool], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with started_at(tmp_path / "admin", directory, certificate, pools) as config:
        for place in (("--config", str(config)), ("--admin", f"unix:{tmp_path / 'admin'}")):
            assert run(capsys, "ban", "192.0.2.1", *place)[0] == 0
            assert "192.0.2.1/32" in run(capsys, "bans", *place)[1]
            assert run(capsys, "unban", "192.0.2.1", *place)[0] == 0


@contextmanager
def started_at(admin: Path, directory: Path, certificate: Certificate, pools: list[Pool]) -> Iterator[Path]:
    """A gateway whose admin address is a unix socket; gives its config."""
    directory.mkdir()
    config = directory / "tlsgate.toml"
    config.write_text(f"""
[server]
hostname = "gate.example.test"
[tls]
certificate = "{certificate.chain}"
private_key = "{certificate.key}"
[admin]
address = "unix:{admin}"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "{HOST}:{free_port()}"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "{HOST}:{pools[0].port}" }}]
""")
    with (directory / "stderr.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tlsgate", "run", "--config", str(config)], stderr=log)
    try:
        wait_until(
            lambda: b'"started"' in (directory / "stderr.log").read_bytes() and _answers(admin), "it has started"
        )
        yield config
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _answers(admin: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return not client.connect_ex(str(admin))


# -- what is no gateway ---------------------------------------------------------------------------------


def test_nobody_there_is_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    port = free_port()
    for address in (f"{HOST}:{port}", f"[::1]:{port}", f"unix:{tmp_path / 'gone'}"):
        code, out, err = run(capsys, "bans", "--admin", address)
        assert (code, out) == (1, "")
        assert err.startswith(f"can't reach {address}: ")


@contextmanager
def stranger(answer: bytes) -> Iterator[str]:
    """Something else that listens where a gateway is thought to be; gives its address."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{HOST}:{listening.getsockname()[1]}"
        thread.join(10)


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"* OK IMAP4rev1 ready\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        OK + b"<html>",
        OK + b"[1]",
        OK + b'[{"network": "192.0.2.1/32", "until": 1e300, "seconds_left": 1, "count": 1, "reason": ""}]',
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]",
    ],
    ids=lambda answer: answer[-30:].decode(),
)
def test_what_is_no_gateway_is_exit_code_1_with_words(capsys: pytest.CaptureFixture[str], answer: bytes) -> None:
    with stranger(answer) as address:
        code, out, err = run(capsys, "bans", "--admin", address)
    assert (code, out) == (1, "")
    assert "tlsgate" in err or "can't reach" in err


def test_what_is_said_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ban = {"network": "a\x1b[2J", "until": 1, "seconds_left": 90061, "count": 1, "reason": "b\r\n\x07"}
    with stranger(OK + json.dumps([ban]).encode()) as address:
        code, out, _ = run(capsys, "bans", "--admin", address)
    assert code == 0
    assert out.splitlines()[1] == "a?[2J    1970-01-01 00:00:01 UTC  1d 1h  1      b???"
    with stranger(b'HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{"error": "\\u001b[2J"}') as address:
        assert run(capsys, "bans", "--admin", address) == (1, "", f"{address} refuses: ?[2J\n")


# -- usage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        ("ban",),
        ("ban", "192.0.2.1", "--for", "soon"),
        ("ban", "192.0.2.1", "--for", "0s"),
        ("ban", "192.0.2.1", "--for", "999d"),
        ("ban", "192.0.2.1", "--token", TOKEN),
        ("unban",),
        ("bans", "--admin", "localhost"),
        ("bans", "--admin", "::1:9090"),
        ("bans", "--admin", "unix:here"),
    ],
    ids=" ".join,
)
def test_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], line: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *line)
    assert (code, out) == (2, "")
    assert "usage: tlsgate" in err


def test_a_bad_config_is_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "bans", "--config", str(tmp_path / "gone.toml"))
    assert code == 2
    assert "gone.toml" in err
