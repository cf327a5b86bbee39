"""The config's sections: the whole of them from a file, and their defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin

import pytest
from msgspec.structs import asdict, fields

from tests.config.files import completed, written
from tlsgate.config import (
    Action,
    AnswerRange,
    AuthSource,
    Backend,
    BackendTls,
    BackendTlsVersion,
    BareNewlines,
    ClientAddress,
    Config,
    Dnsbl,
    HostPort,
    Listener,
    LogFormat,
    LoginMode,
    LogLevel,
    Mechanism,
    Pool,
    Protocol,
    Rate,
    Route,
    Server,
    Sni,
    TlsMode,
    TlsVersion,
    UnixPath,
    WhenDown,
    load,
)
from tlsgate.config.schema import Section

FULL = Path(__file__).with_name("full.toml")


@pytest.fixture
def defaults(tmp_path: Path) -> Config:
    """What a file without more than it needs gives."""
    return load(written(tmp_path, completed("")))


def test_full() -> None:
    """Sections of the example that have no defaults, or others than it shows."""
    config = load(FULL)
    here = FULL.absolute().parent
    assert config.tls.certificate == here / "fullchain.pem"
    assert config.tls.private_key == here / "privkey.pem"
    assert config.tls.sni == (
        Sni(
            hostnames=("mail.example.net", "*.example.com"),
            certificate=here / "net/fullchain.pem",
            private_key=Path("/etc/keys/net.pem"),
            minimum_version=TlsVersion.TLS1_3,
        ),
    )
    assert config.listeners == (
        Listener(
            name="imaps",
            protocol=Protocol.IMAP,
            address=HostPort("::", 993),
            tls=TlsMode.IMPLICIT,
            pool="imap",
        ),
    )
    assert config.pools == {
        "imap": Pool(
            backends=(
                Backend(address=HostPort("10.0.0.5", 143)),
                Backend(address=HostPort("10.0.0.6", 143), tls=BackendTls.STARTTLS, priority=20),
            )
        ),
        "imap-net": Pool(backends=(Backend(address=UnixPath(Path("/run/dovecot/imap"))),), protocol=Protocol.IMAP),
    }
    assert config.routes == (Route(match="*@example.net", protocol=Protocol.IMAP, pool="imap-net"),)
    assert config.dnsbl == (Dnsbl(zone="zen.spamhaus.org"),)


def test_defaults_are_those_of_the_example(defaults: Config) -> None:
    """A default that isn't the documented one is a limit that nobody knows."""
    full = load(FULL)
    for name in ("server", "auth", "limits", "admission", "bans", "dns", "screening", "relay", "state", "admin", "log"):
        assert getattr(defaults, name) == getattr(full, name), name
    assert defaults.tls.minimum_version is full.tls.minimum_version
    assert defaults.tls.client_ca is full.tls.client_ca
    assert (defaults.tls.sni, defaults.routes, defaults.dnsbl) == ((), (), ())


def test_defaults_by_value(defaults: Config) -> None:
    """The units: a second that is taken for a minute, or a KiB for a byte, would pass the comparison with a file."""
    assert asdict(defaults.limits) == {
        "connections": 10000,
        "connections_per_network": 50,
        "connections_per_user": 50,
        "rate_per_network": Rate(120, 60.0),
        "handshakes": 256,
        "ipv4_prefix": 32,
        "ipv6_prefix": 64,
        "greeting_timeout": 30.0,
        "login_timeout": 60.0,
        "idle_timeout": 1800.0,
        "auth_attempts": 3,
        "bad_commands": 10,
        "line_length": 8192,
        "message_size": 52428800,
        "recipients": 100,
        "messages_per_user": Rate(500, 3600.0),
        "recipients_per_user": Rate(2000, 3600.0),
        "backend_connections": 1000,
    }
    assert defaults.server == Server(hostname="mail.example.org", workers=1, user="", drain=300.0, state_directory=None)
    assert asdict(defaults.bans) == {"failures": 10, "window": 600.0, "duration": 3600.0, "user_failures": 30}
    assert (defaults.dns.nameservers, defaults.dns.timeout) == ((), 3.0)
    assert asdict(defaults.screening) == {
        "reject_score": 3,
        "tempfail_score": 0,
        "reverse_dns": Action.SCORE,
        "helo": Action.SCORE,
        "spf": Action.REJECT,
        "surbl_zones": ("multi.surbl.org",),
        "surbl": Action.REJECT,
        "pregreet_delay": 0.0,
    }
    assert asdict(defaults.relay) == {
        "domains": (),
        "sender_must_match": False,
        "aliases_file": None,
        "bare_newlines": BareNewlines.REJECT,
    }
    assert asdict(defaults.state) == {"url": None, "when_down": WhenDown.LOCAL}
    assert asdict(defaults.admin) == {"address": HostPort("127.0.0.1", 9090), "token_file": None}
    assert asdict(defaults.log) == {"format": LogFormat.JSON, "level": LogLevel.INFO}
    assert defaults.auth.source == (AuthSource.BACKEND,)
    assert defaults.auth.mechanisms == (Mechanism.PLAIN, Mechanism.LOGIN)
    assert (defaults.auth.user_map, defaults.auth.default_domain, defaults.auth.success_cache) == (None, "", 0.0)


def test_defaults_of_what_is_named_by_hand(defaults: Config) -> None:
    assert asdict(defaults.pools["imap"]) == {
        "backends": (Backend(address=HostPort("10.0.0.5", 143)),),
        "login": LoginMode.SAME,
        "master_user": "",
        "master_separator": "*",
        "master_password_file": None,
        "secrets_file": None,
        "strip_domain": False,
        "protocol": None,
        "client_address": ClientAddress.NONE,
        "connect_timeout": 5.0,
        "health_interval": 10.0,
        "slow_start": 30.0,
        "long_lines": False,
    }
    assert asdict(defaults.pools["imap"].backends[0]) == {
        "address": HostPort("10.0.0.5", 143),
        "tls": BackendTls.NONE,
        "verify": True,
        "ca": None,
        "server_name": "",
        "minimum_version": BackendTlsVersion.TLS1_2,
        "priority": 10,
        "weight": 1,
    }
    assert (defaults.listeners[0].require_tls, defaults.listeners[0].proxy_protocol_from) == (False, ())
    assert Route(match="*", pool="imap").protocol is None
    zone = Dnsbl(zone="zen.spamhaus.org")
    assert zone.answers == (AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.11")),)
    assert (zone.weight, zone.protocols) == (3, (Protocol.MX,))


SET = """
[server]
hostname = "[IPv6:2001:db8::1]"
workers = "auto"
user = "tlsgate"
drain = "90s"
[[listeners]]
name = "a"
protocol = "imap"
address = "192.0.2.1:993"
tls = "implicit"
pool = "imap"
proxy_protocol_from = ["192.0.2.0/24", "2001:db8::1"]
[auth]
source = ["users-file", "backend"]
mechanisms = ["plain", "Login"]
users_file = "users"
[admission]
block = ["192.0.2.0/24", "/etc/block"]
[dns]
nameservers = ["192.0.2.53", "[2001:db8::53]:5353"]
[[dnsbl]]
zone = "list.dnswl.org"
answers = ["127.0.0.2"]
weight = -2
protocols = ["mx", "submission"]
[state]
url = "valkey://:hunter2@host:6379/0"
[admin]
address = "unix:/run/admin.sock"
"""


def test_set_values(tmp_path: Path) -> None:
    """What is written in the file must arrive, as the type that its readers count on."""
    config = load(written(tmp_path, completed(SET)))
    assert config.server == Server(hostname="[IPv6:2001:db8::1]", workers="auto", user="tlsgate", drain=90.0)
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128"))
    assert config.listeners[0].proxy_protocol_from == networks
    assert config.auth.source == (AuthSource.USERS_FILE, AuthSource.BACKEND)
    assert config.auth.mechanisms == (Mechanism.PLAIN, Mechanism.LOGIN)
    assert config.admission.block == (networks[0], Path("/etc/block"))
    assert config.dns.nameservers == (HostPort("192.0.2.53", 53), HostPort("2001:db8::53", 5353))
    assert config.dnsbl[0].answers == (AnswerRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.2")),)
    assert (config.dnsbl[0].weight, config.dnsbl[0].protocols) == (-2, (Protocol.MX, Protocol.SUBMISSION))
    assert config.state.url == "valkey://:hunter2@host:6379/0"
    assert config.admin.address == UnixPath(Path("/run/admin.sock"))
    assert "hunter2" not in repr(config)


def test_config_stays_as_it_is(defaults: Config) -> None:
    """Sessions share it: who could change it would change it for all, and past every check."""
    with pytest.raises(AttributeError):
        defaults.limits.connections = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        defaults.pools["other"] = defaults.pools["imap"]  # type: ignore[index]
    assert isinstance(defaults.pools, MappingProxyType)


def test_equal_files_are_equal_configs(defaults: Config, tmp_path: Path) -> None:
    """A reload finds out by this what has changed."""
    assert load(written(tmp_path, completed("# nothing"))) == defaults
    assert load(written(tmp_path, completed('[limits]\nidle_timeout = "1s"'))) != defaults


def _lacking(of: Any, values: list[Any], name: str) -> set[str]:
    """The keys of a type of the schema that none of these values has."""
    if isinstance(of, type) and issubclass(of, Section):
        lacking = set()
        for field in fields(of):
            key = f"{name}.{field.name}"
            inner = [value[field.name] for value in values if field.name in value]
            lacking |= _lacking(field.type, inner, key) if inner else {key}
        return lacking
    if get_origin(of) is tuple:
        return _lacking(get_args(of)[0], [each for value in values for each in value], name)
    if get_origin(of) is Mapping:
        return _lacking(get_args(of)[1], [each for value in values for each in value.values()], name)
    return set()


def test_the_example_is_complete() -> None:
    """What the other tests and readers take for the whole of the config must be that."""
    assert not _lacking(Config, [tomllib.loads(FULL.read_text())], "")
