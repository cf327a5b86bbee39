"""Which hashes are below today's standard: who has the file can guess at too many passwords a second.

The line: SHA512-CRYPT with the 5000 rounds that systems give it, some million guesses a second on one graphics card;
for bcrypt, Argon2 and scrypt what OWASP holds to be the least, or the common default where that is lower.
"""

from __future__ import annotations

import re

_LEAST_ROUNDS = {  # of what is the dearest part of a guess
    "SHA256-CRYPT": 5_000,
    "SHA512-CRYPT": 5_000,
    "PBKDF2": 20_000,  # SHA-1, as are the next two
    "SHA1-CRYPT": 20_000,
    "SCRAM-SHA-1": 20_000,
    "PBKDF2-SHA256": 10_000,
    "SCRAM-SHA-256": 10_000,
    "PBKDF2-SHA512": 5_000,
    "BLF-CRYPT": 10,  # of 2 ** rounds
    "ARGON2I": 7168 * 5,  # KiB of memory times passes
    "ARGON2ID": 7168 * 5,
    "SCRYPT": 2**17,  # N * r * p
}
_ROUNDS = {
    "SHA256-CRYPT": re.compile(r"\$5\$(?:rounds=(\d+)\$)?"),
    "SHA512-CRYPT": re.compile(r"\$6\$(?:rounds=(\d+)\$)?"),
    "SHA1-CRYPT": re.compile(r"\$sha1\$(\d+)\$"),
    "SCRAM-SHA-1": re.compile(r"(\d+),"),
    "SCRAM-SHA-256": re.compile(r"(\d+),"),
    "PBKDF2-SHA256": re.compile(r"\$pbkdf2-sha256\$(\d+)\$"),
    "PBKDF2-SHA512": re.compile(r"\$pbkdf2-sha512\$(\d+)\$"),
    "PBKDF2": re.compile(r"\$(?:pbkdf2\$(\d+)\$|1\$[^$]*\$(\d+)\$)"),  # libpass's, and Dovecot's
    "BLF-CRYPT": re.compile(r"\$2[aby]\$(\d+)\$"),
    "ARGON2I": re.compile(r".*?\$m=(\d+),t=(\d+)"),
    "ARGON2ID": re.compile(r".*?\$m=(\d+),t=(\d+)"),
    "SCRYPT": re.compile(r"\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)"),
}
_UNSAID = 5_000  # of SHA-crypt's rounds


def is_weak(scheme: str, text: str) -> bool:
    """Whether a hash that was found good, of a ``scheme`` by its name in ``PasswordHash``, is weak."""
    if scheme not in _LEAST_ROUNDS:
        return True  # DES, MD5, and digests that are made in one go, salted or not
    found = _ROUNDS[scheme].match(text)
    said = [int(each) for each in found.groups() if each is not None] if found else []
    if scheme == "SCRYPT" and said:
        said[0] = 1 << min(said[0], 64)
    cost = 1 if said or found is None else _UNSAID
    for each in said:
        cost *= each
    return cost < _LEAST_ROUNDS[scheme]
