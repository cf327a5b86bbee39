"""nginx's mail proxy: it asks an HTTP server at each login where to go."""

from __future__ import annotations

from bench.peers.subject import HOST, Place, Server

_CONFIG = """
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off; user root; worker_processes 1; worker_rlimit_nofile {descriptors};
pid {directory}/pid; error_log /dev/null crit;
events {{ worker_connections {descriptors}; multi_accept on; }}
mail {{
  auth_http {host}:{auth}/auth; proxy_timeout 1h; timeout 1h; proxy_pass_error_message on; {buffer}
  ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
  ssl_session_cache shared:SSL:10m; ssl_session_tickets on;
  server {{ listen {host}:{imaps} ssl backlog=8192; protocol imap; imap_capabilities IMAP4rev1 LITERAL+ IDLE; }}
  server {{ listen {host}:{pop3s} ssl backlog=8192; protocol pop3; }}
  server {{
    listen {host}:{submissions} ssl backlog=8192; protocol smtp;
    smtp_auth plain login; proxy_smtp_auth on; xclient off;
  }}
}}
"""


def nginx(place: Place) -> Server:
    """With buffers as large as tlsgate's reads deserve."""
    return _nginx(place, "proxy_buffer 64k;")


def nginx_default(place: Place) -> Server:
    """With the buffers that it has when nobody says anything: a page."""
    return _nginx(place, "")


def _nginx(place: Place, buffer: str) -> Server:
    text = _CONFIG.format(
        directory=place.directory,
        descriptors=place.sessions * 2 + 200,
        host=HOST,
        auth=place.ports.auth,
        buffer=buffer,
        certificate=place.certificate,
        key=place.key,
        imaps=place.ports.imaps,
        pop3s=place.ports.pop3s,
        submissions=place.ports.submissions,
    )
    return place.server(["nginx", "-c", str(place.config("nginx.conf", text))])
