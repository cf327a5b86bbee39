"""Dovecot as a proxy, as its manual says for many sessions: one login process a protocol for all of them.

https://doc.dovecot.org/2.3/admin_manual/login_processes/. With a process for each, its default, a login costs ten times
as much and a session 1.3 MiB.
"""

from __future__ import annotations

from bench.peers.subject import HOST, Place, Server

# %a: the port that the client has come to.
_CONFIG = """
base_dir = {directory}/base
state_dir = {directory}/state
log_path = /dev/null
protocols = imap pop3 submission
listen = {host}
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
ssl_min_protocol = TLSv1.3
ssl_dh =
disable_plaintext_auth = yes
auth_mechanisms = plain
auth_worker_max_count = 1
passdb {{
  driver = static
  args = proxy=y host={host} port=1%a nopassword=y
}}
mail_max_userip_connections = 0
default_client_limit = {most}
default_process_limit = 100
submission_relay_host = {host}
submission_relay_port = {smtp}
{logins}
service anvil {{
  client_limit = {most}
}}
service auth {{
  client_limit = {most}
}}
service stats {{
  client_limit = {most}
}}
"""
_LOGIN = """
service {protocol}-login {{
  inet_listener {protocol} {{
    port = 0
  }}
  inet_listener {protocol}s {{
    address = {host}
    port = {port}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 1
  process_limit = 1
  client_limit = {sessions}
  vsz_limit = 0
}}
"""


def dovecot(place: Place) -> Server:
    """Needs root."""
    ports = {"imap": place.ports.imaps, "pop3": place.ports.pop3s, "submission": place.ports.submissions}
    logins = [
        _LOGIN.format(protocol=protocol, host=HOST, port=port, sessions=place.sessions)
        for protocol, port in ports.items()
    ]
    text = _CONFIG.format(
        directory=place.directory,
        host=HOST,
        smtp=place.ports.smtp,
        certificate=place.certificate,
        key=place.key,
        most=place.sessions * 3 + 1000,
        logins="".join(logins),
    )
    return place.server(["dovecot", "-F", "-c", str(place.config("dovecot.conf", text))])
