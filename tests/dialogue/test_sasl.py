"""SASL mechanisms and their base64."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.dialogue.credentials import Credentials, CredentialsError, credentials
from tlsgate.dialogue.events import LocalProtocolError
from tlsgate.dialogue.sasl import (
    MECHANISMS,
    Authentication,
    Challenge,
    Failed,
    Failure,
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


def test_a_response_as_the_users_name_is_not_shown() -> None:
    """A client that answers LOGIN's first prompt as PLAIN's would have its password logged as a name."""
    response = encode(b"\0alice\0hunter2")
    assert shown_user("LOGIN", response) is None
    login = Login()
    login.start(b"\0alice\0hunter2")
    assert login.user is None


def test_an_exchange_ends_in_credentials() -> None:
    authentication = Authentication(("PLAIN", "LOGIN"))
    assert authentication.begin("PLAIN", None) == Challenge(b"")
    assert authentication.respond(encode(b"\0alice\0pw") + b"\r\n") == Credentials("alice", b"pw")
    assert authentication.begin("LOGIN", encode(b"bob")) == Challenge(b"Password:")
    assert authentication.mechanism == "LOGIN"
    assert authentication.respond(encode(b"pw") + b"\r\n") == Credentials("bob", b"pw")


@pytest.mark.parametrize(
    ("line", "failure", "reason"),
    [
        (b"*\r\n", Failure.CANCELLED, "cancelled"),
        (encode(b"pw") + b"\n", Failure.CANCELLED, "cancelled"),
        (b"!\r\n", Failure.RESPONSE, "bad base64"),
        (b"\r\n", Failure.RESPONSE, "empty password"),
    ],
)
def test_an_exchange_that_fails_tells_why_and_who(line: bytes, failure: Failure, reason: str) -> None:
    authentication = Authentication(("LOGIN",))
    authentication.begin("LOGIN", encode(b"alice"))
    assert authentication.respond(line) == Failed(failure, reason, "alice")


def test_a_mechanism_that_is_not_offered_is_not_begun() -> None:
    """Its name is the client's own text: it must not become a label. The user's name may be read all the same."""
    authentication = Authentication(("PLAIN", "SCRAM-SHA-256"))
    for mechanism, initial, user in (
        ("LOGIN", encode(b"alice"), "alice"),
        ("SCRAM-SHA-256", encode(b"n,,n=alice,r=x"), None),
        ("X" * 100, None, None),
    ):
        assert authentication.begin(mechanism, initial) == Failed(Failure.MECHANISM, "mechanism not supported", user)
        assert authentication.mechanism == "other"
    with pytest.raises(LocalProtocolError):
        authentication.respond(b"\r\n")


def test_every_mechanism_is_new_each_time() -> None:
    """State that outlived an exchange would carry one client's name into another's login."""
    for new in MECHANISMS.values():
        first, second = new(), new()
        first.start(b"\0alice\0pw" if isinstance(first, Plain) else b"alice")
        assert first.user == "alice"
        assert second.user is None
