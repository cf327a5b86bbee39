"""App passwords: what a line of their file says, that a faulty one shows nothing, and what a user may type."""

from __future__ import annotations

import base64
import hashlib
from datetime import date
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth.app_passwords import MOST_PER_USER, AppPasswords, read_app_passwords
from tlsgate.auth.passwd import MOST_FAULTS
from tlsgate.config import Protocol

TYPED = b"abcd-efgh-ijkm-npqr-stuv"


def stored(secret: bytes = b"abcdefghijkmnpqrstuv", salt: bytes = b"12345678") -> str:
    return "{SSHA256}" + base64.b64encode(hashlib.sha256(secret + salt).digest() + salt).decode()


def passwords(*lines: str) -> AppPasswords:
    return read_app_passwords("\n".join(lines).encode())


def test_what_a_line_says() -> None:
    read = passwords(
        "# ours",
        "",
        f"ann:phone:{stored()}:2026-01-31::",
        f"ann:Ann's pad, old:{stored(b'x')}:2026-01-31:imap,pop3:192.0.2.0/24,2001:db8::/32, 198.51.100.7",
    )
    assert read.faults == ()
    phone, pad = read.by_user["ann"]
    assert (phone.label, phone.created, phone.protocols, phone.networks) == (
        "phone",
        date(2026, 1, 31),
        frozenset(),
        (),
    )
    assert pad.protocols == {Protocol.IMAP, Protocol.POP3}
    assert pad.networks == tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7")))
    assert read.find("ann", TYPED) == phone
    assert read.find("bob", TYPED) is None


@pytest.mark.parametrize(
    "typed",
    [TYPED, b"abcdefghijkmnpqrstuv", b"abcd efgh ijkm npqr stuv", b" Abcd - EFGH--ijkmnpqrstuv "],
)
def test_what_stands_between_the_letters_does_not_matter(typed: bytes) -> None:
    read = passwords(f"ann:phone:{stored()}:2026-01-31::")
    assert read.find("ann", typed) is not None


@pytest.mark.parametrize("typed", [b"", b"-", TYPED[:-1], TYPED + b"w", TYPED + b"\xff", b"abcd_efgh_ijkm_npqr_stuv"])
def test_what_does(typed: bytes) -> None:
    read = passwords(f"ann:phone:{stored()}:2026-01-31::")
    assert read.find("ann", typed) is None


def test_nothing_is_the_password_of_who_has_none() -> None:
    """Neither what the stand-ins are made of, nor nothing at all."""
    read = passwords(f"ann:phone:{stored()}:2026-01-31::")
    for typed in (b"", bytes(32), bytes(8), bytes(40)):
        assert read.find("bob", typed) is None
        assert read.find("ann", typed) is None


def test_a_text_that_is_far_too_long_is_not_hashed() -> None:
    """However long, it costs one look."""
    read = passwords(f"ann:phone:{stored(b'a' * 4096)}:2026-01-31::")
    assert read.find("ann", b"a" * 4096) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hunter2", "user:label:hash"),
        (f"ann:phone:{stored()}:2026-01-31:", "user:label:hash"),
        (f":phone:{stored()}:2026-01-31::", "empty user name"),
        (f"a\tnn:phone:{stored()}:2026-01-31::", "control character"),
        (f"ann::{stored()}:2026-01-31::", "label"),
        (f"ann: :{stored()}:2026-01-31::", "label"),
        (f"ann:a\tb:{stored()}:2026-01-31::", "label"),
        (f"ann:{'x' * 65}:{stored()}:2026-01-31::", "label"),
        ("ann:phone:hunter2:2026-01-31::", "{SSHA256}"),
        ("ann:phone:{PLAIN}hunter2:2026-01-31::", "{SSHA256}"),
        ("ann:phone:{SSHA}hunter2:2026-01-31::", "{SSHA256}"),
        ("ann:phone:{SSHA256}hunter2:2026-01-31::", "base64|length"),
        (f"ann:phone:{stored(salt=b'1234567')}:2026-01-31::", "length"),
        (f"ann:phone:{stored(salt=b'')}:2026-01-31::", "length"),
        (f"ann:phone:{stored(salt=b'x' * 65)}:2026-01-31::", "length"),
        (f"ann:phone:{stored()}:::", "date"),
        (f"ann:phone:{stored()}:hunter2::", "date"),
        (f"ann:phone:{stored()}:2026-02-30::", "date"),
        (f"ann:phone:{stored()}:2026-01-31:hunter2:", "protocols"),
        (f"ann:phone:{stored()}:2026-01-31:imap,:", "protocols"),
        (f"ann:phone:{stored()}:2026-01-31:mx:", "protocols"),
        (f"ann:phone:{stored()}:2026-01-31::hunter2", "networks"),
        (f"ann:phone:{stored()}:2026-01-31::192.0.2.7/24", "networks"),
        (f"ann:phone:{stored()}:2026-01-31::192.0.2.0/24,", "networks"),
        (f"ann:phone:{stored()}:2026-01-31::{'192.0.2.7,' * 1000}192.0.2.7", "longer"),
    ],
)
def test_a_faulty_line_is_told_by_its_number_and_lets_nobody_in(line: str, why: str) -> None:
    """A limit that can't be read must not be none."""
    read = passwords(f"bob:phone:{stored()}:2026-01-31::", line)
    assert list(read.by_user) == ["bob"]
    (fault,) = read.faults
    assert fault.line == 2
    assert any(word in fault.text for word in why.split("|"))
    assert "hunter2" not in fault.text


def test_octets_that_are_no_utf_8() -> None:
    read = read_app_passwords(b"\xfcnn:phone:x:2026-01-31::\n" + f"bob:phone:{stored()}:2026-01-31::".encode())
    assert (list(read.by_user), read.faults[0].text) == (["bob"], "it isn't UTF-8")


def test_of_one_label_the_first_counts_and_of_one_user_the_first_sixteen() -> None:
    lines = [f"ann:{number}:{stored(b'%d' % number)}:2026-01-31::" for number in range(MOST_PER_USER + 1)]
    read = passwords(lines[0], f"ann:0:{stored(b'other')}:2026-01-31::", *lines[1:], f"bob:0:{stored()}:2026-01-31::")
    assert [each.label for each in read.by_user["ann"]] == [str(number) for number in range(MOST_PER_USER)]
    assert [fault.line for fault in read.faults] == [2, MOST_PER_USER + 2]
    assert read.find("ann", b"other") is None
    assert read.find("ann", b"16") is None
    assert read.find("ann", b"15") is not None
    assert read.find("bob", TYPED) is not None


def test_a_file_of_faults_is_told_within_bounds() -> None:
    read = read_app_passwords(b"x\n" * 100_000)
    assert (len(read.faults), read.faulty) == (MOST_FAULTS, 100_000)


def test_nothing_of_a_hash_in_a_repr() -> None:
    read = passwords(f"ann:phone:{stored()}:2026-01-31::")
    assert stored()[9:30] not in repr(read.by_user["ann"]) + repr(read)
    assert repr(hashlib.sha256(b"abcdefghijkmnpqrstuv12345678").digest()) not in repr(read.by_user["ann"])


def test_a_mapped_address_is_its_ipv4_address() -> None:
    """Sockets at [::] have it so: a limit to IPv4 networks would refuse everybody."""
    (own,) = passwords(f"ann:phone:{stored()}:2026-01-31::192.0.2.0/24").by_user["ann"]
    assert own.unfit(Protocol.IMAP, ip_address("::ffff:192.0.2.1")) == ""
    assert own.unfit(Protocol.IMAP, ip_address("::ffff:192.0.3.1")) != ""
    assert own.unfit(Protocol.IMAP, ip_address("2001:db8::c000:201")) != ""


def test_a_label_is_shown_within_quotes() -> None:
    """It goes to the log."""
    (own,) = passwords(f"ann:j\N{LATIN SMALL LETTER U WITH DIAERESIS}':{stored()}:2026-01-31:imap:").by_user["ann"]
    assert own.unfit(Protocol.POP3, ip_address("192.0.2.1")).isascii()


@given(st.binary(max_size=300))
def test_no_file_breaks_it(data: bytes) -> None:
    read_app_passwords(data)
    read_app_passwords(f"ann:phone:{stored()}:".encode() + data)
