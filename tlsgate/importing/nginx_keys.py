"""nginx's directives that stand for one key of ours each, and those that we have no key for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import parse_nameserver
from tlsgate.importing.draft import Draft
from tlsgate.importing.nginx_syntax import Directive, Settings

_DAY, _MINUTE = 86_400, 60


def of_main(draft: Draft, directive: Directive) -> None:
    """One that stands outside of ``mail``."""
    words = directive.words
    match directive.name:
        case "user" if words and words[0].isprintable():
            draft.once(draft.server, "user", words[0][:64], directive.place)
            if len(words) > 1 and words[1] != words[0]:
                draft.lost(directive.place, "user: another group; it is server.user's groups that count", draft.server)
        case "worker_processes" if words == ("auto",):
            draft.once(draft.server, "workers", "auto", directive.place)
        case "worker_processes" if words and re.fullmatch(r"[1-9][0-9]{0,2}", words[0]):
            draft.once(draft.server, "workers", min(256, int(words[0])), directive.place)
        case "http" | "stream":
            draft.lost(directive.place, f"{directive.name}: what isn't mail stays with nginx", draft.services)
        case "include":
            draft.lost(directive.place, f"include {shown(' '.join(words))}: there is no such file", draft.services)


def of_mail(draft: Draft, directives: Sequence[Directive]) -> None:
    """All of one name that stand side by side in ``mail`` or ``server``: say what has no key here."""
    for each in directives:
        if each.name in _CARRIED or each.name in _NEEDLESS or each.words in _OFF.get(each.name, ()):
            continue
        why = _LOST.get(each.name, "tlsgate doesn't know it")
        about = f"include {shown(' '.join(each.words))}" if each.name == "include" else each.name
        draft.lost(each.place, f"{about}: {why}", draft.tls if each.name.startswith("ssl") else draft.services)


def once(draft: Draft, settings: Settings) -> None:
    """Carry over what is one for all services here."""
    for name, carry in _KEYS.items():
        for each in settings.get(name, ()):
            carry(draft, each)


def _server_name(draft: Draft, directive: Directive) -> None:
    name = " ".join(directive.words)
    if not draft.host_name(name, directive.place):
        draft.lost(directive.place, f"server_name {shown(name)}: is no host name to greet with", draft.server)


def _timeout(draft: Draft, directive: Directive) -> None:
    _seconds(draft, directive, "login_timeout", _DAY)


def _proxy_timeout(draft: Draft, directive: Directive) -> None:
    _seconds(draft, directive, "idle_timeout", 30 * _DAY)


def _seconds(draft: Draft, directive: Directive, key: str, most: float) -> None:
    seconds = time(" ".join(directive.words))
    if seconds is None:
        draft.lost(directive.place, f"{directive.name}: is no time", draft.limits)
    else:
        draft.seconds(draft.limits, key, seconds, most, directive.place)


def _max_errors(draft: Draft, directive: Directive) -> None:
    text = " ".join(directive.words)
    if re.fullmatch(r"[0-9]{1,9}", text) and 1 <= int(text) <= 10_000:
        draft.once(draft.limits, "bad_commands", int(text), directive.place)
    else:
        draft.lost(directive.place, "max_errors: bad_commands is from 1 to 10000", draft.limits)


def _resolver(draft: Draft, directive: Directive) -> None:
    servers = [each for each in directive.words if "=" not in each]
    if servers == ["off"]:
        return
    found = []
    for each in servers:
        try:
            found.append(str(parse_nameserver(each.strip("[]") if each.endswith("]") else each)))
        except Wrong:
            draft.lost(directive.place, f"resolver {shown(each)}: dns.nameservers has addresses only", draft.dns)
    if found:
        draft.once(draft.dns, "nameservers", found, directive.place)


def _resolver_timeout(draft: Draft, directive: Directive) -> None:
    seconds = time(" ".join(directive.words))
    if seconds:
        draft.seconds(draft.dns, "timeout", seconds, _MINUTE, directive.place)


_SIZE = re.compile(r"SIZE ([0-9]{1,12})", re.IGNORECASE)


def _smtp_capabilities(draft: Draft, directive: Directive) -> None:
    """The largest message; what else is offered is what the backend can."""
    for each in directive.words:
        size = _SIZE.fullmatch(each)
        if size is not None and 1024 <= int(size[1]) <= 16 * 1024**3:
            draft.once(draft.limits, "message_size", _kib(int(size[1])), directive.place)
        else:
            draft.lost(directive.place, _CAPABILITIES.format(directive.name), draft.services)


def _kib(octets: int) -> str:
    return f"{octets // 1024**2}MiB" if not octets % 1024**2 else f"{octets // 1024}KiB"


_CAPABILITIES = "{}: what is offered is what the backend can"

_KEYS: dict[str, Callable[[Draft, Directive], None]] = {
    "server_name": _server_name,
    "timeout": _timeout,
    "proxy_timeout": _proxy_timeout,
    "max_errors": _max_errors,
    "resolver": _resolver,
    "resolver_timeout": _resolver_timeout,
    "smtp_capabilities": _smtp_capabilities,
}

# What other files look at.
_CARRIED = {
    *_KEYS,
    "listen",
    "protocol",
    "server",
    "starttls",
    "set_real_ip_from",
    "auth_http",
    "imap_auth",
    "pop3_auth",
    "smtp_auth",
    "smtp_greeting_delay",
    "proxy_protocol",
    "proxy_smtp_auth",
    "xclient",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_protocols",
    "ssl_verify_client",
}
# What makes no difference here: buffers, nginx's own log, what TLS does anyway.
_NEEDLESS = {
    "error_log",
    "imap_client_buffer",
    "pop3_client_buffer",
    "smtp_client_buffer",
    "proxy_buffer",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "ssl_verify_depth",
}
# The words that ask for what is so anyway.
_OFF = {
    "proxy": (("on",),),
    "proxy_pass_error_message": (("off",),),
    "auth_http_pass_client_cert": (("off",),),
    "google_perftools_profiles": (("off",),),
}
_OWN = "tlsgate has its own"
_LOST = {
    "include": "there is no such file",
    "auth_http_header": "auth_http is asked with nginx's own headers only; its value isn't shown here",
    "auth_http_pass_client_cert": "the certificate itself isn't sent to auth_http, what is said of it is",
    "auth_http_timeout": "tlsgate waits for 15 seconds at most",
    "imap_capabilities": "what is offered is what the backend can",
    "pop3_capabilities": "what is offered is what the backend can",
    "proxy": "tlsgate does nothing else",
    "proxy_pass_error_message": "a backend's words to a login are for the log",
    "ssl_ciphers": _OWN,
    "ssl_conf_command": _OWN,
    "ssl_dhparam": _OWN,
    "ssl_ecdh_curve": _OWN,
    "ssl_crl": "no revocation list is looked at",
    "ssl_ocsp": "nobody is asked about revocation",
    "ssl_password_file": "private keys have no passphrase here",
    "ssl_session_ticket_key": "tickets have keys of their own, which a restart forgets",
    "ssl_trusted_certificate": "client_ca is the one file of CAs",
}

_TIME = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w|M|y)?")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY, "M": 30 * _DAY, "y": 365 * _DAY}


def time(text: str) -> float | None:
    """nginx's time in seconds: "90", "1h 30m"; None for what is none."""
    parts = [_TIME.fullmatch(each) for each in re.findall(r"[0-9]+[A-Za-z]*", text)]
    if not parts or re.sub(r"[0-9]+[A-Za-z]*|\s", "", text):
        return None
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += int(part[1]) * _SECONDS[part[2] or ""]
    return total
