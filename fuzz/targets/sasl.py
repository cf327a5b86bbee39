"""SASL exchanges of every mechanism, with whatever the client answers to each challenge."""

from __future__ import annotations

from fuzz.choices import Choices
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice
from tlsgate.dialogue.challenge import Challenge, SaslError, decode, decode_initial, encode
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import LocalProtocolError, Refusal, Refused
from tlsgate.dialogue.proofs import Proven, Rejected, SecretWanted
from tlsgate.dialogue.sasl import MECHANISMS, Authentication, Connection, Failed, Finished, Step, shown_user
from tlsgate.dialogue.scram_secret import from_password

_CONNECTION = Connection(bytes(32), "carol", TokenAdvice("mail", "https://issuer.example/"))
_SECRET = from_password("pencil", b"salt", 4096)
_NAMES = (*MECHANISMS, "GSSAPI")
_REFUSALS = tuple(Refusal)


def fuzz(data: bytes) -> None:
    choices = Choices(data)
    name, verdict = choices.one(_NAMES), choices.octet()
    first, *answers = choices.rest.split(b"\n")
    for given in (first, *answers):
        _check_base64(given)
    shown_user(name, first)
    exchange = Authentication(_NAMES, _CONNECTION)
    step = exchange.begin(name, first or None)
    for answer in answers:
        _check(step)
        if isinstance(step, SecretWanted):
            step = exchange.give(_SECRET if verdict & 1 else None)
            continue
        if isinstance(step, Credentials | BearerToken | Proven):
            challenge = exchange.refuse(Refused(_REFUSALS[verdict % len(_REFUSALS)]))
            if challenge is None:
                return
            step = challenge
            continue
        try:
            step = exchange.respond(answer + b"\n")
        except LocalProtocolError:
            assert isinstance(step, Failed | Finished)
            return


def _check(step: Step) -> None:
    """Whatever comes of a message goes to a log, a backend or a client's line."""
    match step:
        case Credentials(user, secret, authzid):
            assert user.isprintable() or not user.isascii()
            assert not any(each in f"{user}{authzid}" for each in "\0\r\n\x7f\u2028")
            assert not any(each in secret for each in (b"\0", b"\r", b"\n"))
        case Proven(user):
            assert user == "carol"  # by its certificate: nobody knows our nonces beforehand
        case Challenge(data):
            assert b"\n" not in encode(data)
        case Rejected(_, reason, user) | Failed(_, reason, user):
            assert reason.isprintable()
            assert user is None or not any(each in user for each in "\0\r\n")
        case _:
            pass


def _check_base64(line: bytes) -> None:
    for read in (decode, decode_initial):
        try:
            octets = read(line)
        except SaslError:
            continue
        assert decode(encode(octets)) == octets
