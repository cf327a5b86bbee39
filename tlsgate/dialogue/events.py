"""Events of the server-side dialogues, and what a caller answers them with."""

from __future__ import annotations

import enum

from msgspec import Struct

from tlsgate.dialogue.access_token import BearerToken
from tlsgate.dialogue.credentials import Credentials
from tlsgate.dialogue.proofs import Proven


class NeedData(enum.Enum):
    """Nothing more can be said before the peer has sent more."""

    NEED_DATA = enum.auto()


NEED_DATA = NeedData.NEED_DATA


class Channel(enum.Enum):
    """What the dialogue runs over. Credentials exist as an event only on an encrypted one."""

    CLEARTEXT = enum.auto()
    ENCRYPTED = enum.auto()


class Refusal(enum.StrEnum):
    """Why a login isn't granted; ``replies.REFUSALS`` has each protocol's words for it."""

    AUTHENTICATION_FAILED = "authentication_failed"
    AUTHORIZATION_FAILED = "authorization_failed"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"
    LIMIT = "limit"
    IN_USE = "in_use"
    CONTACT_ADMIN = "contact_admin"


class Ending(enum.StrEnum):
    """Why we end a connection; ``replies.ENDINGS`` has each protocol's words for it."""

    LOGOUT = "logout"
    LINE_TOO_LONG = "line_too_long"
    LITERAL_TOO_LONG = "literal_too_long"
    BAD_COMMANDS = "bad_commands"
    COMMANDS = "too_many_commands"
    AUTH_ATTEMPTS = "auth_attempts"
    STARTTLS_INJECTION = "starttls_injection"
    FOREIGN_PROTOCOL = "foreign_protocol"
    UNAVAILABLE = "unavailable"
    MESSAGE_TOO_LARGE = "message_too_large"
    GREETING_TIMEOUT = "greeting_timeout"
    LOGIN_TIMEOUT = "login_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    OVER_CAPACITY = "over_capacity"
    OVER_NETWORK_CAP = "over_network_cap"
    OVER_RATE = "over_rate"
    BLOCKED = "blocked"
    BANNED = "banned"
    DNSBL = "dnsbl"
    DNSBL_TEMPFAIL = "dnsbl_tempfail"
    SHUTDOWN = "shutdown"
    KICKED = "kicked"
    FAULT = "fault"


ABOUT_CREDENTIALS = frozenset({Refusal.AUTHENTICATION_FAILED, Refusal.AUTHORIZATION_FAILED, Refusal.EXPIRED})


def ending_after(last: Refusal) -> Ending:
    """The end of a connection that has no attempts left. A right password must not be called a failure."""
    return Ending.AUTH_ATTEMPTS if last in ABOUT_CREDENTIALS else Ending.UNAVAILABLE


class Reply(Struct, frozen=True):
    """Bytes for the peer; the dialogue goes on."""

    data: bytes


class StartTls(Struct, frozen=True):
    """Write ``data``, then do the handshake; this dialogue has ended."""

    data: bytes


Shown = Credentials | BearerToken | Proven
"""What a client shows to be let in. A token isn't anybody's yet; who is Proven has no secret that could go further."""


class Authenticate(Struct, frozen=True):
    """A client wants to be let in, over TLS. Answer by ``send(Granted(...))`` or ``send(Refused(...))``."""

    mechanism: str
    shown: Shown


class SecretNeeded(Struct, frozen=True):
    """An exchange (SCRAM) goes on with what is kept of this user's password. Answer by ``give``."""

    mechanism: str
    user: str


class CleartextAuthRefused(Struct, frozen=True):
    """Authentication before TLS: write ``data``. ``user`` is what was shown (that password is burned), else None."""

    data: bytes
    mechanism: str
    user: str | None


class AuthRejected(Struct, frozen=True):
    """An authentication that failed in the exchange itself: write ``data``.

    ``user``: the name that was shown, None where none can be read. ``guessed``: a secret was tried, and is wrong.
    """

    data: bytes
    mechanism: str
    reason: str
    user: str | None = None
    guessed: bool = False


class Close(Struct, frozen=True):
    """Write ``data``, then close."""

    data: bytes
    reason: Ending


class Granted(Struct, frozen=True):
    """The login stands. ``text``: the backend's reply text, printable; ``code``: its code, without brackets."""

    text: str = ""
    code: str = ""


class Refused(Struct, frozen=True):
    """The login doesn't stand. ``text``: the words of who refused it if there are any, printable.

    ``code``: of an SMTP reply and its enhanced one, in the place of the reason's own. ``why``: for the log alone.
    """

    reason: Refusal
    text: str = ""
    code: str = ""
    why: str = ""


Verdict = Granted | Refused
ServerEvent = Reply | StartTls | Authenticate | SecretNeeded | CleartextAuthRefused | AuthRejected | Close


class LocalProtocolError(Exception):
    """We called a dialogue in a state that doesn't allow it: our own fault."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol. The text is for the log; it never holds the peer's secrets."""


class Bounds(Struct, frozen=True):
    """What a client may do before it is logged in (DESIGN 3.2 [limits]); octets and counts."""

    line_length: int = 8192
    bad_commands: int = 10
    auth_attempts: int = 3
    commands: int = 200


class Offer(Struct, frozen=True):
    """What we tell a client: our name, SASL mechanisms in order, and what the backend can do (its own keywords)."""

    hostname: str
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    capabilities: tuple[str, ...] = ()

    @property
    def passwords(self) -> bool:
        """Whether a password can be shown at all: else the protocol's own commands for that are of no use either."""
        return "PLAIN" in self.mechanisms or "LOGIN" in self.mechanisms
