"""List files that change under us: the old list or the new one is in force, never less, and each fault is told once."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tlsgate.admission import lists, reread
from tlsgate.admission.lists import AddressList
from tlsgate.admission.network import parse_client
from tlsgate.admission.reread import Change, ListFile, watch

Event = tuple[str, Path, object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("192.0.2.1\n")
    return path


@pytest.fixture
def change(path: Path) -> Change:
    return Change(path, ListFile(path).listed.stamp)


def _replace(path: Path, text: str) -> None:
    """As an editor or a download tool does it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _networks(news: AddressList | str | None, *addresses: str) -> list[bool]:
    assert isinstance(news, AddressList), news
    return [news.prefixes.find(parse_client(each)) is not None for each in addresses]


def test_a_file_that_stays_is_not_read_again(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reread, "read_list", lambda path: pytest.fail("read again"))
    assert [change.poll() for _ in range(3)] == [None] * 3


def test_a_new_file_is_taken_once_it_rests(path: Path, change: Change) -> None:
    """The first half of a file that is being written must not be in force."""
    _replace(path, "192.0.2.1\n")
    assert change.poll() is None
    _replace(path, "192.0.2.2\n192.0.2.3\n")
    assert change.poll() is None
    assert _networks(change.poll(), "192.0.2.1", "192.0.2.2") == [False, True]
    assert change.poll() is None


def test_a_file_that_never_rests_is_taken_all_the_same(path: Path, change: Change) -> None:
    polls = []
    for number in range(2, 8):
        with path.open("a") as file:
            file.write(f"192.0.2.{number}\n")
        polls.append(change.poll())
    taken = [news for news in polls if news is not None]
    assert polls[0] is None
    assert _networks(taken[0], "192.0.2.1", "192.0.2.6") == [True, True]


def test_a_change_in_place_of_equal_size_and_time_is_seen(path: Path, change: Change) -> None:
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock for files ticks every few ms
        path.write_text("192.0.2.9\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    change.poll()
    assert _networks(change.poll(), "192.0.2.1", "192.0.2.9") == [False, True]


def test_the_swap_of_a_directory_behind_a_link_is_seen(tmp_path: Path) -> None:
    """How Kubernetes updates a mounted ConfigMap: list.txt -> ..data/list.txt, ..data -> a new directory."""
    for name, content in (("one", "192.0.2.1\n"), ("two", "192.0.2.2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.txt").write_text(content)
    (tmp_path / "..data").symlink_to("one")
    path = tmp_path / "list.txt"
    path.symlink_to("..data/list.txt")
    change = Change(path, ListFile(path).listed.stamp)
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    change.poll()
    assert _networks(change.poll(), "192.0.2.1", "192.0.2.2") == [False, True]


def _vanish(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    os.truncate(path, lists.MOST_BYTES + 1)


def _no_list(path: Path) -> None:
    path.write_text("<html>\n")


def _empty(path: Path) -> None:
    path.write_text("")


def _blank(path: Path) -> None:
    path.write_text("\n \t\r\n\n")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_vanish, "No such file"),
        (_directory, "is not a file"),
        (_loop, "symbolic link"),
        (_pipe, "is not a file"),
        (_huge, "larger than 64 MiB"),
        (_no_list, "no line of it is a prefix"),
        (_empty, "is empty; keep a comment line in it to mean that"),
        (_blank, "is empty; keep a comment line in it to mean that"),
    ],
)
def test_what_cannot_be_read_is_told_once_until_it_changes(
    path: Path, change: Change, damage: Callable[[Path], None], fault: str
) -> None:
    damage(path)
    polls = [change.poll() for _ in range(6)]
    told = [news for news in polls if news is not None]
    assert len(told) == 1
    assert isinstance(told[0], str)
    assert told[0].startswith(f"{path}: ")
    assert fault in told[0]
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_text("192.0.2.2 # new\n")
    news = [change.poll() for _ in range(3)]
    assert [each for each in news if isinstance(each, AddressList)]


def test_a_file_with_only_a_comment_is_a_list_that_was_emptied(path: Path, change: Change) -> None:
    path.write_text("\n; none today\n")
    assert change.poll() is None
    assert _networks(change.poll(), "192.0.2.1") == [False]


def test_what_is_no_list_is_not_read_again_while_it_stays(
    path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million lines cost seconds, and each poll would pay them."""
    _no_list(path)
    assert [type(change.poll()) for _ in range(2)] == [type(None), str]
    monkeypatch.setattr(reread, "read_list", lambda path: pytest.fail("read again"))
    assert [change.poll() for _ in range(3)] == [None] * 3


def test_a_fault_that_follows_another_is_told(path: Path, change: Change) -> None:
    _no_list(path)
    assert isinstance([change.poll() for _ in range(3)][1], str)
    _vanish(path)
    assert [change.poll(), type(change.poll()), change.poll()] == [None, str, None]


def test_the_same_fault_after_a_good_list_is_told_again(path: Path, change: Change) -> None:
    for text in ("192.0.2.2 # new\n", "192.0.2.2 # newer\n"):
        path.unlink()
        assert [type(change.poll()) for _ in range(3)] == [type(None), str, type(None)]
        path.write_text(text)
        assert [type(change.poll()) for _ in range(2)] == [type(None), AddressList]


def test_a_file_that_is_back_as_it_was_is_well(tmp_path: Path, path: Path, change: Change) -> None:
    """A file system that was away: nothing to read, and the next time it goes is news again."""
    there = path.parent
    away = there.with_name("away")
    for _ in range(2):
        there.rename(away)
        assert [type(change.poll()) for _ in range(3)] == [type(None), str, type(None)]
        away.rename(there)
        assert change.poll() is None


def test_an_error_while_reading_is_tried_again(path: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk's or a network's error goes without a change of the file."""

    def broken(path: Path) -> AddressList:
        raise OSError(5, "Input/output error")

    _replace(path, "192.0.2.2\n")
    with monkeypatch.context() as patched:
        patched.setattr(reread, "read_list", broken)
        polls = [change.poll() for _ in range(4)]
    assert [news for news in polls if news] == [f"{path}: Input/output error; name a readable file that lists prefixes"]
    assert _networks(change.poll(), "192.0.2.2") == [True]


class _Told:
    """What a watch told, in order; ``events.receive`` waits for the next."""

    def __init__(self) -> None:
        self._send, self.events = trio.open_memory_channel[Event](math.inf)

    def list_reloaded(self, path: Path, prefixes: int, bad_lines: int) -> None:
        self._send.send_nowait(("reloaded", path, (prefixes, bad_lines)))

    def list_bad_line(self, path: Path, line: int, reason: str) -> None:
        self._send.send_nowait(("bad_line", path, (line, reason)))

    def list_unreadable(self, path: Path, fault: str) -> None:
        self._send.send_nowait(("unreadable", path, fault))


async def test_a_watch_keeps_each_list_as_its_file_is(
    path: Path, tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("2001:db8::/32\n")
    first, second = ListFile(path), ListFile(other)
    told = _Told()
    nursery.start_soon(watch, [first, second], told)
    old = first.listed
    _replace(path, "192.0.2.2\nbad\n")
    assert await told.events.receive() == ("reloaded", path, (1, 1))
    assert await told.events.receive() == ("bad_line", path, (2, '"bad" is not a prefix'))
    assert first.find(parse_client("192.0.2.2")) is not None
    assert first.find(parse_client("192.0.2.1")) is None
    assert old.prefixes.find(parse_client("192.0.2.1")) is not None, "a list in use was changed"
    other.unlink()
    event, about, _ = await told.events.receive()
    assert (event, about) == ("unreadable", other)
    assert second.find(parse_client("2001:db8::1")) is not None
    _replace(path, "# none any more\n")
    assert await told.events.receive() == ("reloaded", path, (0, 0))
    assert await told.events.receive() == ("bad_line", path, (0, "lists nothing"))
    assert first.find(parse_client("192.0.2.2")) is None


async def test_a_file_that_was_emptied_leaves_its_list_in_force(
    path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A download that failed would let in everybody who was blocked."""
    file, told = ListFile(path), _Told()
    nursery.start_soon(watch, [file], told)
    _empty(path)
    event, about, _ = await told.events.receive()
    assert (event, about) == ("unreadable", path)
    assert file.find(parse_client("192.0.2.1")) is not None


async def test_a_watch_reads_nothing_on_the_loop(
    path: Path, autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that hangs would hold every session."""
    polls_on_the_loop: list[bool] = []
    poll = Change.poll

    def noted(change: Change) -> AddressList | str | None:
        polls_on_the_loop.append(trio.lowlevel.in_trio_run())
        return poll(change)

    monkeypatch.setattr(Change, "poll", noted)
    told = _Told()
    nursery.start_soon(watch, [ListFile(path)], told)
    _replace(path, "192.0.2.2\n")
    await told.events.receive()
    assert polls_on_the_loop == [False, False]


async def test_a_file_system_that_hangs_holds_neither_other_lists_nor_the_end(
    path: Path, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("192.0.2.1\n")
    hanging = threading.Event()
    stamp_of = lists.stamp_of

    def hang(asked: Path) -> lists.Stamp:
        if asked == other:
            hanging.wait()
        return stamp_of(asked)

    files, told = [ListFile(other), ListFile(path)], _Told()
    monkeypatch.setattr(reread, "stamp_of", hang)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, files, told)
            _replace(path, "192.0.2.2\n")
            assert (await told.events.receive())[:2] == ("reloaded", path)
            nursery.cancel_scope.cancel()
    finally:
        hanging.set()
