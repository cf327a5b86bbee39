"""New app passwords, and what changes make of their file."""

from __future__ import annotations

import codecs
from datetime import date
from ipaddress import ip_network

import pytest

from tlsgate.auth.app_passwords import MOST_PER_USER, read_app_passwords
from tlsgate.auth.app_passwords_edit import added, new_line, new_password, removed
from tlsgate.auth.edit import CannotEdit
from tlsgate.config import Protocol

DAY = date(2026, 1, 31)


def line(user: str, label: str) -> str:
    return new_line(user, label, "abcd", DAY, frozenset(), ())


def test_a_password_is_random_of_a_hundred_bits_and_easily_read() -> None:
    """What a fast hash of it is sound for."""
    made = [new_password() for _ in range(2000)]
    assert len(set(made)) == len(made)
    letters = "".join(made).replace("-", "")
    assert all([len(group) for group in each.split("-")] == [4] * 5 for each in made)
    assert len(letters) == 20 * len(made)
    assert len(set(letters)) == 32  # five bits each
    assert not set(letters) & set("l1o0")
    counts = [letters.count(each) for each in set(letters)]
    assert min(counts) > 0.8 * len(letters) / 32 and max(counts) < 1.2 * len(letters) / 32


def test_a_line_is_read_as_it_was_meant() -> None:
    password, networks = new_password(), tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32")))
    written = new_line("ann", "phone", password, DAY, frozenset({Protocol.POP3, Protocol.IMAP}), networks)
    assert password not in written and password.replace("-", "") not in written
    read = read_app_passwords(written.encode())
    (own,) = read.by_user["ann"]
    assert (own.label, own.created, own.networks) == ("phone", DAY, networks)
    assert own.protocols == {Protocol.IMAP, Protocol.POP3}
    assert read.find("ann", password.encode()) == own
    assert read.find("ann", password.upper().replace("-", " ").encode()) == own


def test_two_of_one_password_are_not_seen_to_be_the_same() -> None:
    assert line("ann", "phone").split(":")[2] != line("ann", "phone").split(":")[2]


@pytest.mark.parametrize("label", ["", "a:b", "a\nb", "x" * 65])
def test_a_label_that_no_line_can_have(label: str) -> None:
    """One with a line end would be another user's line."""
    with pytest.raises(CannotEdit, match="can't be written: "):
        line("ann", label)


def test_other_lines_stay_as_they_are() -> None:
    other = b"# ours\r\nann:x\xff\nann:phon:y\nanna:phone:z"
    new = line("ann", "phone")
    data = added(codecs.BOM_UTF8 + other, "ann", "phone", new)
    assert data == codecs.BOM_UTF8 + other + b"\n" + new.encode() + b"\n"
    assert removed(data, "ann", "phone") == codecs.BOM_UTF8 + other + b"\n"


def test_who_is_removed_has_no_second_line_that_counts_then() -> None:
    twice = f"{line('ann', 'phone')}\n{line('bob', 'phone')}\n{line('ann', 'phone')}\n".encode()
    assert list(read_app_passwords(removed(twice, "ann", "phone")).by_user) == ["bob"]


def test_what_the_last_one_leaves_is_not_empty() -> None:
    """A gateway holds an empty file for one that is being written: the password would go on being right."""
    assert removed(f"{line('ann', 'phone')}\n".encode(), "ann", "phone") == b"# nobody\n"


def test_what_is_there_or_is_not() -> None:
    data = f"{line('ann', 'phone')}\n".encode()
    with pytest.raises(CannotEdit, match="one of label 'phone' already"):
        added(data, "ann", "phone", line("ann", "phone"))
    with pytest.raises(CannotEdit, match="one of label 'phone' already"):
        added(b"ann:phone:broken\n", "ann", "phone", line("ann", "phone"))
    for user, label in (("ann", "pad"), ("bob", "phone")):
        with pytest.raises(CannotEdit, match="none of label"):
            removed(data, user, label)


def test_one_that_would_not_count_is_not_made() -> None:
    """It would be printed, typed into a phone, and never be right."""
    data = "".join(f"{line('ann', str(number))}\n" for number in range(MOST_PER_USER)).encode()
    with pytest.raises(CannotEdit, match="16 already"):
        added(data, "ann", "phone", line("ann", "phone"))
    added(data, "bob", "phone", line("bob", "phone"))
