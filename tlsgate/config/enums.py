"""The words that a config chooses from."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What a listener speaks. MX is SMTP from other servers, SUBMISSION (RFC 6409) SMTP from users."""

    IMAP = "imap"
    POP3 = "pop3"
    SUBMISSION = "submission"
    MX = "mx"


# Whose clients log in.
WITH_USERS = (Protocol.IMAP, Protocol.POP3, Protocol.SUBMISSION)


class TlsMode(StrEnum):
    """When a listener's TLS begins: at once, or after STARTTLS/STLS."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class BackendTls(StrEnum):
    """How a backend is spoken to."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class TlsVersion(StrEnum):
    """The lowest version that a client may speak."""

    TLS1_2 = "1.2"
    TLS1_3 = "1.3"


class BackendTlsVersion(StrEnum):
    """The lowest version that a backend may speak: some can do no better."""

    TLS1_0 = "1.0"
    TLS1_1 = "1.1"
    TLS1_2 = "1.2"
    TLS1_3 = "1.3"


class LoginMode(StrEnum):
    """How a user is logged in at a backend: the same secret, a master user's, one stored for it, or not at all."""

    SAME = "same"
    MASTER = "master"
    STORED = "stored"
    NONE = "none"


class ClientAddress(StrEnum):
    """How a backend learns who the client is."""

    NONE = "none"
    PROXY_V1 = "proxy-v1"
    PROXY_V2 = "proxy-v2"
    XCLIENT = "xclient"
    IMAP_ID = "imap-id"


class AuthSource(StrEnum):
    """Who says whether credentials are right."""

    BACKEND = "backend"
    USERS_FILE = "users-file"
    AUTH_HTTP = "auth-http"
    OAUTH = "oauth"


class Mechanism(StrEnum):
    """SASL mechanisms, by their registered names; a config may write them in any case."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
    OAUTHBEARER = "OAUTHBEARER"
    XOAUTH2 = "XOAUTH2"
    EXTERNAL = "EXTERNAL"


class Action(StrEnum):
    """What a screening check's finding does."""

    OFF = "off"
    LOG = "log"
    SCORE = "score"
    REJECT = "reject"


class BareNewlines(StrEnum):
    """What becomes of a message with CRs or LFs that are no line ends."""

    REJECT = "reject"
    NORMALIZE = "normalize"


class WhenDown(StrEnum):
    """What holds while the shared state can't be reached: this host's own counters, or nobody gets in."""

    LOCAL = "local"
    REFUSE = "refuse"


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
