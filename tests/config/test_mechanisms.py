"""Which source can serve which mechanism: one offered in vain lets nobody in, one that isn't is a client's last way."""

from __future__ import annotations

import pytest

from tlsgate.config import AuthSource, Mechanism
from tlsgate.config.mechanisms import SERVED_BY, WITHOUT_PASSWORD, served

PASSWORDS = {Mechanism.PLAIN, Mechanism.LOGIN}
SCRAM = {Mechanism.SCRAM_SHA_256, Mechanism.SCRAM_SHA_256_PLUS}
TOKENS = {Mechanism.OAUTHBEARER, Mechanism.XOAUTH2}


@pytest.mark.parametrize(
    ("sources", "mechanisms"),
    [
        ({AuthSource.BACKEND}, PASSWORDS),
        ({AuthSource.USERS_FILE}, PASSWORDS | SCRAM),
        ({AuthSource.AUTH_HTTP}, PASSWORDS),
        ({AuthSource.OAUTH}, TOKENS),
        ({AuthSource.OAUTH, AuthSource.BACKEND}, TOKENS | PASSWORDS),
        ({AuthSource.OAUTH, AuthSource.USERS_FILE}, TOKENS | PASSWORDS | SCRAM),
    ],
)
def test_who_serves_what(sources: set[AuthSource], mechanisms: set[Mechanism]) -> None:
    assert {each for each in Mechanism if served(each, sources, certificates=False)} == mechanisms
    with_certificates = {each for each in Mechanism if served(each, sources, certificates=True)}
    assert with_certificates == mechanisms | {Mechanism.EXTERNAL}


def test_each_mechanism_is_somebodys() -> None:
    """One that is forgotten here would end a start with a KeyError, not with a word on the config."""
    assert {*SERVED_BY, Mechanism.EXTERNAL} == {*Mechanism}
    assert {*Mechanism} - WITHOUT_PASSWORD == PASSWORDS
