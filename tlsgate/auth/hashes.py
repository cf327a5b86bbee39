"""A password hash as a file has it, "{SCHEME}hash" (Dovecot, RFC 2307) or a bare crypt string: which kind it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import bcrypt
from msgspec import Struct
from passlib import hash as handlers  # type: ignore[import-untyped]

from tlsgate.auth.digests import Digest, Pbkdf2, ScramKeys
from tlsgate.auth.weak_hashes import is_weak


class Kind(Protocol):
    """A kind of hash. ``check`` raises ValueError, without showing the hash; ``matches`` is for what has passed."""

    def check(self, text: str) -> None: ...
    def matches(self, secret: bytes, text: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """One user's. Kinds that are equal cost the same, but for their rounds. ``scheme``: by its name in Dovecot."""

    kind: Kind
    text: str = field(repr=False)
    scheme: str

    @property
    def weak(self) -> bool:
        """Whether it is easily guessed by who has the file."""
        return is_weak(self.scheme, self.text)

    def matches(self, secret: bytes) -> bool:
        """Whether ``secret`` is the password. Takes up to a second, and memory: not for the trio loop."""
        return self.kind.matches(secret, self.text)


class Bcrypt(Struct, frozen=True):
    """bcrypt's "$2a$", "$2b$" and "$2y$"."""

    def check(self, text: str) -> None:
        if _BCRYPT.fullmatch(text) is None:
            raise ValueError(_MALFORMED)

    def matches(self, secret: bytes, text: str) -> bool:
        # It never looks at more than 72 octets; our library refuses them, Dovecot and htpasswd don't.
        return bcrypt.checkpw(secret[:72], text.encode())


class Crypt(Struct, frozen=True):
    """A crypt string that passlib has a ``handler`` for."""

    handler: Any

    def check(self, text: str) -> None:
        try:
            read = self.handler.from_string(text)
        except (ValueError, TypeError):
            raise ValueError(_MALFORMED) from None
        # passlib takes a bare salt, and an argon2 hash that was cut.
        if read.checksum is None or len(read.checksum) < _SHORTEST or read.to_string() != text:
            raise ValueError(_MALFORMED)

    def matches(self, secret: bytes, text: str) -> bool:
        return bool(self.handler.verify(secret, text))


_MALFORMED = "its hash is malformed"
_SHORTEST = 11  # that of DES; argon2's may have any length, and a few octets match soon
# Salts are 16 octets: of the last character, two bits are left.
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")

# By how they begin: crypt strings say themselves what they are.
_CRYPTS: dict[str, Kind] = {
    "": Crypt(handlers.des_crypt),
    "$1$": Crypt(handlers.md5_crypt),
    "$5$": Crypt(handlers.sha256_crypt),
    "$6$": Crypt(handlers.sha512_crypt),
    "$2a$": Bcrypt(),
    "$2b$": Bcrypt(),
    "$2y$": Bcrypt(),
    "$apr1$": Crypt(handlers.apr_md5_crypt),
    "$argon2i$": Crypt(handlers.argon2),
    "$argon2id$": Crypt(handlers.argon2),
    "$pbkdf2$": Crypt(handlers.pbkdf2_sha1),
    "$pbkdf2-sha256$": Crypt(handlers.pbkdf2_sha256),
    "$pbkdf2-sha512$": Crypt(handlers.pbkdf2_sha512),
    "$scrypt$": Crypt(handlers.scrypt),
    "$sha1$": Crypt(handlers.sha1_crypt),
}
_CRYPT_NAMES = {
    "": "DES-CRYPT",
    "$1$": "MD5-CRYPT",
    "$5$": "SHA256-CRYPT",
    "$6$": "SHA512-CRYPT",
    "$2a$": "BLF-CRYPT",
    "$2b$": "BLF-CRYPT",
    "$2y$": "BLF-CRYPT",
    "$apr1$": "APR1",
    "$argon2i$": "ARGON2I",
    "$argon2id$": "ARGON2ID",
    "$pbkdf2$": "PBKDF2",
    "$pbkdf2-sha256$": "PBKDF2-SHA256",
    "$pbkdf2-sha512$": "PBKDF2-SHA512",
    "$scrypt$": "SCRYPT",
    "$sha1$": "SHA1-CRYPT",
}
# Schemes whose hash is a crypt string, and how it may begin there.
_CRYPT_SCHEMES: dict[str, tuple[str, ...]] = {
    "CRYPT": tuple(_CRYPTS),
    "DES-CRYPT": ("",),
    "MD5-CRYPT": ("$1$",),
    "SHA256-CRYPT": ("$5$",),
    "SHA512-CRYPT": ("$6$",),
    "BLF-CRYPT": ("$2a$", "$2b$", "$2y$"),
    "ARGON2I": ("$argon2i$",),
    "ARGON2ID": ("$argon2id$",),
}
_DIGESTS: dict[str, Digest] = {
    "SHA": Digest("sha1"),
    "SHA1": Digest("sha1"),
    "SHA256": Digest("sha256"),
    "SHA512": Digest("sha512"),
    "LDAP-MD5": Digest("md5"),
    "PLAIN-MD5": Digest("md5"),
    "SMD5": Digest("md5", salted=True),
    "SSHA": Digest("sha1", salted=True),
    "SSHA256": Digest("sha256", salted=True),
    "SSHA512": Digest("sha512", salted=True),
}
_OTHERS: dict[str, Kind] = {
    **_DIGESTS,
    **{f"{name}.B64": digest for name, digest in _DIGESTS.items()},
    **{f"{name}.HEX": Digest(each.algorithm, each.salted, hexadecimal=True) for name, each in _DIGESTS.items()},
    "PBKDF2": Pbkdf2(),
    "SCRAM-SHA-1": ScramKeys("sha1"),
    "SCRAM-SHA-256": ScramKeys("sha256"),
}
_CLEAR = ("PLAIN", "CLEAR", "CLEARTEXT", "PLAIN-TRUNC")
_UNFIT = ("CRAM-MD5", "HMAC-MD5", "DIGEST-MD5", "PLAIN-MD4", "OTP", "LANMAN", "NTLM")

# passlib and argon2 load what they are made of late: from files that may be out of reach once privileges are dropped.
for _name in ("argon2", "scrypt", "des_crypt", "md5_crypt", "sha1_crypt", "sha256_crypt", "sha512_crypt"):
    getattr(handlers, _name).get_backend()


def _start(text: str) -> str:
    return text[: text.find("$", 1) + 1] if text.startswith("$") else ""


def is_locked(text: str) -> bool:
    """Whether this is what tools write for an account without a login: nothing, or "!" or "*" before the hash."""
    _, rest = _split(text)
    return not rest or rest[0] in "!*"


def read_hash(text: str) -> PasswordHash:
    """A hash that isn't locked. Raises ValueError, which says what is wrong and never shows the hash."""
    scheme, rest = _split(text)
    kind = _kind(scheme, rest)
    kind.check(rest)
    return PasswordHash(kind, rest, _named(scheme, rest))


def _split(text: str) -> tuple[str, str]:
    """The scheme, "CRYPT" without one, and the hash."""
    scheme, closed, rest = text.partition("}")
    return (scheme[1:].upper(), rest) if closed and scheme.startswith("{") else ("CRYPT", text)


def _named(scheme: str, text: str) -> str:
    """One name for what is the same: a crypt string's is that of its kind."""
    if scheme in _CRYPT_SCHEMES or (scheme == "MD5" and text.startswith("$")):
        return _CRYPT_NAMES[_start(text)]
    return scheme


def _kind(scheme: str, text: str) -> Kind:
    if scheme in _CLEAR:
        raise ValueError(f"{{{scheme}}} keeps the password in clear; write a hash")
    if scheme in _UNFIT:
        raise ValueError(f"{{{scheme}}} can't be checked here; write a hash of another scheme")
    if scheme == "MD5":  # Dovecot's is MD5-CRYPT, LDAP's a digest
        scheme = "MD5-CRYPT" if text.startswith("$") else "LDAP-MD5"
    if scheme in _CRYPT_SCHEMES:
        start = _start(text)
        if start in _CRYPT_SCHEMES[scheme]:
            return _CRYPTS[start]
        raise ValueError("its hash is of another kind, or of none that is known here")
    if scheme in _OTHERS:
        return _OTHERS[scheme]
    raise ValueError("its scheme is not known here")
