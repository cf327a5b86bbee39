"""SASL: which mechanisms there are, and one client's exchanges, one after another."""

from __future__ import annotations

import base64
from functools import cache
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.dialogue.scram_client import client_final, client_first
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice
from tlsgate.dialogue.challenge import Challenge, encode
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import LocalProtocolError, Refusal, Refused
from tlsgate.dialogue.plain import Login
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.sasl import (
    EXTERNAL,
    MECHANISMS,
    PLUS,
    SCRAM,
    Authentication,
    Connection,
    Failed,
    Failure,
    Finished,
    Step,
    shown_user,
    usable,
)
from tlsgate.dialogue.scram_secret import ScramSecret, from_password

EXPORTER = bytes(range(32))
FULL = Connection(EXPORTER, "carol", TokenAdvice("mail"))
BOUND = "p=tls-exporter,,"
PASSWORDS = {"user": "pencil", "boss": "sesame"}
WRONG = Refused(Refusal.AUTHENTICATION_FAILED)
OAUTHBEARER = encode(b"n,,\x01auth=Bearer abc\x01\x01")
XOAUTH2 = encode(b"user=alice\x01auth=Bearer abc\x01\x01")


@cache
def secret_of(user: str) -> ScramSecret:
    return from_password(PASSWORDS[user], base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)


def new(*mechanisms: str, connection: Connection = FULL) -> Authentication:
    return Authentication(mechanisms or tuple(MECHANISMS), connection)


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
    authentication = new("PLAIN", "LOGIN")
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
    authentication = new("LOGIN")
    authentication.begin("LOGIN", encode(b"alice"))
    assert authentication.respond(line) == Failed(failure, reason, "alice")


def test_a_mechanism_that_is_not_offered_is_not_begun() -> None:
    """Its name is the client's own text: it must not become a label. The user's name may be read all the same."""
    authentication = new("PLAIN")
    for mechanism, initial, user in (
        ("LOGIN", encode(b"alice"), "alice"),
        ("SCRAM-SHA-256", encode(b"n,,n=alice,r=x"), "alice"),
        ("X" * 100, None, None),
    ):
        assert authentication.begin(mechanism, initial) == Failed(Failure.MECHANISM, "mechanism not supported", user)
        assert authentication.mechanism == "other"
    with pytest.raises(LocalProtocolError):
        authentication.respond(b"\r\n")


def test_every_mechanism_is_new_each_time() -> None:
    """State that outlived an exchange would carry one client's name into another's login."""
    initials = {
        "PLAIN": b"\0alice\0pw",
        "LOGIN": b"alice",
        SCRAM: b"n,,n=alice,r=x",
        PLUS: b"p=tls-exporter,,n=alice,r=x",
        "OAUTHBEARER": b"n,a=alice,\x01auth=Bearer abc\x01\x01",
        "XOAUTH2": b"user=alice\x01auth=Bearer abc\x01\x01",
    }
    assert {*initials, EXTERNAL} == {*MECHANISMS}
    for mechanism, initial in initials.items():
        first, second = MECHANISMS[mechanism](FULL), MECHANISMS[mechanism](FULL)
        first.start(initial)
        assert first.user == "alice"
        assert second.user is None


def test_what_a_connection_cannot_carry_is_not_offered() -> None:
    """Below TLS 1.3 nothing can be bound; without a certificate nobody is EXTERNAL."""
    everything = tuple(MECHANISMS)
    assert usable(everything, FULL) == everything
    assert {*everything} - {*usable(everything, Connection())} == {PLUS, EXTERNAL}


@pytest.mark.parametrize("mechanism", [PLUS, EXTERNAL])
def test_what_a_connection_cannot_carry_is_not_begun(mechanism: str) -> None:
    """A client that tries it all the same must get a refusal: our own fault would end its connection without one."""
    step = new(connection=Connection()).begin(mechanism, None)
    assert step == Failed(Failure.MECHANISM, "mechanism not supported", None)


def test_a_proof_by_scram() -> None:
    sasl = new()
    assert sasl.begin(SCRAM, encode(client_first())) == SecretWanted("user")
    final = client_final("pencil", sasl.give(secret_of("user")).data)
    assert isinstance(sasl.respond(encode(final) + b"\r\n"), Challenge)
    assert sasl.respond(b"\r\n") == Proven("user")


def test_a_proof_bound_to_the_channel() -> None:
    sasl = new()
    sasl.begin(PLUS, encode(client_first(BOUND)))
    final = client_final("pencil", sasl.give(secret_of("user")).data, header=BOUND, binding=EXPORTER)
    assert isinstance(sasl.respond(encode(final) + b"\r\n"), Challenge)
    assert sasl.respond(b"\r\n") == Proven("user")


def test_a_client_is_told_of_binding_only_where_it_is_offered() -> None:
    """RFC 5802 6: "y" is a sign of a downgrade where PLUS is offered, and the plain truth where it isn't."""
    first = encode(client_first("y,,"))
    assert isinstance(new(SCRAM, PLUS).begin(SCRAM, first), Rejected)
    assert new(SCRAM).begin(SCRAM, first) == SecretWanted("user")
    assert new(SCRAM, PLUS, connection=Connection()).begin(SCRAM, first) == SecretWanted("user")


def test_a_failure_told_by_challenge_is_over_whatever_is_answered() -> None:
    """The right proof behind a wrong one would be a second guess in one attempt."""
    sasl = new()
    sasl.begin(SCRAM, encode(client_first()))
    server_first = sasl.give(secret_of("user")).data
    step = sasl.respond(encode(client_final("wrong", server_first)) + b"\r\n")
    assert isinstance(step, Rejected) and step.guessed
    right = encode(client_final("pencil", server_first)) + b"\r\n"
    assert sasl.respond(right) == Finished(WRONG)
    with pytest.raises(LocalProtocolError):
        sasl.respond(right)


def test_a_secret_that_cannot_be_told_is_no_failure_of_the_client() -> None:
    sasl = new()
    sasl.begin(SCRAM, encode(client_first()))
    assert sasl.give(None) == Challenge(b"e=no-resources")
    assert sasl.respond(b"*\r\n") == Finished(Refused(Refusal.UNAVAILABLE))


@pytest.mark.parametrize(
    ("mechanism", "initial", "said"),
    [
        ("OAUTHBEARER", OAUTHBEARER, b'{"status":"invalid_token","scope":"mail"}'),
        ("XOAUTH2", XOAUTH2, b'{"status":"401","schemes":"bearer","scope":"mail"}'),
    ],
)
@pytest.mark.parametrize("answer", [b"AQ==\r\n", b"\r\n", b"*\r\n", b"!\r\n", b"\n", OAUTHBEARER + b"\r\n"])
def test_a_token_that_is_refused(mechanism: str, initial: bytes, said: bytes, answer: bytes) -> None:
    sasl = new()
    assert isinstance(sasl.begin(mechanism, initial), BearerToken)
    assert sasl.refuse(WRONG) == Challenge(said)
    assert sasl.respond(answer) == Finished(WRONG)


@pytest.mark.parametrize(("mechanism", "initial"), [("OAUTHBEARER", OAUTHBEARER), ("XOAUTH2", XOAUTH2)])
def test_an_expired_token_is_told_as_one(mechanism: str, initial: bytes) -> None:
    """RFC 6750 3.1: "invalid_token" makes the client get a new one; without it, it would ask its user for a password.
    The protocol's own words for it come behind."""
    expired = Refused(Refusal.EXPIRED)
    wrong, sasl = new(), new()
    for each in (wrong, sasl):
        each.begin(mechanism, initial)
    said = sasl.refuse(expired)
    assert said is not None and said == wrong.refuse(WRONG)
    assert sasl.respond(b"AQ==\r\n") == Finished(expired)


@pytest.mark.parametrize("reason", [Refusal.UNAVAILABLE, Refusal.LIMIT, Refusal.IN_USE])
def test_a_refusal_that_is_not_about_the_token(reason: Refusal) -> None:
    """RFC 7628 has no word for it: the client would throw a good token away."""
    sasl = new()
    sasl.begin("XOAUTH2", XOAUTH2)
    assert sasl.refuse(Refused(reason)) is None


@pytest.mark.parametrize("behind", ["malformed", "cancelled", "refused", "answered"])
def test_a_refusal_is_told_by_the_mechanism_that_is_refused(behind: str) -> None:
    """IMAP's LOGIN and POP3's PASS are no exchange: their refusal must not be a challenge of the one before."""
    sasl = new()
    match behind:
        case "malformed":
            sasl.begin("XOAUTH2", encode(b"junk"))
        case "cancelled":
            sasl.begin("XOAUTH2", None)
            sasl.respond(b"*\r\n")
        case "refused":
            sasl.begin("XOAUTH2", XOAUTH2)
            sasl.refuse(Refused(Refusal.UNAVAILABLE))
        case "answered":
            sasl.begin("XOAUTH2", XOAUTH2)
            sasl.refuse(WRONG)
            sasl.respond(b"\r\n")
    assert sasl.refuse(WRONG) is None


def test_a_new_exchange_knows_nothing_of_the_last() -> None:
    sasl = new()
    sasl.begin("XOAUTH2", XOAUTH2)
    sasl.refuse(WRONG)
    assert sasl.begin("PLAIN", None) == Challenge(b"")
    assert sasl.respond(encode(b"\0alice\0pw") + b"\r\n") == Credentials("alice", b"pw")
    sasl.begin("LOGIN", None)
    sasl.begin("CRAM-MD5", None)
    with pytest.raises(LocalProtocolError):
        sasl.respond(b"\r\n")


def test_calls_out_of_turn_are_our_own_fault() -> None:
    sasl = new()
    with pytest.raises(LocalProtocolError):
        sasl.give(None)
    sasl.begin("PLAIN", None)
    with pytest.raises(LocalProtocolError):
        sasl.give(secret_of("user"))
    sasl.respond(encode(b"\0alice\0pw") + b"\r\n")
    with pytest.raises(LocalProtocolError):  # a second answer would be a second login that no verdict was asked for
        sasl.respond(encode(b"\0boss\0pw") + b"\r\n")


# -- any order --------------------------------------------------------------------------------------

FIRSTS = [(header, user) for header in ("n,,", "n,a=boss,", "y,,", BOUND) for user in PASSWORDS]
MESSAGES = [
    *(client_first(header, user) for header, user in FIRSTS),
    b"",
    b"\0alice\0hunter2",
    b"alice",
    b"boss",
    b"n,,\x01auth=Bearer hunter2\x01\x01",
    b"n,,\x01auth=\x01\x01",
    b"user=alice\x01auth=Bearer hunter2\x01\x01",
    b"\x01",
    b"c=biws,r=x,p=" + encode(bytes(32)),
]
READ = dict(zip(MESSAGES, FIRSTS, strict=False))


class Exchanges(RuleBasedStateMachine):
    """A caller that calls in any order, and a client that says what it likes: who is proven has proven it."""

    def __init__(self) -> None:
        super().__init__()
        self.sasl = new()
        self.last: Step | None = None
        self.first = ("", "")
        self.server_first = b""
        self.proven: str | None = None

    @rule(mechanism=st.sampled_from([*MECHANISMS, "CRAM-MD5"]), message=st.none() | st.sampled_from(MESSAGES))
    def begin(self, mechanism: str, message: bytes | None) -> None:
        self.server_first, self.proven = b"", None
        step = self.sasl.begin(mechanism, None if message is None else encode(message) or b"=")
        self.went(step, message)

    @rule(
        first=st.sampled_from([first for first in FIRSTS if first[0] != "y,,"]),
        password=st.sampled_from([*PASSWORDS.values()]),
        binding=st.sampled_from([b"", EXPORTER]),
        end=st.booleans(),
    )
    def begin_and_prove(self, first: tuple[str, str], password: str, binding: bytes, end: bool) -> None:
        self.begin(PLUS if first[0] == BOUND else SCRAM, client_first(*first))
        self.give(known=True)
        self.prove(password, binding)
        if end:
            self.respond(b"\r\n")

    @rule(message=st.sampled_from(MESSAGES))
    def say(self, message: bytes) -> None:
        self.respond(encode(message) + b"\r\n", message)

    @rule(line=st.sampled_from([b"*\r\n", b"=\r\n", b"\n", b"", b"!\r\n"]) | st.binary(max_size=8))
    def say_noise(self, line: bytes) -> None:
        self.respond(line)

    @precondition(lambda self: bool(self.server_first))
    @rule(password=st.sampled_from([*PASSWORDS.values()]), binding=st.sampled_from([b"", EXPORTER]))
    def prove(self, password: str, binding: bytes) -> None:
        header, user = self.first
        message = client_final(password, self.server_first, header=header, user=user, binding=binding)
        self.server_first = b"" if password == PASSWORDS[user] else self.server_first
        turn = isinstance(self.last, Challenge)
        self.respond(encode(message) + b"\r\n")
        if turn and isinstance(self.last, Challenge):
            assert password == PASSWORDS[user] and binding == (EXPORTER if header == BOUND else b"")
            self.proven = user

    @rule(known=st.booleans())
    def give(self, known: bool) -> None:
        if isinstance(self.last, SecretWanted):
            step = self.sasl.give(secret_of(self.last.user) if known else None)
            self.server_first = step.data if known else b""
            self.last = step if known else Rejected(step, "unavailable", None)
        else:
            with pytest.raises(LocalProtocolError):
                self.sasl.give(secret_of("user") if known else None)

    @rule(reason=st.sampled_from(Refusal))
    def refuse(self, reason: Refusal) -> None:
        step = self.sasl.refuse(Refused(reason))
        told = reason in (Refusal.AUTHENTICATION_FAILED, Refusal.AUTHORIZATION_FAILED)
        assert (step is not None) == (told and isinstance(self.last, BearerToken))
        if step is not None:
            self.last = Rejected(step, reason, None)
        elif isinstance(self.last, Credentials | BearerToken | Proven):
            self.last = None

    def respond(self, line: bytes, message: bytes = b"") -> None:
        if isinstance(self.last, Challenge | Rejected):
            was = self.last
            self.went(self.sasl.respond(line), message)
            assert isinstance(self.last, Finished) == isinstance(was, Rejected)
        else:
            with pytest.raises(LocalProtocolError):
                self.sasl.respond(line)

    def went(self, step: Step, message: bytes | None) -> None:
        self.last = step
        assert "hunter2" not in repr(step)
        if isinstance(step, SecretWanted):
            self.first = READ[cast("bytes", message)]
            assert step.user == self.first[1]
        elif isinstance(step, Proven):
            assert step.user == ("carol" if self.sasl.mechanism == EXTERNAL else self.proven)
            self.proven = None


TestExchanges = Exchanges.TestCase
TestExchanges.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
