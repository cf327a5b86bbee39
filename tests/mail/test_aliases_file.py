"""The file of aliases changes under us: the old or the new aliases are in force, never less."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tlsgate.dialogue.smtp_syntax import Path as MailPath
from tlsgate.mail import aliases_file
from tlsgate.mail.aliases_file import LARGEST, POLL, AliasesFile, Content, UnusableAliases, load, tell_remarks, watch

Event = tuple[str, object, object]


class Trace:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def aliases_reloaded(self, path: Path, logins: int, bad_lines: int) -> None:
        self.told.append(("reloaded", logins, bad_lines))

    def aliases_bad_line(self, path: Path, line: int, reason: str) -> None:
        self.told.append(("bad line", line, reason))

    def aliases_unreadable(self, path: Path, fault: str) -> None:
        self.told.append(("unreadable", path, fault))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "aliases"
    path.write_text("ann: a@a.test\n")
    return path


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _may(file: AliasesFile, user: str, sender: str) -> bool:
    return file.aliases.may_send(user, MailPath(sender))


def _polled(file: AliasesFile) -> Content | str | None:
    news = file.poll()
    if isinstance(news, Content):
        file.take(news)
    return news


def test_a_change_is_taken_once_it_rests(path: Path) -> None:
    """Half of a file that is being written would refuse mail of those in its other half."""
    file = AliasesFile(path)
    assert _polled(file) is None
    path.write_text("bob: b@a.test\n")
    os.utime(path, ns=(1, 1))
    assert _polled(file) is None
    path.write_text("bob: b@a.test\ncay: c@a.test\n")
    os.utime(path, ns=(2, 2))
    assert _polled(file) is None
    assert _may(file, "ann", "a@a.test")
    assert isinstance(_polled(file), Content)
    assert _may(file, "cay", "c@a.test") and not _may(file, "ann", "a@a.test")
    assert _polled(file) is None


def _damage(path: Path, what: str) -> None:
    path.unlink()
    match what:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "large":
            with path.open("wb") as file:
                file.truncate(LARGEST + 1)


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "empty", "large"])
def test_what_can_not_be_used_leaves_the_old_aliases(path: Path, what: str) -> None:
    """A disk that is full or a script that failed must not stop everybody's mail. Told once, and again anew."""
    file = AliasesFile(path)
    for _ in range(2):
        _damage(path, what)
        assert [isinstance(_polled(file), str) for _ in range(4)] == [False, True, False, False]
        assert _may(file, "ann", "a@a.test")
        if path.is_dir():
            path.rmdir()
        _replace(path, "ann: a@a.test\n")
        news = [_polled(file) for _ in range(2)]
        assert isinstance(news[1], Content)


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "large"])
def test_a_file_that_can_not_be_used(path: Path, what: str) -> None:
    _damage(path, what)
    with pytest.raises(UnusableAliases, match=r"No such file|no file|larger than 16 MiB"):
        load(path)


def test_an_empty_file_to_begin_with(path: Path) -> None:
    """Whoever begins without aliases may add some."""
    path.write_text("")
    file = AliasesFile(path)
    _replace(path, "ann: a@a.test\n")
    assert [isinstance(_polled(file), Content) for _ in range(2)] == [False, True]


async def test_watch(path: Path, mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0.05
    trace = Trace()
    _replace(path, "ann: a@a.test\nx\n")
    file = AliasesFile(path)
    tell_remarks(file, trace)
    assert [each[:2] for each in trace.told] == [("bad line", 2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, file, trace)
        await trio.sleep(POLL * 2)
        _replace(path, "bob: b@a.test\ny\n\nz\n")
        await trio.sleep(POLL * 4)
        assert [each[:2] for each in trace.told[1:]] == [("reloaded", 1), ("bad line", 2), ("bad line", 4)]
        assert _may(file, "bob", "b@a.test")
        _damage(path, "missing")
        await trio.sleep(POLL * 6)
        assert [each[0] for each in trace.told[4:]] == ["unreadable"]
        assert _may(file, "bob", "b@a.test")
        nursery.cancel_scope.cancel()


async def test_the_loop_goes_on_while_a_disk_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    file = AliasesFile(path)

    def hanging(path: Path) -> Content:
        token.run_sync_soon(begun.set)
        assert go_on.wait(20)
        raise UnusableAliases("late")

    monkeypatch.setattr(aliases_file, "_stamp_at", hanging)
    monkeypatch.setattr(aliases_file, "POLL", 0.0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, file, Trace())
            await begun.wait()
            assert _may(file, "ann", "a@a.test")
            nursery.cancel_scope.cancel()
    finally:
        go_on.set()
