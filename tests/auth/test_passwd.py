"""What a users file says, line by line, and that a faulty line harms no other and shows nothing."""

from __future__ import annotations

import time

import pytest

from tlsgate.auth.hashes import read_hash
from tlsgate.auth.passwd import MOST_FAULTS, Fault, Users, read_users

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # secret
OTHER = "{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="
STRONG = "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG."
APR1 = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"


def users(*lines: str) -> Users:
    return read_users("\n".join(lines).encode())


def test_passwd_file_and_htpasswd_lines() -> None:
    read = users(
        "# a comment",
        "",
        f"ann@example.org:{SHA}",
        f"bob:{SHA}:1000:1000:Bob, Esq.:/home/bob:/bin/false:userdb_quota=1G proxy",
        f"Cay:{APR1}",
        f"d\N{LATIN SMALL LETTER O WITH DIAERESIS}rte:{SHA}::::::",
    )
    assert read.faults == ()
    assert list(read.hashes) == ["ann@example.org", "bob", "Cay", "d\N{LATIN SMALL LETTER O WITH DIAERESIS}rte"]
    assert all(found is not None and found.matches(b"secret") for found in read.hashes.values())


def test_dos_line_ends_and_a_byte_order_mark() -> None:
    read = read_users(f"ann:{SHA}\r\nbob:{SHA}\r\n".encode("utf-8-sig"))
    assert read.faults == ()
    assert read.hashes == {"ann": read_hash(SHA), "bob": read_hash(SHA)}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hunter2", "user:hash"),
        (f":{SHA}", "empty user name"),
        (f" :{SHA}", "empty user name"),
        (f"a\tb:{SHA}", "control character"),
        (f"{'a' * 600}:{SHA}", "too long"),
        ("ann:{PLAIN}hunter2", "in clear"),
        ("ann:{SSHA}hunter2", "length|base64"),
        ("ann:hunter2", "malformed"),
        (f"ann:{SHA}::::::allow_nets=192.0.2.0/24", "networks"),
        (f"ann:{SHA}::::::userdb_x=y allow_nets=2001:db8::/32", "networks"),
        ("ann:" + "A" * 9000, "longer"),
    ],
)
def test_a_faulty_line_is_told_by_its_number_and_left_out(line: str, why: str) -> None:
    read = users("# first", f"bob:{SHA}", line, f"cay:{SHA}")
    assert list(read.hashes) == ["bob", "cay"]
    (fault,) = read.faults
    assert fault.line == 3
    assert any(word in fault.text for word in why.split("|"))
    assert "hunter2" not in fault.text
    assert "ann" not in fault.text


def test_octets_that_are_no_utf_8() -> None:
    read = read_users(b"a\xfcn:" + SHA.encode() + b"\nbob:" + SHA.encode())
    assert list(read.hashes) == ["bob"]
    assert read.faults == (Fault(1, "it isn't UTF-8"),)


def test_of_two_lines_for_a_user_the_first_counts() -> None:
    """Else who can append a line has every mailbox; and a lock in front is a lock."""
    read = users(f"ann:{SHA}", "bob:!", f"ann:{OTHER}", f"bob:{SHA}")
    assert read.hashes == {"ann": read_hash(SHA), "bob": None}
    assert [fault.line for fault in read.faults] == [3, 4]
    assert "line 1" in read.faults[0].text


@pytest.mark.parametrize(
    "line", ["ann:", "ann:!", "ann:*", f"ann:!{SHA}", "ann:{CRYPT}!$6$x", f"ann:{SHA}::::::nologin"]
)
def test_a_locked_user_is_known_and_has_no_hash(line: str) -> None:
    read = users(line, f"bob:{SHA}")
    assert read.hashes["ann"] is None
    assert read.faults == ()


def test_a_user_with_app_passwords_only_is_not_locked_and_has_no_hash() -> None:
    read = users("ann:{APP-PASSWORDS-ONLY}", "bob:{app-passwords-only}:8:8", "cay:{APP-PASSWORDS-ONLY}::::::nologin")
    assert read.faults == ()
    assert read.hashes == {"ann": None, "bob": None, "cay": None}
    assert [read.lets_in(user) for user in ("ann", "bob", "cay", "dan")] == [True, True, False, False]


@pytest.mark.parametrize("line", ["ann:{APP-PASSWORDS-ONLY}x", "ann:x{APP-PASSWORDS-ONLY}"])
def test_what_only_looks_like_that_is_faulty(line: str) -> None:
    read = users(line)
    assert (read.hashes, read.faulty, read.lets_in("ann")) == ({}, 1, False)


def test_weak_hashes_are_counted_by_their_scheme() -> None:
    read = users(f"a:{SHA}", f"b:{OTHER}", f"c:{APR1}", "d:!", "e:{SHA512-CRYPT}" + STRONG)
    assert read.weak == {"SHA": 2, "APR1": 1}


def test_the_shape_of_scram_secrets_is_that_of_the_most() -> None:
    def scram(iterations: int, salt: str) -> str:
        return f"{{SCRAM-SHA-256}}{iterations},{salt},{'A' * 43}=,{'A' * 43}="

    read = users(
        f"a:{scram(4096, 'AAAA')}",
        f"b:{scram(5000, 'AAAABBBB')}",
        f"c:{scram(5000, 'CCCCDDDD')}",
        *(f"d{number}:{scram(1, 'AAAA')}" for number in range(5)),  # which no client should take
        f"e:{SHA}",
    )
    assert (read.scram_shape.iterations, len(read.scram_shape.salt)) == (5000, 6)
    none = users(f"e:{SHA}").scram_shape
    assert (none.iterations, len(none.salt)) == (100_000, 16)


def test_a_name_is_told_from_one_that_looks_like_it() -> None:
    read = users(f"Ann:{SHA}", f"ann:{OTHER}", f"ann :{SHA}")
    assert read.faults == ()
    assert len(read.hashes) == 3


def test_the_dummy_is_of_the_kind_that_is_the_most_common() -> None:
    assert users(f"a:{APR1}", f"b:{SHA}", "c:!", f"d:{OTHER}").dummy == read_hash(SHA)
    assert users("a:!").dummy is None
    assert users().dummy is None


def test_a_file_of_faults_is_told_within_bounds() -> None:
    read = read_users(b"x\n" * 100_000)
    assert len(read.faults) == MOST_FAULTS
    assert read.faulty == 100_000


def test_many_lines_take_their_time_but_once() -> None:
    """Ten times as many lines must take about ten times as long, not a hundred times."""

    def seconds(count: int) -> float:
        data = "".join(f"user{number}:{SHA}\n" for number in range(count)).encode()
        began = time.process_time()
        assert len(read_users(data).hashes) == count
        return time.process_time() - began

    assert seconds(20_000) < 40 * seconds(2_000) + 0.2


def test_nothing_of_a_hash_in_a_repr() -> None:
    shown = repr(users(f"ann:{SHA}", "bob:{SHA}hunter2"))
    assert SHA[5:] not in shown
    assert "hunter2" not in shown
