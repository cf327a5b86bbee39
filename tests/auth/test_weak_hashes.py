"""Which hashes are told to be weak: those of before, and those of too few rounds."""

from __future__ import annotations

import pytest

from tests.auth.test_hashes import KNOWN
from tlsgate.auth.edit import hashed
from tlsgate.auth.hashes import read_hash
from tlsgate.auth.weak_hashes import is_weak

STRONG = ("SHA256-CRYPT", "SHA512-CRYPT", "ARGON2I", "ARGON2ID")


@pytest.mark.parametrize("text", KNOWN)
def test_of_what_is_known_only_few_are_strong(text: str) -> None:
    """And each has a name that an administrator finds in Dovecot's documentation, or libpass's."""
    known = read_hash(text)
    cheap = "m=16,t=1" in text
    assert known.weak is (known.scheme not in STRONG or cheap)
    assert known.scheme


@pytest.mark.parametrize("scheme", ["ARGON2ID", "SCRAM-SHA-256"])
def test_what_we_make_is_not_weak(scheme: str) -> None:
    """Else the advice to set a new password would never end."""
    made = read_hash(hashed(b"secret", scheme))
    assert (made.scheme, made.weak) == (scheme, False)


@pytest.mark.parametrize(
    ("scheme", "text", "weak"),
    [
        ("SHA512-CRYPT", "$6$salt$x", False),
        ("SHA512-CRYPT", "$6$rounds=4999$salt$x", True),
        ("SHA512-CRYPT", "$6$rounds=656000$salt$x", False),
        ("SHA256-CRYPT", "$5$rounds=1000$salt$x", True),
        ("SHA1-CRYPT", "$sha1$480000$salt$x", False),
        ("BLF-CRYPT", "$2y$05$x", True),  # htpasswd's
        ("BLF-CRYPT", "$2b$09$x", True),
        ("BLF-CRYPT", "$2a$10$x", False),
        ("PBKDF2", "$1$salt$5000$x", True),  # Dovecot's
        ("PBKDF2", "$1$salt$1300000$x", False),
        ("PBKDF2", "$pbkdf2$131000$salt$x", False),
        ("PBKDF2", "$pbkdf2$1000$salt$x", True),
        ("PBKDF2-SHA256", "$pbkdf2-sha256$29000$salt$x", False),
        ("PBKDF2-SHA256", "$pbkdf2-sha256$1000$salt$x", True),
        ("PBKDF2-SHA512", "$pbkdf2-sha512$25000$salt$x", False),
        ("PBKDF2-SHA512", "$pbkdf2-sha512$100$salt$x", True),
        ("SCRAM-SHA-1", "4096,salt,x,x", True),
        ("SCRAM-SHA-256", "4096,salt,x,x", True),  # the least that RFC 7677 allows
        ("SCRAM-SHA-256", "10000,salt,x,x", False),
        ("ARGON2ID", "$argon2id$v=19$m=19456,t=2,p=1$salt$x", False),
        ("ARGON2ID", "$argon2id$v=19$m=65536,t=1,p=4$salt$x", False),
        ("ARGON2ID", "$argon2id$v=19$m=19456,t=1,p=1$salt$x", True),
        ("ARGON2I", "$argon2i$v=19$m=1024,t=3,p=1$salt$x", True),
        ("SCRYPT", "$scrypt$ln=16,r=8,p=1$salt$x", False),
        ("SCRYPT", "$scrypt$ln=10,r=8,p=1$salt$x", True),
        ("SSHA512", "x", True),
        ("SHA256.HEX", "x", True),
        ("MD5", "x", True),
    ],
)
def test_rounds(scheme: str, text: str, weak: bool) -> None:
    assert is_weak(scheme, text) is weak


def test_rounds_that_nobody_could_do_take_no_time_to_judge() -> None:
    assert not is_weak("SCRYPT", f"$scrypt$ln={'9' * 4000},r=8,p=1$salt$x")
