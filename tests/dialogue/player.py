"""Plays transcripts: a dialogue is fed what was received, in given pieces, and what comes of it is written down."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from ipaddress import ip_address
from unittest import mock

import pytest

from tests.dialogue.transcript import BACKEND_SIDE, Group, Item, Transcript, merged, octets, shown
from tlsgate.dialogue import scram
from tlsgate.dialogue.access_token import BearerToken, TokenAdvice
from tlsgate.dialogue.backend import (
    BackendDialogue,
    BackendEvent,
    BeginTls,
    NoLogin,
    Outcome,
    Probe,
    Purpose,
    SameLogin,
    Send,
)
from tlsgate.dialogue.client import ClientFacts, Endpoint, NoName
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import (
    NEED_DATA,
    Authenticate,
    AuthRejected,
    Bounds,
    Channel,
    CleartextAuthRefused,
    Close,
    Granted,
    LocalProtocolError,
    NeedData,
    Offer,
    Refusal,
    Refused,
    RemoteProtocolError,
    Reply,
    SecretNeeded,
    ServerEvent,
    Shown,
    StartTls,
    Verdict,
)
from tlsgate.dialogue.imap import Imap
from tlsgate.dialogue.imap_backend import ImapBackend
from tlsgate.dialogue.mx import Mx
from tlsgate.dialogue.pop3 import Pop3
from tlsgate.dialogue.pop3_backend import Pop3Backend
from tlsgate.dialogue.proofs import Proven
from tlsgate.dialogue.sasl import Connection, usable
from tlsgate.dialogue.scram_secret import ScramSecret, from_password
from tlsgate.dialogue.smtp import MessageRules, Smtp
from tlsgate.dialogue.smtp_backend import SmtpBackend
from tlsgate.dialogue.smtp_data import LONGEST_LINE
from tlsgate.dialogue.smtp_events import Abandon, Body, Data, EndOfData, Mail, MailEvent, Rcpt
from tlsgate.dialogue.smtp_reply import SmtpReply
from tlsgate.dialogue.smtp_syntax import Parameters
from tlsgate.dialogue.submission import Submission

HOSTNAME = "mail.example.org"
IMAP_TAG = "cafe0001"
# RFC 7677 3.
SCRAM_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SCRAM_SALT, SCRAM_ITERATIONS = "W22ZaJ0SNY7soEsUEjb6gQ==", 4096

_LOST = re.compile(r"EndOfData .* fault=|Close message_too_large")
ServerDialogue = Imap | Pop3 | Submission | Mx
Split = Callable[[bytes], list[bytes]]
_BACKENDS: dict[str, type[BackendDialogue]] = {
    "imap_backend": ImapBackend,
    "pop3_backend": Pop3Backend,
    "smtp_backend": SmtpBackend,
}


def whole(data: bytes) -> list[bytes]:
    """One segment."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """As many segments as octets."""
    return [data[at : at + 1] for at in range(len(data))]


def play(transcript: Transcript, split: Split) -> list[Item]:
    """Everything that comes of a transcript's input, cut up by ``split`` as far as its header allows."""
    items: list[Item] = []
    for groups in play_groups(transcript, split, joined=transcript.splits == "any"):
        items += groups
    return merged(without_lost_bodies(merged(items)))


def play_groups(transcript: Transcript, split: Split, *, joined: bool) -> Iterator[list[Item]]:
    """What comes of each group, or of all groups of a phase when they are ``joined``, one list each."""
    player: ServerPlayer | BackendPlayer = (
        BackendPlayer(transcript) if transcript.protocol in BACKEND_SIDE else ServerPlayer(transcript)
    )
    for number, phase in enumerate(transcript.phases):
        if number:
            player.handshake()
        yield merged(player.begun() if not number else [])
        groups = [Group(b"".join(group.received for group in phase), ())] if joined else list(phase[1:])
        for group in groups:
            items: list[Item] = []
            for piece in split(group.received):
                items += player.receive(piece)
            yield merged(items)
    player.finish()


def without_lost_bodies(items: list[Item]) -> list[Item]:
    """Leave out the bodies of messages that can't stand: how much of one was passed on before its fault was seen
    depends on the segments, and the backend never gets its end."""
    kept: list[Item] = []
    begin = 0
    for kind, value in items:
        if (kind, value) == ("E", "Data"):
            begin = len(kept)
        elif kind == "E" and _LOST.match(str(value)):
            kept[begin:] = [item for item in kept[begin:] if item[0] != "B"]
        kept.append((kind, value))
    return kept


class ServerPlayer:
    """Our side towards a client."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._answers = iter(transcript.answers)
        self._channel = Channel[transcript.header["channel"].upper()]
        self._over = False
        self.dialogue = self._new_dialogue()

    def _new_dialogue(self) -> ServerDialogue:
        header = self._transcript.header
        bounds = Bounds(**{name: int(value) for name, value in _pairs(header.get("bounds", ""))})
        connection = _connection(header) if self._channel is Channel.ENCRYPTED else Connection()
        mechanisms = usable(tuple(header.get("mechanisms", "PLAIN LOGIN").split()), connection)
        offer = Offer(HOSTNAME, mechanisms, _listed(header, "capabilities"))
        if self._transcript.protocol == "smtp":
            return Submission(offer, self._channel, bounds, _rules(header), connection)
        if self._transcript.protocol == "mx":
            return Mx(offer, self._channel, bounds, _rules(header), require_tls=header.get("require_tls") == "yes")
        return (Imap if self._transcript.protocol == "imap" else Pop3)(offer, self._channel, bounds, connection)

    def begun(self) -> list[Item]:
        return [("S", self.dialogue.greeting())]

    def handshake(self) -> None:
        assert self._over, "handshake without StartTls"
        self._channel, self._over = Channel.ENCRYPTED, False
        self.dialogue = self._new_dialogue()

    def receive(self, data: bytes) -> list[Item]:
        if self._over:
            return []
        if self._handing_over():
            return [("H", data)]
        self.dialogue.receive(data)
        items: list[Item] = []
        while not self._over and (event := self._next_event()) is not NEED_DATA:
            assert not isinstance(event, type(NEED_DATA))
            items += self._told(event)
            if self._handing_over():
                assert not isinstance(self.dialogue, Smtp)
                return [*items, ("H", self.dialogue.handover())]
        return items

    def _next_event(self) -> ServerEvent | MailEvent | NeedData:
        with mock.patch("tlsgate.dialogue.scram.Scram", partial(scram.Scram, nonce=SCRAM_NONCE)):
            return self.dialogue.next_event()

    def _handing_over(self) -> bool:
        return self.dialogue.state.name == "GRANTED"

    def _told(self, event: ServerEvent | MailEvent) -> list[Item]:
        match event:
            case Reply(data):
                return [("S", data)]
            case Body(data):
                return [("B", data)]
            case CleartextAuthRefused(data) | AuthRejected(data) | Abandon(data):
                return [("E", described(event)), ("S", data)]
            case Close(data) | StartTls(data):
                self._over = True
                with pytest.raises(LocalProtocolError):  # nothing comes after the end
                    self.dialogue.next_event()
                return [("E", described(event)), ("S", data)]
            case Authenticate():
                assert not isinstance(self.dialogue, Mx), "nobody logs in at an MX"
                answer = next(self._answers)
                said = self.dialogue.send(verdict(answer))
                if isinstance(self.dialogue, Submission):
                    self._connected(self.dialogue)
                return [("E", described(event)), ("V", answer), ("S", said)]
            case SecretNeeded():
                assert not isinstance(self.dialogue, Mx), "nobody logs in at an MX"
                answer = next(self._answers)
                return [("E", described(event)), ("V", answer), ("S", self.dialogue.give(secret(answer)))]
            case Mail() | Rcpt() | Data() | EndOfData():
                assert isinstance(self.dialogue, Smtp)
                if isinstance(event, Rcpt):
                    self._connected(self.dialogue)
                answer = next(self._answers)
                code, _, text = answer.partition(" ")
                self._over = int(code) == 421
                return [
                    ("E", described(event)),
                    ("V", answer),
                    ("S", self.dialogue.answer(SmtpReply(int(code), (text,)))),
                ]

    def _connected(self, dialogue: Smtp) -> None:
        if backend := _listed(self._transcript.header, "backend"):
            dialogue.shorten(frozenset(backend))

    def finish(self) -> None:
        assert next(self._answers, None) is None, "an answer was not asked for"


class BackendPlayer:
    """Our side towards a backend."""

    def __init__(self, transcript: Transcript) -> None:
        header = transcript.header
        self._over = False
        self._client = facts(header["client"]) if "client" in header else None
        self.dialogue = _BACKENDS[transcript.protocol](
            purpose(header["login"], self._client),
            starttls=header.get("starttls") == "yes",
            hostname=HOSTNAME,
            known=_listed(header, "known"),
        )

    def begun(self) -> list[Item]:
        return self._drained()

    def handshake(self) -> None:
        raise ValueError("a backend's handshake is an event")

    def receive(self, data: bytes) -> list[Item]:
        if self._over:
            return []
        self.dialogue.receive(data)
        return self._drained()

    def _drained(self) -> list[Item]:
        items: list[Item] = []
        while not self._over:
            try:
                with mock.patch("tlsgate.dialogue.imap_backend.secrets.token_hex", return_value=IMAP_TAG):
                    event = self.dialogue.next_event()
            except RemoteProtocolError as error:
                self._ended()
                return [*items, ("E", f"RemoteProtocolError {error}")]
            if event is NEED_DATA:
                return items
            assert not isinstance(event, type(NEED_DATA))
            items += self._told(event)
        return items

    def _told(self, event: BackendEvent) -> list[Item]:
        match event:
            case Send(data):
                return [("C", data)]
            case BeginTls():
                return [("E", "BeginTls")]
            case Outcome(verdict, capabilities, told):
                self._ended()
                items: list[Item] = [("E", f"Outcome {_said(verdict)}")]
                if self._client is not None or told:
                    items.append(("E", "Client told" if told else "Client not told"))
                return [*items, ("E", f"Capabilities {' | '.join(capabilities)}".strip())]

    def _ended(self) -> None:
        self._over = True
        with pytest.raises(LocalProtocolError):
            self.dialogue.next_event()

    def finish(self) -> None:
        pass


def described(event: ServerEvent | MailEvent) -> str:
    """An event as a transcript's E: line."""
    match event:
        case Authenticate(mechanism, who):
            authzid = f" authzid={who.authzid}" if who.authzid else ""
            return f"Authenticate {mechanism} {_shown(who)}{authzid}"
        case SecretNeeded(mechanism, user):
            return f"SecretNeeded {mechanism} user={shown(user.encode())}"
        case CleartextAuthRefused(_, mechanism, user):
            return f"CleartextAuthRefused {mechanism}" + ("" if user is None else f" user={shown(user.encode())}")
        case AuthRejected(_, mechanism, reason, user, guessed):
            name = "" if user is None else f" user={shown(user.encode())}"
            return f"AuthRejected {mechanism} {reason}{name}" + (" guessed" if guessed else "")
        case Close(_, reason):
            return f"Close {reason}"
        case Mail(path, parameters) | Rcpt(path, parameters):
            return " ".join([type(event).__name__, str(path), *_words(parameters)])
        case EndOfData(size, fault):
            return f"EndOfData size={size}" + (f" fault={fault}" if fault else "")
        case _:
            return type(event).__name__


def _shown(who: Shown) -> str:
    match who:
        case Credentials(user, password):
            return f"user={shown(user.encode())} secret={shown(password)}"
        case BearerToken(token):
            return f"token={token}"
        case Proven(user):
            return f"proven={shown(user.encode())}"


def secret(text: str) -> ScramSecret | None:
    """A transcript's V: line for a SecretNeeded event: "secret PASSWORD" or "unavailable"."""
    return None if text == "unavailable" else _secret(text.removeprefix("secret "))


@cache
def _secret(password: str) -> ScramSecret:
    return from_password(password, base64.b64decode(SCRAM_SALT), SCRAM_ITERATIONS)


def verdict(text: str) -> Verdict:
    """A transcript's V: line for an Authenticate event: "granted CODE; text" or "refused reason CODE; text"."""
    kind, _, rest = text.partition(" ")
    if kind == "granted":
        code, _, words = rest.rpartition("; ")
        return Granted(words, code)
    reason, _, said = rest.partition(" ")
    code, _, words = said.rpartition("; ")
    return Refused(Refusal(reason), words, code)


def purpose(text: str, client: ClientFacts | None) -> Purpose:
    """A backend transcript's ``login``, with its ``client``."""
    if text in ("probe", "none"):
        return Probe() if text == "probe" else NoLogin(client)
    user, secret = text.split(" ", 1)
    return SameLogin(Credentials(octets(user).decode(), octets(secret)), client)


def facts(text: str) -> ClientFacts:
    """A backend transcript's ``client``: values of ClientFacts by name, "id.NAME" for a field of the client's ID."""
    words = {key: octets(value).decode() for key, value in _pairs(text)}
    name = words.get("name", NoName.UNAVAILABLE)
    return ClientFacts(
        source=_endpoint(words.get("source")),
        destination=_endpoint(words.get("destination")),
        session=words.get("session", ""),
        name=NoName(name) if name in list(NoName) else name,
        helo=words.get("helo", ""),
        esmtp=words.get("esmtp") != "no",
        login=words.get("login", ""),
        id_fields=tuple((key[3:], value) for key, value in words.items() if key.startswith("id.")),
    )


def _endpoint(text: str | None) -> Endpoint | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    return Endpoint(ip_address(host.strip("[]")), int(port))


def _said(verdict: Verdict | None) -> str:
    match verdict:
        case None:
            return "none"
        case Granted(text, code):
            return f"granted {f'[{code}] ' if code else ''}{text}".strip()
        case Refused(reason, text):
            return f"refused {reason} {text}".strip()


def _rules(header: dict[str, str]) -> MessageRules:
    line = header.get("longest_line", str(LONGEST_LINE))
    return MessageRules(
        int(header.get("size", "1000")),
        int(header.get("recipients", "100")),
        normalize=header.get("normalize") == "yes",
        longest_line=None if line == "any" else int(line),
    )


def _connection(header: dict[str, str]) -> Connection:
    exporter = octets(header["exporter"]) if "exporter" in header else None
    advice = TokenAdvice(header.get("scope", ""), header.get("openid_configuration", ""))
    return Connection(exporter, header.get("certificate_user"), advice)


def _words(parameters: Parameters) -> list[str]:
    return [name if value is None else f"{name}={value}" for name, value in parameters]


def _pairs(text: str) -> list[list[str]]:
    return [word.split("=", 1) for word in text.split()]


def _listed(header: dict[str, str], key: str) -> tuple[str, ...]:
    return tuple(header[key].split("|")) if header.get(key) else ()
