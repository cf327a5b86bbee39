"""SASL mechanisms and their base64."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.credentials import Credentials, CredentialsError, credentials
from tlsgate.dialogue.sasl import (
    MECHANISMS,
    Challenge,
    Login,
    Plain,
    SaslError,
    decode,
    decode_initial,
    encode,
    shown_user,
)


@given(st.binary(max_size=200))
def test_base64_comes_back(data: bytes) -> None:
    assert decode(encode(data)) == data
    assert b"\n" not in encode(data)


@given(st.binary(max_size=40))
def test_base64_is_strict(line: bytes) -> None:
    """Two ways to write one response are two ways past a filter. Unused bits in the last character are let pass."""
    try:
        data = decode(line)
    except SaslError as error:
        assert str(error) == "bad base64"
        return
    again = encode(data)
    assert len(again) == len(line)
    assert again[: len(data) // 3 * 4] == line[: len(data) // 3 * 4]


@pytest.mark.parametrize(
    "line", [b"=", b"====", b"YQ", b"YQ=", b"YQ==YQ==", b"Y Q==", b"YQ==\r", b"Y-_=", b"YQ== ", b"*"]
)
def test_noise_is_refused(line: bytes) -> None:
    with pytest.raises(SaslError):
        decode(line)


def test_initial_responses() -> None:
    """RFC 4954 4: "=" is the empty response; nothing at all is none."""
    assert decode_initial(b"=") == b""
    assert decode_initial(b"YQ==") == b"a"
    with pytest.raises(SaslError, match="empty initial response"):
        decode_initial(b"")


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


def test_the_user_of_a_cleartext_attempt_is_shown_where_it_can_be_read() -> None:
    """That name goes to the log: its password is burned. The password never does."""
    assert shown_user("PLAIN", encode(b"\0alice\0pw")) == "alice"
    assert shown_user("PLAIN", encode(b"\0alice\0")) == "alice"
    assert shown_user("LOGIN", encode(b"alice")) == "alice"
    assert shown_user("LOGIN", encode(b"\xff")) == "�"
    for mechanism, initial in (
        ("PLAIN", None),
        ("PLAIN", b""),
        ("PLAIN", b"="),
        ("PLAIN", b"!"),
        ("PLAIN", encode(b"pw")),
        ("CRAM-MD5", encode(b"alice")),
    ):
        assert shown_user(mechanism, initial) is None


def test_every_mechanism_is_new_each_time() -> None:
    """State that outlived an exchange would carry one client's name into another's login."""
    for new in MECHANISMS.values():
        first, second = new(), new()
        first.start(b"\0alice\0pw" if isinstance(first, Plain) else b"alice")
        assert first.user == "alice"
        assert second.user is None
