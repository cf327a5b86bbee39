"""App passwords: several of a user's, each for one device or program, and what its line in their file says.

"user:label:{SSHA256}hash:created:protocols:networks", the last two lists with commas, empty for all. Networks come
last, where an IPv6 prefix's colons do no harm.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import hmac
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from tlsgate.auth.passwd import MOST_FAULTS, Fault
from tlsgate.config import Network, Protocol
from tlsgate.config.fault import Wrong
from tlsgate.config.values import parse_network
from tlsgate.dialogue.credentials import Credentials, CredentialsError

MOST_PER_USER = 16
PROTOCOLS = (Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION)
SCHEME = "{SSHA256}"
LONGEST_LABEL = 64
_DIGEST = hashlib.sha256().digest_size
_LEAST_SALT, _MOST_SALT = 8, 64
_LONGEST_LINE = 8192
_LONGEST_TYPED = 128
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One of them. ``protocols`` and ``networks``: where it is good, everywhere if empty.

    A fast hash is sound for what we have made from 100 random bits, which nobody guesses at any speed; a slow one would
    have to be made for each that a user has.
    """

    label: str
    created: date
    protocols: frozenset[Protocol] = frozenset()
    networks: tuple[Network, ...] = ()
    salt: bytes = field(default=bytes(_LEAST_SALT), repr=False)
    digest: bytes = field(default=bytes(_DIGEST), repr=False)

    def matches(self, secret: bytes) -> bool:
        """Whether it is this one, as ``plain`` gives it."""
        return hmac.compare_digest(hashlib.sha256(secret + self.salt).digest(), self.digest)

    def unfit(self, protocol: Protocol, client: IPv4Address | IPv6Address) -> str:
        """Why it isn't good there, for the log; "" if it is."""
        if self.protocols and protocol not in self.protocols:
            return f"app password {self.label!a} isn't for {protocol}"
        if self.networks:
            address = (client.ipv4_mapped or client) if isinstance(client, IPv6Address) else client
            if not any(address in network for network in self.networks):
                return f"app password {self.label!a} isn't for this network"
        return ""


# What no password has as its hash.
_NOBODYS = (AppPassword("", date.min),) * MOST_PER_USER


@dataclass(frozen=True, slots=True)
class AppPasswords:
    """All of a file, by user. ``faults``: the first MOST_FAULTS of ``faulty`` lines."""

    by_user: Mapping[str, tuple[AppPassword, ...]] = field(repr=False)
    faults: tuple[Fault, ...]
    faulty: int

    def __reduce__(self) -> tuple[type[AppPasswords], tuple[object, ...]]:
        """For a process that only admits connections: what is wrong with the file, and nobody's."""
        return AppPasswords, ({}, self.faults, self.faulty)

    def find(self, user: str, typed: bytes) -> AppPassword | None:
        """The user's that was typed. Takes some 20 us, and as long for a user who has none."""
        if len(typed) > _LONGEST_TYPED:
            return None
        secret, own = plain(typed), self.by_user.get(user, ())
        right = [each for each in (*own, *_NOBODYS[len(own) :]) if each.matches(secret)]
        return right[0] if right else None


def plain(typed: bytes) -> bytes:
    """Without what may stand between its letters; telephones begin with a capital."""
    return typed.translate(None, b" -").lower()


def check_label(label: str) -> None:
    """Raises ValueError."""
    if not (label.strip() and len(label) <= LONGEST_LABEL and label.isprintable() and ":" not in label):
        raise ValueError(f'a label has 1 to {LONGEST_LABEL} printable characters, and no ":"')


def read_app_passwords(data: bytes) -> AppPasswords:
    """What a file of them says. A faulty line is left out; of lines with the same user and label, the first counts."""
    by_user: dict[str, tuple[AppPassword, ...]] = {}
    faults: list[Fault] = []
    faulty = 0
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), start=1):
        line = line.rstrip(b"\r\n")
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            user, found = read_line(line)
            others = by_user.get(user, ())
            if any(each.label == found.label for each in others):
                raise ValueError("its user has one of that label already, which counts")
            if len(others) == MOST_PER_USER:
                raise ValueError(f"its user has {MOST_PER_USER} already, which count")
            by_user[user] = (*others, found)
        except ValueError as fault:
            faulty += 1
            if len(faults) < MOST_FAULTS:
                faults.append(Fault(number, str(fault)))
    return AppPasswords(by_user, tuple(faults), faulty)


def read_line(line: bytes) -> tuple[str, AppPassword]:
    """The user's and what is said of it. Raises ValueError, which shows nothing of the line."""
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"it is longer than {_LONGEST_LINE} octets")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("it isn't UTF-8") from None
    match text.split(":", 5):
        case [user, label, stored, created, protocols, networks]:
            pass
        case _:
            raise ValueError("it isn't user:label:hash:created:protocols:networks")
    try:
        Credentials(user, b"any")
    except CredentialsError as fault:
        raise ValueError(f"nobody can log in so: {fault}") from None
    check_label(label)
    digest, salt = _read_hash(stored)
    return user, AppPassword(label, _created(created), read_protocols(protocols), read_networks(networks), salt, digest)


def _read_hash(stored: str) -> tuple[bytes, bytes]:
    if stored[: len(SCHEME)].upper() != SCHEME:
        raise ValueError(f"its hash isn't one of {SCHEME}")
    try:
        data = base64.b64decode(stored[len(SCHEME) :], validate=True)
    except ValueError:
        raise ValueError("its hash isn't base64") from None
    if not _LEAST_SALT <= len(data) - _DIGEST <= _MOST_SALT:
        raise ValueError("its hash has the wrong length")
    return data[:_DIGEST], data[_DIGEST:]


def _created(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError('its date isn\'t one such as "2026-01-31"') from None


def _listed(text: str, read: Callable[[str], _Item], fault: str) -> list[_Item]:
    try:
        return [read(each.strip()) for each in text.split(",")] if text.strip() else []
    except (ValueError, Wrong):
        raise ValueError(fault) from None


def read_protocols(text: str) -> frozenset[Protocol]:
    """Those of a list with commas. Raises ValueError."""
    return frozenset(_listed(text, _protocol, "its protocols aren't some of imap, pop3 and submission"))


def read_networks(text: str) -> tuple[Network, ...]:
    """Those of a list with commas. Raises ValueError."""
    return tuple(_listed(text, parse_network, "its networks aren't prefixes"))


def _protocol(text: str) -> Protocol:
    found = Protocol(text)
    if found not in PROTOCOLS:
        raise ValueError
    return found
