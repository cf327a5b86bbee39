"""tlsgate run as a process: signals, exit codes, reload, drain."""

from __future__ import annotations

import imaplib
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import LISTENERS, PASSWORD, USER
from tests.system.certificates import Certificate, issue
from tests.system.clients import imap
from tests.system.gateway import Gateway, Listener, Pool, gateway
from tests.system.peers import accepts, free_port, stop, wait_until
from tests.system.wire import Wire


def tlsgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tlsgate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def config(directory: Path, certificate: Certificate, port: int, more: str = "") -> Path:
    path = directory / "tlsgate.toml"
    path.write_text(f"""
[server]
hostname = "gate.example.test"
[tls]
certificate = "{certificate.chain}"
private_key = "{certificate.key}"
[[listeners]]
name = "imaps"
protocol = "imap"
address = "127.0.0.1:{port}"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{{ address = "127.0.0.1:1" }}]
[admin]
address = "127.0.0.1:{free_port()}"
{more}""")
    return path


def served_certificate(gate: Gateway, ca: Certificate) -> bool:
    """Whether the gateway shows a certificate that ``ca`` has signed."""
    try:
        with imap(Gateway(gate.ports, gate.admin, gate.log, ca.ca, gate.config), "imaps", "implicit"):
            return True
    except OSError:
        return False


def test_a_bad_config_is_exit_code_2_with_every_fault(tmp_path: Path, certificate: Certificate) -> None:
    path = config(tmp_path, certificate, free_port(), '[limits]\nline_length = "long"\nconections = 5\n')
    done = tlsgate("run", "--config", str(path))
    assert done.returncode == 2
    assert "limits.line_length" in done.stderr
    assert "limits.conections" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_certificate_is_exit_code_2(tmp_path: Path, certificate: Certificate) -> None:
    gone = Certificate(certificate.ca, tmp_path / "gone.pem", certificate.key)
    done = tlsgate("run", "--config", str(config(tmp_path, gone, free_port())))
    assert done.returncode == 2
    assert "gone.pem" in done.stderr


@pytest.mark.parametrize("content", [None, "junk"], ids=["missing", "junk"])
def test_a_backends_bad_ca_is_exit_code_2(tmp_path: Path, certificate: Certificate, content: str | None) -> None:
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    path = config(tmp_path, certificate, free_port())
    path.write_text(path.read_text().replace('"127.0.0.1:1"', f'"127.0.0.1:1", tls = "implicit", ca = "{ca}"'))
    done = tlsgate("run", "--config", str(path))
    assert done.returncode == 2
    assert f"pools.imap.backends[0].ca: {ca}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_exit_code_1(tmp_path: Path, certificate: Certificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tlsgate("run", "--config", str(config(tmp_path, certificate, port)))
    assert done.returncode == 1
    assert "listeners.imaps" in done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_user_is_exit_code_1(tmp_path: Path, certificate: Certificate) -> None:
    path = config(tmp_path, certificate, free_port())
    path.write_text(path.read_text().replace("[tls]", 'user = "no-such-user"\n[tls]', 1))
    done = tlsgate("run", "--config", str(path))
    assert done.returncode == 1
    assert "no-such-user" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change who it is")
def test_it_becomes_the_user_and_keeps_no_group(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server='user = "nobody"', measured=False) as gate:
        assert gate.process is not None
        status = Path(f"/proc/{gate.process.pid}/status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(lines["Uid"].split()) == {"65534"}
        assert "0" not in lines["Gid"].split()
        assert "0" not in lines["Groups"].split()
        with imap(gate, "imaps", "implicit") as client:
            client.login(USER, PASSWORD)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0(
    directory: Path, certificate: Certificate, pools: list[Pool], number: signal.Signals
) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        gate.signal(number)
        assert gate.process is not None
        assert gate.process.wait(20) == 0
        assert gate.event("started", bool)["listeners"].startswith("imaps 127.0.0.1:")
        assert gate.event("stopped", bool)


def test_a_live_session_goes_on_while_it_drains(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with (
        gateway(directory, certificate, LISTENERS, pools, server='drain = "30s"') as gate,
        imap(gate, "imaps", "implicit") as client,
    ):
        assert gate.process is not None
        client.login(USER, PASSWORD)
        assert gate.get("/readyz")[0] == 200
        gate.signal(signal.SIGTERM)
        gate.event("draining", lambda event: event["sessions"] == 1)
        assert gate.get("/readyz")[0] == 503
        assert not accepts(gate.ports["imaps"])
        assert client.noop()[0] == "OK"
        assert gate.process.poll() is None
        client.logout()
        assert gate.process.wait(10) == 0


def log_in(wire: Wire, gate: Gateway) -> None:
    wire.start_tls(gate.ca)
    wire.send(f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode())
    assert wire.until(b"a ")[-1].startswith(b"a OK")


def test_drain_ends_a_session_that_stays(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server='drain = "500ms"') as gate:
        assert gate.process is not None
        with Wire(gate.ports["imaps"]) as wire:
            log_in(wire, gate)
            gate.signal(signal.SIGTERM)
            assert gate.process.wait(10) == 0
            assert wire.ended()
        assert gate.event("session", bool)["reason"] == "shutdown"


def test_a_second_signal_ends_the_drain(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools, server='drain = "1h"') as gate:
        assert gate.process is not None
        with Wire(gate.ports["imaps"]) as wire:
            log_in(wire, gate)
            gate.signal(signal.SIGTERM)
            gate.event("draining", bool)
            gate.signal(signal.SIGTERM)
            assert gate.process.wait(10) == 0
            assert wire.ended()


def test_sighup_takes_a_new_certificate_and_keeps_sessions(
    directory: Path, certificate: Certificate, other_certificate: Certificate, pools: list[Pool]
) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate, imap(gate, "imaps", "implicit") as client:
        client.login(USER, PASSWORD)
        text = gate.config.read_text()
        for old, new in ((certificate.chain, other_certificate.chain), (certificate.key, other_certificate.key)):
            text = text.replace(str(old), str(new))
        gate.config.write_text(text)
        gate.signal(signal.SIGHUP)
        gate.event("config_reloaded", bool)
        assert served_certificate(gate, other_certificate)
        assert not served_certificate(gate, certificate)
        assert client.noop()[0] == "OK"
        assert gate.metric("tlsgate_config_reload_total", result="ok") == 1


def test_sessions_of_a_listener_that_a_reload_removes_have_the_drain_time(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    """Relayed ones, and ones that are sending mail; those of the other listeners go on."""
    with (
        gateway(directory, certificate, LISTENERS, pools, server='drain = "1s"') as gate,
        Wire(gate.ports["imaps"]) as stays,
        Wire(gate.ports["imap"]) as relayed,
        Wire(gate.ports["submissions"]) as mailing,
    ):
        log_in(stays, gate)
        relayed.line()
        relayed.send(b"s STARTTLS\r\n")
        assert relayed.line().startswith(b"s OK")
        log_in(relayed, gate)
        mailing.start_tls(gate.ca)
        mailing.send(b"EHLO client.example\r\nAUTH PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode()) + b"\r\n")
        assert mailing.until(b"235 ")
        text = gate.config.read_text()
        for name in ("imap", "submissions"):
            text = text.replace(f"127.0.0.1:{gate.ports[name]}", f"127.0.0.1:{free_port()}")
        gate.config.write_text(text)
        gate.signal(signal.SIGHUP)
        gate.event("config_reloaded", bool)
        relayed.send(b"n NOOP\r\n")
        assert relayed.until(b"n ")[-1].startswith(b"n OK")
        assert relayed.ended()
        assert mailing.line().startswith(b"421 4.3.2")
        assert mailing.ended()
        stays.send(b"n NOOP\r\n")
        assert stays.until(b"n ")[-1].startswith(b"n OK")
        wait_until(lambda: len(gate.events("session")) == 2, "both sessions have their line")
        assert {event["reason"] for event in gate.events("session")} == {"shutdown"}


def test_sighup_adds_and_removes_listeners(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    extra = free_port()
    with gateway(directory, certificate, LISTENERS, pools) as gate, imap(gate, "imap", "starttls") as client:
        client.login(USER, PASSWORD)
        text = gate.config.read_text().replace(f"127.0.0.1:{gate.ports['imap']}", f"127.0.0.1:{extra}")
        gate.config.write_text(text)
        gate.signal(signal.SIGHUP)
        wait_until(lambda: accepts(extra), "the new listener accepts")
        wait_until(lambda: not accepts(gate.ports["imap"]), "the old listener is gone")
        assert accepts(gate.ports["imaps"])
        assert client.noop()[0] == "OK"


def test_a_port_that_moves_to_all_addresses_needs_a_restart(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        port = gate.ports["imaps"]
        gate.config.write_text(gate.config.read_text().replace(f"127.0.0.1:{port}", f"0.0.0.0:{port}"))
        gate.signal(signal.SIGHUP)
        said = gate.event("config_rejected", bool)["reason"]
        assert said.endswith("listeners.imaps.address still has that port; this change needs a restart")
        assert accepts(port)


def test_listeners_that_swap_their_addresses(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        one, two = (f"127.0.0.1:{gate.ports[name]}" for name in ("imaps", "imap"))
        text = gate.config.read_text().replace(one, "X").replace(two, one).replace("X", two)
        gate.config.write_text(text)
        gate.signal(signal.SIGHUP)
        gate.event("config_reloaded", bool)
        ports = {**gate.ports, "imaps": gate.ports["imap"], "imap": gate.ports["imaps"]}
        with imap(replace(gate, ports=ports), "imaps", "implicit") as client:
            client.login(USER, PASSWORD)


@pytest.mark.parametrize("fault", ["nonsense", "port", "certificate", "ca"])
def test_sighup_with_a_bad_config_changes_nothing(
    directory: Path, certificate: Certificate, pools: list[Pool], fault: str
) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate, socket.create_server(("127.0.0.1", 0)) as taken:
        text = gate.config.read_text()
        match fault:
            case "nonsense":
                text = text.replace("[tls]", "[tls")
            case "port":
                port = taken.getsockname()[1]
                text = text.replace(f"127.0.0.1:{gate.ports['imap']}", f"127.0.0.1:{port}")
            case "ca":
                text = text.replace('tls = "none"', f'tls = "starttls", ca = "{directory / "gone.pem"}"')
            case _:
                text = text.replace(str(certificate.key), str(directory / "gone.pem"))
        gate.config.write_text(text)
        gate.signal(signal.SIGHUP)
        assert gate.event("config_rejected", bool)["reason"]
        assert gate.metric("tlsgate_config_reload_total", result="rejected") == 1
        for name in gate.ports:
            assert accepts(gate.ports[name])
        with imap(gate, "imaps", "implicit") as client:
            client.login(USER, PASSWORD)


@pytest.mark.parametrize("workers", [1, 2])
def test_certificates_that_are_renewed_on_disk_are_served_without_a_reload(
    directory: Path, pools: list[Pool], tmp_path: Path, workers: int
) -> None:
    """With workers, those who admit connections, load keys and make handshakes are three processes."""
    old = issue(tmp_path / "live", "localhost", "127.0.0.1")
    new = issue(tmp_path / "next", "localhost", "127.0.0.1")
    impatient = "from tlsgate import certificate_watch as w, cli; w.POLL = 0.05; raise SystemExit(cli.main())"
    server = f'drain = "2s"\nworkers = {workers}'
    with gateway(directory, old, LISTENERS, pools, server=server, program=("-c", impatient)) as gate:
        with imap(gate, "imaps", "implicit") as client:
            client.login(USER, PASSWORD)
            (tmp_path / "live").rename(tmp_path / "before")
            assert gate.event("certificate_fault", bool)["reason"].endswith("; what was read before is served")
            (tmp_path / "live").symlink_to(tmp_path / "next")
            gate.event("certificates_reloaded", bool)
            assert served_certificate(gate, new)
            assert client.noop()[0] == "OK"
        assert len(gate.events("certificate_fault")) == len(gate.events("certificates_reloaded")) == 1


def ignores_sighup(process: subprocess.Popen[bytes]) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    return bool(int(mask, 16) >> (signal.SIGHUP - 1) & 1)


def test_sighup_while_it_starts_does_not_end_it(tmp_path: Path, certificate: Certificate) -> None:
    """A certificate's renewal may come just after the machine's start."""
    path, log = config(tmp_path, certificate, free_port()), tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "tlsgate", "run", "--config", str(path)], stderr=out)
    try:
        wait_until(lambda: ignores_sighup(process) or b'"started"' in log.read_bytes(), "it ignores SIGHUP")
        assert ignores_sighup(process)

        def started_in_spite_of_it() -> bool:
            process.send_signal(signal.SIGHUP)
            assert process.poll() is None
            return b'"started"' in log.read_bytes()

        wait_until(started_in_spite_of_it, "it has started")
    finally:
        assert stop(process) == 0


def test_nothing_dear_is_imported_before_sighup_is_ignored() -> None:
    """The moment in which SIGHUP ends the process is as short as it can be."""
    program = "import sys, tlsgate.cli; print([name for name in ('trio', 'OpenSSL', 'msgspec') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_unix_sockets_are_not_taken_from_a_running_gateway_and_go_with_it(
    directory: Path, certificate: Certificate, pools: list[Pool], tmp_path: Path
) -> None:
    path = tmp_path / "imap"
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        gate.config.write_text(gate.config.read_text().replace(f'"127.0.0.1:{gate.ports["imap"]}"', f'"unix:{path}"'))
        gate.signal(signal.SIGHUP)
        gate.event("config_reloaded", bool)
        assert path.stat().st_mode & 0o777 == 0o666
        second = config(tmp_path, certificate, free_port())
        second.write_text(second.read_text().replace('address = "127.0.0.1:', f'address = "unix:{path}" #', 1))
        done = tlsgate("run", "--config", str(second))
        assert done.returncode == 1
        assert "in use" in done.stderr
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert client.recv(4) == b"* OK"
    assert not path.exists()


def test_certificate_expiry_is_a_metric(directory: Path, certificate: Certificate, pools: list[Pool]) -> None:
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        expiry = gate.metric("tlsgate_certificate_expiry_timestamp_seconds", certificate=str(certificate.chain))
        assert expiry > time.time()


def test_starts_without_a_backend_and_logs_in_when_it_is_there(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    """A gateway that waited for its backends would never come up after a power failure."""
    listeners = [Listener("imaps", "imap", "implicit", "imap"), Listener("dead", "imap", "implicit", "dead")]
    with gateway(directory, certificate, listeners, [*pools, Pool("dead", 1)]) as gate:
        with imap(gate, "imaps", "implicit") as client:
            client.login(USER, PASSWORD)
        with imap(gate, "dead", "implicit") as client, pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            client.login(USER, PASSWORD)


def test_a_bad_line_of_a_list_is_told_once_a_reload(
    directory: Path, certificate: Certificate, pools: list[Pool]
) -> None:
    """Twice as many warnings as faults are read half as often."""
    with gateway(directory, certificate, LISTENERS, pools) as gate:
        block = directory / "block"
        block.write_text("192.0.2.0/24\nhost.example\n")
        gate.config.write_text(gate.config.read_text().replace("[admission]", '[admission]\nblock = ["block"]'))
        for times in (1, 2):
            gate.signal(signal.SIGHUP)
            wait_until(lambda: len(gate.events("config_reloaded")) == times, "it has reloaded")  # noqa: B023
            wait_until(lambda: len(gate.events("list_bad_line")) >= times, "the line is told")  # noqa: B023
        told = gate.events("list_bad_line")
    assert [(each["path"], each["line"]) for each in told] == [(str(block), 2)] * 2
