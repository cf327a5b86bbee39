"""Removes Authentication-Results fields that claim to be ours from a message on its way (RFC 8601 5).

Readers behind us trust the fields with our name, so none but our own may have it. All else passes unchanged.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from contextlib import suppress
from typing import NamedTuple

import idna

from tlsgate.dialogue.smtp_reply import reply
from tlsgate.mail.addresses import AddressSyntaxError, canonical_domain

MOST_HEADER = 1024 * 1024
MOST_FIELDS = 100  # of the name, whoever's they are
HEADER_TOO_LARGE = reply("552 5.3.4", "Header is larger than this server takes")
# Of a field: whose name isn't told within, behind kilobytes of comments, was made to deceive.
LONGEST_LOOK = 8192

_CRLF = b"\r\n"
_NAME = b"authentication-results"
# A line is looked at as it will be without a stuffed dot (RFC 5321 4.5.2), which else would hide it.
_NEXT = re.compile(rb"\r\n(?:(\r\n)|\.?" + _NAME + rb")", re.IGNORECASE)
_LONGEST_NEXT = len(_CRLF + b"." + _NAME)
# Where a field ends: the line end that isn't before a blank (RFC 5322 2.2.3); and the same at the end of the message.
_FIELD_END = re.compile(rb"\r\n(?:[^ \t.]|\.[^ \t])")
_LAST_FIELD_END = re.compile(rb"\r\n(?:[^ \t.]|\.[^ \t]|\.?\Z)")
_LONGEST_END = 4
_STUFFED = re.compile(rb"(\A|\r\n)\.")


class _State(enum.Enum):
    PASSING = enum.auto()
    LOOKING = enum.auto()  # what is held begins with the line end before a field of the name
    REMOVING = enum.auto()
    OVER = enum.auto()


class _Step(NamedTuple):
    """What of a text may go on, up to where, and where to look ``next``; ``more``: there may be more to be found."""

    passed: int
    next: int
    more: bool = True


class ForgedResults:
    """The filter: the message goes through ``feed`` as it is on the wire, with stuffed dots; ``finish`` gives the rest.

    Of a message there is all up to its end of data, so it ends with a line end.
    ``too_large``: the header has more than MOST_HEADER octets, or MOST_FIELDS such fields; nothing more is given out
    and the message must not stand. ``removed``: how many fields were. At most LONGEST_LOOK octets, and a few, are held.
    """

    __slots__ = ("_body", "_fed", "_held", "_ours", "_seen", "_skip", "_state", "removed", "too_large")

    def __init__(self, authserv_id: str) -> None:
        self._ours = _forms(authserv_id)
        # Each line is taken with the line end before it. The first one's is ours, and taken off again.
        self._held = _CRLF
        self._skip = len(_CRLF)
        self._state = _State.PASSING
        self._fed = self._body = 0  # octets in all until the header was over, and those of the body among them
        self._seen = 0
        self.removed = 0
        self.too_large = False

    def feed(self, data: bytes) -> bytes:
        """Take octets of the message, give those that may go on (maybe none)."""
        if self._state is _State.OVER:
            return b"" if self.too_large else data
        self._fed += len(data)
        return self._passed(self._held + data, last=False)

    def finish(self) -> bytes:
        """What is still held, at the end of the message."""
        return b"" if self._state is _State.OVER else self._passed(self._held, last=True)

    def _passed(self, text: bytes, *, last: bool) -> bytes:
        passed: list[bytes] = []
        at, more = 0, True
        while more and self._seen <= MOST_FIELDS:
            step = self._step(text, at, last)
            passed.append(text[at : step.passed])
            at, more = step.next, step.more
        self._held = text[at:]
        if self._fed - self._body > MOST_HEADER or self._seen > MOST_FIELDS:
            self.too_large, self._state, self._held = True, _State.OVER, b""
            return b""
        return self._unwrapped(b"".join(passed))

    def _step(self, text: bytes, at: int, last: bool) -> _Step:
        match self._state:
            case _State.PASSING:
                return self._pass(text, at, last)
            case _State.LOOKING:
                return self._look(text, at, last)
            case _State.REMOVING:
                return self._remove(text, at, last)
            case _State.OVER:
                return _Step(at, at, more=False)

    def _pass(self, text: bytes, at: int, last: bool) -> _Step:
        found = _NEXT.search(text, at)
        if found is None:
            end = len(text) if last else _undecided(text, at, _LONGEST_NEXT)
            return _Step(end, end, more=False)
        if found[1]:
            self._state = _State.OVER
            self._body = len(text) - found.end()
            return _Step(len(text), len(text), more=False)
        self._state = _State.LOOKING
        return _Step(found.start(), found.start())

    def _look(self, text: bytes, at: int, last: bool) -> _Step:
        start = at + len(_CRLF)
        ended = (_LAST_FIELD_END if last else _FIELD_END).search(text, start)
        end = ended.start() if ended else len(text)
        if ended is None and not last and end - start < LONGEST_LOOK:
            return _Step(at, at, more=False)
        if self._is_forged(text[start:end]):
            self._state = _State.REMOVING
            self.removed += 1
            return _Step(at, start)
        self._state = _State.PASSING
        return _Step(start + 1, start + 1)  # behind its line end, so that it isn't found again

    def _remove(self, text: bytes, at: int, last: bool) -> _Step:
        ended = (_LAST_FIELD_END if last else _FIELD_END).search(text, at)
        if ended is None:
            return _Step(at, len(text) if last else _undecided(text, at, _LONGEST_END), more=False)
        self._state = _State.PASSING
        return _Step(at, ended.start())

    def _unwrapped(self, passed: bytes) -> bytes:
        skip = min(self._skip, len(passed))
        self._skip -= skip
        return passed[skip:]

    def _is_forged(self, field: bytes) -> bool:
        self._seen += 1
        whole = len(field) < LONGEST_LOOK
        named = _authserv_id(_STUFFED.sub(rb"\1", field[:LONGEST_LOOK]), whole=whole)
        return named is None or (bool(named) and _form(named.decode(errors="replace")) in self._ours)


def _undecided(text: bytes, at: int, longest: int) -> int:
    """Where what isn't whole yet may begin, in the end of ``text`` from ``at`` on."""
    found = text.find(b"\r", max(at, len(text) - longest + 1))
    return len(text) if found < 0 else found


def _forms(authserv_id: str) -> frozenset[str]:
    """Our name as others may write it: in A-labels, and in U-labels."""
    forms = {_form(authserv_id)}
    with suppress(UnicodeError):
        forms.add(_form(idna.decode(authserv_id)))
    with suppress(AddressSyntaxError):
        forms.add(canonical_domain(authserv_id))
    return frozenset(forms)


def _form(authserv_id: str) -> str:
    """What is equal for names that readers take for the same; what they may drop, or show as a blank, is left out.

    Much cheaper than UTS 46, and no name that is equal by that is unequal here.
    """
    if authserv_id.isascii():
        return authserv_id.lower().strip(" .")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", authserv_id).casefold())
    kept = "".join(each for each in folded if unicodedata.category(each) not in _UNSEEN and each != "\ufffd")
    return kept.replace("\u3002", ".").strip(" .")


_UNSEEN = ("Cf", "Cc", "Mn")
_BLANKS = re.compile(rb"[ \t\r\n]*")
_IN_COMMENT = re.compile(rb"\\.|[()]", re.DOTALL)
# A token of RFC 2045, with octets of UTF-8 (RFC 8601 2.5), or what it has quotes for; or an address literal without.
_ID = re.compile(rb'([^\x00-\x20\x7f()<>@,;:\\"/\[\]?=]+|\[[^\]]*\])|"((?:[^"\\]|\\.)*)"', re.DOTALL)
_VERSION = re.compile(rb"[0-9]*")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def _authserv_id(field: bytes, *, whole: bool) -> bytes | None:
    """The name in a field, "" where the field is another one, or has a result in the name's place.

    None where there is something else: no honest server writes that, and readers differ in what they make of it.
    """
    at = _end(_BLANKS, field, len(_NAME))
    if field[at : at + 1] != b":":
        return None if at == len(field) and not whole else b""
    found = _ID.match(field, at := _behind_blanks(field, at + 1))
    if found is None or (found.end() == len(field) and not whole):
        return None
    if found[1] and field[found.end() : found.end() + 1] == b"=":
        return b""
    at = _behind_blanks(field, _end(_VERSION, field, _behind_blanks(field, found.end())))
    if field[at : at + 1] not in (b"", b";"):
        return None
    return found[1] or _ESCAPED.sub(rb"\1", found[2] or b"") or None


def _behind_blanks(field: bytes, at: int) -> int:
    """Behind blanks and comments (RFC 5322 3.2.2)."""
    at = _end(_BLANKS, field, at)
    while field[at : at + 1] == b"(":
        at = _end(_BLANKS, field, _behind_comment(field, at))
    return at


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _behind_comment(field: bytes, at: int) -> int:
    """Comments may be in comments (RFC 5322 3.2.2)."""
    depth = 0
    for found in _IN_COMMENT.finditer(field, at):
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return len(field)
