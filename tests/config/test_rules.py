"""Rules between keys: each case says by its comments which faults there must be; no others may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import assert_marked, completed, written
from tlsgate.config import load

FAULTY = {
    "two listeners of one name": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "a"  #! listeners[1].name: the name of listeners[0] too
protocol = "imap"
address = "[::]:143"
tls = "starttls"
pool = "imap"
""",
    "two listeners on one address": """
[[listeners]]
name = "a"
protocol = "imap"
address = "192.0.2.1:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "192.0.2.1:993"  #! listeners[1].address: is taken by listeners[0].address
tls = "implicit"
pool = "imap"
""",
    "a wildcard over another listener's address": """
[[listeners]]
name = "a"
protocol = "imap"
address = "192.0.2.1:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "[::]:993"  #! listeners[1].address: is taken by listeners[0].address
tls = "implicit"
pool = "imap"
""",
    "an address under IPv4's wildcard": """
[[listeners]]
name = "a"
protocol = "imap"
address = "0.0.0.0:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "192.0.2.1:993"  #! listeners[1].address: is taken by listeners[0].address
tls = "implicit"
pool = "imap"
""",
    "two listeners on one unix socket": """
[[listeners]]
name = "a"
protocol = "imap"
address = "unix:/run/imap"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "unix:/run/imap"  #! listeners[1].address: is taken by listeners[0].address
tls = "implicit"
pool = "imap"
""",
    "admin on a listener's address": """
[admin]
address = "127.0.0.1:993"  #! admin.address: is taken by listeners[0].address
""",
    "a listener on admin's default address": """\
#! admin.address: is taken by listeners[0].address
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:9090"
tls = "implicit"
pool = "imap"
""",
    "a listener's unknown pool": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imapp"  #! listeners[0].pool: did you mean "imap"?
""",
    "an unknown pool beside one with a bad name": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"  #! listeners[0].pool: did you mean "imap\\x1b[2J"?
[pools."imap\\u001b[2J"]  #! pools."imap\\x1b[2J": is not a name
backends = [{ address = "10.0.0.5:143" }]
[[routes]]
match = "*"
pool = "zzz"   #! routes[0].pool: use "imap\\x1b[2J"
# [pools.imap]
""",
    "a route's unknown pool": """
[[routes]]
match = "*"
pool = "elsewhere"  #! routes[0].pool: there is no [pools.elsewhere]; use "imap"
""",
    "mx with implicit TLS": """
[[listeners]]
name = "mx"
protocol = "mx"
address = "[::]:25"
tls = "implicit"  #! listeners[0].tls: use "starttls"
pool = "imap"
""",
    "require_tls where TLS is always required": """
[[listeners]]
name = "a"
protocol = "pop3"
address = "[::]:110"
tls = "starttls"
pool = "imap"
require_tls = true  #! listeners[0].require_tls: pop3 always requires TLS
""",
    "master login without a master": """
[auth]
source = "users-file"
users_file = "users"
[pools.imap]  #! pools.imap.master_user: is missing & pools.imap.master_password_file: is missing
backends = [{ address = "10.0.0.5:143" }]
login = "master"
""",
    "master login with no more than a name": """
[auth]
source = "users-file"
users_file = "users"
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "master"
master_user = "master"
master_password_file = ""  #! pools.imap.master_password_file: is missing
""",
    "master login of users whom nobody has checked": """
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "master"  #! pools.imap.login: nobody would check the password
master_user = "master"
master_password_file = "master.secret"
""",
    "stored secrets without a file": """
[auth]
source = "users-file"
users_file = "users"
[pools.imap]  #! pools.imap.secrets_file: is missing
backends = [{ address = "10.0.0.5:143" }]
login = "stored"
""",
    "app passwords of nobody's": """
[pools.imap]  #! pools.imap.login: know nothing of auth.app_passwords_file
backends = [{ address = "10.0.0.5:143" }]
[auth]
app_passwords_file = "apps"  #! auth.app_passwords_file: has no "users-file"
""",
    "app passwords that a backend is shown": """
[auth]
source = "users-file"
users_file = "users"
app_passwords_file = "apps"
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "same"  #! pools.imap.login: know nothing of auth.app_passwords_file
""",
    "stored secrets of users whom nobody has checked": """
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "stored"  #! pools.imap.login: nobody would check the password
secrets_file = "secrets"
""",
    "a pool of the user map that is a listener's too": """
[auth]
user_map = "map"
[pools.imap]  #! pools.imap: is used for imap and pop3
backends = [{ address = "10.0.0.5:143" }]
protocol = "pop3"
""",
    "no login at a mailbox that the user map leads to": """
[auth]
source = "users-file"
users_file = "users"
user_map = "map"
[pools.shard]
backends = [{ address = "10.0.0.6:143" }]
protocol = "imap"
login = "none"  #! pools.shard.login: imap listeners use this pool
""",
    "no login at a mailbox": """
[auth]
source = "users-file"
users_file = "users"
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "none"  #! pools.imap.login: imap listeners use this pool
""",
    "no login at a mailbox behind a route of no protocol": """
[auth]
source = "users-file"
users_file = "users"
[[routes]]
match = "*@example.net"
pool = "net"
[pools.net]
backends = [{ address = "10.0.0.6:143" }]
login = "none"  #! pools.net.login: imap listeners use this pool
""",
    "a pool for two protocols": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "all"
[[listeners]]
name = "b"
protocol = "pop3"
address = "[::]:995"
tls = "implicit"
pool = "all"
[pools.all]  #! pools.all: is used for imap and pop3
backends = [{ address = "10.0.0.5:143" }]
""",
    "a pool for two protocols by a route of none": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "submission"
address = "[::]:465"
tls = "implicit"
pool = "smtp"
[[routes]]
match = "*@example.net"
pool = "net"
[pools.smtp]
backends = [{ address = "10.0.0.5:25" }]
[pools.net]  #! pools.net: give routes a protocol
backends = [{ address = "10.0.0.6:143" }]
""",
    "no login at a mailbox behind a route": """
[auth]
source = "users-file"
users_file = "users"
[[routes]]
match = "*@example.net"
protocol = "pop3"
pool = "net"
[pools.net]
backends = [{ address = "10.0.0.6:110" }]
login = "none"  #! pools.net.login: pop3 listeners use this pool
""",
    "no login and nobody to check the password": """
[auth]
source = ["users-file", "backend"]
users_file = "users"
[[listeners]]
name = "a"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{ address = "10.0.0.5:25" }]
login = "none"  #! pools.smtp.login: nobody would check the password
""",
    "no login, and auth says nothing": """
[[listeners]]
name = "a"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{ address = "10.0.0.5:25" }]
login = "none"  #! pools.smtp.login: nobody would check the password
""",
    "xclient for imap": """
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
client_address = "xclient"  #! pools.imap.client_address: which imap doesn't have
""",
    "imap-id for pop3": """
[[listeners]]
name = "a"
protocol = "pop3"
address = "[::]:995"
tls = "implicit"
pool = "imap"
[pools.imap]
backends = [{ address = "10.0.0.5:110" }]
client_address = "imap-id"  #! pools.imap.client_address: which pop3 doesn't have
""",
    "a balancer that nobody can be": """
[[listeners]]
name = "a"
protocol = "imap"
address = "unix:/run/gate"
tls = "implicit"
pool = "imap"
proxy_protocol_from = ["10.0.0.1"]  #! listeners[0].proxy_protocol_from: has no address
""",
    "imap-id for smtp": """
[[listeners]]
name = "a"
protocol = "submission"
address = "[::]:587"
tls = "starttls"
pool = "smtp"
[pools.smtp]
backends = [{ address = "10.0.0.5:25" }]
client_address = "imap-id"  #! pools.smtp.client_address: which submission doesn't have
""",
    "one backend twice": """
[pools.imap]
backends = [
  { address = "10.0.0.5:143" },
  { address = "10.0.0.5:143" },  #! pools.imap.backends[1].address: the address of backends[0] too
]
""",
    "a CA that checks nothing": """
[pools.imap]
backends = [
  { address = "10.0.0.5:143" },
  { address = "10.0.0.6:143", tls = "starttls", ca = "ca.pem", verify = false },  #! pools.imap.backends[1].ca: verify
]
""",
    "TLS's keys without TLS": """
[[pools.imap.backends]]
address = "10.0.0.5:143"
ca = "ca.pem"           #! pools.imap.backends[0].ca: tls is "none"
server_name = "a.test"  #! pools.imap.backends[0].server_name: tls is "none"
[pools.imap]
""",
    "a share of servers that the DNS gives shares": """
[pools.imap]
backends = [
  { address = "srv:_imap._tcp.example.org", weight = 2 },  #! pools.imap.backends[0].weight: as their records say
]
""",
    "mail exchangers for a mailbox": """
[pools.imap]
backends = [
  { address = "mx:example.org" },  #! pools.imap.backends[0].address: use "srv:_imap._tcp.example.org"
]
""",
    "one name for two certificates": """
[tls]
certificate = "c"
private_key = "k"
[[tls.sni]]
hostnames = ["mail.example.net"]
certificate = "c"
private_key = "k"
[[tls.sni]]
hostnames = [
  "pop.example.net",
  "Mail.Example.NET",  #! tls.sni[1].hostnames[1]: is tls.sni[0].hostnames[0] too
]
certificate = "c"
private_key = "k"
""",
    "users-file without a file": """
[auth]  #! auth.users_file: is missing
source = "users-file"
""",
    "auth-http without a URL": """
[auth]
source = ["backend", "auth-http"]
auth_http = ""  #! auth.auth_http: is missing
""",
    "oauth without anything": """
[auth]  #! auth.oauth.issuer: is missing & auth.oauth.audience: is missing & auth.oauth.jwks_url: is missing
source = "oauth"
""",
    "oauth without an audience": """
[auth]
source = "oauth"
[auth.oauth]
issuer = "https://id.example.org"
audience = ""  #! auth.oauth.audience: is missing
jwks_url = "https://id.example.org/keys"
""",
    "asking about tokens as nobody": """
[auth]
source = "oauth"
[auth.oauth]  #! auth.oauth.client_id: is missing & auth.oauth.client_secret_file: is missing
issuer = "https://id.example.org"
audience = "mail"
introspection_url = "https://id.example.org/introspect"
""",
    "mechanisms that nobody can judge": """
[auth]
mechanisms = ["PLAIN", "XOAUTH2", "EXTERNAL"]  #! auth.mechanisms[1]: by nobody & auth.mechanisms[2]: by nobody
[pools.imap]
login = "master"  #! pools.imap.login: nobody would check
master_user = "m"
master_password_file = "m"
backends = [{ address = "a:1" }]
""",
    "a mechanism that shows a backend nothing": """
[auth]
source = "users-file"
users_file = "users"
mechanisms = ["SCRAM-SHA-256"]
[pools.imap]
login = "same"  #! pools.imap.login: SCRAM-SHA-256 shows no password
backends = [{ address = "a:1" }]
""",
    "admin for everyone without a token": """
[admin]  #! admin.token_file: 0.0.0.0:9090 can be reached from other hosts
address = "0.0.0.0:9090"
""",
    "admin by a name that isn't localhost": """
[admin]  #! admin.token_file: can be reached from other hosts
address = "gate.example.org:9090"
""",
}


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY.keys())
def test_rule(tmp_path: Path, text: str) -> None:
    """Were a rule lost, or one too strict, a bad config would run, or a fault be told that is none."""
    assert_marked(tmp_path, completed(text))


GOOD = {
    "one port on two addresses": """
[[listeners]]
name = "a"
protocol = "imap"
address = "192.0.2.1:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "192.0.2.2:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "c"
protocol = "imap"
address = "[2001:db8::1]:993"
tls = "implicit"
pool = "imap"
""",
    "ports of the kernel's choice": """
[[listeners]]
name = "a"
protocol = "imap"
address = "127.0.0.1:0"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "127.0.0.1:0"
tls = "starttls"
pool = "imap"
[admin]
address = "127.0.0.1:0"
""",
    "IPv6 beside IPv4's wildcard": """
[[listeners]]
name = "a"
protocol = "imap"
address = "0.0.0.0:993"
tls = "implicit"
pool = "imap"
[[listeners]]
name = "b"
protocol = "imap"
address = "[2001:db8::1]:993"
tls = "implicit"
pool = "imap"
""",
    "mx: nobody logs in, whatever auth.source is": """
[[listeners]]
name = "mx"
protocol = "mx"
address = "[::]:25"
tls = "starttls"
pool = "mx"
require_tls = true
[pools.mx]
backends = [{ address = "10.0.0.5:25" }]
login = "none"
client_address = "xclient"
""",
    "submission that is checked here": """
[auth]
source = "users-file"
users_file = "users"
[[listeners]]
name = "a"
protocol = "submission"
address = "[::]:465"
tls = "implicit"
pool = "smtp"
[pools.smtp]
backends = [{ address = "10.0.0.5:25" }]
login = "none"
client_address = "xclient"
""",
    "xclient for pop3, which Dovecot has": """
[[listeners]]
name = "a"
protocol = "pop3"
address = "[::]:995"
tls = "implicit"
pool = "imap"
proxy_protocol_from = ["10.0.0.1", "2001:db8::/32"]
[pools.imap]
backends = [{ address = "10.0.0.5:110" }]
client_address = "xclient"
""",
    "stored secrets for users who are checked here": """
[auth]
source = "users-file"
users_file = "users"
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "stored"
secrets_file = "secrets"
""",
    "a pool's protocol without a user map": """
[pools.spare]
backends = [{ address = "10.0.0.6:25" }]
protocol = "pop3"
login = "none"
""",
    "pools that only the user map leads to": """
[auth]
user_map = "map"
default_domain = "example.org"
success_cache = "1m"
[pools.imap2]
backends = [{ address = "10.0.0.6:143" }]
protocol = "imap"
client_address = "imap-id"
[pools.smtp2]
backends = [{ address = "10.0.0.6:25" }]
protocol = "submission"
client_address = "xclient"
strip_domain = true
""",
    "a master for users who are checked here": """
[auth]
source = "auth-http"
auth_http = "http://127.0.0.1:8080/auth"
[pools.imap]
backends = [{ address = "10.0.0.5:143" }]
login = "master"
master_user = "master"
master_separator = ""
master_password_file = "master.secret"
client_address = "imap-id"
""",
    "oauth with all that it needs": """
[auth]
source = ["oauth", "backend"]
[auth.oauth]
issuer = "https://id.example.org"
audience = "mail"
jwks_url = "https://id.example.org/keys"
""",
    "oauth by asking alone": """
[auth]
source = "oauth"
[auth.oauth]
issuer = "https://id.example.org"
audience = "mail"
introspection_url = "https://id.example.org/introspect"
client_id = "tlsgate"
client_secret_file = "secret"
""",
    "every mechanism": """
[tls]
certificate = "c"
private_key = "k"
client_ca = "ca"
[auth]
source = ["users-file", "oauth"]
users_file = "users"
mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "EXTERNAL", "PLAIN", "LOGIN"]
[auth.oauth]
issuer = "https://id.example.org"
audience = "mail"
jwks_url = "https://id.example.org/keys"
[pools.imap]
login = "master"
master_user = "m"
master_password_file = "m"
backends = [{ address = "a:1" }]
""",
    "certificates where auth_http has the passwords": """
[tls]
certificate = "c"
private_key = "k"
client_ca = "ca"
[auth]
source = "auth-http"
auth_http = "http://127.0.0.1/auth"
mechanisms = ["PLAIN", "EXTERNAL"]
""",
    "admin for everyone with a token": """
[admin]
address = "0.0.0.0:9090"
token_file = "token"
""",
    "admin on a unix socket": """
[admin]
address = "unix:/run/tlsgate/admin.sock"
""",
    "admin on IPv6's loopback": """
[admin]
address = "[::1]:9090"
""",
    "a backend with a CA of its own": """
[pools.imap]
backends = [{ address = "10.0.0.5:143", tls = "implicit", ca = "ca.pem", server_name = "imap.test" }]
""",
    "servers that the DNS names": """
[[listeners]]
name = "mx"
protocol = "mx"
address = "[::]:25"
tls = "starttls"
pool = "mx"
[pools.mx]
backends = [{ address = "mx:example.org" }, { address = "mx:example.org:2525", priority = 20 }]
[pools.imap]
backends = [{ address = "srv:_imap._tcp.example.org", tls = "starttls" }]
""",
    "more for one network than in all": """
[limits]
connections = 10
connections_per_network = 50
""",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_no_rule(tmp_path: Path, text: str) -> None:
    """A rule that is too strict would refuse a good config."""
    load(written(tmp_path, completed(text)))


BESIDE_OTHER_FAULTS = """\
#! tls.certificate: is missing & tls.private_key: is missing
[server]
hostname = "mail.example.org"
[[listeners]]
name = "mx"
protocol = "mx"
address = "nowhere"  #! listeners[0].address: is not an address
tls = "implicit"     #! listeners[0].tls: starttls
pool = "imapp"       #! listeners[0].pool: did you mean "imap"?
[[listeners]]
name = "mx"          #! listeners[1].name: the name of listeners[0] too
protocol = "jmap"    #! listeners[1].protocol: is not known here
address = "[::]:143"
tls = "starttls"
pool = "imap"
require_tls = true
[[pools.imap.backends]]
address = "10.0.0.5" #! pools.imap.backends[0].address: is not an address
ca = "ca.pem"        #! pools.imap.backends[0].ca: verify
tls = "starttls"
verify = false
[pools.imap]
login = "none"
[auth]
source = 5           #! auth.source: 5 is not
[admin]              #! admin.token_file: is missing
address = "[::]:143" #! admin.address: is taken by listeners[1].address
"""


def test_rules_beside_other_faults(tmp_path: Path) -> None:
    """A key with a fault of its own must neither hide another key's fault from the rules nor bring up false ones."""
    assert_marked(tmp_path, BESIDE_OTHER_FAULTS)
