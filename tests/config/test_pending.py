"""What is told to have no effect yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import fields

from tests.config.files import completed, written
from tlsgate.config import Config, load, not_active
from tlsgate.config.pending import PENDING
from tlsgate.config.schema import Section

CASES: dict[str, tuple[str, ...]] = {
    "": (),
    """
[server]
hostname = "mail.example.org"
user = "mail"
drain = "1s"
workers = 1
[tls]
certificate = "c"
private_key = "k"
minimum_version = "1.3"
[[tls.sni]]
hostnames = ["a.test"]
certificate = "c"
private_key = "k"
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "all"
proxy_protocol_from = ["192.0.2.1"]
[[listeners]]
name = "b"
protocol = "pop3"
address = "[::]:110"
tls = "starttls"
pool = "pop3"
[[listeners]]
name = "c"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.pop3]
backends = [{ address = "a:2" }]
[pools.smtp]
backends = [{ address = "a:3" }]
[pools.all]
connect_timeout = "1s"
health_interval = "1s"
login = "same"
client_address = "proxy-v2"
long_lines = true
[[pools.all.backends]]
address = "a:1"
tls = "starttls"
ca = "ca"
server_name = "a.test"
minimum_version = "1.0"
priority = 1
weight = 2
[[pools.all.backends]]
address = "b:1"
tls = "implicit"
verify = false
[auth]
source = ["backend"]
mechanisms = ["LOGIN"]
[limits]
connections = 1
greeting_timeout = "1s"
login_timeout = "1s"
idle_timeout = "1s"
auth_attempts = 1
bad_commands = 1
line_length = 1000
message_size = "1MiB"
recipients = 1
backend_connections = 1
[admin]
address = "127.0.0.1:1"
token_file = "t"
[log]
format = "console"
level = "debug"
# [pools.imap]
""": (),
    '[server]\nhostname = "a"\nworkers = 2\nstate_directory = "x"': (),
    '[server]\nhostname = "a"\nworkers = "auto"': (),
    '[tls]\ncertificate = "c"\nprivate_key = "k"\nclient_ca = "ca"': ("tls.client_ca",),
    """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "mx"
address = "[::]:25"
tls = "starttls"
pool = "mx"
require_tls = true
[pools.mx]
backends = [{ address = "a:1" }]
""": (),
    """
[auth]
source = ["users-file"]
users_file = "users"
[pools.imap]
backends = [{ address = "a:1" }]
login = "master"
master_user = "m"
master_separator = "+"
master_password_file = "p"
""": (),
    """
[[listeners]]
name = "a"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{ address = "a:1" }]
login = "none"
[auth]
source = ["users-file"]
users_file = "users"
# [pools.imap]
""": (),
    """
[auth]
source = ["backend", "auth-http", "oauth"]
mechanisms = ["PLAIN", "XOAUTH2"]
auth_http = "http://127.0.0.1"
[auth.oauth]
issuer = "i"
audience = "a"
jwks_url = "https://a"
user_claim = "sub"
""": (
        "auth.source",
        "auth.mechanisms",
        "auth.auth_http",
        "auth.oauth.issuer",
        "auth.oauth.audience",
        "auth.oauth.jwks_url",
        "auth.oauth.user_claim",
    ),
    """
[limits]
connections_per_network = 1
connections_per_user = 1
rate_per_network = "1/1s"
handshakes = 1
ipv4_prefix = 24
ipv6_prefix = 48
messages_per_user = "1/1s"
recipients_per_user = "1/1s"
""": (),
    """
[[routes]]
match = "*"
pool = "imap"
[[dnsbl]]
zone = "a.test"
protocols = ["submission"]
""": (),
    """
[admission]
allow = ["::1"]
block = []
[bans]
failures = 1
[dns]
timeout = "1s"
[screening]
reject_score = 4
tempfail_score = 2
reverse_dns = "log"
helo = "off"
spf = "off"
surbl_zones = ["a.test"]
surbl = "off"
pregreet_delay = "1s"
[relay]
domains = ["a.test"]
sender_must_match = true
aliases_file = "aliases"
bare_newlines = "normalize"
[state]
when_down = "refuse"
""": (),
}


@pytest.mark.parametrize(("text", "keys"), CASES.items(), ids=lambda value: ",".join(value) if value else "none")
def test_not_active(tmp_path: Path, text: str, keys: tuple[str, ...]) -> None:
    """Who sets a limit that nothing keeps must be told; who is warned of one that works stops reading warnings."""
    assert not_active(load(written(tmp_path, completed(text)))) == keys


def test_example() -> None:
    """The defaults, written out, are no wishes."""
    assert not_active(load(Path(__file__).with_name("full.toml"))) == ()


def _names(of: Any, name: str) -> set[str]:
    if isinstance(of, type) and issubclass(of, Section):
        below = (_names(field.type, f"{name}.{field.name}".removeprefix(".")) for field in fields(of))
        return {name}.union(*below)
    arguments = [each for each in get_args(of) if isinstance(each, type) and issubclass(each, Section)]
    kind = "[]" if len(get_args(of)) == 2 and get_args(of)[1] is Ellipsis else ".*"
    return {name}.union(*(_names(each, name + kind) for each in arguments))


def test_table_names_keys() -> None:
    """A line of the table that names no key warns of nothing."""
    assert PENDING.keys() <= _names(Config, "")
