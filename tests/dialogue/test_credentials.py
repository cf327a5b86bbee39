"""Credentials: nothing in them can be taken for a second command, and nothing shows the secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.credentials import (
    LONGEST_SECRET,
    LONGEST_USER,
    Credentials,
    CredentialsError,
    credentials,
    readable_user,
)


def test_no_repr_shows_the_secret() -> None:
    who = Credentials("alice", b"hunter2", "bob")
    for shown in (repr(who), str(who), f"{who}", repr([who])):
        assert "alice" in shown
        assert "hunter2" not in shown


@pytest.mark.parametrize("octet", [*range(0x20), 0x7F, 0x80, 0x85, 0x9F, 0x2028, 0x2029])
def test_control_characters_in_names_are_refused(octet: int) -> None:
    """They would end a line: at a backend, or in a log reader that knows more line ends than we do."""
    for user, authzid in ((f"a{chr(octet)}b", ""), ("a", f"a{chr(octet)}b")):
        with pytest.raises(CredentialsError, match="control character in user name"):
            credentials(user.encode(), b"pw", authzid.encode())


@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n"])
def test_line_ends_in_secrets_are_refused(octet: bytes) -> None:
    for secret in (octet, octet + b"x", b"x" + octet, b"x" + octet + b"y"):
        with pytest.raises(CredentialsError):
            Credentials("alice", secret)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=20))
def test_what_is_taken_is_one_line(user: bytes, secret: bytes, authzid: bytes) -> None:
    """Whatever comes in: what passes is kept as it came and fits into one line; what doesn't is not quoted."""
    try:
        who = credentials(user, secret, authzid)
    except CredentialsError as error:
        assert str(error) in {
            "empty user name",
            "control character in user name",
            "empty password",
            "control character in password",
            "user name is not UTF-8",
        }
        return
    assert (who.user.encode(), who.secret, who.authzid.encode()) == (user, secret, authzid)
    assert not {0, 10, 13} & {*user, *secret, *authzid}


def test_bounds() -> None:
    assert Credentials("u" * LONGEST_USER, b"p" * LONGEST_SECRET, "a" * LONGEST_USER).authzid
    for user, secret, authzid in (
        ("u" * (LONGEST_USER + 1), b"p", ""),
        ("u", b"p", "a" * (LONGEST_USER + 1)),
        ("u", b"p" * (LONGEST_SECRET + 1), ""),
        ("", b"p", ""),
        ("  ", b"p", ""),
        ("u", b"", ""),
    ):
        with pytest.raises(CredentialsError):
            Credentials(user, secret, authzid)


def test_names_are_utf_8() -> None:
    assert credentials("jürgen".encode(), b"\xff").user == "jürgen"
    for user, authzid in ((b"\xff", b""), (b"a", b"\xff")):
        with pytest.raises(CredentialsError, match="not UTF-8"):
            credentials(user, b"pw", authzid)


def test_a_name_from_the_wire_is_shown_within_bounds_or_not_at_all() -> None:
    """It goes to the log before anybody has judged it. A control character: a whole PLAIN response came as a name."""
    assert readable_user(b"alice") == "alice"
    assert readable_user("jürgen".encode()) == "jürgen"
    assert readable_user(b"a\xff") == "a\ufffd"
    assert readable_user("ü".encode() * 4000) == "ü" * LONGEST_USER
    for unreadable in (b"", b"  ", b"\0alice\0hunter2", b"alice\r\n", b"al\x1bice", "a\u2028b".encode()):
        assert readable_user(unreadable) is None
