"""Transcripts: a dialogue written down as text, with what the dialogue under test must say and tell.

A header of ``key: value`` lines, an empty line, then one step a line (``#`` begins a comment):

==== ============================================================================================
C:   octets from the client (towards a backend: what we must send there)
S:   octets that our side must send (towards a backend: what the backend sends)
E:   an event that the dialogue must tell; its own octets, if any, follow as the next S: line
B:   octets of a message that must be passed on (none are written where the message can't stand)
V:   the answer to the event above: a verdict ("granted", "refused <reason>"), a SCRAM secret (the password that it
     is of, "secret <password>", or "unavailable") or an SMTP reply
T:   the TLS handshake: what follows is said to a new dialogue on an encrypted channel
H:   the octets that must be handed over behind a login
==== ============================================================================================

Input lines that follow one another without another step between them arrive in one segment.

Escapes: ``⏎`` CR LF, ``␊`` LF, ``␍`` CR, ``␀`` NUL, ``\\xNN`` any octet, ``«text*9»`` text nine times,
``«base64 text»`` its base64. An event knows repetition only.

Header keys: ``rows`` (of the list of attack cases), ``about``, ``channel`` (cleartext, encrypted), ``bounds``,
``capabilities`` (separated by ``|``); of logins ``mechanisms`` (those are offered that the connection can carry),
``exporter`` (octets for tls-exporter), ``certificate_user``, ``scope`` and ``openid_configuration`` (told of a token
that isn't taken), where our nonce and salt are those of RFC 7677 3; for messages ``size``, ``recipients``,
``longest_line`` ("any" for no bound), ``normalize``; ``require_tls`` for an MX; ``backend`` (the keywords that the
backend of a mail session turns out to have, at the login or the first recipient); for backends ``login`` ("probe",
"none" or "user secret"), ``starttls``, ``known``, ``client`` (what is to be told of the client: words of key=value);
and ``splits``, which segment edges mean something:

- ``any``: none does. All input may arrive in one piece or byte by byte, with the same events.
- ``groups``: input must not run ahead of the answer to what was sent before, else any edge will do.
- ``none``: the edges are what the transcript is about.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

TRANSCRIPTS = Path(__file__).parent / "transcripts"
SERVER_SIDE = ("imap", "pop3", "smtp", "mx")
BACKEND_SIDE = ("imap_backend", "pop3_backend", "smtp_backend")

Item = tuple[str, bytes | str]

_REPEATED = re.compile(r"«([^«»]*)\*(\d+)»")
_BASE64 = re.compile(r"«base64 ([^«»]*)»")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_SYMBOLS = {"⏎": b"\r\n", "␊": b"\n", "␍": b"\r", "␀": b"\0"}
_STEP = re.compile(r"([CSEBVTH]): ?(.*)")


@dataclass(frozen=True, slots=True)
class Group:
    """One segment of input, "" where our side speaks first, and what must come of it."""

    received: bytes
    expected: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """One file. ``phases``: the groups before and after a handshake."""

    name: str
    protocol: str
    header: dict[str, str]
    phases: tuple[tuple[Group, ...], ...]
    answers: tuple[str, ...]

    @property
    def rows(self) -> frozenset[str]:
        """The attack cases that it shows."""
        return frozenset(self.header.get("rows", "").split())

    @property
    def splits(self) -> str:
        """See the module's text."""
        return self.header.get("splits", "groups" if self.protocol in BACKEND_SIDE else "any")

    @property
    def expected(self) -> list[Item]:
        """Everything that must come of it, whatever the segments."""
        return merged([item for phase in self.phases for group in phase for item in group.expected])


def octets(text: str) -> bytes:
    """What an escaped text stands for."""
    while "«" in text:
        before = text
        text = _repeated(text)
        text = _BASE64.sub(lambda found: base64.b64encode(octets(found[1])).decode(), text)
        if text == before:
            raise ValueError(f"bad escape in {text[:80]}")
    data = text.encode()
    for symbol, meant in _SYMBOLS.items():
        data = data.replace(symbol.encode(), meant)
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), data)


def _repeated(text: str) -> str:
    return _REPEATED.sub(lambda found: found[1] * int(found[2]), text)


def shown(data: bytes) -> str:
    """Octets as text: the way back from ``octets``, without repetition and base64."""
    text = "".join(chr(octet) if octet in b"\r\n\0" or 32 <= octet < 127 else f"\\x{octet:02x}" for octet in data)
    for symbol, meant in _SYMBOLS.items():
        text = text.replace(meant.decode(), symbol)
    return text


def merged(items: list[Item]) -> list[Item]:
    """Neighbouring octets of one kind as one item: how they were cut up means nothing."""
    result: list[Item] = []
    for kind, value in items:
        if isinstance(value, bytes) and result and result[-1][0] == kind:
            last = result[-1][1]
            assert isinstance(last, bytes)
            result[-1] = (kind, last + value)
        elif value != b"":
            result.append((kind, value))
    return result


def load(path: Path) -> Transcript:
    """Read a file. Raises ValueError on a line that is no step."""
    protocol = path.parent.name
    ours = "S" if protocol in SERVER_SIDE else "C"
    head, _, body = path.read_text().partition("\n\n")
    header = dict(line.split(": ", 1) for line in head.splitlines())
    phases: list[list[tuple[bytes, list[Item]]]] = [[(b"", [])]]
    answers: list[str] = []
    for line in body.splitlines():
        if not line or line.startswith("#"):
            continue
        if (found := _STEP.fullmatch(line)) is None:
            raise ValueError(f"{path.name}: {line}")
        kind, text = found.groups()
        groups = phases[-1]
        if kind == "T":
            phases.append([(b"", [])])
        elif kind in "CS" and kind != ours:
            received, expected = groups[-1]
            if expected or not received:
                groups.append((octets(text), []))
            else:
                groups[-1] = (received + octets(text), expected)
        else:
            groups[-1][1].append((kind, octets(text) if kind in "CSHB" else _repeated(text)))
            if kind == "V":
                answers.append(text)
    frozen = tuple(tuple(Group(data, tuple(merged(items))) for data, items in groups) for groups in phases)
    return Transcript(path.stem, protocol, header, frozen, tuple(answers))


def load_all(*protocols: str) -> list[Transcript]:
    """Every transcript of these protocols."""
    return [load(path) for protocol in protocols for path in sorted((TRANSCRIPTS / protocol).glob("*.txt"))]
