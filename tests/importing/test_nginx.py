"""nginx's mail proxy, as the manuals of its modules write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.imported import Imported
from tlsgate.config import (
    AuthSource,
    ClientAddress,
    LoginMode,
    Mechanism,
    Protocol,
    TlsMode,
    TlsVersion,
)
from tlsgate.importing.nginx import import_nginx
from tlsgate.importing.reading import CannotImport

MANUAL = """\
worker_processes auto;
error_log /var/log/nginx/error.log info;
user www-data;
events { worker_connections 1024; }
mail {
    server_name       mail.example.com;
    auth_http         localhost:9000/cgi-bin/nginxauth.cgi;
    imap_capabilities IMAP4rev1 UIDPLUS IDLE LITERAL+ QUOTA;
    pop3_auth         plain apop cram-md5;
    pop3_capabilities LAST TOP USER PIPELINING UIDL;
    smtp_auth         login plain cram-md5;
    smtp_capabilities "SIZE 10485760" ENHANCEDSTATUSCODES 8BITMIME DSN;
    xclient           off;
    server {
        listen   25;
        protocol smtp;
    }
    server {
        listen   110;
        protocol pop3;
        proxy_pass_error_message on;
    }
    server {
        listen   143;
        protocol imap;
    }
    server {
        listen   587;
        protocol smtp;
    }
}
"""


def imported(directory: Path, text: str) -> Imported:
    return Imported(import_nginx, directory / "nginx.conf", text)


def mail(directory: Path, text: str) -> Imported:
    """A mail block, which begins in the first line, with a certificate and a server to ask."""
    always = "mail { ssl_certificate c.pem; ssl_certificate_key k.pem; auth_http 127.0.0.1/auth; "
    return imported(directory, always + text + "\n}\n")


def test_the_manuals_example(tmp_path: Path) -> None:
    made = imported(tmp_path, MANUAL)
    config = made.config
    assert config.server.hostname == "mail.example.com"
    assert (config.server.user, config.server.workers) == ("www-data", "auto")
    assert config.auth.source == (AuthSource.AUTH_HTTP,)
    assert config.auth.auth_http == "http://localhost:9000/cgi-bin/nginxauth.cgi"
    assert config.limits.message_size == 10 * 1024**2
    assert [(each.protocol, str(each.address), each.tls) for each in config.listeners] == [
        (Protocol.SUBMISSION, "0.0.0.0:25", TlsMode.STARTTLS),
        (Protocol.POP3, "0.0.0.0:110", TlsMode.STARTTLS),
        (Protocol.IMAP, "0.0.0.0:143", TlsMode.STARTTLS),
        (Protocol.SUBMISSION, "0.0.0.0:587", TlsMode.STARTTLS),
    ]
    assert len({each.name for each in config.listeners}) == 4
    assert config.pools["smtp"].login is LoginMode.NONE  # nginx logs in at no SMTP server by default
    assert config.pools["imap"].login is LoginMode.SAME
    assert {pool.client_address for pool in config.pools.values()} == {ClientAddress.NONE}
    assert made.lost(9, "cram-md5") and made.lost(9, "apop") and made.lost(11, "cram-md5")
    assert made.lost(8, "imap_capabilities") and made.lost(10, "pop3_capabilities") and made.lost(12, "smtp_cap")
    assert made.lost(15, "logins without TLS are refused") and made.lost(19, "logins without TLS are refused")
    assert made.lost(21, "proxy_pass_error_message")
    assert made.lost(24, "pool imap: nginx knows no backends")
    assert made.lost(15, "no certificate is named")


def test_tls_as_it_is_listened_to(tmp_path: Path) -> None:
    """What began with TLS or insisted on it doesn't begin in clear, and no login in clear is lost."""
    made = mail(
        tmp_path,
        """
    server { listen 993 ssl; protocol imap; }
    server { listen 995; ssl on; }
    server { listen 587; starttls only; }
    server { listen 143; starttls on; }""",
    )
    assert [(each.name, each.protocol, each.tls) for each in made.config.listeners] == [
        ("imaps", Protocol.IMAP, TlsMode.IMPLICIT),
        ("pop3s", Protocol.POP3, TlsMode.IMPLICIT),
        ("submission", Protocol.SUBMISSION, TlsMode.STARTTLS),
        ("imap", Protocol.IMAP, TlsMode.STARTTLS),
    ]
    assert [each for each in made.missing if "without TLS" in each] == [
        "5: listen 0.0.0.0:143: logins without TLS are refused here, before the password is sent; STARTTLS is offered"
    ]


def test_certificates(tmp_path: Path) -> None:
    """Relative files are from nginx.conf's directory; another server name has its own certificate."""
    made = mail(
        tmp_path,
        """
    server { listen 993 ssl; }
    server { listen 995 ssl; server_name Pop.example.com; ssl_certificate /p.pem; ssl_certificate_key /p.key; }
    server { listen 465 ssl; ssl_certificate other.pem; ssl_certificate_key other.key; }
    server { listen 587 ssl; ssl_certificate engine:x:y; ssl_certificate_key other.key; }""",
    )
    tls = made.config.tls
    assert (tls.certificate, tls.private_key) == (tmp_path / "c.pem", tmp_path / "k.pem")
    assert [(each.hostnames, each.certificate) for each in tls.sni] == [(("pop.example.com",), Path("/p.pem"))]
    assert made.lost(4, "another certificate") and made.lost(5, "are in files")


@pytest.mark.parametrize(
    ("protocols", "least", "lost"),
    [
        ("TLSv1.2 TLSv1.3", TlsVersion.TLS1_2, ""),
        ("TLSv1.3", TlsVersion.TLS1_3, ""),
        ("SSLv3 TLSv1 TLSv1.1 TLSv1.2", TlsVersion.TLS1_2, "ssl_protocols SSLv3 TLSv1 TLSv1.1: TLS 1.2 is the least"),
        ("TLSv1", TlsVersion.TLS1_2, "ssl_protocols TLSv1: TLS 1.2 is the least"),
    ],
)
def test_no_weak_tls_is_carried_over(tmp_path: Path, protocols: str, least: TlsVersion, lost: str) -> None:
    made = mail(tmp_path, f"server {{ listen 993 ssl; ssl_protocols {protocols}; }}")
    assert made.config.tls.minimum_version is least
    assert [each for each in made.missing if "ssl_protocols" in each] == ([f"1: {lost} here"] if lost else [])


def test_clients_certificates(tmp_path: Path) -> None:
    made = mail(
        tmp_path,
        """ssl_client_certificate ca.pem;
    server { listen 993 ssl; ssl_verify_client optional; imap_auth plain external; }
    server { listen 995 ssl; ssl_verify_client on; }""",
    )
    assert made.config.tls.client_ca == tmp_path / "ca.pem"
    assert made.config.auth.mechanisms == (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.EXTERNAL)
    assert made.lost(3, "clients without a certificate") and not made.lost(2, "certificate")


def test_external_without_certificates_is_not_offered(tmp_path: Path) -> None:
    """It would be a config that our loader refuses."""
    made = mail(tmp_path, "\nserver { listen 993 ssl; imap_auth external oauthbearer; }")
    assert made.lost(2, "imap_auth external") and made.lost(2, "imap_auth oauthbearer")


def test_wildcards_of_one_port_are_one_listener(tmp_path: Path) -> None:
    """Two would be the same address to us: "[::]" takes IPv4 too."""
    made = mail(tmp_path, "server { listen *:993 ssl; listen [::]:993 ssl; listen 127.0.0.1:995 ssl; }")
    assert [str(each.address) for each in made.config.listeners] == ["[::]:993", "127.0.0.1:995"]
    assert not any("is a part of" in each for each in made.missing)


def test_what_differs_within_a_wildcard_is_said(tmp_path: Path) -> None:
    made = mail(tmp_path, "\nserver { listen 127.0.0.1:993; protocol pop3; }\nserver { listen 993 ssl; }")
    assert [str(each.address) for each in made.config.listeners] == ["0.0.0.0:993"]
    assert made.lost(2, "127.0.0.1:993 is a part of 0.0.0.0:993")


def test_the_admin_address_gives_way(tmp_path: Path) -> None:
    made = mail(tmp_path, "server { listen 9090 ssl; listen 9091 ssl; protocol imap; }")
    assert str(made.config.admin.address) == "127.0.0.1:9092"


def test_how_backends_are_spoken_to(tmp_path: Path) -> None:
    made = mail(
        tmp_path,
        """
    server { listen 587; starttls only; }
    server { listen 465 ssl; proxy_smtp_auth on; proxy_protocol on; }
    server { listen 993 ssl; proxy_protocol on; }
    server { listen 995 ssl; }""",
    )
    pools = {each.address.port: made.config.pools[each.pool] for each in made.config.listeners}  # type: ignore[union-attr]
    assert (pools[587].login, pools[587].client_address) == (LoginMode.NONE, ClientAddress.XCLIENT)
    assert (pools[465].login, pools[465].client_address) == (LoginMode.SAME, ClientAddress.PROXY_V1)
    assert (pools[993].login, pools[993].client_address) == (LoginMode.SAME, ClientAddress.PROXY_V1)
    assert (pools[995].login, pools[995].client_address) == (LoginMode.SAME, ClientAddress.NONE)


def test_balancers(tmp_path: Path) -> None:
    """A header is believed from those only that nginx believed; nobody is made up."""
    made = mail(
        tmp_path,
        """
    server { listen 993 ssl proxy_protocol; set_real_ip_from 192.168.1.0/24; set_real_ip_from 2001:db8::/32; }
    server { listen 995 ssl proxy_protocol; }
    server { listen 587; starttls only; set_real_ip_from 192.168.1.0/24; }
    server { listen unix:/run/mail.sock ssl proxy_protocol; protocol imap; set_real_ip_from unix:; }""",
    )
    of = {str(each.address): list(map(str, each.proxy_protocol_from)) for each in made.config.listeners}
    assert of == {
        "0.0.0.0:993": ["192.168.1.0/24", "2001:db8::/32"],
        "0.0.0.0:995": [],
        "0.0.0.0:587": [],
        "unix:/run/mail.sock": [],
    }
    assert made.lost(3, "name the balancers") and made.lost(5, "not at a unix socket") and made.lost(5, "is no prefix")


def test_smtp_without_logins_is_other_servers(tmp_path: Path) -> None:
    """As submission it would refuse their mail; as mx it must not take mail for domains that nobody named."""
    made = mail(tmp_path, "\nserver { listen 25; smtp_auth none; smtp_greeting_delay 3s; }")
    assert [each.protocol for each in made.config.listeners] == [Protocol.MX]
    assert made.config.relay.domains == ()
    assert made.config.screening.pregreet_delay == 3
    assert made.lost(2, "name those that mail is taken for")


@pytest.mark.parametrize(("more", "only"), [("starttls on;", False), ("starttls only;", True), ("ssl on;", True)])
def test_mail_that_came_by_tls_only_still_does(tmp_path: Path, more: str, only: bool) -> None:
    made = mail(tmp_path, f"server {{ listen 25; smtp_auth none; {more} }}")
    (listener,) = made.config.listeners
    assert (listener.tls, listener.require_tls) == (TlsMode.STARTTLS, only)


def test_times_and_counts(tmp_path: Path) -> None:
    made = mail(
        tmp_path,
        """timeout 1m 30s; proxy_timeout 24h; max_errors 7; resolver_timeout 5s;
    resolver 127.0.0.1 [::1]:5353 dns.example.org valid=30s ipv6=off;
    server { listen 993 ssl; }
    server { listen 995 ssl; timeout 5; }""",
    )
    limits, dns = made.config.limits, made.config.dns
    assert (limits.login_timeout, limits.idle_timeout, limits.bad_commands) == (90, 86_400, 7)
    assert dns.timeout == 5
    assert list(map(str, dns.nameservers)) == ["127.0.0.1:53", "[::1]:5353"]
    assert made.lost(2, "dns.example.org") and made.lost(4, "login_timeout is one for all")


def test_a_servers_own_directive_stands_for_that_of_all(tmp_path: Path) -> None:
    made = mail(tmp_path, "ssl_protocols TLSv1; server { listen 993 ssl; ssl_protocols TLSv1.3; }")
    assert made.config.tls.minimum_version is TlsVersion.TLS1_3
    assert not any("ssl_protocols" in each for each in made.missing)


def test_what_is_unknown_is_said_where_it_is(tmp_path: Path) -> None:
    made = mail(tmp_path, "\nfrobnicate on;\nserver {\nlisten 993 ssl;\nssl_ciphers HIGH:!aNULL;\n}")
    assert made.lost(2, "frobnicate: tlsgate doesn't know it") and made.lost(5, "ssl_ciphers: tlsgate has its own")


def test_what_is_not_mail_stays(tmp_path: Path) -> None:
    made = mail(tmp_path, "server { listen 993 ssl; }\n}\nhttp { include nowhere; server { listen 80; }")
    assert made.lost(3, "http: what isn't mail")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    made = mail(
        tmp_path,
        """auth_http_header X-Auth-Key hunter2; ssl_session_ticket_key hunter2; whatever hunter2;
    server { listen 993 ssl; auth_http user:hunter2@127.0.0.1/; }""",
    )
    assert "hunter2" not in made.text and not any("hunter2" in each for each in made.missing)
    assert made.lost(1, "auth_http_header") and made.lost(2, "auth_http")


@pytest.mark.parametrize("text", ["", "http { }", "mail { }", "mail { server { listen 4000; } }"])
def test_nothing_to_take_over(tmp_path: Path, text: str) -> None:
    """A config without listeners would be refused by our loader."""
    with pytest.raises(CannotImport, match="nothing was found"):
        imported(tmp_path, text)
