"""Whose addresses a user may send from: the text of ``[relay] aliases_file``, read and asked.

A line is "login: address, address": the login as it is shown at AUTH, and what it may put into MAIL FROM beside itself:

    ann: ann@example.org, sales@example.org
    ben@example.org: @example.net           # every address of the domain; *@example.net is the same
    robot: @*.example.net                   # every address of its subdomains, not of example.net itself

Lines for one login add up. "#" begins a comment at a line's beginning and behind a blank. The case of letters means
nothing, but for those beyond ASCII in logins and local parts. This is Postfix's smtpd_sender_login_maps turned round:
one line a login.
"""

from __future__ import annotations

import codecs
import io
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tlsgate.admission.lists import LineRemark
from tlsgate.dialogue.smtp_reply import reply
from tlsgate.dialogue.smtp_syntax import Path
from tlsgate.mail.addresses import AddressSyntaxError, canonical_domain, fold, parse_address

MOST_REMARKS = 100
NOT_YOURS = reply("550 5.7.1", "You may not send from this address")  # RFC 6409 6.1
_LONGEST_LINE = 8192
_COMMENT = re.compile(r"(?:\A|[ \t])#.*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
# A thread that only computes holds the trio loop up; with these rests it doesn't.
_LINES_AT_ONCE = 500
_REST = 0.0002


@dataclass(frozen=True, slots=True)
class Aliases:
    """``patterns``: by login, "local@domain", "@domain" and "@*.domain". ``remarks``: on the first of ``bad_lines``."""

    patterns: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    remarks: tuple[LineRemark, ...] = ()
    bad_lines: int = 0

    def may_send(self, user: str, sender: Path) -> bool:
        """Whether ``user`` may send from ``sender``: from itself, where it is an address, and from its aliases.

        From the null path everybody may: read receipts must have it (RFC 8098 2.1), and it is nobody's address. From a
        local part alone nobody may: the domain that a backend would add isn't known here.
        """
        if not sender.mailbox:
            return True
        try:
            address = parse_address(sender.mailbox)
        except AddressSyntaxError:
            return False
        if not address.domain:
            return False
        return address.folded == _as_address(user) or not self.patterns.get(fold(user), _NONE).isdisjoint(
            _patterns_of(address.folded, address.domain)
        )


_NONE: frozenset[str] = frozenset()


def _as_address(user: str) -> str | None:
    try:
        return parse_address(user).folded
    except AddressSyntaxError:
        return None


def _patterns_of(folded: str, domain: str) -> Iterator[str]:
    yield folded
    yield f"@{domain}"
    while "." in domain:
        domain = domain.partition(".")[2]
        yield f"@*.{domain}"


def read_aliases(data: bytes) -> Aliases:
    """What the file says. A faulty line is left out whole. Takes a while: not for the trio loop."""
    patterns: dict[str, set[str]] = {}
    remarks: list[LineRemark] = []
    bad_lines = 0
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), start=1):
        if not number % _LINES_AT_ONCE:
            time.sleep(_REST)
        try:
            entry = _entry(line)
        except ValueError as wrong:
            bad_lines += 1
            if len(remarks) < MOST_REMARKS:
                remarks.append(LineRemark(number, str(wrong)))
            continue
        if entry is not None:
            patterns.setdefault(entry[0], set()).update(entry[1])
    return Aliases({login: frozenset(each) for login, each in patterns.items()}, tuple(remarks), bad_lines)


def _entry(line: bytes) -> tuple[str, list[str]] | None:
    """One line's login and patterns, None for a line that says nothing. Raises ValueError."""
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"it is longer than {_LONGEST_LINE} octets; go on with the same login in another line")
    try:
        text = _COMMENT.sub("", line.decode().rstrip("\r\n")).strip()
    except UnicodeDecodeError:
        raise ValueError("it isn't UTF-8") from None
    if not text:
        return None
    login, colon, rest = text.partition(":")
    login = login.strip()
    if not colon or not login or _UNPRINTABLE.search(text):
        raise ValueError('it isn\'t "login: address, address"')
    addresses = [each for each in (each.strip() for each in rest.split(",")) if each]
    if not addresses:
        raise ValueError("it names no address")
    return fold(login), [_pattern(number, each) for number, each in enumerate(addresses, start=1)]


def _pattern(number: int, text: str) -> str:
    try:
        local, at, domain = text.rpartition("@")
        if at and local in ("", "*"):
            below = domain.startswith("*.")
            return f"@{'*.' if below else ''}{canonical_domain(domain.removeprefix('*.'))}"
        address = parse_address(text)
    except AddressSyntaxError as fault:
        raise ValueError(f"address {number} can't be used: {fault}") from None
    if not address.domain:
        raise ValueError(f"address {number} has no domain")
    if "@" in address.local:
        raise ValueError(f'address {number} has an "@" in its local part')
    if "*" in local:
        raise ValueError(f'address {number} has "*" in a local part; only "*@" alone stands for all of them')
    return address.folded
