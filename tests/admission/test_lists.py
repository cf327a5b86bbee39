"""List files: what a line may be, what is said of one that isn't, and the bounds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsgate.admission import lists
from tlsgate.admission.lists import AddressList, LineRemark, ListFault, parse_line, read_list
from tlsgate.admission.network import parse_client


def _read(directory: Path, content: bytes) -> AddressList:
    path = directory / "list.txt"
    path.write_bytes(content)
    return read_list(path)


def _found(listed: AddressList, address: str) -> tuple[str, str] | None:
    found = listed.prefixes.find(parse_client(address))
    return None if found is None else (str(found.network), found.reason)


@pytest.mark.parametrize(
    ("line", "network", "reason"),
    [
        (b"1.2.3.0/24", "1.2.3.0/24", ""),
        (b"1.2.3.4", "1.2.3.4/32", ""),
        (b"2001:db8::/32", "2001:db8::/32", ""),
        (b"2001:DB8::1", "2001:db8::1/128", ""),
        (b"1.2.3.0/24 ; SBL123", "1.2.3.0/24", "SBL123"),
        (b"1.2.3.0/24;SBL123", "1.2.3.0/24", "SBL123"),
        (b"1.2.3.0/24 # scans ; since May", "1.2.3.0/24", "scans ; since May"),
        (b"1.2.3.4\t#\tscans", "1.2.3.4/32", "scans"),
        (b"1.2.3.4 #", "1.2.3.4/32", ""),
        (b"1.2.3.4 # M\xfcller", "1.2.3.4/32", "M\ufffdller"),
        ("1.2.3.4 # Müller".encode(), "1.2.3.4/32", "Müller"),
        (b"1.2.3.4 # a\x1b[31m\0b", "1.2.3.4/32", "a?[31m?b"),
        (b"1.2.3.4 # " + b"x" * 900, "1.2.3.4/32", "x" * 60),
        (b"::ffff:1.2.3.0/120", "1.2.3.0/24", ""),
    ],
)
def test_a_line(line: bytes, network: str, reason: str) -> None:
    found = parse_line(line)
    assert (str(found[0]), *found[1:]) == (network, reason, False)


@pytest.mark.parametrize(
    "line",
    [
        b"1.2.3",
        b"1.2.3.4/33",
        b"1.2.3.4/",
        b"1.2.3.0 255.255.255.0",
        b"1.2.3.4 bad",
        b"1.2.3.4,",
        b"1.2.3.0-1.2.3.255",
        b"/8",
        b"::1%eth0",
        b"example.org",
        b"<html>",
        b"\xff\xfe1\0.\0",
        b"1.2.3.4\0",
        "\uff11.2.3.4".encode(),
        b"f" * 1000,
    ],
)
def test_a_bad_line_says_so_in_few_words(line: bytes) -> None:
    """A list comes from strangers: what is told of it must not fill or garble a log."""
    with pytest.raises(ValueError) as raised:
        parse_line(line)
    text = str(raised.value)
    assert text.startswith('"')
    assert text.isprintable()
    assert len(text) < 100


@given(st.binary(max_size=200))
@example(b"1.2.3.4" + b" " * 990 + b"x")
def test_any_line_is_a_prefix_or_a_value_error(line: bytes) -> None:
    try:
        network, reason, _ = parse_line(line.strip())
    except ValueError as wrong:
        assert str(wrong).isprintable()
    else:
        assert str(network)
        assert reason.isprintable()


def test_a_list_as_spamhaus_writes_it(tmp_path: Path) -> None:
    listed = _read(
        tmp_path,
        b"; Spamhaus DROP List 2026/01/01 - (c) 2026 The Spamhaus Project\n; Expires: Thu\n"
        b"1.10.16.0/20 ; SBL256894\n1.19.0.0/16 ; SBL434604\n",
    )
    assert (listed.prefixes.count, listed.bad_lines, listed.remarks) == (2, 0, ())
    assert _found(listed, "1.10.31.255") == ("1.10.16.0/20", "SBL256894")
    assert _found(listed, "1.10.32.0") is None


def test_empty_lines_comments_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    listed = _read(tmp_path, b"\xef\xbb\xbf192.0.2.1\r\n\r\n  # nothing\r\n\t192.0.2.2 # why \r\n  \n192.0.2.3")
    assert [_found(listed, f"192.0.2.{n}") for n in (1, 2, 3)] == [
        ("192.0.2.1/32", ""),
        ("192.0.2.2/32", "why"),
        ("192.0.2.3/32", ""),
    ]
    assert (listed.bad_lines, listed.remarks) == (0, ())


def test_a_bad_line_is_named_and_the_rest_holds(tmp_path: Path) -> None:
    listed = _read(tmp_path, b"192.0.2.1\n# note\nhost.example\n192.0.2.2\n")
    assert _found(listed, "192.0.2.1") and _found(listed, "192.0.2.2")
    assert (listed.bad_lines, listed.remarks) == (1, (LineRemark(3, '"host.example" is not a prefix'),))


def test_bits_behind_the_length_are_cleared_with_a_remark(tmp_path: Path) -> None:
    """Who writes 192.0.2.7/24 means the network that 192.0.2.7 is in."""
    listed = _read(tmp_path, b"192.0.2.7/24 # net\n")
    assert _found(listed, "192.0.2.200") == ("192.0.2.0/24", "net")
    assert listed.bad_lines == 0
    assert listed.remarks == (
        LineRemark(1, '"192.0.2.7/24 # net" has bits set behind its length: taken as 192.0.2.0/24'),
    )


@pytest.mark.parametrize("line", [b"203.0.113.0/2", b"192.0.2.0/1", b"10.1.0.0/7", b"2001:db8::/3"])
def test_half_a_line_lists_no_half_of_the_world(tmp_path: Path, line: bytes) -> None:
    """A copy that broke off within "/24" would block a quarter of the internet."""
    listed = _read(tmp_path, b"192.0.2.1\n" + line)
    assert listed.bad_lines == 1
    assert _found(listed, "198.51.100.1") is None


def test_a_wide_prefix_that_is_meant_is_taken(tmp_path: Path) -> None:
    assert _found(_read(tmp_path, b"0.0.0.0/0\n"), "198.51.100.1") == ("0.0.0.0/0", "")


def test_no_more_than_twenty_remarks_but_all_are_counted(tmp_path: Path) -> None:
    listed = _read(tmp_path, b"bad\n" * 1000 + b"192.0.2.1\n")
    assert (listed.bad_lines, len(listed.remarks), listed.remarks[-1].number) == (1000, 20, 20)
    assert _found(listed, "192.0.2.1")


def test_an_endless_line_costs_one_remark(tmp_path: Path) -> None:
    listed = _read(tmp_path, b"1" * 3_000_000 + b"\n192.0.2.1 # " + b"y" * 5000 + b"\n" + b"#" * 999 + b"\n192.0.2.2\n")
    assert [remark.number for remark in listed.remarks] == [1]
    assert listed.prefixes.count == 2
    assert _found(listed, "192.0.2.1") == ("192.0.2.1/32", "y" * 60)


@pytest.mark.parametrize("length", [998, 999, 1000, 1001, 1999, 2000, 2001])
def test_the_line_behind_a_long_one_has_its_own_number(tmp_path: Path, length: int) -> None:
    """``length``: of a comment without its line end, at the edges of what is read at once."""
    listed = _read(tmp_path, b"#" * length + b"\nbad\n192.0.2.1\n")
    assert [remark.number for remark in listed.remarks] == [2]
    assert listed.prefixes.count == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# cleared\n"])
def test_an_empty_file_is_an_empty_list_with_a_remark(tmp_path: Path, content: bytes) -> None:
    listed = _read(tmp_path, content)
    assert (listed.prefixes.count, listed.bad_lines, listed.remarks) == (0, 0, (LineRemark(0, "lists nothing"),))


def test_a_file_without_a_single_prefix_is_no_list(tmp_path: Path) -> None:
    """A download's error page, or UTF-16: taken as an empty list, it would let everyone in."""
    for content in (b"<html>\n<body>502 Bad Gateway</body>\n", "192.0.2.1\n".encode("utf-16")):
        with pytest.raises(ListFault, match=r"list\.txt: no line of it is a prefix"):
            _read(tmp_path, content)


def test_a_file_that_is_too_large_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.touch()
    os.truncate(path, lists.MOST_BYTES + 1)
    with pytest.raises(ListFault, match="larger than 64 MiB"):
        read_list(path)


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size when it was opened says nothing of what comes; here it isn't looked at."""
    monkeypatch.setattr(lists, "_stamp", lambda path, found: lists.Stamp(0, 0, 0, 0, 0))
    monkeypatch.setattr(lists, "MOST_BYTES", 100_000)
    for content in (b"#" * 100_001, b"# x\n" * 25_001):
        with pytest.raises(ListFault, match="is larger than"):
            _read(tmp_path, content)


def test_too_many_prefixes_are_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_PREFIXES", 3)
    assert _read(tmp_path, b"192.0.2.1\n192.0.2.2\n192.0.2.3\n").prefixes.count == 3
    with pytest.raises(ListFault, match="lists more than 3 prefixes"):
        _read(tmp_path, b"192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0.2.4\n")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold a start for ever; /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", tmp_path, Path("/dev/zero")):
            with pytest.raises(ListFault, match=f"{path}: is not a file"):
                read_list(path)


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a path and its opening, anything may come there."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(lists, "stamp_of", lambda path: None)
    with pytest.raises(ListFault, match="is not a file"):
        read_list(tmp_path / "pipe")


def test_a_hundred_thousand_lines(tmp_path: Path) -> None:
    lines = [f"10.{n >> 8 & 255}.{n & 255}.{n >> 16} ; SBL{n % 1000}\n" for n in range(100_000)]
    listed = _read(tmp_path, "".join(lines).encode())
    assert (listed.prefixes.count, listed.bad_lines) == (100_000, 0)
    assert _found(listed, "10.134.159.1") == ("10.134.159.1/32", "SBL999")
    assert _found(listed, "10.134.160.1") is None
