"""stunnel's services, as its manual and its sample write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.imported import Imported
from tlsgate.config import AuthSource, ClientAddress, Protocol, TlsMode, TlsVersion
from tlsgate.importing.reading import CannotImport
from tlsgate.importing.stunnel import import_stunnel

SAMPLE = """\
\ufeff; Sample stunnel configuration file for Unix
setuid = stunnel4
setgid = stunnel4
pid = /var/run/stunnel.pid
;foreground = yes
options = NO_SSLv2

[gmail-imap]
client = yes
accept = 127.0.0.1:143
connect = imap.gmail.com:993
CApath = /etc/ssl/certs

[pop3s]
accept  = 995
connect = 110
cert = /etc/stunnel/stunnel.pem

[imaps]
accept  = 993
connect = 143
cert = /etc/stunnel/stunnel.pem

[ssmtp]
accept  = 465
connect = 25
cert = /etc/stunnel/stunnel.pem

[https]
accept  = 443
connect = 80
cert = /etc/stunnel/stunnel.pem
TIMEOUTclose = 0

[shell]
accept = 1337
exec = /bin/sh
execArgs = sh -i
"""


def imported(directory: Path, text: str) -> Imported:
    return Imported(import_stunnel, directory / "stunnel.conf", text)


def services(directory: Path, text: str) -> Imported:
    """Services of which each has a certificate."""
    return imported(directory, "cert = s.pem\nkey = s.key\n" + text)


def test_the_sample(tmp_path: Path) -> None:
    made = imported(tmp_path, SAMPLE)
    config = made.config
    assert [(each.name, each.protocol, str(each.address), each.tls) for each in config.listeners] == [
        ("pop3s", Protocol.POP3, "0.0.0.0:995", TlsMode.IMPLICIT),
        ("imaps", Protocol.IMAP, "0.0.0.0:993", TlsMode.IMPLICIT),
        ("ssmtp", Protocol.SUBMISSION, "0.0.0.0:465", TlsMode.IMPLICIT),
    ]
    assert [str(pool.backends[0].address) for pool in config.pools.values()] == [
        "localhost:110",
        "localhost:143",
        "localhost:25",
    ]
    assert config.tls.certificate == config.tls.private_key == Path("/etc/stunnel/stunnel.pem")
    assert config.auth.source == (AuthSource.BACKEND,)
    assert (config.server.user, config.server.hostname) == ("stunnel4", "gate.example.org")
    assert made.missing == [
        "3: setgid: it is server.user's groups that count",
        "8: [gmail-imap]: a client's end of TLS; tlsgate is a server's",
        "29: [https]: which of mail's protocols it is can't be told from its ports or its name",
        "35: [shell]: starts a program; tlsgate connects to a server",
    ]


def test_all_of_a_plain_service_is_carried_over(tmp_path: Path) -> None:
    made = services(
        tmp_path, "[imaps]\naccept = 993\nconnect = 10.0.0.5:143\nTIMEOUTidle = 3600\nTIMEOUTconnect = 10\n"
    )
    assert made.missing == []
    assert made.config.limits.idle_timeout == 3600
    assert made.config.pools["imaps"].connect_timeout == 10
    assert made.config.tls.private_key == tmp_path / "s.key"


@pytest.mark.parametrize(
    ("service", "protocol", "tls", "how"),
    [
        ("[a]\naccept = 1\nconnect = h:2\nprotocol = imap", Protocol.IMAP, TlsMode.STARTTLS, "by protocol = imap"),
        ("[a]\naccept = 1\nconnect = h:2\nprotocol = pop3", Protocol.POP3, TlsMode.STARTTLS, "by protocol = pop3"),
        ("[a]\naccept = 587\nconnect = h:2\nprotocol = smtp", Protocol.SUBMISSION, TlsMode.STARTTLS, "by protocol"),
        ("[a]\naccept = 25\nconnect = h:25\nprotocol = smtp", Protocol.MX, TlsMode.STARTTLS, "by protocol = smtp"),
        ("[pop]\naccept = 1\nconnect = h:imap2", Protocol.IMAP, TlsMode.IMPLICIT, "the backend's port"),
        ("[a]\naccept = pop3s\nconnect = h:2", Protocol.POP3, TlsMode.IMPLICIT, "guessed by the port"),
        ("[old-pop3]\naccept = 1\nconnect = h:2", Protocol.POP3, TlsMode.IMPLICIT, "guessed by the name"),
        ("[a]\naccept = 1\nconnect = h:110\nprotocol = proxy", Protocol.POP3, TlsMode.IMPLICIT, "backend's port"),
    ],
)
def test_the_protocol(tmp_path: Path, service: str, protocol: Protocol, tls: TlsMode, how: str) -> None:
    """It is said where it is a guess: a wrong one would serve users in another protocol."""
    made = services(tmp_path, service)
    (listener,) = made.config.listeners
    assert (listener.protocol, listener.tls) == (protocol, tls)
    assert how in made.text


def test_a_proxy_header_for_the_backend(tmp_path: Path) -> None:
    made = services(tmp_path, "[imaps]\naccept = 993\nconnect = h:143\nprotocol = proxy\n")
    assert made.config.pools["imaps"].client_address is ClientAddress.PROXY_V1


def test_mail_from_other_servers_is_for_nobody_until_domains_are_named(tmp_path: Path) -> None:
    made = services(tmp_path, "[smtp]\naccept = 25\nconnect = h:2525\nprotocol = smtp\n")
    assert made.config.relay.domains == ()
    assert made.config.listeners[0].require_tls
    assert made.lost(3, "name the domains")


@pytest.mark.parametrize(
    ("more", "priorities"),
    [
        ("", [10, 20, 30]),
        ("failover = prio\n", [10, 20, 30]),
        ("failover = rr\n", [10, 10, 10]),
        ("failover = rr\ndelay = yes\n", [10, 20, 30]),
    ],
)
def test_several_backends(tmp_path: Path, more: str, priorities: list[int]) -> None:
    text = "[imaps]\naccept = :::993\nconnect = a:143\nconnect = ::1:143\nconnect = a:143\nconnect = /run/imap.sock\n"
    made = services(tmp_path, text + more)
    backends = made.config.pools["imaps"].backends
    assert [str(each.address) for each in backends] == ["a:143", "[::1]:143", "unix:/run/imap.sock"]
    assert [each.priority for each in backends] == priorities
    assert str(made.config.listeners[0].address) == "[::]:993"


@pytest.mark.parametrize(
    ("options", "least", "lost"),
    [
        ("sslVersionMin = TLSv1.3", TlsVersion.TLS1_3, ""),
        ("options = NO_TLSv1.2", TlsVersion.TLS1_3, ""),
        ("sslVersion = all", TlsVersion.TLS1_2, ""),
        ("sslVersion = TLSv1.1", TlsVersion.TLS1_2, "TLS 1.2 is the least"),
        ("sslVersionMin = all", TlsVersion.TLS1_2, "TLS 1.2 is the least"),
        ("options = -NO_SSLv3", TlsVersion.TLS1_2, "TLS 1.2 is the least"),
        ("sslVersionMax = TLSv1.2", TlsVersion.TLS1_2, "TLS 1.3 is always offered"),
        ("options = DONT_INSERT_EMPTY_FRAGMENTS", TlsVersion.TLS1_2, "tlsgate has its own"),
    ],
)
def test_no_weak_tls_is_carried_over(tmp_path: Path, options: str, least: TlsVersion, lost: str) -> None:
    made = services(tmp_path, f"[imaps]\naccept = 993\nconnect = h:143\n{options}\n")
    assert made.config.tls.minimum_version is least
    assert made.lost(6, lost) if lost else not made.missing


def test_clients_certificates(tmp_path: Path) -> None:
    made = services(tmp_path, "CAfile = ca.pem\n[imaps]\naccept = 993\nconnect = h:143\nverifyChain = yes\n")
    assert made.config.tls.client_ca == tmp_path / "ca.pem"
    assert made.lost(7, "clients without a certificate may log in too")


def test_ca_files_that_nobody_looks_at_ask_nobody(tmp_path: Path) -> None:
    made = services(tmp_path, "CAfile = ca.pem\n[imaps]\naccept = 993\nconnect = h:143\nverify = 0\n")
    assert made.config.tls.client_ca is None


def test_certificates(tmp_path: Path) -> None:
    made = services(
        tmp_path,
        """[imaps]
accept = 993
connect = h:143
[second]
sni = imaps:*.Example.com
cert = second.pem
connect = other:143
[pop3s]
accept = 995
connect = h:110
cert = third.pem
[p12]
accept = 465
connect = h:25
cert = x.p12
""",
    )
    tls = made.config.tls
    assert tls.certificate == tmp_path / "s.pem"
    assert [(each.hostnames, each.certificate, each.private_key) for each in tls.sni] == [
        (("*.example.com",), tmp_path / "second.pem", tmp_path / "s.key")
    ]
    assert made.lost(6, "backends by server name") and made.lost(13, "another certificate")
    assert made.lost(17, "PEM files only")


def test_included_files(tmp_path: Path) -> None:
    """In the order of their names; what is said of them has their names and lines."""
    parts = tmp_path / "conf.d"
    parts.mkdir()
    (parts / "02-pop.conf").write_text("[pop3s]\naccept = 995\nconnect = h:110\nciphers = HIGH\n")
    (parts / "01-imap.conf").write_text("[imaps]\naccept = 993\nconnect = h:143\n")
    made = services(tmp_path, "include = conf.d\n")
    assert [each.name for each in made.config.listeners] == ["imaps", "pop3s"]
    assert made.missing == [f"{parts}/02-pop.conf:4: ciphers: tlsgate has its own"]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = (
        "[imaps]\naccept = 993\nconnect = h:143\nticketKeySecret = hunter2\nprotocolPassword = hunter2\nhunter2! = x\n"
    )
    made = services(tmp_path, text)
    assert "hunter2" not in made.text
    assert made.lost(6, "ticketKeySecret") and made.lost(8, "an option: tlsgate doesn't know it")


def test_unknown_options_are_said(tmp_path: Path) -> None:
    made = services(tmp_path, "[imaps]\nAccept = 993\nCONNECT = h:143\nfrobnicate = yes\nlibwrap = no\nlibwrap = yes\n")
    assert made.lost(6, "frobnicate: tlsgate doesn't know it") and made.lost(8, "libwrap")
    assert len(made.missing) == 2


def test_names_that_are_none_of_ours(tmp_path: Path) -> None:
    made = services(
        tmp_path, '[mail.imap "a"]\naccept = 993\nconnect = h:143\n[mail.imap -a-]\naccept = 994\nconnect = h:143'
    )
    assert [each.name for each in made.config.listeners] == ["mail.imap--a-", "mail.imap--a--2"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing was found"),
        ("[https]\naccept = 443\nconnect = 80", r":1: \[https\]: which of mail's protocols"),
        ("[imaps]\naccept = 993", "connects to nothing"),
        ("[imaps]\naccept = 993\nconnect = h:99999", "is no address"),
        ("[imaps]\naccept = x:y:z\nconnect = 143", "is no address"),
        ("[imaps]\naccept 993", ':2: is no "key = value"'),
        ("include = gone", ":1: a directory that can't be read"),
        ("[a]\n" * 257, "more than 256 services"),
    ],
)
def test_nothing_to_take_over(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CannotImport, match=why):
        imported(tmp_path, text)
