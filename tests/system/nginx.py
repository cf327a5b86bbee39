"""A real nginx as a mail proxy, which asks an authentication server by auth_http."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.certificates import Certificate
from tests.system.peers import HOST, accepts, free_port, missing, program, stop, wait_until

_MAIL_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")


@dataclass(frozen=True, slots=True)
class Nginx:
    """Ports: implicit TLS, where a client may show a certificate (imaps), or must send a PROXY header (pop3s)."""

    imaps: int
    pop3s: int
    smtps: int
    smtp_without_login: int


@contextmanager
def nginx(directory: Path, certificate: Certificate, auth_http: str) -> Iterator[Nginx]:
    """Run it, with ``auth_http`` as the server to ask: "host:port/path". Clients' certificates are of the same CA."""
    path = program("nginx")
    if not _MAIL_MODULE.exists():
        missing("nginx has no mail module")
    directory.mkdir()
    server = Nginx(free_port(), free_port(), free_port(), free_port())
    config = directory / "nginx.conf"
    config.write_text(_config(server, directory, certificate, auth_http))
    process = subprocess.Popen([path, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or accepts(server.smtp_without_login), "nginx accepts")
        assert process.poll() is None, (directory / "error.log").read_text()
        yield server
    finally:
        stop(process)


def _config(server: Nginx, directory: Path, certificate: Certificate, auth_http: str) -> str:
    return f"""\
load_module {_MAIL_MODULE};
daemon off;
pid {directory}/pid;
error_log {directory}/error.log info;
worker_processes 1;
events {{ worker_connections 64; }}
mail {{
    auth_http {auth_http};
    ssl_certificate {certificate.chain};
    ssl_certificate_key {certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_pass_error_message on;
    server {{
        listen {HOST}:{server.imaps} ssl;
        protocol imap;
        imap_auth plain external;
        ssl_verify_client optional;
        ssl_client_certificate {certificate.ca};
    }}
    server {{
        listen {HOST}:{server.pop3s} ssl proxy_protocol;
        protocol pop3;
    }}
    server {{
        listen {HOST}:{server.smtps} ssl;
        protocol smtp;
        smtp_auth plain;
    }}
    server {{
        listen {HOST}:{server.smtp_without_login};
        protocol smtp;
        smtp_auth none;
    }}
}}
"""
