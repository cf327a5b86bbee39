"""SCRAM secrets: their forms in files, their bounds, and decoys."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.dialogue.scram_secret import MOST_ITERATIONS, ScramSecret, decoy, from_password, read_secret, written

# Made by gsasl --mkpasswd and by libpass from the password "pencil".
GSASL = (
    "{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,nQpbZ77WudtqufPwikHXGRt6g2QJ4zns8bZLw273DRM=,"
    "jn2amWP1q1h+jgjy0YTO14S6/F02SV7taipOeB7ef20="
)
LIBPASS = (
    "$scram$4096$MDEyMzQ1Njc4OWFi$sha-1=R336So1SSChH4AXrkZtLHX.xhYg,sha-256=vVPXNnpNCZCe7fvnFy8bj4oDmH3Mwtu0f1JVNJSKPGY"
)


def test_the_forms_that_files_have() -> None:
    assert read_secret(GSASL) == read_secret(GSASL.replace("SCRAM", "scram", 1))
    assert read_secret(GSASL) == from_password("pencil", b"0123456789abcdef", 4096)
    assert read_secret(LIBPASS) == from_password("pencil", b"0123456789ab", 4096)


def test_what_is_written_is_read_again() -> None:
    secret = from_password("pencil", b"0123456789abcdef", 4096)
    assert written(secret) == GSASL
    assert read_secret(written(secret)) == secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{SCRAM-SHA-1}" + GSASL.removeprefix("{SCRAM-SHA-256}"),
        GSASL.removeprefix("{SCRAM-SHA-256}"),
        GSASL + ",x",
        GSASL.replace("4096", "4095"),
        GSASL.replace("4096", "1000001"),
        GSASL.replace("4096", "9" * 5000),
        GSASL.replace("4096", "-4096"),
        GSASL.replace("4096", " 4096"),
        GSASL.replace("4096", "٤٠٩٦"),
        GSASL.replace("MDEyMzQ1Njc4OWFiY2RlZg==", ""),
        GSASL.replace("MDEyMzQ1Njc4OWFiY2RlZg==", "A" * 1000),
        GSASL.replace("MDEyMzQ1Njc4OWFiY2RlZg==", "!"),
        GSASL[:-4],
        LIBPASS.replace("sha-256", "sha-512"),
        LIBPASS[:-4],
        LIBPASS.replace("MDEyMzQ1Njc4OWFi", "é"),
        "{PLAIN}pencil",
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"its |it is") as caught:
        read_secret(text)
    assert not text or text[-8:] not in str(caught.value)
    assert caught.value.__cause__ is None


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(max_size=60).map("{SCRAM-SHA-256}".__add__))
def test_no_text_makes_more_than_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_secret(text)


def test_the_keys_are_not_shown() -> None:
    assert repr(read_secret(GSASL)) == "ScramSecret(iterations=4096)"


def test_the_password_is_prepared() -> None:
    """RFC 5802 2.2: clients prepare it too, so an unprepared one could never be right."""
    assert from_password("\u2168", b"salt", 4096) == from_password("IX", b"salt", 4096)
    with pytest.raises(ValueError, match="prohibited"):
        from_password("a\x07", b"salt", 4096)


def test_a_password_is_not_hashed_more_often_than_a_client_would() -> None:
    with pytest.raises(ValueError, match="iterations"):
        from_password("pencil", b"salt", MOST_ITERATIONS + 1)


def _proof(password: str, secret: ScramSecret, message: bytes) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), secret.salt, secret.iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(secret.stored_key, message, "sha256")
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


def test_a_proof_is_of_one_message_by_one_password() -> None:
    secret = read_secret(GSASL)
    proof = _proof("pencil", secret, b"message")
    assert secret.proves(b"message", proof)
    assert not secret.proves(b"message ", proof)
    assert not secret.proves(b"message", _proof("Pencil", secret, b"message"))
    for wrong in (b"", proof[:-1], proof + b"\0", bytes(32)):
        assert not secret.proves(b"message", wrong)


KEY = bytes(range(32))


def test_a_decoy_looks_like_a_user_who_is_there() -> None:
    """A salt of another length, or one that changes, tells who has an account (RFC 5802 9)."""
    like = read_secret(GSASL)
    made = decoy("nobody", KEY, like)
    assert made == decoy("nobody", KEY, like)
    assert (made.iterations, len(made.salt)) == (like.iterations, len(like.salt))
    salts = {each.salt for each in (made, like, decoy("nobody2", KEY, like), decoy("nobody", KEY[::-1], like))}
    assert len(salts) == 4


def test_no_password_fits_a_decoy() -> None:
    made = decoy("nobody", KEY, read_secret(GSASL))
    assert not made.stored_key.startswith(made.salt), "the salt is told to everybody"
    for password in ("pencil", "", "nobody"):
        assert not made.proves(b"message", _proof(password, made, b"message"))
    # Not even who has guessed that the stored key is what it looks like.
    assert base64.b64encode(made.stored_key) not in repr(made).encode()
    assert not made.proves(b"message", hmac.digest(made.stored_key, b"message", "sha256"))
