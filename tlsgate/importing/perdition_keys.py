"""Perdition's options that stand for one key of ours each, and those that we have no key for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tlsgate.importing.draft import Draft
from tlsgate.importing.perdition_syntax import Option

_DAY = 86_400


def others(draft: Draft, options: Mapping[str, Option]) -> None:
    """What no other file looks at."""
    for each in options.values():
        match each.name:
            case "username" if each.value and each.value.isprintable():
                draft.once(draft.server, "user", each.value[:64], each.place)
            case "connection_limit" if each.value.strip("0"):
                _limit(draft, each)
            case "timeout":
                _seconds(draft, each, "idle_timeout", 30 * _DAY)
            case "authenticate_timeout" | "authentication_timeout":
                _seconds(draft, each, "login_timeout", _DAY)
            case name if (name, each.value) in _OFF:
                continue
            case name if name in _LOST:
                table = draft.tls if name.startswith("ssl") else draft.services
                draft.lost(each.place, f"{name}: {_LOST[name]}", table)
            case name if name not in _KNOWN:
                word = name if re.fullmatch(r"[A-Za-z0-9_]{1,40}", name) else "an option"
                draft.lost(each.place, f"{word}: tlsgate doesn't know it", draft.services)


def _limit(draft: Draft, option: Option) -> None:
    if re.fullmatch(r"[0-9]{1,7}", option.value):
        draft.once(draft.limits, "connections", int(option.value), option.place)
    else:
        draft.lost(option.place, "connection_limit: is no number up to 9999999", draft.limits)


def _seconds(draft: Draft, option: Option, key: str, most: float) -> None:
    if re.fullmatch(r"[0-9]{1,9}", option.value):
        draft.seconds(draft.limits, key, int(option.value), most, option.place)
    else:
        draft.lost(option.place, f"{option.name}: is no number of seconds", draft.limits)


_OWN = "tlsgate has its own"
_STRICT = "a certificate is good, or refused"
_BACKENDS = "what is offered is what the backend can"
_LOST = {
    "authenticate_in": "PAM isn't asked; the backends judge, or an auth.source of tlsgate's",
    "capability": _BACKENDS,
    "imap_capability": _BACKENDS,
    "pop_capability": _BACKENDS,
    "managesieve_capability": "ManageSieve isn't spoken",
    "client_server_specification": "users don't choose servers",
    "connect_relog": "a session is logged once, at its end",
    "group": "it is server.user's groups that count",
    "inetd_mode": "tlsgate listens itself",
    "log_passwd": "no password is ever logged",
    "login_disabled": "users are let in",
    "lower_case": "user names reach the backends as they were typed",
    "ok_line": "a login's answer has tlsgate's words",
    "query_key": "users are looked up by their names",
    "server_ok_line": "a login's answer has tlsgate's words",
    "server_resp_line": "a login's answer has tlsgate's words",
    "username_from_database": "a user's name at the backend is the one that logs in here",
    "ssl_ca_accept_self_signed": _STRICT,
    "ssl_ca_path": "backends' CAs are in one file, ca",
    "ssl_cert_accept_expired": _STRICT,
    "ssl_cert_accept_not_yet_valid": _STRICT,
    "ssl_cert_accept_self_signed": _STRICT,
    "ssl_cert_verify_depth": _OWN,
    "ssl_dh_params_file": _OWN,
    "ssl_listen_ciphers": _OWN,
    "ssl_listen_compression": "TLS compresses nothing here",
    "ssl_listen_max_proto_version": "TLS 1.3 is always offered",
    "ssl_no_cipher_server_preference": _OWN,
    "ssl_outgoing_ciphers": _OWN,
    "ssl_outgoing_compression": "TLS compresses nothing here",
    "ssl_outgoing_max_proto_version": "TLS 1.3 is always offered",
    "ssl_passphrase_fd": "private keys have no passphrase here",
    "ssl_passphrase_file": "private keys have no passphrase here",
}
# The words that ask for what is so anyway.
_OFF = {("log_passwd", "never"), ("log_passwd", ""), ("connect_relog", "0"), ("lower_case", ""), ("query_key", "")} | {
    (name, "") for name in ("ssl_listen_ciphers", "ssl_outgoing_ciphers", "ssl_ca_path", "ssl_dh_params_file")
}
# What other files look at, or what makes no difference: logs, processes.
_KNOWN = {
    *("protocol", "listen_port", "bind_address", "outgoing_port", "outgoing_server"),
    *("ssl_mode", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_ca_chain_file"),
    *("ssl_no_cert_verify", "ssl_no_client_cert_verify", "ssl_no_cn_verify"),
    *("ssl_listen_min_proto_version", "ssl_outgoing_min_proto_version"),
    *("add_domain", "strip_domain", "explicit_domain", "domain_delimiter", "map_library", "map_library_opt"),
    *("username", "connection_limit", "connection_logging", "debug", "quiet", "log_facility", "pid_file"),
    *("no_daemon", "no_lookup", "no_bind_banner", "tcp_keepalive", "help", "config_file"),
}
