"""XCLIENT towards a backend: Postfix's for SMTP (its XCLIENT_README), and Dovecot's for POP3."""

from __future__ import annotations

import re

from tlsgate.dialogue.client import ClientFacts, Endpoint, NoName

_LONGEST_COMMAND = 510  # RFC 5321 4.5.3.1.4, without CR LF
_LONGEST_VALUE = 255  # Postfix's bound, of a value as it is sent
# RFC 3461 4 must have "+", "=" and all but printable ASCII encoded; it may be more: whatever means something anywhere.
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9.:@_\[\]-]")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?![0-9.]*\Z){_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:]{2,64}\]")


class LoginTooLong(Exception):
    """A user name that no command can hold. It may not be cut: that would be another user's."""


def offered(keywords: tuple[str, ...]) -> frozenset[str]:
    """The attributes that EHLO's keywords name for XCLIENT; none when the client's address isn't among them."""
    words = (line.upper().split() for line in keywords)
    names = frozenset(name for word, *names in filter(None, words) if word == "XCLIENT" for name in names)
    return names if "ADDR" in names else frozenset()


def smtp_commands(client: ClientFacts, login: str, attributes: frozenset[str]) -> list[bytes]:
    """The one or two commands that tell ``attributes`` of the client, each within RFC 5321's length.

    ``login``: who it is to be there without an AUTH, "" for nobody. Raises LoginTooLong.
    """
    if len(_xtext(login)) > _LONGEST_VALUE:
        raise LoginTooLong
    # Postfix asks at each command whether the client may say it, whom it then takes to be at ADDR; and each command
    # without them takes PROTO, HELO and LOGIN back. So these are in the last command, and ADDR first in it: a server
    # that can't take the address then has changed nothing.
    last = _known(attributes, ADDR=_address(client.source), PROTO="ESMTP" if client.esmtp else "SMTP", LOGIN=login)
    room = _LONGEST_COMMAND - len(_command(last)) - len(b" HELO=")
    last += _known(attributes, HELO=_cut(client.helo, min(room, _LONGEST_VALUE)))
    # Without its own name and reverse name a client would have ours.
    name = _name(client.name)
    first = _known(
        attributes,
        PORT=_port(client.source),
        NAME=name,
        REVERSE_NAME=name if isinstance(name, NoName) else "",
        DESTADDR=_address(client.destination) if client.destination else "",
        DESTPORT=_port(client.destination) if client.destination else "",
    )
    together = _command(last + first)
    commands = [together] if len(together) <= _LONGEST_COMMAND else [_command(first), _command(last)]
    return [command + b"\r\n" for command in commands]


def ehlo_name(client: ClientFacts, hostname: str) -> str:
    """What EHLO behind XCLIENT says, which a server takes for the client's own and puts in the place of HELO's value.

    A client's name goes out if it is a domain or a literal; else its address does, or ``hostname`` where it has none.
    """
    if _HOST.fullmatch(client.helo) or _LITERAL.fullmatch(client.helo):
        return client.helo
    if client.source is None:
        return hostname
    address = client.source.address
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def pop3_command(client: ClientFacts) -> bytes | None:
    """Dovecot's XCLIENT, whose values are plain; None where nothing of it is known. The session id never says more."""
    words = ["XCLIENT"]
    if client.source is not None:
        words.append(f"ADDR={client.source.address}")
        if client.source.port:  # 0 is an error there
            words.append(f"PORT={client.source.port}")
    if client.session:
        words.append(f"SESSION={client.session}")
    return " ".join(words).encode() + b"\r\n" if len(words) > 1 else None


def _known(attributes: frozenset[str], **values: str) -> list[bytes]:
    return [f"{name}=".encode() + _xtext(value) for name, value in values.items() if value and name in attributes]


def _command(words: list[bytes]) -> bytes:
    return b" ".join([b"XCLIENT", *words])


def _address(end: Endpoint | None) -> str:
    if end is None:
        return NoName.UNAVAILABLE
    return f"IPV6:{end.address}" if end.address.version == 6 else str(end.address)


def _port(end: Endpoint | None) -> str:
    return str(end.port) if end is not None else NoName.UNAVAILABLE


def _name(name: str | NoName) -> str | NoName:
    return name if isinstance(name, NoName) or _HOST.fullmatch(name) else NoName.UNAVAILABLE


def _cut(text: str, room: int) -> str:
    """As much of a text from its beginning as ``room`` octets of xtext hold."""
    text = text[:room]
    while len(_xtext(text)) > room:
        text = text[:-1]
    return text


def _xtext(value: str) -> bytes:
    return _NOT_PLAIN.sub(lambda found: b"+%02X" % ord(found[0]), value.encode())
