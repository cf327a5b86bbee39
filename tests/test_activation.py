"""Sockets that systemd has bound: taken by address, told of when nobody wants them, kept over reloads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.activation import start
from tests.system.certificates import Certificate, issue
from tests.system.peers import free_port, needs_root, stop, wait_until
from tests.system.wire import trusting
from tlsgate.activation import PassedSockets, receive
from tlsgate.config import HostPort, UnixPath
from tlsgate.sockets import Place, bind_all
from tlsgate.workers.process import CannotStart

pytestmark = pytest.mark.timeout(60)

HOST = "127.0.0.1"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as bound:
        yield bound


def place(bound: socket.socket, key: str = "listeners.a.address") -> Place:
    return Place(key, HostPort(*bound.getsockname()[:2]))


# -- what is taken ---------------------------------------------------------------------------------------


def test_a_place_takes_the_socket_that_was_passed_for_it(listening: socket.socket) -> None:
    """Another can't be bound there; and without TCP_NODELAY a login takes 44 ms."""
    passed = PassedSockets([("imaps", listening)])
    with bind_all({"a": place(listening)}, (), passed)["a"] as taken:
        assert taken.getsockname() == listening.getsockname()
        assert not taken.getblocking()
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert passed.unused() == []
    assert passed.unused() == [("imaps", f"{HOST}:{listening.getsockname()[1]}")]


def test_it_can_be_taken_again(listening: socket.socket) -> None:
    """A listener that comes back after a reload has no privileges any more to bind its port."""
    passed = PassedSockets([("imaps", listening)])
    for _ in range(2):
        with bind_all({"a": place(listening)}, (), passed)["a"] as taken:
            socket.create_connection(listening.getsockname(), timeout=5).close()
            taken.accept()[0].close()


def test_one_that_is_taken_is_not_given_to_another(listening: socket.socket) -> None:
    passed = PassedSockets([("imaps", listening)])
    taken = passed.take(place(listening).address)
    assert taken is not None
    with taken:
        assert passed.take(place(listening).address) is None


def test_all_or_none_leaves_what_was_passed(listening: socket.socket) -> None:
    passed = PassedSockets([("imaps", listening)])
    with socket.create_server((HOST, 0)) as other:
        places = {"a": place(listening), "b": place(other, "listeners.b.address")}
        with pytest.raises(CannotStart, match=r"^listeners\.b\.address: can't listen"):
            bind_all(places, (), passed)
    assert [name for name, _ in passed.unused()] == ["imaps"]
    assert listening.fileno() >= 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_ipv6_is_matched_whatever_way_it_is_written() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as bound:
        port = bound.getsockname()[1]
        taken = PassedSockets([("imaps", bound)]).take(HostPort("0:0::0", port))
        assert taken is not None
        taken.close()
        assert PassedSockets([("imaps", bound)]).take(HostPort("::1", port)) is None


def test_another_address_with_the_same_port_is_said(listening: socket.socket) -> None:
    """ "Address already in use" sends an operator looking for another process."""
    port = listening.getsockname()[1]
    with pytest.raises(
        CannotStart, match=rf"a socket at {HOST}:{port} was passed; its unit must have the same address"
    ):
        bind_all({"a": Place("listeners.a.address", HostPort("0.0.0.0", port))}, (), PassedSockets([("a", listening)]))


def test_an_admin_socket_that_everybody_may_use_is_refused(tmp_path: Path) -> None:
    """systemd's SocketMode is 0666 unless it is set; who lives here, and who logs in, is for the owner."""
    path = tmp_path / "admin"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        passed = PassedSockets([("admin", bound)])
        path.chmod(0o666)
        admin = {"admin": Place("admin.address", UnixPath(path), 0o600)}
        with pytest.raises(CannotStart, match=r"^admin\.address: .* mode 0666; SocketMode=0600"):
            bind_all(admin, (), passed)
        path.chmod(0o600)
        bind_all(admin, (), passed)["admin"].close()
        assert path.exists()


# -- what is received ------------------------------------------------------------------------------------


def test_what_was_passed_to_another_process_is_not_ours() -> None:
    """A shell between systemd and us; descriptor 3 may be anything here."""
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "PATH": "x"}
    assert receive(environment).unused() == []
    assert environment == {"PATH": "x"}


@pytest.mark.parametrize("count", ["", "-1", "many", "1000000"])
def test_a_count_that_is_none_is_a_fault(count: str) -> None:
    with pytest.raises(CannotStart, match="LISTEN_FDS: is no number"):
        receive({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


# -- a process -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """A gateway that was given sockets. ``config``: its file."""

    process: subprocess.Popen[bytes]
    config: Path
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each for each in map(json.loads, self.log.read_text().splitlines()) if each["event"] == name]

    def reload(self, change: Callable[[str], str]) -> None:
        """Write another config, and wait until it is in force."""
        before = len(self.events("config_reloaded"))
        self.config.write_text(change(self.config.read_text()))
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self.events("config_reloaded")) > before, "it is reloaded")


def write_config(directory: Path, certificate: Certificate, addresses: dict[str, str], admin: str, server: str) -> Path:
    listeners = "".join(
        f'[[listeners]]\nname = "{name}"\nprotocol = "imap"\naddress = "{address}"\ntls = "implicit"\npool = "imap"\n'
        for name, address in addresses.items()
    )
    path = directory / "tlsgate.toml"
    path.write_text(f"""
[server]
hostname = "localhost"
drain = "100ms"
{server}
[tls]
certificate = "{certificate.chain}"
private_key = "{certificate.key}"
[admin]
address = "{admin}"
[pools.imap]
backends = [{{ address = "127.0.0.1:1" }}]
{listeners}""")
    return path


@contextmanager
def running(
    config: Path, sockets: list[socket.socket], names: str, program: tuple[str, ...] = ("-m", "tlsgate")
) -> Iterator[Gate]:
    path = config.parent / "log"
    with path.open("wb") as log:
        process = start((*program, "run", "--config", str(config)), sockets, names, log)
    gate = Gate(process, config, path)
    try:
        wait_until(lambda: process.poll() is not None or b'"started"' in path.read_bytes(), "it has started")
        assert process.poll() is None, path.read_text()
        yield gate
    finally:
        status = stop(process)
    assert status == 0, path.read_text()


def greeting(bound: socket.socket, certificate: Certificate) -> bytes:
    plain = socket.create_connection(bound.getsockname(), timeout=20)
    with trusting(certificate.ca).wrap_socket(plain, server_hostname="localhost") as client:
        return client.recv(4)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificates") / "first", "localhost")


def held(pid: int, bound: socket.socket) -> bool:
    """Whether a process has this socket."""
    name = f"socket:[{os.fstat(bound.fileno()).st_ino}]"
    return any(each.is_symlink() and str(each.readlink()) == name for each in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_serves_what_it_was_given(tmp_path: Path, certificate: Certificate, workers: int) -> None:
    """Listeners and admin; who isn't to accept hasn't the sockets: with the last of them they must be gone."""
    with ExitStack() as bound:
        one, two, admin = (bound.enter_context(socket.create_server((HOST, 0))) for _ in range(3))
        address = {each: f"{HOST}:{each.getsockname()[1]}" for each in (one, two, admin)}
        server = f"workers = {workers}"
        config = write_config(tmp_path, certificate, {"one": address[one]}, address[admin], server)
        with running(config, [admin, one, two], "admin:one:two") as gate:
            assert greeting(one, certificate) == b"* OK"
            with socket.create_connection(admin.getsockname(), timeout=20) as asking:
                asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert asking.recv(12) == b"HTTP/1.1 200"
            unused = [(each["level"], each["name"], each["address"]) for each in gate.events("socket_unused")]
            assert unused == [("warning", "two", address[two])]
            children = Path(f"/proc/{gate.process.pid}/task/{gate.process.pid}/children").read_text().split()
            started = [each["pid"] for each in gate.events("worker_started")]
            others = {int(each) for each in children} | set(started)
            assert len(others) == (0 if workers == 1 else 3)
            assert held(gate.process.pid, one)
            assert not any(held(pid, each) for pid in others for each in (one, two, admin))


def test_a_listener_that_comes_back_has_its_socket_again(tmp_path: Path, certificate: Certificate) -> None:
    with socket.create_server((HOST, 0)) as bound:
        address, other = f"{HOST}:{bound.getsockname()[1]}", f"{HOST}:{free_port()}"
        config = write_config(tmp_path, certificate, {"one": address}, f"{HOST}:{free_port()}", "")
        with running(config, [bound], "one") as gate:
            assert not gate.events("socket_unused")
            gate.reload(lambda text: text.replace(address, other))
            assert [each["address"] for each in gate.events("socket_unused")] == [address]
            gate.reload(lambda text: text.replace(other, address))
            assert greeting(bound, certificate) == b"* OK"
            assert len(gate.events("socket_unused")) == 1


# Gives up the right to bind ports below 1024 (PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE) before it becomes tlsgate.
_UNPRIVILEGED = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(24, 10, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "tlsgate", *sys.argv[1:]])
"""


def low_port() -> socket.socket:
    """Listens on a port below 1024."""
    for port in range(1023, 600, -1):
        with suppress(OSError):
            return socket.create_server((HOST, port))
    raise OSError("no port is free")


def test_no_privileges_are_needed(tmp_path: Path, certificate: Certificate) -> None:
    """That is what it is for; at the start, and when a listener comes back."""
    needs_root("only root can bind a port below 1024")
    with low_port() as bound, low_port() as second:
        address, other = f"{HOST}:{bound.getsockname()[1]}", f"{HOST}:{free_port()}"
        taken = f"{HOST}:{second.getsockname()[1]}"
        second.close()
        config = write_config(tmp_path, certificate, {"one": address}, f"{HOST}:{free_port()}", "")
        with running(config, [bound], "one", ("-c", _UNPRIVILEGED)) as gate:
            assert greeting(bound, certificate) == b"* OK"
            gate.reload(lambda text: text.replace(address, other))
            config.write_text(config.read_text().replace(other, taken))
            gate.process.send_signal(signal.SIGHUP)
            wait_until(lambda: bool(gate.events("config_rejected")), "a port of its own is refused to it")
            assert "Permission denied" in gate.events("config_rejected")[0]["reason"]
            gate.reload(lambda text: text.replace(taken, address))
            assert greeting(bound, certificate) == b"* OK"


def test_what_does_not_listen_is_a_fault(tmp_path: Path, certificate: Certificate) -> None:
    """A unit with Accept=yes passes a client."""
    config = write_config(tmp_path, certificate, {"one": f"{HOST}:{free_port()}"}, f"{HOST}:{free_port()}", "")
    with socket.socket() as deaf, (tmp_path / "log").open("wb") as log:
        process = start(("-m", "tlsgate", "run", "--config", str(config)), [deaf], "one", log)
        assert process.wait(20) == 1
    said = (tmp_path / "log").read_text()
    assert said == "LISTEN_FDS: descriptor 3 is no listening socket; use ListenStream= and Accept=no\n"
