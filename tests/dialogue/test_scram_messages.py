"""A SCRAM client's messages: attributes in order, nothing guessed."""

from __future__ import annotations

import base64

import pytest

from tlsgate.dialogue.challenge import SaslError
from tlsgate.dialogue.scram_messages import (
    LONGEST_MESSAGE,
    ScramError,
    ScramFailure,
    prepared_user,
    read_client_final,
    read_client_first,
)

PROOF = base64.b64encode(bytes(32)).decode()


def test_a_first_message() -> None:
    first = read_client_first(b"y,a=boss,n=us=2Cer,r=abc,x=ext")
    assert (first.gs2.flag, first.gs2.authzid, first.user, first.nonce) == ("y", "boss", "us,er", "abc")
    assert first.bare == "n=us=2Cer,r=abc,x=ext"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=user",
        b"n,,r=abc,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=\xc3\xa9",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=abc,x=",
        b"n,,n=user,r=abc,xy=z",
        b"n,,n=user,r=abc,n=admin",
        b"n,,n=user,r=abc,r=abd",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=user,r=abc\n",
        b" n,,n=user,r=abc",
        b"n,,n=" + b"x" * LONGEST_MESSAGE + b",r=abc",
    ],
)
def test_what_is_no_first_message(message: bytes) -> None:
    with pytest.raises(SaslError):
        read_client_first(message)


def test_a_final_message() -> None:
    final = read_client_final(f"c=biws,r=abc,x=ext,p={PROOF}".encode())
    assert (final.binding, final.nonce, final.proof) == (b"n,,", "abc", bytes(32))
    assert final.without_proof == "c=biws,r=abc,x=ext"
    assert repr(final) == "ClientFinal(nonce='abc')"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "c=biws,r=abc",
        f"c=biws,p={PROOF}",
        f"r=abc,c=biws,p={PROOF}",
        f"c=biws,p={PROOF},r=abc",
        f"c=biws,r=abc,p={PROOF},p={PROOF}",
        f"c=biws,r=abc,p={PROOF},",
        f"c=biw,r=abc,p={PROOF}",
        f"c=biws,r=abc,p={PROOF}=",
        f"c=biws,r=abc,,p={PROOF}",
        f"c=biws,r=abc,c=eSws,p={PROOF}",
        f"c=biws,r=abc,p={PROOF}\r\n",
        f"c=biws,r=abc,p=é{PROOF}",
        f"c=biws,r={'a' * LONGEST_MESSAGE},p={PROOF}",
    ],
)
def test_what_is_no_final_message(message: str) -> None:
    with pytest.raises(SaslError):
        read_client_final(message.encode())


def test_an_extension_that_must_be_understood_is_not() -> None:
    """RFC 5802 5.1, "m"."""
    for message in (b"n,,m=x,n=user,r=abc", b"n,,m=,n=user,r=abc", b"n,,n=user,r=abc,m=x"):
        with pytest.raises(ScramFailure) as caught:
            read_client_first(message)
        assert caught.value.error is ScramError.EXTENSIONS_NOT_SUPPORTED
    with pytest.raises(ScramFailure) as caught:
        read_client_final(f"c=biws,r=abc,m=x,p={PROOF}".encode())
    assert caught.value.error is ScramError.EXTENSIONS_NOT_SUPPORTED


def test_a_name_is_prepared() -> None:
    assert prepared_user("\u2168") == "IX"
    for name in ("\u00ad", "a\x07", "\u0627\u0031"):
        with pytest.raises(ScramFailure) as caught:
            prepared_user(name)
        assert caught.value.error is ScramError.INVALID_USERNAME_ENCODING


def test_a_name_is_as_long_as_it_is_once_prepared() -> None:
    """512 characters are the most that any user has: no more of them are worth looking at."""
    assert len(prepared_user("\ufdfa" * 28)) == 504
    with pytest.raises(ScramFailure) as caught:
        prepared_user("\ufdfa" * 29)
    assert caught.value.error is ScramError.INVALID_USERNAME_ENCODING
