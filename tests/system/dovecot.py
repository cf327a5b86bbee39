"""Dovecot as the legacy IMAP and POP3 server, from a configuration and state of its own."""

from __future__ import annotations

import pwd
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.system.certificates import Certificate
from tests.system.peers import HOST, free_port, greets, missing, needs_root, program, run, stop, wait_until

OWNER = "mail"
"""The system user to whom all mailboxes belong."""


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server. ``imaps`` and ``pop3s`` are 0 without TLS; ``auth`` is the socket for Postfix."""

    imap: int
    pop3: int
    imaps: int
    pop3s: int
    auth: Path
    log: Path


@contextmanager
def dovecot(
    directory: Path,
    mail: Path,
    users: Path,
    certificate: Certificate | None = None,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Dovecot]:
    """Run Dovecot over the maildirs below ``mail`` for the passwd-file ``users``; with a certificate it speaks TLS.

    ``changes``: texts of its configuration, and what is there instead.
    """
    path = program("dovecot")
    needs_root("Dovecot's login processes need root to drop from")
    _check_version(path)
    directory.mkdir()
    directory.chmod(0o755)
    tls = certificate is not None
    server = Dovecot(
        imap=free_port(),
        pop3=free_port(),
        imaps=free_port() if tls else 0,
        pop3s=free_port() if tls else 0,
        auth=directory / "auth-client",
        log=directory / "dovecot.log",
    )
    config = directory / "dovecot.conf"
    config.write_text(changed(_config(server, directory, mail, users, certificate), changes))
    log = server.log
    process = subprocess.Popen([path, "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: process.poll() is not None or (greets(server.imap) and greets(server.pop3)),
            "Dovecot greets",
        )
        assert process.poll() is None, log.read_text() if log.exists() else "Dovecot ended at once"
        yield server
    finally:
        stop(process)


def changed(settings: str, changes: Mapping[str, str]) -> str:
    """A server's settings with some texts of them replaced, each of which must be there."""
    for text, other in changes.items():
        assert text in settings
        settings = settings.replace(text, other)
    return settings


def _check_version(path: str) -> None:
    version = run(path, "--version").stdout.split()[0]
    if not version.startswith("2.3."):
        missing(f"these tests configure Dovecot 2.3, and this is {version}")


def _config(server: Dovecot, directory: Path, mail: Path, users: Path, certificate: Certificate | None) -> str:
    owner = pwd.getpwnam(OWNER)
    tls = (
        "ssl = no"
        if certificate is None
        else f"ssl = yes\nssl_cert = <{certificate.chain}\nssl_key = <{certificate.key}"
    )
    return f"""
base_dir = {directory}/run
state_dir = {directory}/state
instance_name = tlsgate-{directory.name}
log_path = {directory}/dovecot.log
listen = {HOST}
protocols = imap pop3
{tls}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = {owner.pw_uid}
first_valid_gid = {owner.pw_gid}
mail_location = maildir:{mail}/%u
mail_fsync = never
mail_max_userip_connections = 100
imap_idle_notify_interval = 2 mins
protocol imap {{
  mail_plugins = imap_zlib
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {users}
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={mail}/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {server.imap}
  }}
  inet_listener imaps {{
    port = {server.imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {server.pop3}
  }}
  inet_listener pop3s {{
    port = {server.pop3s}
    ssl = yes
  }}
}}
service auth {{
  unix_listener {server.auth} {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
