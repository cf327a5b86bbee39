"""Postfix as the legacy submission server: logs in by Dovecot, delivers to the maildirs that Dovecot serves."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.system.certificates import Certificate
from tests.system.dovecot import OWNER, changed
from tests.system.peers import HOST, free_port, greets, needs_root, program, run, stop, wait_until

DOMAIN = "example.test"
_SEPARATOR = "# master.cf\n"


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running server's ports: cleartext, cleartext with AUTH LOGIN only, STARTTLS, implicit TLS; and its log."""

    smtp: int
    login_only: int
    starttls: int
    smtps: int
    log: Path | None = None


@contextmanager
def postfix(
    directory: Path,
    mail: Path,
    users: list[str],
    auth: Path,
    certificate: Certificate,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Postfix]:
    """Run Postfix: logins by Dovecot's socket ``auth``, delivery to the maildirs of ``users`` below ``mail``.

    ``changes``: texts of main.cf and master.cf, and what is there instead.
    """
    path = program("postfix")
    needs_root("Postfix runs as root only")
    log = directory / "log" / "postfix.log"
    server = Postfix(free_port(), free_port(), free_port(), free_port(), log)
    config = directory / "config"
    _lay_out(directory, config)
    both = changed(_main(directory, mail, auth, certificate) + _SEPARATOR + _master(server), changes)
    main, _, master = both.partition(_SEPARATOR)
    (config / "main.cf").write_text(main)
    (config / "master.cf").write_text(master)
    (config / "mailboxes").write_text("".join(f"{name} {name}/\n" for name in users))
    process = subprocess.Popen(
        [path, "-c", str(config), "start-fg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: process.poll() is not None or greets(server.smtp), "Postfix greets")
        assert process.poll() is None, log.read_text() if log.exists() else "Postfix ended at once"
        yield server
    finally:
        run(path, "-c", str(config), "stop")
        stop(process)


def _lay_out(directory: Path, config: Path) -> None:
    postfix_user = pwd.getpwnam("postfix")
    for part in (directory, config, directory / "queue", directory / "log", directory / "data"):
        part.mkdir()
        part.chmod(0o755)
    os.chown(directory / "data", postfix_user.pw_uid, postfix_user.pw_gid)


def _main(directory: Path, mail: Path, auth: Path, certificate: Certificate) -> str:
    owner = pwd.getpwnam(OWNER)
    return f"""
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/log/postfix.log
maillog_file_prefixes = {directory}
inet_interfaces = {HOST}
inet_protocols = ipv4
myhostname = legacy.{DOMAIN}
mydestination =
mynetworks = 192.0.2.1/32
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{directory}/config/mailboxes
virtual_minimum_uid = 1
virtual_uid_maps = static:{owner.pw_uid}
virtual_gid_maps = static:{owner.pw_gid}
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 0
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth}
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_peername_lookup = no
smtpd_tls_cert_file = {certificate.chain}
smtpd_tls_key_file = {certificate.key}
smtpd_tls_security_level = none
smtp_tls_security_level = none
default_transport = error:nothing leaves this host
"""


def _master(server: Postfix) -> str:
    listeners = f"""
{HOST}:{server.smtp} inet n - n - - smtpd
{HOST}:{server.login_only} inet n - n - - smtpd
  -o smtpd_sasl_mechanism_filter=login
{HOST}:{server.starttls} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
{HOST}:{server.smtps} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_tls_security_level=encrypt
"""
    return (
        listeners
        + """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
    )
