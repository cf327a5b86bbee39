"""The digests that the standard library makes, against vectors of their RFCs."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from tlsgate.auth.digests import Digest, Pbkdf2, ScramKeys


def test_scram_keys_of_rfc_7677() -> None:
    """The example of RFC 7677 3: "pencil", 4096 rounds, and the StoredKey and ServerKey that follow from it."""
    text = (
        "4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    ScramKeys("sha256").check(text)
    assert ScramKeys("sha256").matches(b"pencil", text)
    assert not ScramKeys("sha256").matches(b"Pencil", text)


def test_pbkdf2_of_rfc_6070() -> None:
    text = "$1$salt$4096$4b007901b765489abead49d926f721d065a429c1"
    Pbkdf2().check(text)
    assert Pbkdf2().matches(b"password", text)
    assert not Pbkdf2().matches(b"passwore", text)


@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_a_salt_of_any_length(size: int) -> None:
    salt = bytes(range(size))
    text = base64.b64encode(hashlib.sha256(b"secret" + salt).digest() + salt).decode()
    Digest("sha256", salted=True).check(text)
    assert Digest("sha256", salted=True).matches(b"secret", text)
    assert not Digest("sha256", salted=True).matches(b"secret" + salt[:1], text)


def test_scram_keys_of_a_prepared_password() -> None:
    """RFC 5802 2.2: who typed it to make the keys has had it prepared; who types it now mustn't be refused."""
    for stored in ("IX \N{LATIN SMALL LETTER E WITH ACUTE}", "\N{ROMAN NUMERAL NINE} e\N{COMBINING ACUTE ACCENT}"):
        salted = hashlib.pbkdf2_hmac("sha256", stored.encode(), b"salt", 1)
        key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        text = (
            f"1,{base64.b64encode(b'salt').decode()},{base64.b64encode(key).decode()},{base64.b64encode(key).decode()}"
        )
        assert ScramKeys("sha256").matches("\N{ROMAN NUMERAL NINE} e\N{COMBINING ACUTE ACCENT}".encode(), text)
        assert not ScramKeys("sha256").matches(b"IX e", text)
        assert not ScramKeys("sha256").matches(b"\xff", text)
