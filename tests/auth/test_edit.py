"""Changes to a users file: what they make of the one line, and that they leave all others alone."""

from __future__ import annotations

import codecs
from collections.abc import Callable

import bcrypt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tlsgate.auth.edit import CannotEdit, added, changed, check_name, hashed, removed, scheme_of
from tlsgate.auth.passwd import APP_PASSWORDS_ONLY, read_users
from tlsgate.dialogue.scram_secret import read_secret

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # of "secret"
OTHER = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="  # of "password"
SHORT = b"ann:" + SHA.encode() + b"\n"


def lets_in(data: bytes, name: str, secret: bytes) -> bool:
    stored = read_users(data).hashes.get(name)
    return stored is not None and stored.matches(secret)


def test_a_new_hash_is_one_that_we_take_and_no_other_than_before() -> None:
    """Two users with one password must not be seen to have it; and no octet of a long one may be ignored."""
    secret = b"s" * 100 + b"1"
    first, second = hashed(secret, "ARGON2ID"), hashed(secret, "ARGON2ID")
    assert first != second
    assert first.startswith("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$")
    for text in (first, second):
        line = f"ann:{text}\n".encode()
        assert lets_in(line, "ann", secret)
        assert not lets_in(line, "ann", b"s" * 100 + b"2")


def test_a_new_hash_for_scram() -> None:
    """As Dovecot reads it, with a salt of its own; the password is right by PLAIN as it was typed, too."""
    secret = "\u2168 pencil".encode()
    first, second = hashed(secret, "SCRAM-SHA-256"), hashed(secret, "SCRAM-SHA-256")
    assert first.split(",")[1:] != second.split(",")[1:]
    assert read_secret(first).iterations == 100_000
    line = f"ann:{first}\n".encode()
    for typed in (secret, b"IX pencil"):
        assert lets_in(line, "ann", typed)
    assert not lets_in(line, "ann", b"pencil")


@pytest.mark.parametrize("secret", [b"\xff", b"a\x07b"])
def test_what_can_be_no_password_of_scram(secret: bytes) -> None:
    """Clients would send something else, and never be let in."""
    with pytest.raises(CannotEdit, match="SCRAM"):
        hashed(secret, "SCRAM-SHA-256")


def test_who_logs_in_by_scram_goes_on_so() -> None:
    scram = hashed(b"secret", "SCRAM-SHA-256")
    data = SHORT + f"bob:{scram}\ncay:!{scram}\n".encode()
    assert [scheme_of(data, name) for name in ("ann", "bob", "cay", "dan")] == [
        "ARGON2ID",
        "SCRAM-SHA-256",
        "ARGON2ID",
        "ARGON2ID",
    ]


def test_a_line_for_app_passwords_only_can_be_made_and_unmade() -> None:
    only = changed(SHORT, "ann", APP_PASSWORDS_ONLY)
    assert only == b"ann:{APP-PASSWORDS-ONLY}\n"
    assert added(b"", "ann", APP_PASSWORDS_ONLY) == only
    assert changed(only, "ann", SHA) == SHORT
    with pytest.raises(CannotEdit, match="is locked"):
        changed(b"ann:!\n", "ann", APP_PASSWORDS_ONLY)


@pytest.mark.parametrize("name", ["ann", "ann@example.org", "jürgen", "a b", "a#b", "{a}", "$1$x", "ann*bob"])
def test_names(name: str) -> None:
    check_name(name)
    data = added(b"", name, SHA)
    assert lets_in(data, name, b"secret")
    assert lets_in(changed(data, name, OTHER), name, b"password")
    assert read_users(removed(data, name)).hashes == {}


@pytest.mark.parametrize(
    "name", ["", " ", "a:b", ":", "#ann", "\ufeffann", "a\nb", "a\rb", "a\0b", "a\udc80", "x" * 513]
)
def test_names_that_no_line_can_have(name: str) -> None:
    """One with a line end would be another user's line."""
    with pytest.raises(CannotEdit):
        check_name(name)


def test_who_is_there_is_not_added_again() -> None:
    """The first line counts: the new password would never be right."""
    for data in (SHORT, b"ann:broken\n", b"bob:x\nann:!\n", codecs.BOM_UTF8 + SHORT):
        with pytest.raises(CannotEdit, match="is there already"):
            added(data, "ann", OTHER)
    assert lets_in(added(b"anna:x\n#ann:x\nan:n\nann\n", "ann", OTHER), "ann", b"password")


@pytest.mark.parametrize("edit", [removed, lambda data, name: changed(data, name, OTHER)])
def test_who_is_not_there(edit: Callable[[bytes, str], bytes]) -> None:
    for data in (b"", b"anna:x\n", b"#ann:x\n", b"ann\n", b"Ann:x\n"):
        with pytest.raises(CannotEdit, match="is not there"):
            edit(data, "ann")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"ann:{SHA}\n", f"ann:{OTHER}\n"),
        (f"ann:{SHA}\r\n", f"ann:{OTHER}\r\n"),
        (f"ann:{SHA}", f"ann:{OTHER}"),
        (f"ann:{SHA}::::::\n", f"ann:{OTHER}::::::\n"),
        (f"ann:{SHA}:8:8::/home/ann::quota=1\r\n", f"ann:{OTHER}:8:8::/home/ann::quota=1\r\n"),
        (f"ann:{SHA}:\n", f"ann:{OTHER}:\n"),
        # One in clear, or of no known scheme, is what a change is for.
        ("ann:{PLAIN}secret:8\n", f"ann:{OTHER}:8\n"),
        (f"ann:broken\nann:{SHA}\n", f"ann:{OTHER}\nann:{SHA}\n"),
    ],
)
def test_a_change_keeps_what_is_behind_the_hash(before: str, after: str) -> None:
    assert changed(before.encode(), "ann", OTHER) == after.encode()


@pytest.mark.parametrize("line", [f"ann:!{SHA}\n", "ann:*\n", "ann:\n", f"ann:{SHA}::::::nologin\n"])
def test_a_new_password_unlocks_nobody(line: str) -> None:
    with pytest.raises(CannotEdit, match="is locked"):
        changed(line.encode(), "ann", OTHER)


def test_a_change_that_would_not_let_the_user_in_is_not_made() -> None:
    """The old password of the second line would go on being right."""
    first = f"# who\nann:{SHA}::::::allow_nets=192.0.2.0/24\n"
    for data in (first, f"{first}ann:{SHA}\n"):
        with pytest.raises(CannotEdit, match="line 2: it allows some networks only"):
            changed(data.encode(), "ann", OTHER)


def test_who_is_removed_has_no_second_line_that_counts_then() -> None:
    assert removed(b"a:x\n" + SHORT + b"b:y\n" + SHORT, "ann") == b"a:x\nb:y\n"


@pytest.mark.parametrize("data", [SHORT, SHORT * 2, SHORT.rstrip()])
def test_what_the_last_one_leaves_is_not_empty(data: bytes) -> None:
    """A gateway holds an empty file for one that is being written: the user would go on getting in."""
    left = removed(data, "ann")
    assert left
    assert (read_users(left).hashes, read_users(left).faulty) == ({}, 0)


LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"# comment", b"", b"bob:x", b"anna:x", b"ann", b" ann:x", b"Ann:y", b"b\xff:x", b"\rann:x"]),
    ).filter(lambda line: b"\n" not in line and not line.startswith(b"ann:")),
    max_size=6,
)


@settings(deadline=None)
@given(LINES, LINES, st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", codecs.BOM_UTF8]))
def test_other_lines_stay_as_they_are(before: list[bytes], behind: list[bytes], end: bytes, bom: bytes) -> None:
    """An edit that loses somebody's line, or a comment, is found out by those who can't log in."""
    above, below = b"".join(line + end for line in before), b"".join(line + end for line in behind)
    assume(bom or not above.startswith(codecs.BOM_UTF8))
    line = f"ann:{SHA}".encode() + end
    data = bom + above + line + below
    assert changed(data, "ann", OTHER) == bom + above + f"ann:{OTHER}".encode() + end + below
    assert removed(data, "ann") == (bom + above + below or b"# nobody\n")
    assert added(bom + above + below, "ann", SHA) == bom + above + below + f"ann:{SHA}\n".encode()


def test_a_last_line_without_an_end_is_not_run_into() -> None:
    assert added(b"bob:x", "ann", SHA) == b"bob:x\n" + SHORT


def test_no_fault_shows_a_hash_or_a_password() -> None:
    text = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()
    with pytest.raises(CannotEdit) as fault:
        changed(f"ann:{{PLAIN}}hunter2::::::allow_nets=x\nbob:{text}\n".encode(), "ann", text)
    assert "hunter2" not in str(fault.value) and "$2b$" not in str(fault.value)
