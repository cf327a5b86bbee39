"""Mail addresses in one canonical form: what they are judged by, and what a backend gets of them."""

from __future__ import annotations

import re

import idna
from msgspec import Struct

from tlsgate.dialogue.smtp_syntax import LONGEST_PATH

_LONGEST_NAME = 253  # RFC 1035 2.3.4, as text without the root's dot
_LONGEST_MAILBOX = LONGEST_PATH - 2
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[[A-Za-z0-9:.-]{2,64}\]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# What stands without quotes; "@" is no part of it in the RFCs, but "a@b@c" is told apart from plain nonsense.
_BARE = re.compile(r"[^ \"(),.:;<>\[\\\]]+(?:\.[^ \"(),.:;<>\[\\\]]+)*")
_ESCAPED = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r"([\"\\])")


class AddressSyntaxError(ValueError):
    """A text that is no address. The text of the error shows nothing of it."""


class Address(Struct, frozen=True):
    """``local``: the local part without quotes and escapes, in its own case. ``domain``: "" for none.

    A domain is in lower case, in A-labels, without the root's dot; or it is an address literal with its brackets.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        """As it goes to a backend: the local part in quotes where it needs them (RFC 5321 4.1.2)."""
        local = self.local
        if "@" in local or not _BARE.fullmatch(local):
            local = '"' + _TO_ESCAPE.sub(r"\\\1", local) + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def folded(self) -> str:
        """What is equal for addresses that nobody tells apart. Not for the wire: it has no quotes."""
        return f"{fold(self.local)}@{self.domain}"


def fold(name: str) -> str:
    """A name without its case. Only ASCII's: by the rules for all letters, some names of two users are one."""
    return name.lower() if name.isascii() else name


def parse_address(mailbox: str) -> Address:
    """A mailbox, with or without a domain. Raises AddressSyntaxError.

    The local part is all before the last "@", as for servers that don't follow the grammar.
    """
    if _UNPRINTABLE.search(mailbox):
        raise AddressSyntaxError("it holds a control character")
    if quoted := _QUOTED.match(mailbox):
        local, at, domain = _ESCAPED.sub(r"\1", quoted[1]), *_behind(mailbox[quoted.end() :])
    else:
        local, at, domain = mailbox.rpartition("@") if "@" in mailbox else (mailbox, "", "")
        if not _BARE.fullmatch(local):
            raise AddressSyntaxError("its local part is none")
    if not local or (at and not domain):
        raise AddressSyntaxError("its local part or its domain is empty")
    address = Address(local, _domain(domain) if at else "")
    if len(str(address).encode()) > _LONGEST_MAILBOX:
        raise AddressSyntaxError(f"it is longer than {_LONGEST_MAILBOX} octets")
    return address


def _behind(rest: str) -> tuple[str, str]:
    if rest and not rest.startswith("@"):
        raise AddressSyntaxError("its local part doesn't end with its quotes")
    return rest[:1], rest[1:]


def _domain(text: str) -> str:
    return text.lower() if _LITERAL.fullmatch(text) else canonical_domain(text)


def canonical_domain(text: str) -> str:
    """A domain's name in lower case, in A-labels (RFC 5891, mapped as UTS 46 says), without the root's dot.

    Raises AddressSyntaxError.
    """
    name = text
    if not text.isascii():
        if len(text) > _LONGEST_NAME:
            raise AddressSyntaxError("its domain is too long")
        try:
            name = idna.encode(text, uts46=True).decode()
        except UnicodeError:  # idna's own errors are such too
            raise AddressSyntaxError("its domain is no name") from None
    name = name.removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise AddressSyntaxError("its domain is no name")
    return name.lower()
