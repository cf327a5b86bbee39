"""HAProxy and stunnel: TLS ends there, and the rest are bytes to them: they know of no login."""

from __future__ import annotations

from bench.peers.subject import HOST, REFUSED, Place, Server

_HAPROXY = """
global
 nbthread 1
 maxconn {sessions}
 ulimit-n {descriptors}
 tune.bufsize 65536
defaults
 mode tcp
 maxconn {sessions}
 timeout client 1h
 timeout server 1h
 timeout connect 5s
"""
_HAPROXY_SERVICE = """
listen {name}
 bind {host}:{port} ssl crt {chain} ssl-min-ver TLSv1.3 backlog 8192
 tcp-request connection reject if {{ src {refused} }}
 server backend {host}:{backend}
"""
_STUNNEL = """
foreground = yes
syslog = no
debug = 0
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"""
_STUNNEL_SERVICE = """
[{name}]
accept = {host}:{port}
connect = {host}:{backend}
cert = {chain}
sslVersionMin = TLSv1.3
"""


def haproxy(place: Place) -> Server:
    """One thread, buffers of 64 KiB."""
    head = _HAPROXY.format(sessions=place.sessions, descriptors=place.sessions * 2 + 200)
    config = place.config("haproxy.cfg", head + _services(place, _HAPROXY_SERVICE))
    return place.server(["haproxy", "-f", str(config), "-db", "-q"])


def stunnel(place: Place) -> Server:
    """A thread a session: that is how it works."""
    return place.server(["stunnel4", str(place.config("stunnel.conf", _STUNNEL + _services(place, _STUNNEL_SERVICE)))])


def _services(place: Place, service: str) -> str:
    chain = place.config("chain-and-key", place.certificate.read_text() + place.key.read_text())
    chain.chmod(0o600)
    ports = place.ports
    services = {
        "imaps": (ports.imaps, ports.imap),
        "pop3s": (ports.pop3s, ports.pop3),
        "submissions": (ports.submissions, ports.smtp),
    }
    return "".join(
        service.format(name=name, host=HOST, port=port, backend=backend, chain=chain, refused=REFUSED)
        for name, (port, backend) in services.items()
    )
