"""ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2), and the sections of BODY[…] (6.4.5)."""

import re
from email.utils import getaddresses

from tlsgate.demo.imap_syntax import SyntaxFault, nstring, text, tokens
from tlsgate.demo.mime import Parametrized, Part, header_fields, parametrized

_SECTION = re.compile(
    rb"(?i)(?P<path>\d{1,4}(?:\.\d{1,4}){0,40})?\.?(?:(?P<what>HEADER|TEXT|MIME)|"
    rb"(?P<fields>HEADER\.FIELDS(?:\.NOT)?) ?\((?P<names>.*)\))?"
)


def envelope(part: Part) -> bytes:
    """Write a message's envelope."""
    senders = _addresses(part.field(b"from"))
    addresses = {name: _addresses(part.field(name)) for name in (b"sender", b"reply-to", b"to", b"cc", b"bcc")}
    return b"(%b)" % b" ".join(
        (
            nstring(part.field(b"date")),
            nstring(part.field(b"subject")),
            senders,
            senders if addresses[b"sender"] == b"NIL" else addresses[b"sender"],
            senders if addresses[b"reply-to"] == b"NIL" else addresses[b"reply-to"],
            addresses[b"to"],
            addresses[b"cc"],
            addresses[b"bcc"],
            nstring(part.field(b"in-reply-to")),
            nstring(part.field(b"message-id")),
        )
    )


def structure(part: Part, extended: bool) -> bytes:
    """Write BODYSTRUCTURE (`extended`) or BODY."""
    main, _, sub = part.type.value.partition(b"/")
    if main == b"multipart":
        parts = b"".join(structure(child, extended) for child in part.children)
        words = [parts, nstring(sub)]
        if extended:
            words += [_parameters(part.type), *_disposition(part)]
        return b"(%b)" % b" ".join(words)
    words = [
        nstring(main),
        nstring(sub),
        _parameters(part.type),
        nstring(part.field(b"content-id")),
        nstring(part.field(b"content-description")),
        nstring((part.field(b"content-transfer-encoding") or b"7bit").lower()),
        b"%d" % len(part.body),
    ]
    if part.children:
        words += [envelope(part.children[0]), structure(part.children[0], extended)]
    if main == b"text" or part.children:
        words.append(b"%d" % part.body.count(b"\n"))
    if extended:
        words += [nstring(part.field(b"content-md5")), *_disposition(part)]
    return b"(%b)" % b" ".join(words)


def section(root: Part, spec: bytes) -> bytes | None:
    """Return the bytes of BODY[spec], or None for a part that is not there. Raises SyntaxFault."""
    match = _SECTION.fullmatch(spec)
    if match is None or spec.startswith(b".") or spec.endswith(b"."):
        raise SyntaxFault("bad section")
    path, what, names = match["path"], (match["what"] or b"").upper(), match["names"]
    if what == b"MIME" and not path:
        raise SyntaxFault("MIME needs a part number")
    part: Part | None = root
    for number in path.split(b".") if path else ():
        part = _child(part, int(number)) if part else None
    if part is None:
        return None
    if not what and names is None:
        return part.body if path else part.header + part.body
    if what == b"MIME":
        return part.header
    if path and part.type.value != b"message/rfc822":
        return None
    message = part.children[0] if path else part
    if names is not None:
        return _chosen(message, names, inverted=match["fields"].upper().endswith(b".NOT"))
    return message.header if what == b"HEADER" else message.body


def _child(part: Part, number: int) -> Part | None:
    if part.type.value == b"message/rfc822":
        part = part.children[0]
    if not part.type.value.startswith(b"multipart/"):
        return part if number == 1 else None
    return part.children[number - 1] if 0 < number <= len(part.children) else None


def _chosen(part: Part, names: bytes, inverted: bool) -> bytes:
    wanted = {text(name).lower() for name in tokens(names)}
    fields = (whole for name, _, whole in header_fields(part.header) if (name in wanted) is not inverted)
    return b"".join(fields) + b"\r\n"


def _addresses(value: bytes | None) -> bytes:
    if not value:
        return b"NIL"
    written = []
    for name, address in getaddresses([value.decode("latin-1")]):
        mailbox, _, host = address.rpartition("@") if "@" in address else (address, "", "")
        fields = (_optional(name), b"NIL", _optional(mailbox), _quoted(host))
        if address:
            written.append(b"(%b)" % b" ".join(fields))
    return b"(%b)" % b"".join(written) if written else b"NIL"


def _disposition(part: Part) -> list[bytes]:
    disposition = parametrized(part.field(b"content-disposition"))
    written = b"NIL"
    if disposition is not None and disposition.value:
        written = b"(%b %b)" % (nstring(disposition.value), _parameters(disposition))
    return [written, nstring(part.field(b"content-language")), nstring(part.field(b"content-location"))]


def _parameters(value: Parametrized) -> bytes:
    if not value.parameters:
        return b"NIL"
    return b"(%b)" % b" ".join(nstring(word) for pair in value.parameters for word in pair)


def _quoted(value: str) -> bytes:
    return nstring(value.encode("latin-1"))


def _optional(value: str) -> bytes:
    return _quoted(value) if value else b"NIL"
