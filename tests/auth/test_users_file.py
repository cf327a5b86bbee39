"""The source "users-file": who is right, that a stranger costs the same, and that the file is followed."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from tlsgate.auth import users_file
from tlsgate.auth.judgement import Finding
from tlsgate.auth.users_file import CHECKING, LARGEST, PATIENCE, POLL, Content, UnusableFile, UsersFile, load
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import Refusal, Refused

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # secret
OTHER = "{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="  # other
PBKDF2 = "{PBKDF2}$1$JqOAnZT5kbuxS5XV$5000$3239a2b0972504b9df0b922ebbe78230b61a6cc1"
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)


class Source:
    """A users file, the source that follows it, and what was told."""

    def __init__(self, path: Path, *lines: str) -> None:
        self.path = path
        self.told: list[Content | str] = []
        self.write(*lines)
        self._ask = UsersFile(path, load(path), self.told.append)

    def write(self, *lines: str) -> None:
        """As an editor does: a new file in the old one's place."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.chmod(0o640)
        if self.path.is_dir():
            self.path.rmdir()
        new.rename(self.path)

    def overwrite(self, line: str) -> None:
        """In place, as a script does."""
        self.path.write_text(f"{line}\n")
        os.utime(self.path, ns=(1, 1))

    def damage(self, what: str) -> None:
        self.path.unlink()
        match what:
            case "directory":
                self.path.mkdir()
            case "pipe":
                os.mkfifo(self.path)
            case "empty":
                self.path.touch()
            case "large":
                self.path.write_text("#" * 1001)
            case "dangling":
                self.path.symlink_to("nowhere")

    async def ask(self, user: str, typed: str = "secret", authzid: str = "") -> Finding | Refused | None:
        return await self._ask(Credentials(user, typed.encode(), authzid))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


# -- who is right ----------------------------------------------------------------------------------------


async def test_right_wrong_unknown_and_locked(path: Path) -> None:
    source = Source(path, f"ann:{SHA}", "bob:!", f"cay:{PBKDF2}")
    assert await source.ask("ann") is Finding.RIGHT
    assert await source.ask("cay") is Finding.RIGHT
    assert await source.ask("ann", "other") == WRONG
    assert await source.ask("bob") == WRONG  # though it is the password of the dummy
    assert await source.ask("bob", "!") == WRONG
    assert await source.ask("dan") is None
    assert await source.ask("Ann") is None


async def test_nobody_is_right_by_a_file_without_a_hash(path: Path) -> None:
    source = Source(path, "bob:", "cay:*")
    assert await source.ask("bob") == WRONG
    assert await source.ask("cay", "*") == WRONG
    assert await source.ask("dan") is None


async def test_nobody_acts_as_somebody_else(path: Path) -> None:
    source = Source(path, f"ann:{SHA}", f"bob:{SHA}")
    assert await source.ask("ann", authzid="ann") is Finding.RIGHT
    assert await source.ask("ann", authzid="bob") == Refused(Refusal.AUTHORIZATION_FAILED)


@pytest.mark.parametrize("user", ["ann", "bob", "dan"])
async def test_a_stranger_costs_what_a_wrong_password_costs(
    path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """Else names can be told from the time that an answer takes."""
    source = Source(path, f"ann:{PBKDF2}", "bob:!", f"cay:{PBKDF2}", f"eve:{SHA}")
    rounds: list[int] = []
    derive = hashlib.pbkdf2_hmac

    def recorded(name: str, secret: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return derive(name, secret, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", recorded)
    assert await source.ask(user, "wrong") in (WRONG, None)
    assert rounds == [5000]


# -- off the loop, within bounds -------------------------------------------------------------------------


async def test_checks_are_bounded_and_who_waits_too_long_is_not_called_wrong(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """A flood of guesses must not make right passwords wrong ones, nor block the loop."""
    source = Source(path, f"ann:{SHA}")
    found: list[Finding | Refused | None] = []

    async def ask() -> None:
        found.append(await source.ask("ann"))

    async with trio.open_nursery() as nursery:
        holders = [object() for _ in range(int(CHECKING.total_tokens))]
        for holder in holders:
            CHECKING.acquire_on_behalf_of_nowait(holder)
        try:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert CHECKING.statistics().tasks_waiting == 1
            mock_clock.jump(PATIENCE)
        finally:
            await trio.testing.wait_all_tasks_blocked()
            for holder in holders:
                CHECKING.release_on_behalf_of(holder)
    assert found == [Finding.UNAVAILABLE]
    assert await source.ask("ann") is Finding.RIGHT


async def test_a_library_that_fails_is_no_wrong_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2 without memory, for one."""
    source = Source(path, f"ann:{PBKDF2}")

    def out_of_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", out_of_memory)
    assert await source.ask("ann") is Finding.UNAVAILABLE


async def test_the_loop_goes_on_while_a_password_is_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(path, f"ann:{PBKDF2}")
    begun, go_on = trio.Event(), threading.Event()
    derive, token = hashlib.pbkdf2_hmac, trio.lowlevel.current_trio_token()

    def slow(name: str, secret: bytes, salt: bytes, iterations: int) -> bytes:
        token.run_sync_soon(begun.set)
        assert go_on.wait(20)
        return derive(name, secret, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.ask, "ann")
        await begun.wait()
        go_on.set()


# -- the file --------------------------------------------------------------------------------------------


async def test_a_change_counts_within_five_seconds(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}", f"bob:{SHA}")
    source.write("ann:!", f"cay:{OTHER}", "dan:{PLAIN}hunter2")
    mock_clock.jump(POLL - 0.5)
    assert await source.ask("ann") is Finding.RIGHT  # not looked at for each login
    assert source.told == []
    mock_clock.jump(0.5)
    assert await source.ask("ann") == WRONG
    assert await source.ask("bob") is None
    assert await source.ask("cay", "other") is Finding.RIGHT
    (content,) = source.told
    assert isinstance(content, Content)
    assert [(fault.line, "in clear" in fault.text) for fault in content.remarks()] == [(3, True)]


async def test_a_file_that_has_not_changed_is_not_read_again(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    for _ in range(3):
        mock_clock.jump(POLL)
        assert await source.ask("ann") is Finding.RIGHT
    assert source.told == []


async def test_a_change_in_place_of_the_same_length_is_seen(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    source.overwrite(f"ann:{OTHER}")
    mock_clock.jump(POLL)
    assert await source.ask("ann", "other") is Finding.RIGHT


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "empty", "large", "dangling"])
async def test_what_can_not_be_read_leaves_the_old_content_in_force(
    path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A disk that is full or a script that failed half-way must not lock everybody out. Told once, and again anew."""
    source = Source(path, f"ann:{SHA}")
    monkeypatch.setattr(users_file, "LARGEST", 1000)
    source.damage(what)
    for _ in range(3):
        mock_clock.jump(POLL)
        assert await source.ask("ann") is Finding.RIGHT
    (problem,) = source.told
    assert isinstance(problem, str)
    source.write(f"bob:{SHA}")
    mock_clock.jump(POLL)
    assert await source.ask("bob") is Finding.RIGHT
    assert await source.ask("ann") is None
    assert len(source.told) == 2


async def test_each_loss_of_the_file_is_told(path: Path, mock_clock: trio.testing.MockClock) -> None:
    source = Source(path, f"ann:{SHA}")
    for losses in (1, 2):
        source.damage("missing")
        mock_clock.jump(POLL)
        assert await source.ask("ann") is Finding.RIGHT
        assert sum(isinstance(each, str) for each in source.told) == losses
        source.write(f"ann:{SHA}")
        mock_clock.jump(POLL)
        assert await source.ask("ann") is Finding.RIGHT


async def test_a_login_that_comes_while_the_file_is_read_does_not_wait(
    path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs holds one login up, which may be cancelled, and no other."""
    source = Source(path, f"ann:{SHA}")
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hanging(path: Path) -> Content:
        token.run_sync_soon(begun.set)
        assert go_on.wait(20)
        return load(path)

    monkeypatch.setattr(users_file, "load", hanging)
    source.write(f"ann:{OTHER}")
    mock_clock.jump(POLL)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.ask, "ann")
            await begun.wait()
            mock_clock.jump(POLL)
            assert await source.ask("ann") is Finding.RIGHT
            nursery.cancel_scope.cancel()
        mock_clock.jump(POLL)
        assert await source.ask("ann") is Finding.RIGHT
    finally:
        go_on.set()
    while await source.ask("ann", "other") != Finding.RIGHT:  # once the thread has ended, the next poll reads it
        mock_clock.jump(POLL)


@pytest.mark.parametrize(("mode", "told"), [(0o640, False), (0o600, False), (0o644, True), (0o604, True)])
def test_a_file_that_everybody_can_read_is_told(path: Path, mode: int, told: bool) -> None:
    path.write_text(f"ann:{SHA}\n")
    path.chmod(mode)
    assert any("o-r" in each.text for each in load(path).remarks()) is told


def test_remarks_on_the_whole_file(path: Path) -> None:
    path.write_text("x\n" * 150)
    path.chmod(0o600)
    remarks = list(load(path).remarks())
    assert (remarks[0].line, remarks[0].text) == (0, "nobody can log in by it")
    assert (remarks[-1].line, remarks[-1].text) == (0, "50 more lines are faulty")
    assert len(remarks) == 102


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "large"])
def test_a_file_that_can_not_be_used(path: Path, what: str) -> None:
    match what:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            with path.open("wb") as file:
                file.truncate(LARGEST + 1)
    with pytest.raises(UnusableFile, match=r"No such file|no file|larger than 64 MiB"):
        load(path)
