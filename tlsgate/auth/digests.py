"""Password hashes that the standard library can check: plain and salted digests, PBKDF2 and SCRAM keys of Dovecot.

``check`` says by ValueError whether a text is such a hash at all; its words never show it. ``matches`` is for texts
that have passed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from msgspec import Struct

from tlsgate.dialogue.saslprep import saslprep


class Digest(Struct, frozen=True):
    """A digest of the password and, if ``salted``, of the salt behind it, which follows the digest (RFC 2307).

    ``hexadecimal``: written so, else in base64; Dovecot takes an unsalted one in either.
    """

    algorithm: str
    salted: bool = False
    hexadecimal: bool = False

    def check(self, text: str) -> None:
        _, salt = self._parts(text)
        if bool(salt) is not self.salted:
            raise ValueError("its hash has the wrong length")

    def matches(self, secret: bytes, text: str) -> bool:
        digest, salt = self._parts(text)
        return hmac.compare_digest(self._of(secret + salt), digest)

    def _of(self, data: bytes) -> bytes:
        return hashlib.new(self.algorithm, data, usedforsecurity=False).digest()

    def _parts(self, text: str) -> tuple[bytes, bytes]:
        size = len(self._of(b""))
        in_hex = self.hexadecimal or (not self.salted and len(text) == 2 * size)
        data = _from_hex(text) if in_hex else _from_base64(text)
        if len(data) < size:
            raise ValueError("its hash has the wrong length")
        return data[:size], data[size:]


class Pbkdf2(Struct, frozen=True):
    """Dovecot's PBKDF2: "$1$salt$rounds$hex" with HMAC-SHA-1; the salt is used as it is written."""

    def check(self, text: str) -> None:
        _pbkdf2_parts(text)

    def matches(self, secret: bytes, text: str) -> bool:
        salt, rounds, expected = _pbkdf2_parts(text)
        return hmac.compare_digest(hashlib.pbkdf2_hmac("sha1", secret, salt, rounds), expected)


class ScramKeys(Struct, frozen=True):
    """Dovecot's SCRAM keys: "iterations,salt,StoredKey,ServerKey" (RFC 5802 3), checked with the password itself."""

    algorithm: str

    def check(self, text: str) -> None:
        _, _, stored, server = _scram_parts(text)
        if not len(stored) == len(server) == hashlib.new(self.algorithm).digest_size:
            raise ValueError("its keys have the wrong length")

    def matches(self, secret: bytes, text: str) -> bool:
        iterations, salt, stored, _ = _scram_parts(text)
        for form in {secret, _prepared(secret)}:  # what was typed is hashed by Dovecot, prepared by others
            salted = hashlib.pbkdf2_hmac(self.algorithm, form, salt, iterations)
            client_key = hmac.digest(salted, b"Client Key", self.algorithm)
            if hmac.compare_digest(hashlib.new(self.algorithm, client_key).digest(), stored):
                return True
        return False


def _prepared(secret: bytes) -> bytes:
    """As RFC 5802 2.2 wants it, if it can be."""
    try:
        return saslprep(secret.decode()).encode()
    except ValueError:
        return secret


_MOST_ROUNDS = 100_000_000


def _pbkdf2_parts(text: str) -> tuple[bytes, int, bytes]:
    match text.split("$"):
        case ["", "1", salt, rounds, hexadecimal] if salt and len(hexadecimal) == 40:
            return salt.encode(), _rounds(rounds), _from_hex(hexadecimal)
    raise ValueError("it isn't $1$salt$rounds$hash")


def _scram_parts(text: str) -> tuple[int, bytes, bytes, bytes]:
    match text.split(","):
        case [iterations, salt, stored, server] if salt:
            return _rounds(iterations), _from_base64(salt), _from_base64(stored), _from_base64(server)
    raise ValueError("it isn't iterations,salt,StoredKey,ServerKey")


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 0 < int(text) <= _MOST_ROUNDS):
        raise ValueError("its number of rounds is none that can be used")
    return int(text)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("its hash isn't base64") from None


def _from_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise ValueError("its hash isn't hexadecimal") from None
