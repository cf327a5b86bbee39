"""What the backend-side dialogues have in common: events, the login to do, and the reading of lines within bounds.

A backend-side dialogue is written as a generator, read from top to bottom: it yields what to do next and is resumed
by ``next_event``. A backend that breaks the protocol ends it with RemoteProtocolError, whatever it was about to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator

from msgspec import Struct
from msgspec.structs import replace

from tlsgate.dialogue import challenge
from tlsgate.dialogue.buffer import LineTooLong, ReceiveBuffer
from tlsgate.dialogue.client import ClientFacts
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.events import NEED_DATA, Granted, LocalProtocolError, NeedData, Refused, RemoteProtocolError
from tlsgate.dialogue.imap_syntax import escaped
from tlsgate.dialogue.replies import printable

NO_PLAIN = 'backend offers no AUTH PLAIN, without which master_separator = "" can name no user'
LONGEST_LINE = 16384
MOST_LINES = 200


class Send(Struct, frozen=True):
    """Write these octets to the backend. They may hold a secret: no repr."""

    data: bytes

    def __repr__(self) -> str:
        return f"Send({len(self.data)} octets)"


class BeginTls(Struct, frozen=True):
    """Do the TLS handshake with the backend now; nothing it sent in clear is left."""


class Outcome(Struct, frozen=True):
    """The dialogue's end. ``verdict``: None after a mere probe; ``capabilities``: what the backend says it can do.

    ``client_told``: the backend has taken what the purpose tells of the client.
    """

    verdict: Granted | Refused | None
    capabilities: tuple[str, ...]
    client_told: bool = False


class Probe(Struct, frozen=True):
    """Ask what the backend can do, then take leave."""


class SameLogin(Struct, frozen=True):
    """Log in as the client did, with its own secret; or with those credentials of a master user that open its mailbox.

    ``client``: tell the backend of it before, if it takes that; None for a pool that tells nothing. ``act_as``: the
    user, where the master's credentials don't name it (RFC 4616's authzid): only PLAIN carries that.
    """

    credentials: Credentials
    client: ClientFacts | None = None
    act_as: str = ""


class NoLogin(Struct, frozen=True):
    """The backend trusts us: no login (SMTP only).

    ``client``: tell the backend of it; one that doesn't take that isn't used, for it would take its mail for ours.
    """

    client: ClientFacts | None = None


class Misconfigured(RemoteProtocolError):
    """The backend isn't set up for what its pool asks of it: a fault that its operator must hear of."""


Purpose = Probe | SameLogin | NoLogin
BackendEvent = Send | BeginTls | Outcome
Steps = Generator[BackendEvent | NeedData, None, Outcome]


class BackendDialogue(ABC):
    """One connection to a backend until it is logged in.

    ``purpose``: what to do there. ``starttls``: TLS must be begun in clear text first; a backend without it is a
    fault, never a reason to go on in clear. ``hostname``: our name, for EHLO. ``known``: capabilities learned
    earlier, "" for none, for backends whose greeting shows none.
    """

    def __init__(self, purpose: Purpose, *, starttls: bool, hostname: str, known: tuple[str, ...] = ()) -> None:
        self._purpose = purpose
        self._starttls = starttls
        self._hostname = hostname
        self._known = known
        self._buffer = ReceiveBuffer()
        self._lines = 0
        self._steps = self._run()
        self._ended = False

    @abstractmethod
    def _run(self) -> Steps: ...

    def receive(self, data: bytes) -> None:
        """Append what came from the backend."""
        self._buffer.append(data)

    def next_event(self) -> BackendEvent | NeedData:
        """The next thing to do, or NEED_DATA. Raises RemoteProtocolError when the backend breaks the protocol."""
        if self._ended:
            raise LocalProtocolError("the dialogue has ended")
        try:
            return next(self._steps)
        except StopIteration as end:
            self._ended = True
            outcome: Outcome = end.value
            return self._without_secret(outcome)
        except RemoteProtocolError:
            self._ended = True
            raise

    def handover(self) -> bytes:
        """What the backend has sent behind the end of the login."""
        return self._buffer.take_all()

    def _without_secret(self, outcome: Outcome) -> Outcome:
        """Drop the backend's words where they quote what we sent: they go on to the client and to the log."""
        verdict = outcome.verdict
        if verdict is None or not isinstance(self._purpose, SameLogin):
            return outcome
        if not _shows_secret(verdict.text, self._purpose):
            return outcome
        return replace(outcome, verdict=replace(verdict, text=""))

    # -- for the protocols --------------------------------------------------------------------------

    def _read_line(self) -> Generator[NeedData, None, bytes]:
        """One line without its end. Raises RemoteProtocolError on endless lines or a flood of them."""
        self._lines += 1
        if self._lines > MOST_LINES:
            raise RemoteProtocolError("too many lines before login")
        while True:
            try:
                line = self._buffer.line(LONGEST_LINE)
            except LineTooLong:
                raise RemoteProtocolError("line too long") from None
            if line is not None:
                return line.rstrip(b"\r\n")
            yield NEED_DATA

    def _nothing_behind(self) -> None:
        """Hold the backend to silence: what comes unasked before TLS or our credentials may be injected."""
        if len(self._buffer):
            raise RemoteProtocolError("unexpected data behind a reply")


_SHOWN = 64


def _shows_secret(text: str, login: SameLogin) -> bool:
    """Whether ``text`` quotes the secret, in any form that we send it in. The beginning does: an echo may be cut."""
    who = login.credentials
    secret = printable(who.secret, _SHOWN)
    if secret and secret in text:
        return True
    coded = len(who.secret) * 4 // 3
    if len(text) < min(coded, _SHOWN) and b'"' not in who.secret and b"\\" not in who.secret:
        return False  # shorter than any other form
    forms = (escaped(who.secret), challenge.encode(who.secret), challenge.encode(plain_response(login)))
    return any(printable(form, _SHOWN) in text for form in forms)


def plain_response(login: SameLogin) -> bytes:
    """The response of SASL PLAIN (RFC 4616), not yet encoded. An authzid that a client has shown is no part of it."""
    who = login.credentials
    return login.act_as.encode() + b"\0" + who.user.encode() + b"\0" + who.secret


def refusal(verdict: Granted | Refused) -> Refused:
    """An answer that came before the secret was sent. Raises RemoteProtocolError unless it is a refusal."""
    if isinstance(verdict, Granted):
        raise RemoteProtocolError("backend grants a login before it was told the password")
    return verdict
