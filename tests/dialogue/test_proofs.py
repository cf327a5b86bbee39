"""What an exchange comes to without a password."""

from __future__ import annotations

import pytest

from tlsgate.dialogue.credentials import LONGEST_USER, CredentialsError
from tlsgate.dialogue.proofs import Names, Proven, SecretWanted


@pytest.mark.parametrize("kind", [SecretWanted, Proven])
@pytest.mark.parametrize("name", ["", " ", "a\r\nb", "a\0", "a\u2028", "x" * (LONGEST_USER + 1)])
def test_a_name_that_no_backend_could_be_told_is_none(kind: type[Names], name: str) -> None:
    """These names reach a backend's command line and the log without a check of their own."""
    with pytest.raises(CredentialsError):
        kind(name)
    if name.strip():
        with pytest.raises(CredentialsError):
            kind("user", name)


def test_a_name_to_look_for_is_not_a_name_that_is_proven() -> None:
    wanted: Names = SecretWanted("user")
    assert wanted != Proven("user")
