"""What our OpenSSL is told by a file: a mistake in there is silent, and all of it is left out."""

from __future__ import annotations

import json
import subprocess
import sys

import trustme

from tests.tls.conftest import Pki

OURS = ("X25519", "prime256v1", "secp384r1")
NOT_OURS = ("X448", "secp521r1")


def test_groups_are_those_of_mozillas_profile_and_there_is_one_ticket(pki: Pki) -> None:
    """Other groups are slow to compute and little looked at, and any client may ask for them again and again."""
    files = pki.issue("rsa", "mail.example.org", key_type=trustme.KeyType.RSA)  # a curve that a client lacks is no key
    command = [sys.executable, "-m", "tests.tls.groups", *map(str, files), *OURS, *NOT_OURS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["favourite"] == "X25519MLKEM768"
    for version in ("TLSv1_2", "TLSv1_3"):
        assert [group for group, sent in found[version].items() if sent >= 0] == list(OURS)
    assert all(150 < found["TLSv1_3"][group] < 350 for group in OURS), found  # a ticket is some 255 octets
