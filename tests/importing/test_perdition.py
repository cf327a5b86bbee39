"""Perdition's config, as its manual writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.imported import Imported
from tlsgate.config import AuthSource, BackendTls, BackendTlsVersion, Protocol, TlsMode, TlsVersion
from tlsgate.importing.perdition import import_perdition
from tlsgate.importing.perdition_syntax import read_options
from tlsgate.importing.reading import CannotImport


def imported(directory: Path, text: str, name: str = "perdition.conf") -> Imported:
    return Imported(import_perdition, directory / name, text)


def imap(directory: Path, text: str) -> Imported:
    """IMAP behind TLS: nothing of this is lost by itself."""
    return imported(directory, f"protocol IMAP4S\nssl_mode ssl_listen\noutgoing_server h:143\n{text}\n")


def test_a_whole_file(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        """\
# perdition.conf
P           IMAP4S          # short option used as key
b           127.0.0.1,10.0.0.1:1993
s           sarah:143, 10.0.0.6
outgoing_port 1143
ssl_mode    ssl_listen
ssl_cert_file cert.pem
ssl_key_file "/etc/keys/key.pem"
L           64
t           3600
authenticate_timeout 120
username    mail
map_library ""
debug
""",
    )
    config = made.config
    assert made.missing == []
    assert [(each.protocol, str(each.address), each.tls) for each in config.listeners] == [
        (Protocol.IMAP, "127.0.0.1:993", TlsMode.IMPLICIT),
        (Protocol.IMAP, "10.0.0.1:1993", TlsMode.IMPLICIT),
    ]
    backends = config.pools["imap"].backends
    assert [(str(each.address), each.priority, each.tls) for each in backends] == [
        ("sarah:143", 10, BackendTls.NONE),
        ("10.0.0.6:1143", 10, BackendTls.NONE),
    ]
    assert (config.tls.certificate, config.tls.private_key) == (tmp_path / "cert.pem", Path("/etc/keys/key.pem"))
    assert (config.limits.connections, config.limits.idle_timeout, config.limits.login_timeout) == (64, 3600, 120)
    assert (config.server.user, config.server.hostname) == ("mail", "gate.example.org")
    assert config.auth.source == (AuthSource.BACKEND,)


@pytest.mark.parametrize(
    ("protocol", "mode", "listen", "here", "there", "outgoing"),
    [
        ("POP3", "", TlsMode.STARTTLS, 110, 110, BackendTls.NONE),
        ("POP3S", "", TlsMode.IMPLICIT, 995, 995, BackendTls.IMPLICIT),
        ("IMAP4", "none", TlsMode.STARTTLS, 143, 143, BackendTls.NONE),
        ("IMAP4S", "", TlsMode.IMPLICIT, 993, 993, BackendTls.IMPLICIT),
        ("imap4", "tls_listen_force", TlsMode.STARTTLS, 143, 143, BackendTls.NONE),
        ("IMAP4", "tls_all_force", TlsMode.STARTTLS, 143, 143, BackendTls.STARTTLS),
        ("IMAP4", "tls_listen,ssl_outgoing", TlsMode.STARTTLS, 143, 143, BackendTls.IMPLICIT),
        ("IMAP4S", "ssl_listen,tls_outgoing", TlsMode.IMPLICIT, 993, 993, BackendTls.STARTTLS),
    ],
)
def test_ssl_mode(
    tmp_path: Path, protocol: str, mode: str, listen: TlsMode, here: int, there: int, outgoing: BackendTls
) -> None:
    """A backend that was spoken to by TLS isn't in clear, and one in clear isn't tried by TLS."""
    made = imported(tmp_path, f"protocol {protocol}\nssl_mode {mode}\noutgoing_server h\n")
    (listener,) = made.config.listeners
    (backend,) = made.config.pools[listener.pool].backends
    assert (listener.tls, str(listener.address)) == (listen, f"[::]:{here}")
    assert (str(backend.address), backend.tls) == (f"h:{there}", outgoing)
    assert made.lost(2, "logins without TLS") is (listen is TlsMode.STARTTLS and "force" not in mode)
    assert made.lost(2, "isn't spoken to in clear") is (mode == "ssl_listen,tls_outgoing")


@pytest.mark.parametrize(
    ("name", "protocol", "lost"),
    [
        ("perdition.imap4.conf", Protocol.IMAP, False),
        ("perdition.pop3s.conf", Protocol.POP3, False),
        ("perdition.conf", Protocol.POP3, True),
    ],
)
def test_a_protocol_by_the_files_name(tmp_path: Path, name: str, protocol: Protocol, lost: bool) -> None:
    made = imported(tmp_path, "outgoing_server h\n", name)
    assert [each.protocol for each in made.config.listeners] == [protocol]
    assert made.lost(1, "no protocol is named") is lost


def test_no_weak_tls_is_carried_over_but_to_backends(tmp_path: Path) -> None:
    """Backends are what they are: their oldest version is one that a config may name."""
    made = imported(
        tmp_path,
        "P IMAP4S\ns h\nssl_listen_min_proto_version sslv3\nssl_outgoing_min_proto_version tlsv1\n"
        "ssl_listen_ciphers ALL:RC4\n",
    )
    assert made.config.tls.minimum_version is TlsVersion.TLS1_2
    assert made.config.pools["imap"].backends[0].minimum_version is BackendTlsVersion.TLS1_0
    assert made.lost(3, "TLS 1.2 is the least here") and made.lost(5, "ssl_listen_ciphers")


def test_backends_certificates(tmp_path: Path) -> None:
    made = imported(tmp_path, "P IMAP4S\ns h\nssl_ca_file ca.pem\nssl_no_cn_verify\nssl_ca_accept_self_signed\n")
    (backend,) = made.config.pools["imap"].backends
    assert (backend.verify, backend.ca) == (True, tmp_path / "ca.pem")
    assert made.lost(4, "names are compared") and made.lost(5, "ssl_ca_accept_self_signed")
    made = imported(tmp_path, "P IMAP4S\ns h\nssl_ca_file ca.pem\nssl_no_cert_verify\n")
    (backend,) = made.config.pools["imap"].backends
    assert (backend.verify, backend.ca) == (False, None)


@pytest.mark.parametrize(
    ("text", "domain", "strip", "lost"),
    [
        ("add_domain all,2\nexplicit_domain example.org", "example.org", False, ""),
        ("add_domain remote_login\nexplicit_domain example.org", "example.org", False, ""),
        ("A servername_lookup\ne example.org\nS all", "example.org", True, ""),
        ("A servername_lookup\ne example.org", "", False, "would reach the backends"),
        ("add_domain all", "", False, "isn't asked for"),
        ("strip_domain remote_login", "", True, ""),
        ("strip_domain servername_lookup", "", False, "strip_domain"),
        ("D %\nstrip_domain all", "", False, "domain_delimiter"),
        ("A all\ne example_org!", "", False, "is no domain"),
    ],
)
def test_user_names(tmp_path: Path, text: str, domain: str, strip: bool, lost: str) -> None:
    """What a backend is shown stays the same, or it is said."""
    made = imap(tmp_path, text)
    assert (made.config.auth.default_domain, made.config.pools["imap"].strip_domain) == (domain, strip)
    assert any(lost in each for each in made.missing) if lost else not made.missing


def test_the_popmap(tmp_path: Path) -> None:
    """Users would be led to the wrong server in silence."""
    assert imap(tmp_path, "map_library /usr/lib/libperditiondb_posix_regex.so.0").lost(4, "auth.user_map")
    assert imap(tmp_path, 'map_library ""').missing == []
    assert imap(tmp_path, "").missing == []
    (tmp_path / "popmap.gdbm.db").touch()
    assert imap(tmp_path, "").lost(1, "auth.user_map")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    made = imap(
        tmp_path,
        "map_library /usr/lib/libperditiondb_mysql.so.0\nmap_library_opt h:3306:db:t:user:hunter2\nhunter2! x\n"
        "frobnicate hunter2",
    )
    assert "hunter2" not in made.text and not any("hunter2" in each for each in made.missing)
    assert made.lost(6, "an option: tlsgate doesn't know it") and made.lost(7, "frobnicate: tlsgate doesn't know it")


@pytest.mark.parametrize(
    "text",
    [
        "authenticate_in",
        "client_server_specification",
        "connect_relog 300",
        "group mail",
        "imap_capability IMAP4 IMAP4REV1",
        "login_disabled",
        "log_passwd always",
        "lower_case all",
        "server_resp_line",
        "username_from_database",
        "inetd_mode",
        "ssl_ca_path /etc/ca",
    ],
)
def test_what_has_no_key_here_is_said(tmp_path: Path, text: str) -> None:
    made = imap(tmp_path, text)
    assert len(made.missing) == 1 and made.lost(4, text.split()[0])


def test_no_limit_is_the_longest(tmp_path: Path) -> None:
    made = imap(tmp_path, "timeout 0\nconnection_limit 0")
    assert (made.config.limits.idle_timeout, made.config.limits.connections) == (30 * 86_400, 10_000)
    assert made.lost(4, "no limit") and len(made.missing) == 1


def test_no_server_for_all_users(tmp_path: Path) -> None:
    made = imported(tmp_path, "protocol IMAP4S\n")
    assert made.lost(1, "no outgoing_server")


def test_managesieve(tmp_path: Path) -> None:
    with pytest.raises(CannotImport, match=':2: protocol "MANAGESIEVE" isn\'t one'):
        imported(tmp_path, "\nprotocol MANAGESIEVE")


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("l  110   # comment", ("listen_port", "110")),
        ("ok_line blah blah  blah", ("ok_line", "blah blah  blah")),
        (r"domain_delimiter \#", ("domain_delimiter", "#")),
        ("'imap_capability' \"a b\" c", ("imap_capability", "a b c")),
        (r'imap_capability "\"A\"  "\ ' + "\n" + r'"\"B\""', ("imap_capability", '"A"   ')),
        ("imap_capability A \\\nB", ("imap_capability", "A B")),
        ("  debug", ("debug", "")),
    ],
)
def test_words(tmp_path: Path, text: str, read_as: tuple[str, str]) -> None:
    path = tmp_path / "perdition.conf"
    path.write_text(text)
    option = next(iter(read_options(path).values()))
    assert (option.name, option.value) == (read_as[0], read_as[1].strip())


def test_comments_may_be_continued(tmp_path: Path) -> None:
    """Perdition's own sample has one."""
    path = tmp_path / "perdition.conf"
    path.write_text('#managesieve_capability \\\n"\\"IMPLEMENTATION\\" "\\\n"x"\n\ndebug\n')
    assert [(each.name, each.place.line) for each in read_options(path).values()] == [("debug", 5)]


def test_a_quote_that_does_not_end(tmp_path: Path) -> None:
    with pytest.raises(CannotImport, match=":2: a quote"):
        imported(tmp_path, "debug\nok_line 'so in\n")
