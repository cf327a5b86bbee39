"""SCRAM: a client's messages, stored secrets, SASLprep."""

from __future__ import annotations

from fuzz.choices import Choices
from tlsgate.dialogue.challenge import SaslError
from tlsgate.dialogue.credentials import LONGEST_USER
from tlsgate.dialogue.saslprep import saslprep
from tlsgate.dialogue.scram_messages import ScramFailure, prepared_user, read_client_final, read_client_first
from tlsgate.dialogue.scram_secret import read_secret, written


def fuzz(data: bytes) -> None:
    message = data
    try:
        first = read_client_first(message)
        assert first.gs2.text + first.bare == message.decode()
        name = prepared_user(first.user)
        assert name
        assert len(name) <= LONGEST_USER
    except (SaslError, ScramFailure):
        pass
    try:
        final = read_client_final(message)
        assert message.startswith(final.without_proof.encode())
        assert b"," not in final.nonce.encode()
    except (SaslError, ScramFailure):
        pass
    text = data.decode(errors="replace")
    try:
        secret = read_secret(text)
        assert read_secret(written(secret)) == secret
    except ValueError:
        pass
    stored = Choices(data).flag()
    try:
        prepared = saslprep(text, stored=stored)
    except ValueError:
        return
    assert saslprep(prepared, stored=stored) == prepared
