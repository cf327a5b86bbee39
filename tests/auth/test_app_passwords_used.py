"""When app passwords were used last: what is in the file, when it is written, and that no worker's notes are lost."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from tlsgate.auth import app_passwords_used
from tlsgate.auth.app_passwords_used import PAUSE, LastUses, read_last_uses

NAME = "app-passwords-used.json"


class Notes:
    """What one process notes, and what it was told of faults."""

    def __init__(self, directory: Path | None) -> None:
        self.faults: list[str] = []
        self.uses = LastUses(directory, self.faults.append)


async def resting() -> None:
    """Wait until it has written, and pauses: a thread writes, which no virtual clock waits for."""
    while trio.lowlevel.current_statistics().seconds_to_next_deadline > PAUSE:
        await trio.lowlevel.checkpoint()


async def test_the_first_use_is_written_at_once_and_more_a_minute_later(
    tmp_path: Path, mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    notes = Notes(tmp_path)
    nursery.start_soon(notes.uses.run)
    before = datetime.now(UTC) - timedelta(seconds=1)
    notes.uses.note("ann", "phone")
    await resting()
    assert before <= read_last_uses(tmp_path)["ann", "phone"] <= datetime.now(UTC)
    notes.uses.note("ann", "pad")
    mock_clock.jump(PAUSE - 1)
    await trio.testing.wait_all_tasks_blocked()
    assert list(read_last_uses(tmp_path)) == [("ann", "phone")]
    mock_clock.jump(1)
    await trio.testing.wait_all_tasks_blocked()
    await resting()
    assert set(read_last_uses(tmp_path)) == {("ann", "phone"), ("ann", "pad")}
    assert notes.faults == []


async def test_what_is_noted_when_all_ends_is_written_too(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notes.uses.run)
        await trio.testing.wait_all_tasks_blocked()
        notes.uses.note("ann", "phone")
        nursery.cancel_scope.cancel()
    assert list(read_last_uses(tmp_path)) == [("ann", "phone")]


def test_without_a_state_directory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        notes = Notes(None)
        notes.uses.note("ann", "phone")
        await notes.uses.run()

    monkeypatch.chdir(tmp_path)
    trio.run(run)
    assert list(tmp_path.iterdir()) == []


def test_workers_write_at_once_and_none_loses_anothers(tmp_path: Path) -> None:
    async def worker(number: int) -> None:
        notes = Notes(tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notes.uses.run)
            for each in range(5):
                notes.uses.note(f"user{number}", f"{each}")
            notes.uses.note("ann", "phone")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    threads = [threading.Thread(target=trio.run, args=(worker, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(read_last_uses(tmp_path)) == 8 * 5 + 1
    assert [each.name for each in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def noted_alone(directory: Path) -> None:
    async def run() -> None:
        notes = Notes(directory)
        notes.uses.note("ann", "phone")
        with trio.move_on_after(0):
            await notes.uses.run()
        assert notes.faults == []

    trio.run(run)


def test_a_later_use_of_another_worker_stays(tmp_path: Path) -> None:
    later = datetime(2100, 1, 1, tzinfo=UTC)
    (tmp_path / NAME).write_text(json.dumps([["ann", "phone", later.isoformat()]]))
    noted_alone(tmp_path)
    assert read_last_uses(tmp_path) == {("ann", "phone"): later}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "{}",
        '[["ann"]]',
        '[["ann", "phone", "yesterday"]]',
        '[["ann", "pad", "2026-01-31T00:00:00"]]',
        "\udcff",
    ],
)
def test_a_file_that_is_none_is_begun_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_bytes(content.encode(errors="surrogateescape"))
    assert read_last_uses(tmp_path) == {}
    noted_alone(tmp_path)
    assert list(read_last_uses(tmp_path)) == [("ann", "phone")]


def test_the_file_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are no more leave their notes behind; those used last stay."""
    old = [["ann", f"{year}", f"{year}-01-31T00:00:00Z"] for year in range(2009, 2000, -1)]
    (tmp_path / NAME).write_text(json.dumps(old))
    monkeypatch.setattr(app_passwords_used, "_MOST", 3)
    noted_alone(tmp_path)
    assert set(read_last_uses(tmp_path)) == {("ann", "phone"), ("ann", "2009"), ("ann", "2008")}


async def test_a_fault_is_told_once_and_nothing_is_lost(
    tmp_path: Path, mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    directory = tmp_path / "state"
    notes = Notes(directory)
    nursery.start_soon(notes.uses.run)
    notes.uses.note("ann", "phone")
    for _ in range(3):
        await resting()
        assert notes.faults == [f"{directory / NAME}: No such file or directory"]
        mock_clock.jump(PAUSE)
        await trio.testing.wait_all_tasks_blocked()
    await resting()
    directory.mkdir()
    mock_clock.jump(PAUSE)
    await trio.testing.wait_all_tasks_blocked()
    await resting()
    assert list(read_last_uses(directory)) == [("ann", "phone")]
