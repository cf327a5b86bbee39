"""What a server keeps of a password for SCRAM-SHA-256: enough to check a proof, not to make one (RFC 5802 3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from tlsgate.dialogue.saslprep import saslprep

LEAST_ITERATIONS = 4096  # RFC 7677 4; clients may refuse less
MOST_ITERATIONS = 1_000_000  # the client has to do them
_LONGEST_SALT = 256
_HASH = "sha256"
_SIZE = 32
_SCHEME = "{SCRAM-SHA-256}"


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """One user's. Raises ValueError, which shows nothing of it, when a value is out of bounds."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not LEAST_ITERATIONS <= self.iterations <= MOST_ITERATIONS:
            raise ValueError(f"its iterations aren't between {LEAST_ITERATIONS} and {MOST_ITERATIONS}")
        if not 0 < len(self.salt) <= _LONGEST_SALT:
            raise ValueError("its salt has the wrong length")
        if not len(self.stored_key) == len(self.server_key) == _SIZE:
            raise ValueError("its keys have the wrong length")

    def proves(self, auth_message: bytes, proof: bytes) -> bool:
        """Whether who made ``proof`` of ``auth_message`` knows the password. Takes the same time for any 32 octets."""
        if len(proof) != _SIZE:
            return False
        signature = hmac.digest(self.stored_key, auth_message, _HASH)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.new(_HASH, client_key).digest(), self.stored_key)

    def signature(self, auth_message: bytes) -> bytes:
        """The server's own proof."""
        return hmac.digest(self.server_key, auth_message, _HASH)


def from_password(password: str, salt: bytes, iterations: int) -> ScramSecret:
    """Takes as long as the iterations need: not for the trio loop. Raises ValueError."""
    prepared = saslprep(password, stored=True).encode()
    if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
        raise ValueError("its iterations are out of bounds")
    return _from_salted(hashlib.pbkdf2_hmac(_HASH, prepared, salt, iterations), salt, iterations)


def read_secret(text: str) -> ScramSecret:
    """A secret as files have it. Raises ValueError, which shows nothing of it.

    "{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey" (Dovecot, gsasl --mkpasswd), or libpass's
    "$scram$iterations$salt$sha-256=SaltedPassword,...".
    """
    if text[: len(_SCHEME)].upper() == _SCHEME:
        match text[len(_SCHEME) :].split(","):
            case [iterations, salt, stored, server]:
                keys = _from_base64(stored), _from_base64(server)
                return ScramSecret(_number(iterations), _from_base64(salt), *keys)
    match text.split("$"):
        case ["", "scram", iterations, salt, digests]:
            for each in digests.split(","):
                name, _, salted = each.partition("=")
                if name == "sha-256":
                    return _from_salted(_from_ab64(salted), _from_ab64(salt), _number(iterations))
    raise ValueError("it is no SCRAM-SHA-256 secret")


def written(secret: ScramSecret) -> str:
    """As ``read_secret`` and Dovecot read it."""
    parts = (base64.b64encode(each).decode() for each in (secret.salt, secret.stored_key, secret.server_key))
    return f"{_SCHEME}{secret.iterations},{','.join(parts)}"


def decoy(user: str, key: bytes, like: ScramSecret) -> ScramSecret:
    """For a user who has none: looks like ``like``, is the same each time for a name, and no proof fits it.

    ``key``: secret, and the same in all processes and after a restart; a salt that changes tells that nobody is there.
    """
    name = user.encode()

    def derived(purpose: bytes, size: int) -> bytes:
        return hashlib.shake_256(hmac.digest(key, purpose + name, _HASH)).digest(size)

    # Nobody knows what has such a StoredKey as its SHA-256: no password does. The ServerKey is never used.
    return ScramSecret(like.iterations, derived(b"salt:", len(like.salt)), derived(b"key:", _SIZE), bytes(_SIZE))


def _from_salted(salted: bytes, salt: bytes, iterations: int) -> ScramSecret:
    if len(salted) != _SIZE:
        raise ValueError("its hash has the wrong length")
    client_key = hmac.digest(salted, b"Client Key", _HASH)
    stored = hashlib.new(_HASH, client_key).digest()
    return ScramSecret(iterations, salt, stored, hmac.digest(salted, b"Server Key", _HASH))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError("its iterations are no number")
    return int(text)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("it isn't base64") from None


def _from_ab64(text: str) -> bytes:
    """libpass's own base64: "." for "+", no padding."""
    return _from_base64(text.replace(".", "+") + "=" * (-len(text) % 4))
