"""SCRAM-SHA-256 and -PLUS from the server's side."""

from __future__ import annotations

import base64
import contextlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialogue.scram_client import NONCE, client_final, client_first
from tlsgate.dialogue.challenge import Challenge, SaslError
from tlsgate.dialogue.events import LocalProtocolError
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.scram import Scram
from tlsgate.dialogue.scram_messages import read_client_final
from tlsgate.dialogue.scram_secret import ScramSecret, decoy, from_password

EXPORTER = bytes(range(32))
PLUS = "p=tls-exporter,,"


@cache
def secret() -> ScramSecret:
    return from_password("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)


def begun(exchange: Scram, header: str = "n,,", user: str = "user") -> bytes:
    """The server's first message to a good client's."""
    assert isinstance(exchange.start(client_first(header, user)), SecretWanted)
    return exchange.give(secret()).data


def rejected(error: str, user: str | None = "user") -> Rejected:
    return Rejected(Challenge(b"e=" + error.encode()), error, user, guessed=error == "invalid-proof")


def test_the_exchange_of_the_rfc() -> None:
    """RFC 7677 3, octet for octet."""
    exchange = Scram(plus=False, exporter=None, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert exchange.start(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == SecretWanted("user")
    assert exchange.give(secret()) == Challenge(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert exchange.respond(final) == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert exchange.respond(b"") == Proven("user")


def test_without_an_initial_response_it_is_asked_for() -> None:
    exchange = Scram(plus=False, exporter=None)
    assert exchange.start(None) == Challenge(b"")
    assert exchange.respond(client_first()) == SecretWanted("user")
    assert exchange.user == "user"


def test_a_bound_exchange() -> None:
    exchange = Scram(plus=True, exporter=EXPORTER)
    final = client_final("pencil", begun(exchange, PLUS), header=PLUS, binding=EXPORTER)
    assert isinstance(exchange.respond(final), Challenge)
    assert exchange.respond(b"") == Proven("user")


def test_names_are_read_and_prepared() -> None:
    exchange = Scram(plus=False, exporter=None)
    assert exchange.start(client_first("n,a=bo=2Css,", "\u2168=3D")) == SecretWanted("IX=", "bo,ss")
    header, user = "n,a=bo=2Css,", "\u2168=3D"
    final = client_final("pencil", exchange.give(secret()).data, header=header, user=user)
    assert isinstance(exchange.respond(final), Challenge)
    assert exchange.respond(b"") == Proven("IX=", "bo,ss")


def test_an_optional_extension_is_proven_with_the_rest() -> None:
    exchange = Scram(plus=False, exporter=None)
    final = client_final("pencil", begun(exchange), more=",x=ext")
    assert isinstance(exchange.respond(final), Challenge)


def test_our_nonce_is_new_each_time_and_long() -> None:
    """Known before, it would let a proof that was seen once be played again."""
    nonces = {begun(Scram(plus=False, exporter=None)).split(b",")[0] for _ in range(50)}
    assert len(nonces) == 50
    assert all(len(each) >= len(f"r={NONCE}") + 24 for each in nonces)


def test_a_proof_that_was_seen_is_worth_nothing_in_another_exchange() -> None:
    seen = client_final("pencil", begun(Scram(plus=False, exporter=None)))
    other = Scram(plus=False, exporter=None)
    begun(other)
    assert other.respond(seen) == rejected("other-error")


@pytest.mark.parametrize("password", ["Pencil", ""])
def test_a_wrong_password(password: str) -> None:
    exchange = Scram(plus=False, exporter=None)
    final = client_final(password, begun(exchange))
    assert exchange.respond(final) == rejected("invalid-proof")


def test_a_proof_of_another_length() -> None:
    exchange = Scram(plus=False, exporter=None)
    final = client_final("pencil", begun(exchange))
    short = final[: final.index(b",p=") + 3] + b"YWJj"
    assert exchange.respond(short) == rejected("invalid-proof")


def test_a_user_who_is_not_there_fails_as_late_as_a_wrong_password() -> None:
    """What an outsider sees of both must not differ but in salts (RFC 5802 9: "unknown-user" would tell)."""
    exchange = Scram(plus=False, exporter=None)
    exchange.start(client_first())
    server_first = exchange.give(decoy("user", b"key", secret())).data
    assert len(server_first) == len(begun(Scram(plus=False, exporter=None)))
    assert exchange.respond(client_final("pencil", server_first)) == rejected("invalid-proof")


def test_a_client_that_was_told_there_is_no_plus_was_lied_to() -> None:
    """RFC 5802 6: "y" where we offer PLUS is the mark of somebody in between."""
    for plus in (False, True):
        exchange = Scram(plus=plus, exporter=EXPORTER)
        assert exchange.start(client_first("y,,")) == rejected("server-does-support-channel-binding")
    assert isinstance(Scram(plus=False, exporter=None).start(client_first("y,,")), SecretWanted)
    assert isinstance(Scram(plus=False, exporter=EXPORTER).start(client_first("n,,")), SecretWanted)


@pytest.mark.parametrize(
    ("plus", "header", "error"),
    [
        (False, PLUS, "channel-binding-not-supported"),
        (True, "p=tls-unique,,", "unsupported-channel-binding-type"),
        (True, "p=tls-server-end-point,,", "unsupported-channel-binding-type"),
    ],
)
def test_a_binding_that_is_not_ours(plus: bool, header: str, error: str) -> None:
    exchange = Scram(plus=plus, exporter=EXPORTER)
    assert exchange.start(client_first(header)) == rejected(error)


def test_plus_without_a_binding_is_not_plus() -> None:
    with pytest.raises(SaslError):
        Scram(plus=True, exporter=EXPORTER).start(client_first("n,,"))
    with pytest.raises(LocalProtocolError):
        Scram(plus=True, exporter=None)


@pytest.mark.parametrize(
    ("header", "binding"),
    [(PLUS, bytes(32)), (PLUS, b""), (PLUS, EXPORTER[:-1]), (PLUS, EXPORTER + b"x"), ("n,,", b""), ("n,,", EXPORTER)],
)
def test_a_binding_to_another_channel(header: str, binding: bytes) -> None:
    """The right password, over a connection that somebody else has ended and begun again."""
    exchange = Scram(plus=True, exporter=EXPORTER)
    final = client_final("pencil", begun(exchange, PLUS), header=header, binding=binding)
    assert exchange.respond(final) == rejected("channel-bindings-dont-match")


@pytest.mark.parametrize("header", ["y,,", "n,a=boss,", PLUS])
def test_a_header_that_was_changed_on_the_way(header: str) -> None:
    exchange = Scram(plus=False, exporter=None)
    final = client_final("pencil", begun(exchange, "n,,"), header=header)
    assert exchange.respond(final) == rejected("channel-bindings-dont-match")


def test_extensions_that_must_be_understood() -> None:
    exchange = Scram(plus=False, exporter=None)
    assert exchange.start(b"n,,m=x,n=user,r=abc") == rejected("extensions-not-supported", None)
    exchange = Scram(plus=False, exporter=None)
    assert exchange.respond(client_final("pencil", begun(exchange), more=",m=x")) == rejected(
        "extensions-not-supported"
    )


def test_a_name_that_cannot_be_prepared() -> None:
    exchange = Scram(plus=False, exporter=None)
    assert exchange.start(client_first(user="\u0627a")) == rejected("invalid-username-encoding", "\u0627a")


@pytest.mark.parametrize(("header", "user"), [("n,,", "x" * 600), ("n,a=a\nb,", "user"), ("n,,", "\u00a0")])
def test_names_that_no_backend_could_be_told(header: str, user: str) -> None:
    with pytest.raises(SaslError):
        Scram(plus=False, exporter=None).start(client_first(header, user))


def test_who_knows_the_secret_is_away() -> None:
    exchange = Scram(plus=False, exporter=None)
    exchange.start(client_first())
    assert exchange.unavailable() == rejected("no-resources")


def test_nothing_comes_behind_the_end() -> None:
    exchange = Scram(plus=False, exporter=None)
    final = client_final("pencil", begun(exchange))
    exchange.respond(final)
    with pytest.raises(SaslError):
        exchange.respond(b"more")
    with pytest.raises(LocalProtocolError):
        exchange.respond(b"")


def test_what_has_failed_stays_so() -> None:
    """A second try in the same exchange would be a guess that nobody counts."""
    exchange = Scram(plus=False, exporter=None)
    server_first = begun(exchange)
    exchange.respond(client_final("wrong", server_first))
    with pytest.raises(LocalProtocolError):
        exchange.respond(client_final("pencil", server_first))
    exchange = Scram(plus=False, exporter=None)
    server_first = begun(exchange)
    with pytest.raises(SaslError):
        exchange.respond(b"garbage")
    with pytest.raises(LocalProtocolError):
        exchange.respond(client_final("pencil", server_first))


def test_calls_out_of_turn_are_our_own_fault() -> None:
    exchange = Scram(plus=False, exporter=None)
    with pytest.raises(LocalProtocolError):
        exchange.give(secret())
    with pytest.raises(LocalProtocolError):
        exchange.unavailable()
    exchange.start(client_first())
    with pytest.raises(LocalProtocolError):
        exchange.start(client_first())
    with pytest.raises(LocalProtocolError):
        exchange.respond(b"")


GOOD_FIRST = client_first()


@st.composite
def mangled(draw: st.DrawFn, good: bytes) -> bytes:
    """``good`` with one stretch of it replaced."""
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, len(good)))
    return good[:start] + draw(st.binary(max_size=8) | st.sampled_from([b",", b"=", b"=2C", b"m=", b"\0"])) + good[end:]


@settings(deadline=None)
@given(st.binary(max_size=80) | mangled(GOOD_FIRST) | mangled(client_first(PLUS)), st.booleans())
def test_any_first_message(message: bytes, plus: bool) -> None:
    exchange = Scram(plus=plus, exporter=EXPORTER)
    with contextlib.suppress(SaslError):
        step = exchange.start(message)
        assert isinstance(step, SecretWanted | Rejected)


@settings(deadline=None)
@given(st.data())
def test_any_final_message_that_is_not_the_right_one(data: st.DataObject) -> None:
    """Nothing but the client's own message logs in, and nothing raises but SaslError."""
    exchange = Scram(plus=False, exporter=None, nonce="fixed")
    good = client_final("pencil", begun(exchange))
    message = data.draw(st.binary(max_size=80) | mangled(good))
    with contextlib.suppress(SaslError):
        step = exchange.respond(message)
        assert isinstance(step, Rejected) or read_client_final(message) == read_client_final(good)
