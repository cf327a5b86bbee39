"""Lines by their keys: all are found and no others, within bounds, and no faulty line is."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from tlsgate.auth import line_table
from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.line_table import MOST_FAULTS, LineFault, Lines, LineTable


def key(line: bytes) -> bytes:
    return line.partition(b":")[0]


def check(line: bytes) -> bytes:
    if line.startswith(b"!"):
        raise ValueError("it is faulty")
    return key(line)


def table(data: bytes) -> LineTable:
    return LineTable(data, check, key)


@pytest.mark.parametrize("data", [b"a:1\nb:2", b"a:1\r\nb:2\r\n", b"\xef\xbb\xbfa:1\nb:2\n", b"\n\na:1\n\nb:2\n\n"])
def test_line_ends(data: bytes) -> None:
    found = table(data)
    assert (found.find(b"a"), found.find(b"b"), found.find(b""), found.find(b"c")) == (b"a:1", b"b:2", None, None)
    assert (found.count, found.faulty) == (2, 0)


def test_nothing() -> None:
    assert table(b"").find(b"a") is None
    assert Lines(Path("f"), table(b""), 0, ()).remarks() == [LineFault(0, "names no user")]


def test_every_key_is_found_and_no_other() -> None:
    """In a table of one slot too few, looking for a stranger would never end."""
    for many in (1, 2, 3, 4, 7, 8, 9, 1000):
        found = table(b"".join(b"u%d:%d\n" % (each, each) for each in range(many)))
        assert found.count == many
        assert [found.find(b"u%d" % each) for each in range(many)] == [b"u%d:%d" % (each, each) for each in range(many)]
        assert [found.find(b"v%d" % each) for each in range(1000)] == [None] * 1000


def test_keys_that_share_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_table, "hash", lambda _: 6, raising=False)
    found = table(b"a:1\nb:2\nc:3\n")
    assert [found.find(each) for each in (b"a", b"b", b"c", b"d")] == [b"a:1", b"b:2", b"c:3", None]


def test_the_first_line_of_a_key_counts() -> None:
    found = table(b"a:1\nb:2\na:3\n")
    assert (found.find(b"a"), found.count) == (b"a:1", 2)
    assert found.faults == [LineFault(3, "an earlier line has its user, and counts")]


def test_a_faulty_line_is_left_out_and_reported_by_its_number() -> None:
    found = table(b"a:1\n!x:2\n" + b"b" * 9000 + b":3\nc:4\n")
    assert [each.line for each in found.faults] == [2, 3]
    assert (found.find(b"!x"), found.find(b"c"), found.count) == (None, b"c:4", 2)
    assert not any("bbb" in each.text for each in found.faults)


def test_faults_are_bounded_and_counted() -> None:
    lines = Lines(Path("f"), table(b"!\n" * (MOST_FAULTS + 5) + b"a:\n"), 1, ())
    assert lines.table.faulty == MOST_FAULTS + 5
    assert len(lines.table.faults) == MOST_FAULTS
    assert lines.remarks()[-1] == LineFault(0, "5 more lines are faulty")


def test_too_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file must not keep a thread busy for minutes."""
    monkeypatch.setattr(line_table, "MOST_LINES", 3)
    assert table(b"a:\nb:\nc:\n").count == 3
    with pytest.raises(UnusableFile, match="more than 3 lines"):
        table(b"a:\nb:\nc:\nd:\n")


def test_it_takes_little_more_than_the_file() -> None:
    """Each worker has one: as Python objects, a million users are hundreds of megabytes."""
    data = b"".join(b"user%06d@example.org:pool%d\n" % (each, each % 9) for each in range(20_000))
    tracemalloc.start()
    try:
        found = table(data)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.count == 20_000
    assert taken < 20_000 * 16 + 10_000  # the file itself isn't counted: it was there before
