"""Admission of a whole process: bans that outlive it, lists that follow their files, and reloads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.gate import BanRecords
from tlsgate import config
from tlsgate.admission.ban_file import BanFile
from tlsgate.admission.bans import Ban, Bans
from tlsgate.admission.door import Entry
from tlsgate.admission.gatehouse import Gatehouse
from tlsgate.admission.network import parse_client, parse_network
from tlsgate.admission.rules import AddressRules, load_rules

HOUR = 3600.0
NETWORK = parse_network("192.0.2.0/24")[0]
OTHER = parse_network("198.51.100.0/24")[0]
CLIENT = parse_client("192.0.2.7")


class Told(BanRecords):
    """What is told of admission as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = trio.Event()
        self.faults: list[tuple[str, str]] = []
        self.lists: list[str] = []

    def unbanned(self, network: str, reason: str) -> None:
        super().unbanned(network, reason)
        self.ended.set()

    def ban_file_fault(self, path: str, reason: str) -> None:
        self.faults.append((path, reason))

    def list_reloaded(self, path: Path, prefixes: int, bad_lines: int) -> None:
        self.lists.append(f"{path.name}: {prefixes}")

    def list_bad_line(self, path: Path, line: int, reason: str) -> None:
        self.lists.append(f"{path.name}:{line}")

    def list_unreadable(self, path: Path, fault: str) -> None:
        self.lists.append(f"{path.name} unreadable")

    def state_up(self) -> None: ...
    def state_down(self, reason: str) -> None: ...
    def state_fault(self, reason: str) -> None: ...


def settings(directory: Path | None = None, admission: config.Admission | None = None, **limits: int) -> config.Config:
    tls = config.Tls(certificate=Path("chain.pem"), private_key=Path("key.pem"))
    listener = config.Listener(
        name="imaps",
        protocol=config.Protocol.IMAP,
        address=config.HostPort("127.0.0.1", 993),
        tls=config.TlsMode.IMPLICIT,
        pool="imap",
    )
    backend = config.Backend(address=config.HostPort("127.0.0.1", 143))
    return config.Config(
        server=config.Server(hostname="mail.example.org", state_directory=directory),
        tls=tls,
        listeners=(listener,),
        pools={"imap": config.Pool(backends=(backend,))},
        admission=admission or config.Admission(),
        limits=msgspec.structs.replace(config.Limits(), **limits),
    )


def gatehouse(told: Told, directory: Path | None) -> Gatehouse:
    return Gatehouse(settings(directory), AddressRules(), told)


@asynccontextmanager
async def running(house: Gatehouse) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.run)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clock() -> MockClock:
    """Time passes only while everybody waits; a thread that writes a file isn't waited for, so it has a moment."""
    return MockClock(autojump_threshold=0.05)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _in_file(directory: Path) -> list[str]:
    bans = Bans(BanRecords())
    bans.load(BanFile(directory).read() or b"[]")
    return [ban.network for ban in bans.active()]


# -- bans that outlive a restart -------------------------------------------------------------------------


async def test_a_ban_is_saved_within_two_seconds(clock: MockClock, told: Told, tmp_path: Path) -> None:
    """A crash gives no last chance."""
    house = gatehouse(told, tmp_path)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await trio.sleep(2)
        assert _in_file(tmp_path) == ["192.0.2.0/24"]
        house.bans.lift(NETWORK, "admin")
        await trio.sleep(2)
        assert _in_file(tmp_path) == []
    assert not told.faults


async def test_what_comes_last_is_saved_at_the_end(clock: MockClock, told: Told, tmp_path: Path) -> None:
    house = gatehouse(told, tmp_path)
    async with running(house):
        await wait_all_tasks_blocked()
        house.bans.punish(NETWORK, HOUR, "failed logins")
    assert _in_file(tmp_path) == ["192.0.2.0/24"]


async def test_the_next_process_has_the_bans_of_the_last(told: Told, tmp_path: Path) -> None:
    first = gatehouse(told, tmp_path)
    async with running(first):
        await wait_all_tasks_blocked()
        ban = first.bans.punish(NETWORK, HOUR, "failed logins")
    second = gatehouse(told, tmp_path)
    assert second.bans.find(CLIENT) == ban
    assert not isinstance(second.door.enter(CLIENT), Entry)
    assert told.banned_networks == [ban]  # it is no news at the second start
    second.bans.lift(NETWORK, "admin")
    assert second.bans.punish(OTHER, HOUR, "failed logins").count == 1


async def test_without_a_directory_nothing_is_written(
    clock: MockClock, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    house = gatehouse(told, None)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await trio.sleep(3)
    assert _names(tmp_path) == []
    assert not told.faults


class Slow:
    """Holds each write of a ban file until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writing = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        write = BanFile.write

        def slowly(file: BanFile, encoded: bytes) -> None:
            self.writing.release()
            assert self.go_on.acquire(timeout=20)
            write(file, encoded)

        monkeypatch.setattr(BanFile, "write", slowly)

    async def until_it_writes(self) -> None:
        assert await trio.to_thread.run_sync(lambda: self.writing.acquire(timeout=20))


async def test_a_ban_that_comes_while_the_file_is_written_is_saved_next(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, house = Slow(monkeypatch), gatehouse(told, tmp_path)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await slow.until_it_writes()
        house.bans.punish(OTHER, HOUR, "failed logins")
        slow.go_on.release()
        await slow.until_it_writes()
        slow.go_on.release()
    assert _in_file(tmp_path) == ["192.0.2.0/24", "198.51.100.0/24"]


async def test_a_ban_that_comes_just_before_the_writing_thread_begins_is_saved(
    clock: MockClock, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the snapshot and the thread's first step others have their turn: a ban then is in no snapshot yet."""
    house = gatehouse(told, tmp_path)
    snapshot, late = house.bans.snapshot, [OTHER]

    def snapshot_and_ban() -> tuple[Ban, ...]:
        bans = snapshot()
        if late:
            house.bans.punish(late.pop(), HOUR, "failed logins")
        return bans

    monkeypatch.setattr(house.bans, "snapshot", snapshot_and_ban)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await trio.sleep(1.5)
        assert not late
        await trio.sleep(2)
        assert _in_file(tmp_path) == ["192.0.2.0/24", "198.51.100.0/24"]
    assert _in_file(tmp_path) == ["192.0.2.0/24", "198.51.100.0/24"]


async def test_to_be_ended_while_the_file_is_written_loses_nothing(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, house = Slow(monkeypatch), gatehouse(told, tmp_path)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await slow.until_it_writes()
        house.bans.punish(OTHER, HOUR, "failed logins")
        slow.go_on.release()
        slow.go_on.release()
    assert _in_file(tmp_path) == ["192.0.2.0/24", "198.51.100.0/24"]


async def test_a_slow_disk_does_not_hold_up_sessions(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, house = Slow(monkeypatch), gatehouse(told, tmp_path)
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
        await slow.until_it_writes()
        with trio.fail_after(5):
            await trio.sleep(0.01)
        slow.go_on.release()


# -- files that can't be used ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"nonsense", b'[{"network":"192.0.2.0/24"', b'[{"x":' + b"[" * 100_000])
async def test_garbage_is_told_and_overwritten_by_the_next_ban(
    clock: MockClock, told: Told, tmp_path: Path, content: bytes
) -> None:
    """A gateway that doesn't start for its list of bans lets nobody read mail."""
    path = tmp_path / "bans.json"
    path.write_bytes(content)
    house = gatehouse(told, tmp_path)
    assert told.faults == [(str(path), "not a list of bans")]
    assert len(house.bans) == 0
    async with running(house):
        house.bans.punish(NETWORK, HOUR, "failed logins")
    assert _in_file(tmp_path) == ["192.0.2.0/24"]
    assert len(told.faults) == 1


async def test_a_file_that_cannot_be_read_is_told(told: Told, tmp_path: Path) -> None:
    (tmp_path / "bans.json").mkdir()
    house = gatehouse(told, tmp_path)
    assert told.faults == [(str(tmp_path / "bans.json"), "Is a directory")]
    assert isinstance(house.door.enter(CLIENT), Entry)


async def test_a_directory_that_cannot_be_written_is_told_once_and_tried_again(
    clock: MockClock, told: Told, tmp_path: Path
) -> None:
    """A disk that was full for an hour must not cost the bans of that hour, nor fill the log."""
    directory = tmp_path / "state"
    house = gatehouse(told, directory)
    async with running(house):
        for number in range(20):
            house.bans.punish(parse_network(f"192.0.{number}.0/24")[0], HOUR, "failed logins")
            await trio.sleep(1.5)
        assert told.faults == [(str(directory / "bans.json"), "No such file or directory")]
        directory.mkdir()
        await trio.sleep(3)
        assert len(_in_file(directory)) == 20
        directory.rename(tmp_path / "gone")
        house.bans.lift(parse_network("192.0.3.0/24")[0], "admin")
        await trio.sleep(3)
        assert len(told.faults) == 2  # it was well in between
        directory.mkdir()
    assert len(_in_file(directory)) == 19


# -- time ------------------------------------------------------------------------------------------------


async def test_the_end_of_a_ban_is_told_by_itself(told: Told, tmp_path: Path) -> None:
    house = gatehouse(told, tmp_path)
    async with running(house):
        house.bans.punish(NETWORK, 0.1, "failed logins")
        with trio.fail_after(20):
            await told.ended.wait()
    assert told.unbanned_networks == [("192.0.2.0/24", "time")]


# -- reloads ---------------------------------------------------------------------------------------------


def _list(directory: Path, text: str) -> tuple[Path, AddressRules]:
    path = directory / "drop.txt"
    path.write_text(text)
    return path, load_rules(config.Admission(block=(path,)))


async def test_lists_follow_their_files_before_and_after_a_reload(clock: MockClock, told: Told, tmp_path: Path) -> None:
    path, rules = _list(tmp_path, "203.0.113.0/24\nnonsense\n")
    house = Gatehouse(settings(), AddressRules(), told)
    async with running(house):
        await trio.sleep(10)
        assert told.lists == []
        house.apply(settings(), rules, 100)
        await trio.sleep(1)
        assert told.lists == ["drop.txt:2"]
        assert isinstance(house.door.enter(CLIENT), Entry)
        path.write_text("192.0.2.0/24\n")
        await trio.sleep(10)
        assert told.lists == ["drop.txt:2", "drop.txt: 1"]
        assert not isinstance(house.door.enter(CLIENT), Entry)
        house.apply(settings(), AddressRules(), 100)
        await trio.sleep(1)
        path.write_text("198.51.100.0/24\n")
        await trio.sleep(10)
        assert len(told.lists) == 2  # nobody asks for it any more


async def test_many_reloads_at_once_leave_one_watch(clock: MockClock, told: Told, tmp_path: Path) -> None:
    path, rules = _list(tmp_path, "203.0.113.0/24\n")
    house = gatehouse(told, None)
    async with running(house):
        for _ in range(5):
            house.apply(settings(), rules, 100)
        await trio.sleep(1)
        for _ in range(5):
            house.apply(settings(), rules, 100)
            await trio.lowlevel.checkpoint()
        path.write_text("192.0.2.0/24\n")
        await trio.sleep(10)
        assert told.lists == ["drop.txt: 1"]


async def test_a_reload_brings_new_limits_and_keeps_who_is_in_and_banned(told: Told) -> None:
    house = gatehouse(told, None)
    entries = [house.door.enter(CLIENT) for _ in range(3)]
    house.bans.punish(OTHER, HOUR, "failed logins")
    house.apply(settings(connections_per_network=2, handshakes=7), AddressRules(), 4)
    assert house.handshakes.limit == 7
    assert house.door.used == 3
    assert not isinstance(house.door.enter(CLIENT), Entry)
    assert not isinstance(house.door.enter(parse_client("198.51.100.1")), Entry)
    assert isinstance(house.door.enter(parse_client("9.9.9.9")), Entry)
    assert not isinstance(house.door.enter(parse_client("9.9.9.8")), Entry)  # the room is 4
    for entry in entries:
        assert isinstance(entry, Entry)
        house.door.leave(entry)
    assert house.door.used == 1


async def test_trust_that_a_reload_brings_is_for_those_to_come(told: Told) -> None:
    house = gatehouse(told, None)
    house.bans.punish(NETWORK, HOUR, "failed logins")
    trusting = config.Admission(trust=(IPv4Network("192.0.2.0/24"),))
    house.apply(settings(admission=trusting), load_rules(trusting), 100)
    assert isinstance(house.door.enter(CLIENT), Entry)


async def test_penalties_follow_the_config(told: Told) -> None:
    """Their networks are as long as the door's, or a ban would be of another network than the cap."""
    house = gatehouse(told, None)
    before = house.penalties.settings
    changed = settings(ipv4_prefix=24)
    house.apply(changed, AddressRules(), 100)
    assert before == house.penalties.settings == config.Bans()
    for number in range(10):
        await house.penalties.failed(parse_client(f"192.0.2.{number}"), "ann", b"guess %d" % number)
    assert [ban.network for ban in told.banned_networks] == ["192.0.2.0/24"]


async def test_no_two_processes_have_the_same_key(told: Told) -> None:
    """Whoever knows the key of one, from its dump, can check guesses against no other."""
    records = []
    for _ in range(2):
        house = gatehouse(told, None)
        await house.penalties.failed(CLIENT, None, b"open, Sesame 7")
        records.append(house.here.read_now("failures of 192.0.2.7/32"))
    assert records[0] is not None
    assert records[0][-16:] != (records[1] or b"")[-16:]


async def test_who_stalls_in_a_handshake_keeps_the_next_one_out_for_a_moment_only(
    told: Told, autojump_clock: MockClock
) -> None:
    house = Gatehouse(settings(handshakes=1), AddressRules(), told)
    async with running(house):
        await house.handshakes.enter(0)
        assert await house.handshakes.enter(trio.current_time() + 30)
        assert trio.current_time() < 3
