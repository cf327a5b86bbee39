"""The user map: who is led where under which name, and that a faulty line leads nobody anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.auth import followed
from tlsgate.auth.followed import UnusableFile
from tlsgate.auth.master import Master
from tlsgate.auth.user_map import Fit, Place, UserMap, fit_pools, load
from tlsgate.config import Protocol
from tlsgate.config import load as load_config

FIT: Fit = {
    Protocol.IMAP: dict.fromkeys(("imap1", "imap2")),
    Protocol.POP3: {"pop": None},
    Protocol.SUBMISSION: {"smtp": None},
}
MASTER = Master("root", "*", b"any")


def read(directory: Path, text: str | bytes, fit: Fit = FIT) -> UserMap:
    path = directory / "map"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, fit)


def test_places(tmp_path: Path) -> None:
    users = read(
        tmp_path,
        """\
# all of them
ann@example.org imap=imap2 submission=smtp  as=ann.old   # moved
bob\timap=imap1\tpop3=pop
  cay as=C
dan#x imap=imap1
""",
    )
    assert users.remarks() == []
    assert users.table.count == 4
    assert users.place("ann@example.org", Protocol.IMAP) == Place("imap2", "ann.old")
    assert users.place("ann@example.org", Protocol.POP3) == Place(None, "ann.old")
    assert users.place("ann@example.org", Protocol.SUBMISSION) == Place("smtp", "ann.old")
    assert users.place("bob", Protocol.POP3) == Place("pop")
    assert users.place("cay", Protocol.IMAP) == Place(None, "C")
    assert users.place("dan#x", Protocol.IMAP) == Place("imap1")
    for stranger in ("ann", "dan", "#", "# all", "bob\timap=imap1", "ann@example.org imap=imap2", "eve"):
        assert users.place(stranger, Protocol.IMAP) == Place()


def test_only_ascii_has_two_cases(tmp_path: Path) -> None:
    """As for routes: the Kelvin sign and the long s are other letters, and another user's."""
    users = read(tmp_path, "Ks\u00e4 imap=imap1\n")
    assert users.place("kS\u00e4", Protocol.IMAP).pool == "imap1"
    for other in ("\u212as\u00e4", "k\u017f\u00e4", "ks\u00c4"):
        assert users.place(other, Protocol.IMAP) == Place()


def test_blanks_beyond_ascii_are_part_of_names(tmp_path: Path) -> None:
    users = read(tmp_path, "a\u00a0b imap=imap1\n")
    assert users.place("a\u00a0b", Protocol.IMAP) == Place("imap1")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann", "says nothing of its user"),
        ("ann # imap=imap1", "says nothing of its user"),
        ("ann imap", '"imap" isn\'t'),
        ("ann mx=smtp", '"mx=smtp" isn\'t'),
        ("ann IMAP=imap1", "isn't imap=POOL"),
        ("ann imap=", "imap is empty"),
        ("ann imap=imap1 imap=imap2", "imap is said twice"),
        ("ann imap=imap3", 'pool "imap3" isn\'t there'),
        ("ann imap=pop", 'pool "pop" isn\'t there, or nothing says that it is for imap'),
        ("ann imap=imap1 submission=imap1", 'pool "imap1" isn\'t'),
        ("ann as=a\x01b", "no backend takes its name"),
        ("ann as=" + "a" * 513, "no backend takes its name"),
        ("a\x01n imap=imap1", "nobody can log in so"),
        ("a" * 513 + " imap=imap1", "nobody can log in so"),
        (b"a\xff imap=imap1", "isn't UTF-8"),
        (b"ann as=\xff", "isn't UTF-8"),
        ("ann imap=\x1b[2J", "\\x1b[2J"),  # made harmless for the log
    ],
)
def test_a_faulty_line_counts_for_nothing(tmp_path: Path, line: str | bytes, why: str) -> None:
    """Half of one would lead a user to a pool where its mail isn't, or to a backend of another protocol."""
    octets = line if isinstance(line, bytes) else line.encode()
    users = read(tmp_path, octets + b"\nbob imap=imap1\n")
    (fault,) = users.remarks()
    assert fault.line == 1
    assert why in fault.text
    assert users.place("ann", Protocol.IMAP) == Place()
    assert users.place("bob", Protocol.IMAP) == Place("imap1")


@pytest.mark.parametrize(
    ("line", "faulty"),
    [
        ("ann imap=imap1 as=ann*old", True),
        ("ann imap=imap1 pop3=pop as=ann*old", True),
        ("ann imap=imap2 as=ann*old", False),  # the other pool has another way in
        ("ann imap=imap1 as=ann.old", False),
        ("ann imap=imap1 as=" + "a" * 510, True),  # with the master's own name behind it
        ("ann as=ann*old", False),  # where ann goes is known when she comes
    ],
)
def test_a_name_that_no_master_can_open(tmp_path: Path, line: str, faulty: bool) -> None:
    """Its user would be sent to the administrator at each login, who has seen nothing in the file."""
    fit = dict(FIT) | {Protocol.IMAP: {"imap1": MASTER, "imap2": None}}
    users = read(tmp_path, f"{line}\nbob imap=imap1\n", fit)
    assert [each.text.partition(":")[0] for each in users.remarks()] == ["no master user can open its name"] * faulty


def test_a_name_that_no_pool_can_take_wherever_it_goes(tmp_path: Path) -> None:
    fit = {each: dict.fromkeys(pools, MASTER) for each, pools in FIT.items()}
    assert len(read(tmp_path, "ann as=ann*old\nbob as=bob.old\n", fit).remarks()) == 1


def test_a_user_in_two_lines(tmp_path: Path) -> None:
    users = read(tmp_path, "ann imap=imap1\nAnn imap=imap2\n")
    assert users.place("ANN", Protocol.IMAP) == Place("imap1")
    assert [each.line for each in users.remarks()] == [2]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "LARGEST", 100)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * 101)
    for name in ("none", ".", "pipe", "large"):
        with pytest.raises(UnusableFile):
            load(tmp_path / name, FIT)


def test_which_pools_it_may_name() -> None:
    """Those of the config as it is served; without a map in it, there are none."""
    full = load_config(Path(__file__).parent.parent / "config" / "full.toml")
    assert list(fit_pools(full).values()) == [{}] * 3
