"""Every section of the config: its keys, their types, their defaults, and how each is written (DESIGN 3.2).

Durations are seconds, sizes bytes. A file's path is made absolute from the directory of the config.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from tlsgate.config import kinds
from tlsgate.config.enums import (
    WITH_USERS,
    Action,
    AuthSource,
    BackendTls,
    BackendTlsVersion,
    BareNewlines,
    ClientAddress,
    LogFormat,
    LoginMode,
    LogLevel,
    Mechanism,
    Protocol,
    TlsMode,
    TlsVersion,
    WhenDown,
)
from tlsgate.config.kinds import ListOf, duration, flag, size, string, whole, word
from tlsgate.config.server_names import BackendAddress
from tlsgate.config.values import Address, AnswerRange, HostPort, Network, Rate, Url

Flag = Annotated[bool, flag()]
Count = Annotated[int, whole(1, 10_000_000)]
Timeout = Annotated[float, duration("1ms", "1d")]
RateLimit = Annotated[Rate, kinds.RATE]
File = Annotated[Path, kinds.FILE]
OptionalFile = Annotated[Path | None, kinds.OPTIONAL_FILE]
Networks = Annotated[tuple[Network, ...], ListOf(kinds.NETWORK)]
NetworksOrFiles = Annotated[tuple[Network | Path, ...], ListOf(kinds.NETWORK_OR_FILE)]
Screen = Annotated[Action, word(Action)]
Name = Annotated[str, kinds.NAME]


class Section(Struct, frozen=True, kw_only=True):
    """A table of the config."""


class Server(Section, frozen=True, kw_only=True):
    """``[server]``. ``hostname``: in greetings, EHLO and Received. ``user`` "": whoever started us."""

    hostname: Annotated[str, kinds.HOSTNAME]
    workers: Annotated[int | Literal["auto"], kinds.WORKERS] = 1
    user: Annotated[str, string(64)] = ""
    drain: Annotated[float, duration("0s", "7d")] = 300.0
    state_directory: OptionalFile = None


class Sni(Section, frozen=True, kw_only=True):
    """``[[tls.sni]]``: another certificate for these names. ``minimum_version`` None: that of ``[tls]``."""

    hostnames: Annotated[tuple[str, ...], ListOf(kinds.SERVER_NAME, least=1)]
    certificate: File
    private_key: File
    minimum_version: Annotated[TlsVersion | None, word(TlsVersion)] = None


class Tls(Section, frozen=True, kw_only=True):
    """``[tls]``: the certificate for every name that no ``[[tls.sni]]`` has."""

    certificate: File
    private_key: File
    minimum_version: Annotated[TlsVersion, word(TlsVersion)] = TlsVersion.TLS1_2
    client_ca: OptionalFile = None
    sni: tuple[Sni, ...] = ()


class Listener(Section, frozen=True, kw_only=True):
    """``[[listeners]]``. ``require_tls``: an mx listener takes no mail in clear."""

    name: Name
    protocol: Annotated[Protocol, word(Protocol)]
    address: Annotated[Address, kinds.LISTEN_ADDRESS]
    tls: Annotated[TlsMode, word(TlsMode)]
    pool: Name
    require_tls: Flag = False
    proxy_protocol_from: Networks = ()


class Backend(Section, frozen=True, kw_only=True):
    """One of ``[pools.NAME] backends``, or as many as its name in the DNS stands for.

    ``ca`` None: the system's; ``server_name`` "": the address's host, or the domain that SRV or MX were asked for.
    """

    address: Annotated[BackendAddress, kinds.CONNECT_ADDRESS]
    tls: Annotated[BackendTls, word(BackendTls)] = BackendTls.NONE
    verify: Flag = True
    ca: OptionalFile = None
    server_name: Annotated[str, kinds.OPTIONAL_HOST] = ""
    minimum_version: Annotated[BackendTlsVersion, word(BackendTlsVersion)] = BackendTlsVersion.TLS1_2
    priority: Annotated[int, whole(0, 65_535)] = 10
    weight: Annotated[int, whole(1, 65_535)] = 1


class Pool(Section, frozen=True, kw_only=True):
    """``[pools.NAME]``: backends that hold the same mail, and how to log in there.

    ``slow_start``: how long a backend's share grows after an outage.
    ``long_lines``: they cope with mail whose lines are longer than RFC 5321 allows.
    ``strip_domain``: they know users by their local parts. ``protocol``: theirs, where only the user map leads to them.
    """

    backends: tuple[Backend, ...]
    login: Annotated[LoginMode, word(LoginMode)] = LoginMode.SAME
    master_user: Annotated[str, string(255)] = ""
    master_separator: Annotated[str, string(8)] = "*"
    master_password_file: OptionalFile = None
    secrets_file: OptionalFile = None
    strip_domain: Flag = False
    protocol: Annotated[Protocol | None, word(WITH_USERS)] = None
    client_address: Annotated[ClientAddress, word(ClientAddress)] = ClientAddress.NONE
    connect_timeout: Annotated[float, duration("1ms", "5m")] = 5.0
    health_interval: Timeout = 10.0
    slow_start: Annotated[float, duration("0s", "1h")] = 30.0
    long_lines: Flag = False


class Route(Section, frozen=True, kw_only=True):
    """``[[routes]]``: the pool for users whose name ``match`` fits. ``protocol`` None: any."""

    match: Annotated[str, string(320, least=1)]
    pool: Name
    protocol: Annotated[Protocol | None, word(WITH_USERS)] = None


class OAuth(Section, frozen=True, kw_only=True):
    """``[auth.oauth]``: whose tokens are good, and which claim names the user.

    ``introspection_url``: who is asked about opaque tokens, as ``client_id``. ``scope``: one that tokens must have.
    ``pool_claim``: the claim that names the user's pool, "" for none.
    """

    issuer: Annotated[str, string(1024)] = ""
    audience: Annotated[str, string(1024)] = ""
    jwks_url: Annotated[Url | None, kinds.SECURE_URL] = None
    introspection_url: Annotated[Url | None, kinds.SECURE_URL] = None
    client_id: Annotated[str, string(1024)] = ""
    client_secret_file: OptionalFile = None
    user_claim: Annotated[str, string(255, least=1)] = "email"
    pool_claim: Annotated[str, string(255)] = ""
    scope: Annotated[str, string(255)] = ""


class Auth(Section, frozen=True, kw_only=True):
    """``[auth]``: who says whether credentials are right, tried in order, and how they may be given.

    ``default_domain``: of user names that have none. ``success_cache``: how long a right secret isn't checked again.
    """

    source: Annotated[tuple[AuthSource, ...], ListOf(word(AuthSource), least=1, alone=True)] = (AuthSource.BACKEND,)
    mechanisms: Annotated[tuple[Mechanism, ...], ListOf(word(Mechanism, any_case=True), least=1)] = (
        Mechanism.PLAIN,
        Mechanism.LOGIN,
    )
    users_file: OptionalFile = None
    app_passwords_file: OptionalFile = None
    auth_http: Annotated[Url | None, kinds.HTTP_URL] = None
    auth_http_header_file: OptionalFile = None
    user_map: OptionalFile = None
    default_domain: Annotated[str, kinds.OPTIONAL_DOMAIN] = ""
    success_cache: Annotated[float, duration("0s", "10m")] = 0.0
    oauth: OAuth = OAuth()


class Limits(Section, frozen=True, kw_only=True):
    """``[limits]``: greeting and login time out from accept on, a relayed session from its last byte on."""

    connections: Count = 10_000
    connections_per_network: Count = 50
    connections_per_user: Count = 50
    rate_per_network: RateLimit = Rate(120, 60.0)
    handshakes: Count = 256
    ipv4_prefix: Annotated[int, whole(1, 32)] = 32
    ipv6_prefix: Annotated[int, whole(1, 128)] = 64
    greeting_timeout: Timeout = 30.0
    login_timeout: Timeout = 60.0
    idle_timeout: Annotated[float, duration("1ms", "30d")] = 1800.0
    auth_attempts: Annotated[int, whole(1, 1000)] = 3
    bad_commands: Annotated[int, whole(1, 10_000)] = 10
    line_length: Annotated[int, whole(512, 1024**2)] = 8192  # RFC 5321 4.5.3.1.4: no less
    message_size: Annotated[int, size("1KiB", "16GiB")] = 50 * 1024**2
    recipients: Annotated[int, whole(1, 100_000)] = 100
    messages_per_user: RateLimit = Rate(500, 3600.0)
    recipients_per_user: RateLimit = Rate(2000, 3600.0)
    backend_connections: Count = 1000


class Admission(Section, frozen=True, kw_only=True):
    """``[admission]``: who passes every check but the total cap, who none, and who isn't counted."""

    allow: NetworksOrFiles = ()
    block: NetworksOrFiles = ()
    trust: Networks = ()


class Bans(Section, frozen=True, kw_only=True):
    """``[bans]``: what failed logins lead to."""

    failures: Annotated[int, whole(1, 1000)] = 10
    window: Timeout = 600.0
    duration: Timeout = 3600.0
    user_failures: Annotated[int, whole(1, 900)] = 30


class Dns(Section, frozen=True, kw_only=True):
    """``[dns]``: whom we ask. ``nameservers`` (): those of the system."""

    nameservers: Annotated[tuple[HostPort, ...], ListOf(kinds.NAMESERVER)] = ()
    timeout: Annotated[float, duration("1ms", "1m")] = 3.0


class Dnsbl(Section, frozen=True, kw_only=True):
    """``[[dnsbl]]``: a DNS list, what of its answers counts, and how much."""

    zone: Annotated[str, kinds.DOMAIN]
    answers: Annotated[tuple[AnswerRange, ...], ListOf(kinds.ANSWERS, least=1)] = (
        AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.11")),
    )
    weight: Annotated[int, whole(-1000, 1000)] = 3
    protocols: Annotated[tuple[Protocol, ...], ListOf(word((Protocol.MX, Protocol.SUBMISSION)), least=1)] = (
        Protocol.MX,
    )


class Screening(Section, frozen=True, kw_only=True):
    """``[screening]``: what the findings about a mail's sender do."""

    reject_score: Annotated[int, whole(1, 1000)] = 3
    tempfail_score: Annotated[int, whole(0, 1000)] = 0
    reverse_dns: Screen = Action.SCORE
    helo: Screen = Action.SCORE
    spf: Screen = Action.REJECT
    surbl_zones: Annotated[tuple[str, ...], ListOf(kinds.DOMAIN)] = ("multi.surbl.org",)
    surbl: Screen = Action.REJECT
    pregreet_delay: Annotated[float, duration("0s", "30s")] = 0.0


class Relay(Section, frozen=True, kw_only=True):
    """``[relay]``: whose mail is taken, and from whom; and in what form."""

    domains: Annotated[tuple[str, ...], ListOf(kinds.MAIL_DOMAIN)] = ()
    sender_must_match: Flag = False
    aliases_file: OptionalFile = None
    bare_newlines: Annotated[BareNewlines, word(BareNewlines)] = BareNewlines.REJECT


class State(Section, frozen=True, kw_only=True):
    """``[state]``. ``url`` None: counters, rates and bans are this host's own."""

    url: Annotated[Url | None, kinds.STATE_URL] = None
    when_down: Annotated[WhenDown, word(WhenDown)] = WhenDown.LOCAL


class Admin(Section, frozen=True, kw_only=True):
    """``[admin]``: where metrics, health and the API are."""

    address: Annotated[Address, kinds.LISTEN_ADDRESS] = HostPort("127.0.0.1", 9090)
    token_file: OptionalFile = None


class Log(Section, frozen=True, kw_only=True):
    """``[log]``."""

    format: Annotated[LogFormat, word(LogFormat)] = LogFormat.JSON
    level: Annotated[LogLevel, word(LogLevel)] = LogLevel.INFO


class Config(Section, frozen=True, kw_only=True):
    """A whole config file."""

    server: Server
    tls: Tls
    listeners: tuple[Listener, ...]
    pools: Mapping[str, Pool]
    routes: tuple[Route, ...] = ()
    auth: Auth = Auth()
    limits: Limits = Limits()
    admission: Admission = Admission()
    bans: Bans = Bans()
    dns: Dns = Dns()
    dnsbl: tuple[Dnsbl, ...] = ()
    screening: Screening = Screening()
    relay: Relay = Relay()
    state: State = State()
    admin: Admin = Admin()
    log: Log = Log()
