"""Content-Transfer-Encodings, decoded piece by piece (RFC 2045 6). Nothing is an error: readers guess too."""

from __future__ import annotations

import binascii
import re
from typing import Protocol

ANY_PARTS = b"*"
"""The encoding of what can't be taken apart."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_OTHERS = bytes(set(range(256)) - set(_ALPHABET))
# Where a text may begin: behind a header, and the one before ends at a delimiter.
_RESTART = re.compile(rb"\n\r?\n|\n--")
_UNDECIDED = re.compile(rb"\n[\r-]?")
_SPACES = 100  # between "=" and its line's end
_SOFT_BREAK = re.compile(rb"=[ \t]*+(?:\r?\n|\r)")
_UNFINISHED = re.compile(rb"=(?:[0-9A-Fa-f]|[ \t]*\r?)")


class TransferDecoder(Protocol):
    """Gives the octets that are known by now; ``end`` those that were waiting."""

    def decode(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Identity:
    """7bit, 8bit and binary."""

    def decode(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def end(self) -> bytes:
        """Nothing waits."""
        return b""


class Base64:
    """RFC 2045 6.8. Behind padding another text begins, as where two were joined."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, data: bytes) -> bytes:
        """Groups of four; other characters are ignored."""
        data = self._held + data.translate(None, _OTHERS)
        *texts, rest = data.split(b"=")
        whole = len(rest) // 4 * 4
        self._held = rest[whole:]
        return b"".join([*map(_base64, texts), _base64(rest[:whole])])

    def end(self) -> bytes:
        """A text that wants its padding."""
        rest, self._held = self._held, b""
        return _base64(rest)


class Base64Parts:
    """Base64 somewhere in a text, whose other octets come out as rubbish. It begins behind an empty line."""

    def __init__(self) -> None:
        self._base64 = Base64()
        self._held = b""

    def decode(self, data: bytes) -> bytes:
        """Each part by itself."""
        data = _RESTART.sub(b"=", self._held + data)
        last = data.rfind(b"\n", max(0, len(data) - 2))
        cut = last if last >= 0 and _UNDECIDED.fullmatch(data, last) else len(data)
        self._held = data[cut:]
        return self._base64.decode(data[:cut])

    def end(self) -> bytes:
        """The last one."""
        return self._base64.end()


class QuotedPrintable:
    """RFC 2045 6.7. Soft line breaks are gone behind it."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, data: bytes) -> bytes:
        """What isn't an encoded octet stands for itself."""
        data = self._held + data
        last = data.rfind(b"=", max(0, len(data) - _SPACES))
        cut = last if last >= 0 and _UNFINISHED.fullmatch(data, last) else len(data)
        self._held = data[cut:]
        return _quoted_printable(data[:cut])

    def end(self) -> bytes:
        """A "=" at the end of all."""
        rest, self._held = self._held, b""
        return _quoted_printable(rest)


def transfer_decoders(encoding: bytes) -> list[TransferDecoder]:
    """Those for a part with that Content-Transfer-Encoding, lower-case: all that a reader may take, where it's unclear.

    ``ANY_PARTS``: not one part, but maybe several with their headers.
    """
    match encoding:
        case b"" | b"7bit" | b"8bit" | b"binary":
            return [Identity()]
        case b"base64":
            return [Base64()]
        case b"quoted-printable":
            return [QuotedPrintable()]
        case _:
            return [Identity(), QuotedPrintable(), Base64Parts() if encoding == ANY_PARTS else Base64()]


def _base64(text: bytes) -> bytes:
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _quoted_printable(data: bytes) -> bytes:
    return binascii.a2b_qp(_SOFT_BREAK.sub(b"", data)) if b"=" in data else data
