"""Every kind of fault that one key can have: its line and its words. Comments say which there must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import assert_marked, completed, faults_of, written
from tlsgate.config import load

FAULTY = {
    "unknown section": """
[limit]  #! limit: did you mean "limits"?
connections = 5
""",
    "unknown section like none": """
zzz = 1  #! zzz: is not a section of the config; use "server", "tls", "listeners"
""",
    "unknown keys": """
[limits]
conections = 5      #! limits.conections: is not a key of [limits]; did you mean "connections"?
Login-Timeout = ""  #! limits.Login-Timeout: did you mean "login_timeout"?
drain = "5s"        #! limits.drain: did you mean server.drain?
zone = "x"          #! limits.zone: did you mean dnsbl.zone?
health_interval = 1 #! limits.health_interval: did you mean pools.NAME.health_interval?
zzz = 1             #! limits.zzz: use "connections", "connections_per_network"
""",
    "unknown keys in lists and by name": """
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
adress = "[::]:993"  #! listeners[0].adress: is not a key of [listeners]; did you mean "address"?
[pools.imap]
backends = [
  { address = "10.0.0.5:143" },
  { address = "10.0.0.6:143", verfy = true },  #! pools.imap.backends[1].verfy: is not a key of [pools.imap.backends]
]
timeout = "1s"  #! pools.imap.timeout: did you mean
""",
    "sections of another kind": """
server = 3         #! server: 3 is not a table; use [server]
tls = []           #! tls: a list is not a table; use [tls]
listeners = "imap" #! listeners: "imap" is not a list of tables; use [[listeners]]
pools = [1]        #! pools: a list is not a table; use [pools.NAME]
routes = [1]       #! routes[0]: 1 is not a table; use a table: { match = …, pool = … }
dnsbl = {}         #! dnsbl: a table is not a list of tables; use [[dnsbl]]
# [pools.imap]
""",
    "a header of one bracket": """
[listeners]  #! listeners: a table is not a list of tables; use [[listeners]]
name = "a"
""",
    "pools that are no tables": """
[pools]
imap = "10.0.0.5:143"   #! pools.imap: "10.0.0.5:143" is not a table; use [pools.imap]
"a b" = {}              #! pools."a b": is not a name & pools."a b".backends: is missing
[pools.imap2]
backends = ["10.0.0.5"] #! pools.imap2.backends[0]: use a table: { address = … }
[[listeners]]
name = "a"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap2"
# [pools.imap]
""",
    "required keys": """
[[listeners]]  #! listeners[0].name: is missing & listeners[0].protocol: use "imap", "pop3" & \
listeners[0].address: "host:port" & listeners[0].tls: use "implicit" or "starttls" & listeners[0].pool: is missing
""",
    "empty lists that must not be": """
listeners = []  #! listeners: is empty; give at least one [[listeners]]
[auth]
source = []     #! auth.source: is empty
mechanisms = [] #! auth.mechanisms: is empty
[pools.imap]
backends = []   #! pools.imap.backends: is empty; give at least one [[pools.imap.backends]]
[[tls.sni]]
hostnames = []  #! tls.sni[0].hostnames: is empty
certificate = ""  #! tls.sni[0].certificate: is empty; use a file's path
private_key = "k"
[[dnsbl]]
zone = "zen.spamhaus.org"
answers = []    #! dnsbl[0].answers: is empty
protocols = []  #! dnsbl[0].protocols: is empty
[tls]
certificate = "c"
private_key = "k"
# [[listeners]]
""",
    "no pools": """
pools = {}  #! pools: is empty; give at least one [pools.NAME]
# [pools.imap]
""",
    "values of another type": """
[server]
hostname = 5       #! server.hostname: 5 is not a host name
workers = true     #! server.workers: true is not a number of workers; use "auto", or
user = ["a"]       #! server.user: a list is not a string
drain = 300        #! server.drain: 300 is not a duration; use one from "0s" to "7d"
state_directory = 2026-01-01  #! server.state_directory: a date or time is not a file
[relay]
sender_must_match = "yes"  #! relay.sender_must_match: "yes" is not a boolean; use true or false
domains = "example.org"    #! relay.domains: "example.org" is not a list
[limits]
connections = "10"   #! limits.connections: "10" is not a whole number
auth_attempts = 3.0  #! limits.auth_attempts: 3.0 is not a whole number
bad_commands = true  #! limits.bad_commands: true is not a whole number
message_size = 1000  #! limits.message_size: 1000 is not a size
rate_per_network = 5 #! limits.rate_per_network: 5 is not a rate
[log]
level = 3  #! log.level: 3 is not a string; use "debug", "info", "warning" or "error"
""",
    "numbers out of range": """
[server]
hostname = "mail.example.org"
workers = 0    #! server.workers: 0 is less than is allowed
drain = "8d"   #! server.drain: "8d" is more than is allowed
[limits]
connections = 0               #! limits.connections: 0 is less than is allowed; use a whole number from 1
connections_per_network = -1  #! limits.connections_per_network: less
connections_per_user = 10000001 #! limits.connections_per_user: more
rate_per_network = "0/1m"     #! limits.rate_per_network: is not a rate
handshakes = 0                #! limits.handshakes: less
ipv4_prefix = 33              #! limits.ipv4_prefix: 33 is more than is allowed; use a whole number from 1 to 32
ipv6_prefix = 129             #! limits.ipv6_prefix: more
greeting_timeout = "0s"       #! limits.greeting_timeout: less
login_timeout = "0s"          #! limits.login_timeout: less
idle_timeout = "31d"          #! limits.idle_timeout: more
auth_attempts = 0             #! limits.auth_attempts: less
bad_commands = 0              #! limits.bad_commands: less
line_length = 511             #! limits.line_length: less
message_size = "0KiB"         #! limits.message_size: less
recipients = 0                #! limits.recipients: less
messages_per_user = "0/1h"    #! limits.messages_per_user: is not a rate
recipients_per_user = "1/0s"  #! limits.recipients_per_user: is not a rate
backend_connections = 0       #! limits.backend_connections: less
[bans]
failures = 0                  #! bans.failures: less
window = "0s"                 #! bans.window: less
duration = "0s"               #! bans.duration: less
user_failures = 0             #! bans.user_failures: less
[dns]
timeout = "2m"                #! dns.timeout: more
[screening]
reject_score = 0              #! screening.reject_score: less
tempfail_score = -1           #! screening.tempfail_score: less
pregreet_delay = "1m"         #! screening.pregreet_delay: more
[pools.imap]
connect_timeout = "6m"        #! pools.imap.connect_timeout: more
health_interval = "0s"        #! pools.imap.health_interval: less
[[pools.imap.backends]]
address = "10.0.0.5:0"        #! pools.imap.backends[0].address: has port 0
priority = -1                 #! pools.imap.backends[0].priority: less
weight = 0                    #! pools.imap.backends[0].weight: less
[[pools.imap.backends]]
address = "10.0.0.6:143"
priority = 65536              #! pools.imap.backends[1].priority: more
weight = 65536                #! pools.imap.backends[1].weight: more
""",
    "words that aren't known": """
[tls]
certificate = "c"
private_key = "k"
minimum_version = "1.1"  #! tls.minimum_version: "1.1" is not known here; use "1.2" or "1.3"
[[tls.sni]]
hostnames = ["a.test"]
certificate = "c"
private_key = "k"
minimum_version = "1.0"  #! tls.sni[0].minimum_version: use "1.2" or "1.3"
[auth]
source = "ldap"              #! auth.source: use "backend", "users-file", "auth-http" or "oauth"
mechanisms = ["plain", "CRAM-MD5"]  #! auth.mechanisms[1]: "CRAM-MD5" is not known here
[[dnsbl]]
zone = "zen.spamhaus.org"
protocols = ["imap"]         #! dnsbl[0].protocols[0]: use "mx" or "submission"
[log]
format = "JSON"              #! log.format: use "json" or "console"
""",
    "elements of lists": """
[admission]
allow = [
  "192.0.2.0/24",
  "192.0.2.1/24",  #! admission.allow[1]: use "192.0.2.0/24"
  5,               #! admission.allow[2]: 5 is not a prefix or a file
]
trust = ["webmail.example.org"]  #! admission.trust[0]: is not a prefix
[dns]
nameservers = ["dns.example.org"] #! dns.nameservers[0]: is not a name server's address
""",
    "strings": """
[server]
hostname = "a b"       #! server.hostname: "a b" is not a host name
user = "a\\u0000b"     #! server.user: holds a control character
[[routes]]
match = ""             #! routes[0].match: is empty
pool = "imap"
[[routes]]
match = "*"
protocol = "mx"        #! routes[1].protocol: "mx" is not known here; use "imap", "pop3" or "submission"
pool = "imap"
[auth.oauth]
user_claim = ""        #! auth.oauth.user_claim: is empty
[relay]
domains = [".a.test", "*.a.test"]  #! relay.domains[1]: "*.a.test" is not a domain name; use a name such as
aliases_file = "a\\nb" #! relay.aliases_file: holds a control character
[[listeners]]
name = "a b"           #! listeners[0].name: "a b" is not a name; use 1 to 64 letters
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = ""              #! listeners[0].pool: is empty
""",
    "URLs": """
[state]
url = "redis://host"   #! state.url: a string is not a usable URL; use "valkey://host:6379/0"
[auth]
auth_http = "host/path" #! auth.auth_http: use "http://host/path" or "https://host/path"
[auth.oauth]
jwks_url = "http://id.example.org/keys"  #! auth.oauth.jwks_url: fetched in clear
""",
}


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY.keys())
def test_faults(tmp_path: Path, text: str) -> None:
    """A fault that isn't told comes up in service; one at another key or line sends its reader astray."""
    assert_marked(tmp_path, completed(text))


def test_every_required_key(tmp_path: Path) -> None:
    """An empty file is told of all that it lacks, not of the first."""
    faults = faults_of(tmp_path, "")
    assert [(fault.key, fault.line, fault.problem) for fault in faults] == [
        (key, None, "is missing")
        for key in ("server.hostname", "tls.certificate", "tls.private_key", "listeners", "pools")
    ]


SECRETS = """
[state]
url = "redis://:hunter2@host"
[auth]
auth_http = ["http://:hunter2@host"]
users_file = 42424242
[auth.oauth]
jwks_url = "http://x:hunter2@host/"
[server]
hostname = "x:hunter2@host"
[pools.imap]
backends = ["imap://user:hunter2@host", { address = "hunter2@host:143" }, { address = "user:hunter2@host" }]
"imap://user:hunter2@host" = 1
[admission]
trust = ["https://hunter2@host/list"]
"""


def test_no_secret_in_faults(tmp_path: Path) -> None:
    """What a fault shows goes to terminals, logs and bug reports."""
    faults = faults_of(tmp_path, completed(SECRETS))
    assert len(faults) == 10
    assert not any("hunter2" in str(fault) or "42424242" in str(fault) for fault in faults)


def test_files_are_from_the_directory_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway may change its directory, and is started from any: a path must mean one file."""
    text = completed("""
[tls]
certificate = "net/c.pem"
private_key = "/etc/k.pem"
client_ca = ""
[admission]
block = ["lists/block", "192.0.2.1"]
""")
    written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    config = load(Path("tlsgate.toml"))
    assert config.tls.certificate == tmp_path / "net/c.pem"
    assert config.tls.private_key == Path("/etc/k.pem")
    assert config.tls.client_ca is None
    assert config.admission.block[0] == tmp_path / "lists/block"
