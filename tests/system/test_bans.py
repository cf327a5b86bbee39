"""Caps and bans of a real gateway: its clients come from several addresses of loopback, and it is started again."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import pytest

from tests.system.accounts import User
from tests.system.certificates import GATEWAY_NAME, Certificate
from tests.system.dovecot import Dovecot
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import HOST, wait_until
from tests.system.wire import trusting

LISTENERS = [Listener("imaps", "imap", "implicit", "imap"), Listener("imap", "imap", "starttls", "imap")]
_RULES = """
connections_per_network = 3
[bans]
failures = {failures}
duration = "{duration}"
[admission]
allow = ["127.0.0.5/32"]
block = ["127.0.6.0/24"]
trust = ["127.0.0.7/32"]
"""


class Client:
    """An IMAP client at an address of ours. Every wait is bounded; the end of input is an empty line."""

    def __init__(self, gate: Gateway, listener: str, source: str) -> None:
        self._socket = socket.create_connection((HOST, gate.ports[listener]), timeout=30, source_address=(source, 0))
        if listener == "imaps":
            try:
                self._socket = trusting(gate.ca).wrap_socket(self._socket, server_hostname=GATEWAY_NAME)
            except (ConnectionResetError, ssl.SSLEOFError):
                self._socket.close()
                raise ConnectionRefusedError from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._lines.close()
        self._socket.close()

    def line(self) -> bytes:
        return self._lines.readline().rstrip(b"\r\n")

    def log_in(self, user: User, secret: str = "") -> bytes:
        quoted = (secret or user.secret).replace("\\", "\\\\").replace('"', '\\"')
        self._socket.sendall(f'a LOGIN {user.name} "{quoted}"\r\n'.encode())
        while not (line := self.line()).startswith((b"a ", b"* BYE")):
            assert line
        return line


def guess(gate: Gateway, user: User, source: str, *secrets: str) -> None:
    for secret in secrets:
        with Client(gate, "imaps", source) as client:
            assert client.line().startswith(b"* OK")
            assert client.log_in(user, secret).startswith(b"a NO [AUTHENTICATIONFAILED]")


def logs_in(gate: Gateway, user: User, source: str) -> None:
    with Client(gate, "imaps", source) as client:
        assert client.line().startswith(b"* OK")
        assert client.log_in(user).startswith(b"a OK")


def is_banned(gate: Gateway, source: str) -> None:
    """No handshake is paid for, and in clear it is said why."""
    before = gate.metric("tlsgate_connections_total", result="banned")
    with pytest.raises(ConnectionRefusedError):
        Client(gate, "imaps", source)
    with Client(gate, "imap", source) as client:
        assert client.line().startswith(b"* BYE [UNAVAILABLE]")
        assert client.line() == b""
    assert gate.metric("tlsgate_connections_total", result="banned") == before + 2


@contextmanager
def run(
    directory: Path, certificate: Certificate, backend: Dovecot, failures: int, duration: str, state: Path | None = None
) -> Iterator[Gateway]:
    server = 'drain = "2s"\n' + (f'state_directory = "{state}"\n' if state else "")
    pools = [Pool("imap", backend.imap)]
    rules = _RULES.format(failures=failures, duration=duration)
    with gateway(directory, certificate, LISTENERS, pools, server=server, admission=rules) as running:
        yield running


@pytest.fixture(scope="module")
def strict(root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot) -> Iterator[Gateway]:
    """A gateway for which its clients are strangers."""
    with run(root / "strict", gateway_certificate, legacy_dovecot, 3, "1h") as running:
        yield running


def test_who_guesses_is_banned_and_nobody_else(strict: Gateway, user: User) -> None:
    with Client(strict, "imaps", "127.0.0.21") as open_before:
        open_before.line()
        guess(strict, user, "127.0.0.21", "a", "b", "c")
        event = strict.event("banned", lambda event: event["network"] == "127.0.0.21/32")
        assert (event["seconds"], event["count"]) == (3600, 1)
        assert open_before.log_in(user).startswith(b"* BYE [UNAVAILABLE]")
    is_banned(strict, "127.0.0.21")
    logs_in(strict, user, "127.0.0.22")
    assert strict.metric("tlsgate_bans") >= 1
    strict.event("refused", lambda event: (event["client"], event["listener"]) == ("127.0.0.21", "imap"))
    refused = [each for each in strict.events("refused") if each["client"] == "127.0.0.21"]
    assert [(each["listener"], each["result"], each["reason"]) for each in refused] == [
        ("imaps", "banned", "127.0.0.21/32: failed logins"),
        ("imap", "banned", "127.0.0.21/32: failed logins"),
    ]
    delays = [each["seconds"] for each in strict.events("login_delayed") if each["client"] == "127.0.0.21"]
    assert delays == [1, 2]


def test_the_same_wrong_password_is_no_reason_for_a_ban(strict: Gateway, user: User) -> None:
    guess(strict, user, "127.0.0.31", *["the old one"] * 4)
    logs_in(strict, user, "127.0.0.31")
    assert not [each for each in strict.events("banned") if each["network"].startswith("127.0.0.31")]


@pytest.mark.parametrize("source", ["127.0.0.5", "127.0.0.7"])
def test_who_is_allowed_or_trusted_is_not_banned(strict: Gateway, user: User, source: str) -> None:
    guess(strict, user, source, "a", "b", "c", "d")
    logs_in(strict, user, source)


def test_a_network_has_its_places_and_no_more(strict: Gateway) -> None:
    def refused() -> float:
        return strict.metric("tlsgate_connections_total", listener="imap", result="over_network_cap")

    before = refused()
    with ExitStack() as held:
        for _ in range(3):
            assert held.enter_context(Client(strict, "imap", "127.0.0.41")).line().startswith(b"* OK")
        with Client(strict, "imap", "127.0.0.41") as fourth:
            assert fourth.line().startswith(b"* BYE [LIMIT]")
        with Client(strict, "imap", "127.0.0.42") as other:
            assert other.line().startswith(b"* OK")
    assert refused() == before + 1
    strict.event("refused", lambda event: event["client"] == "127.0.0.41")

    def again() -> bool:
        with Client(strict, "imap", "127.0.0.41") as client:
            return client.line().startswith(b"* OK")

    wait_until(again, "a place is free again")


def test_a_block_holds(strict: Gateway) -> None:
    with Client(strict, "imap", "127.0.6.1") as client:
        assert client.line().startswith(b"* BYE [CONTACTADMIN]")
    event = strict.event("refused", lambda event: event["client"] == "127.0.6.1")
    assert (event["result"], event["reason"]) == ("blocked", "127.0.6.0/24 in admission.block")


def test_bans_outlive_a_restart(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, user: User
) -> None:
    """Or a crash, that an attacker may have caused, is the way out of one."""
    state = root / "bans-state"
    state.mkdir()
    with run(root / "bans-first", gateway_certificate, legacy_dovecot, 2, "1h", state) as first:
        guess(first, user, "127.0.0.51", "a", "b")
        is_banned(first, "127.0.0.51")
    with run(root / "bans-second", gateway_certificate, legacy_dovecot, 2, "1h", state) as second:
        is_banned(second, "127.0.0.51")
        logs_in(second, user, "127.0.0.52")
        assert not second.events("banned")
        assert second.metric("tlsgate_bans") == 1
    kept = (state / "bans.json").read_text()
    assert user.name not in kept


def test_a_ban_ends_and_the_next_is_longer(
    root: Path, gateway_certificate: Certificate, legacy_dovecot: Dovecot, user: User
) -> None:
    """And a list of bans that can't be read is told, and hinders nobody."""
    state = root / "broken-state"
    state.mkdir()
    (state / "bans.json").write_text("garbage")
    with run(root / "bans-short", gateway_certificate, legacy_dovecot, 2, "2s", state) as running:
        assert len(running.events("ban_file_fault")) == 1
        for count in (1, 2):
            guess(running, user, "127.0.0.61", *(f"{count} {number}" for number in range(2)))
            event = running.event("banned", lambda event, count=count: event["count"] == count)  # type: ignore[misc]
            assert event["seconds"] == 2 * count
            wait_until(lambda count=count: len(running.events("unbanned")) == count, "the ban has ended")  # type: ignore[misc]
        logs_in(running, user, "127.0.0.61")
        assert running.metric("tlsgate_bans") == 0
        assert len(running.events("ban_file_fault")) == 1
