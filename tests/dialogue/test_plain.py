"""PLAIN and LOGIN."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.credentials import Credentials, CredentialsError, credentials
from tlsgate.dialogue.plain import Login, Plain


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_plain_is_what_was_sent(authzid: bytes, user: bytes, secret: bytes) -> None:
    """Three fields, no more: a NUL too many must not move a password into a name."""
    response = b"\0".join((authzid, user, secret))
    try:
        expected = credentials(user, secret, authzid) if response.count(b"\0") == 2 else None
    except CredentialsError:
        expected = None
    if expected is None:
        with pytest.raises(SaslError):
            Plain().start(response)
    else:
        assert Plain().start(response) == expected


def test_plain_asks_with_an_empty_challenge() -> None:
    plain = Plain()
    assert plain.start(None) == Challenge(b"")
    assert plain.respond(b"\0alice\0pw") == Credentials("alice", b"pw")
    assert plain.user == "alice"


def test_login_asks_twice() -> None:
    login = Login()
    assert login.start(None) == Challenge(b"Username:")
    assert login.respond(b"alice") == Challenge(b"Password:")
    assert login.user == "alice"
    assert login.respond(b"pw") == Credentials("alice", b"pw")


def test_login_with_the_name_at_once_asks_for_the_password_only() -> None:
    login = Login()
    assert login.start(b"alice") == Challenge(b"Password:")
    assert login.respond(b"pw") == Credentials("alice", b"pw")


@pytest.mark.parametrize(
    "response", [b"", b"hunter2", b"\0hunter2", b"\0a\0hunter2\0", b"\0a\0hunter2\r\n", b"\0\0hunter2"]
)
def test_errors_never_quote_the_response(response: bytes) -> None:
    with pytest.raises(SaslError) as caught:
        Plain().respond(response)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
