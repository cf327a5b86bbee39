"""The process that forks workers, forked here and asked."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.gate import HOSTNAME
from tests.system.peers import wait_until
from tests.test_gateway import config, reading
from tlsgate.auth.master import Master
from tlsgate.config import Config, ConfigError
from tlsgate.prepared import Prepared
from tlsgate.tls.certificate import CertificateFault
from tlsgate.tls.files import Stamp, stamps
from tlsgate.workers.channel import pair
from tlsgate.workers.spawner import Spawner, SpawnFault, start_spawner

# Threads of other tests may still be there; these forks don't touch what they hold.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

BACKENDS = '{ address = "127.0.0.1:1", tls = "starttls", verify = false }'

Start = Callable[..., Spawner]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return reading(config(tmp_path, BACKENDS))


@pytest.fixture
def start(prepared: Prepared) -> Iterator[Start]:
    """Starts spawners, which are ended and waited for."""
    started: list[Spawner] = []

    def start(reread: Callable[[], Prepared] = lambda: prepared) -> Spawner:
        started.append(start_spawner(prepared, reread, say_who))
        return started[-1]

    yield start
    for each in started:
        each.close()
        if each.pid:
            _reap(each.pid)


def waits_in_vain(ask: Callable[[], object]) -> None:
    """Ask a spawner that hangs."""
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr("tlsgate.workers.spawner._PATIENCE", 0.2)
        impatient.setattr("tlsgate.workers.spawner._LOOKING", 0.2)
        began = time.monotonic()
        with pytest.raises(SpawnFault, match="the spawner doesn't answer"):
            ask()
        assert time.monotonic() - began < 5  # a reload waits for it, and signals for the reload


def _reap(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
    except ProcessLookupError:
        pass
    except ChildProcessError:  # it was waited for already
        pass


def say_who(prepared: Prepared, end: socket.socket, number: int) -> None:
    """A worker that says which it is and by what config, and ends when it is told to; or fails."""
    end.send(f"{number} {prepared.settings.server.hostname} {os.getpid()} {os.getppid()}".encode())
    if end.recv(10) == b"fail":
        raise RuntimeError("a worker's fault")


def forked(spawner: Spawner, *, new: bool = False, then: bytes = b"end") -> list[str]:
    """What a new worker says of itself."""
    ours, its = pair()
    with ours:
        pid = spawner.fork(its, new=new)
        assert its.fileno() < 0
        said = ours.recv(1000).decode().split()
        assert said[2:] == [str(pid), str(spawner.pid)]
        ours.send(then)
        assert ours.recv(10) == b""  # nobody but the worker has its end
    return said[:2]


def test_workers_are_its_children_and_numbered(start: Start) -> None:
    spawner = start()
    assert [forked(spawner) for _ in range(3)] == [["1", HOSTNAME], ["2", HOSTNAME], ["3", HOSTNAME]]


def test_a_worker_that_fails_ends_alone_and_is_no_zombie(start: Start) -> None:
    spawner = start()
    forked(spawner, then=b"fail")
    assert forked(spawner) == ["2", HOSTNAME]
    children = Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children")
    wait_until(lambda: not children.read_text().split(), "both are gone")


def test_a_new_config_is_for_those_that_try_it_until_it_is_adopted(start: Start, prepared: Prepared) -> None:
    """A worker that dies during a reload, or after one that was refused, is replaced by its like."""
    server = msgspec.structs.replace(prepared.settings.server, hostname="new.example.org")
    new = replace(prepared, settings=msgspec.structs.replace(prepared.settings, server=server))
    spawner = start(lambda: new)
    assert spawner.reread().settings == new.settings
    assert forked(spawner) == ["1", HOSTNAME]
    assert forked(spawner, new=True) == ["2", "new.example.org"]
    assert forked(spawner) == ["3", HOSTNAME]
    spawner.adopt()
    assert forked(spawner) == ["4", "new.example.org"]


def test_a_masters_password_does_not_come_back(start: Start, prepared: Prepared) -> None:
    """It opens every mailbox, and who admits connections logs nobody in."""
    spawner = start(lambda: replace(prepared, masters={"a": Master("root", "*", b"hunter2", True)}))
    assert spawner.reread().masters == {"a": Master("root", "*", b"", True)}


def test_what_comes_back_has_everything_but_keys(start: Start, prepared: Prepared) -> None:
    """The parent gives up its privileges; what only they open isn't to come to it by another way."""
    again = start().reread()
    assert again.settings == prepared.settings
    assert list(again.remarks()) == list(prepared.remarks())
    (certificate,) = again.contexts.certificates
    assert certificate.key is None
    assert certificate.expires == prepared.contexts.certificates[0].expires
    assert again.contexts.choose(prepared.listeners[0].protocol, None) is None
    assert again.backend_contexts["imap"][0] is not None  # else the parent would read the files for one


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (CertificateFault("key.pem: is gone"), "key.pem: is gone"),
        (ConfigError(()), ""),
        (LookupError("which may hold a secret"), "LookupError"),
        (CertificateFault("caf\udce9.pem: is gone"), "caf?.pem: is gone"),
    ],
)
def test_a_reload_that_fails_says_why_and_changes_nothing(start: Start, fault: Exception, words: str) -> None:
    def faulty() -> Prepared:
        raise fault

    spawner = start(faulty)
    with pytest.raises(SpawnFault) as raised:
        spawner.reread()
    assert str(raised.value) == words
    assert not spawner.gone
    assert forked(spawner, new=True) == ["1", HOSTNAME]


def test_a_dead_spawner_is_gone_for_good_and_no_zombie(start: Start) -> None:
    spawner = start()
    os.kill(spawner.pid, signal.SIGKILL)
    ours, its = pair()
    with ours, pytest.raises(SpawnFault, match="the spawner is gone"):
        spawner.fork(its, new=False)
    assert its.fileno() < 0
    assert spawner.gone
    with pytest.raises(SpawnFault, match="the spawner is gone"):
        spawner.reread()
    assert not Path(f"/proc/{spawner.pid}").exists()


def test_a_spawner_that_takes_no_orders_is_given_up(start: Start) -> None:
    """Whether it does what it was told to, or will, nobody can say."""
    spawner = start()
    os.kill(spawner.pid, signal.SIGSTOP)
    waits_in_vain(spawner.adopt)
    assert spawner.gone


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """A file system that hangs a spawner as it looks at certificates, once, until this is called."""
    way, hung = tmp_path / "way", tmp_path / "hung"
    os.mkfifo(way)

    def hanging_once(settings: Config) -> Mapping[Path, Stamp]:
        if not hung.exists():
            hung.touch()
            way.read_bytes()  # until somebody writes
        return stamps(settings)

    monkeypatch.setattr("tlsgate.renewal.stamps", hanging_once)
    yield lambda: way.write_bytes(b"on")
    if hung.exists():
        with suppress(OSError):  # nobody reads it any more
            os.close(os.open(way, os.O_WRONLY | os.O_NONBLOCK))


def test_a_file_system_that_hangs_holds_the_spawner_up_for_no_longer(
    start: Start, hanging: Callable[[], object], tmp_path: Path
) -> None:
    """A network's file system that was away for a minute would be the end of renewals, reloads and new workers."""
    spawner = start()
    for ask in (spawner.changed, spawner.changed, spawner.reread):
        waits_in_vain(ask)
    assert not spawner.gone
    hanging()
    assert spawner.reread().settings.server.hostname == HOSTNAME
    assert forked(spawner)[1] == HOSTNAME
    (tmp_path / "chain.pem").unlink()  # config() writes another pair
    config(tmp_path, BACKENDS)
    assert [spawner.changed() for _ in range(2)] == [False, True]
    spawner.renewed()


def test_what_was_seen_late_is_still_told(start: Start, hanging: Callable[[], object], tmp_path: Path) -> None:
    """A look that says that certificates have changed is not repeated by the next."""
    (tmp_path / "hung").touch()
    spawner = start()
    (tmp_path / "chain.pem").unlink()  # config() writes another pair
    config(tmp_path, BACKENDS)
    assert not spawner.changed()
    (tmp_path / "hung").unlink()
    waits_in_vain(spawner.changed)
    hanging()
    assert spawner.changed()


def test_what_was_seen_late_is_told_though_something_else_was_asked_meanwhile(
    start: Start, hanging: Callable[[], object], tmp_path: Path
) -> None:
    """A worker that was replaced just then would be why certificates come five minutes late."""
    (tmp_path / "hung").touch()
    spawner = start()
    (tmp_path / "chain.pem").unlink()  # config() writes another pair
    config(tmp_path, BACKENDS)
    assert not spawner.changed()
    (tmp_path / "hung").unlink()
    waits_in_vain(spawner.changed)
    hanging()
    assert forked(spawner)[1] == HOSTNAME
    assert [spawner.changed() for _ in range(2)] == [True, False]


def test_a_hung_spawner_ends_with_its_parent(start: Start, hanging: Callable[[], object]) -> None:
    spawner = start()
    waits_in_vain(spawner.changed)
    spawner.close()
    hanging()
    assert os.waitpid(spawner.pid, 0)[1] == 0


def test_it_ends_with_its_parent(start: Start) -> None:
    spawner = start()
    spawner.close()
    assert os.waitpid(spawner.pid, 0)[1] == 0


# -- certificates ----------------------------------------------------------------------------------------


def say_certificate(prepared: Prepared, end: socket.socket, number: int) -> None:
    """A worker that says by which certificate it serves, and ends when it is told to."""
    end.send(b"%d" % prepared.contexts.certificates[0].chain[0].serial_number)
    end.recv(10)


def served(spawner: Spawner, *, new: bool = False) -> int:
    """The serial number of a new worker's certificate."""
    ours, its = pair()
    with ours:
        spawner.fork(its, new=new)
        return int(ours.recv(1000))


def test_renewed_certificates_are_those_of_new_workers(prepared: Prepared, tmp_path: Path) -> None:
    """The spawner alone may be able to read the key; a worker that is lost is replaced by one as the others."""
    spawner = start_spawner(prepared, lambda: prepared, say_certificate)
    try:
        old = prepared.contexts.certificates[0].chain[0].serial_number
        assert not spawner.changed()
        (tmp_path / "chain.pem").unlink()  # config() writes another pair
        config(tmp_path, BACKENDS)
        assert [spawner.changed() for _ in range(3)] == [False, True, False]
        certificate = spawner.renewed().contexts.certificates[0]
        new = certificate.chain[0].serial_number
        assert certificate.key is None
        assert (old != new, served(spawner), served(spawner, new=True)) == (True, old, new)
        spawner.adopt()
        assert served(spawner) == new
        assert [spawner.changed() for _ in range(3)] == [False, False, False]
    finally:
        spawner.close()
        _reap(spawner.pid)


def test_a_pair_that_does_not_fit_is_a_fault_and_no_more(start: Start, tmp_path: Path) -> None:
    spawner = start()
    (tmp_path / "key.pem").write_text("half a k")
    assert [spawner.changed() for _ in range(2)] == [False, True]
    with pytest.raises(SpawnFault, match=r"key\.pem: holds no PEM private key"):
        spawner.renewed()
    assert forked(spawner)[1] == HOSTNAME
