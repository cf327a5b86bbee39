"""Who else stands in front of an SMTP server: Postfix as a before-queue proxy, nginx's mail proxy.

Both need root.
"""

from __future__ import annotations

import os
import pwd
import shutil
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from bench.mail.gate import Ports
from bench.mail.servers import Server
from bench.mail.source import DOMAIN
from bench.mail.store import HOST

# https://www.postfix.org/SMTPD_PROXY_README.html: an smtpd that passes each message on before it answers; the same
# rule as tlsgate's relay.domains, and no limits.
_MAIN = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
inet_interfaces = {host}
inet_protocols = ipv4
myhostname = gate.{domain}
mydestination =
mynetworks = 192.0.2.1/32
alias_maps =
alias_database =
relay_domains = {domain}
relay_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
smtpd_proxy_filter = {host}:{backend}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
default_process_limit = {processes}
"""
_MASTER = """
{host}:{gate} inet n - n - - smtpd
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
cleanup unix n - n - 0 cleanup
pickup unix n - n 3600 1 pickup
qmgr unix n - n 3600 1 qmgr
postlog unix-dgram n - n - 1 postlogd
"""
_NGINX = """
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000;
pid {directory}/pid; error_log /dev/null crit;
events {{ worker_connections 10000; multi_accept on; }}
mail {{
  server_name gate.{domain};
  auth_http {host}:{auth}/auth;
  proxy_buffer 64k;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  server {{
    listen {host}:{gate} backlog=1024; protocol smtp; smtp_auth none; starttls on; xclient off;
    smtp_greeting_delay 0; smtp_client_buffer 64k;
  }}
}}
"""


def postfix(directory: Path, ports: Ports, certificate: Path, key: Path, sessions: int, core: int) -> Server:
    """Not started yet. ``sessions``: how many clients it has room for, and then some."""
    for part in (directory, directory / "queue", directory / "data"):
        part.mkdir()
        part.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    os.chown(directory / "data", owner.pw_uid, owner.pw_gid)
    (directory / "main.cf").write_text(
        _MAIN.format(
            directory=directory,
            host=HOST,
            domain=DOMAIN,
            backend=ports.backend,
            certificate=certificate,
            key=key,
            processes=sessions + 20,
        )
    )
    (directory / "master.cf").write_text(_MASTER.format(host=HOST, gate=ports.gate))
    command = [_program("postfix"), "-c", str(directory)]
    return Server([*command, "start-fg"], ports.gate, directory / "stderr", core, [*command, "stop"])


def nginx(directory: Path, ports: Ports, certificate: Path, key: Path, auth: int, core: int) -> Server:
    """Not started yet. ``auth``: the port of an Authorizer."""
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(
        _NGINX.format(
            directory=directory, domain=DOMAIN, host=HOST, auth=auth, gate=ports.gate, certificate=certificate, key=key
        )
    )
    return Server([_program("nginx"), "-c", str(config)], ports.gate, directory / "stderr", core)


def authorizer(backend: int) -> type[BaseHTTPRequestHandler]:
    """nginx asks where to go even where nobody logs in: always to ``backend``."""

    class Authorizer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(
                f"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {HOST}\r\nAuth-Port: {backend}\r\n\r\n".encode()
            )

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Authorizer


def _program(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if path is None:
        raise SystemExit(f"{name} is not installed")
    return path
