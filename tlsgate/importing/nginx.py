"""nginx's mail proxy: its core, auth_http, proxy, ssl and realip modules to a config of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import HostPort, UnixPath, parse_address, parse_network
from tlsgate.importing import nginx_backend, nginx_keys, nginx_tls
from tlsgate.importing.draft import Draft
from tlsgate.importing.listeners import Found, add_listeners
from tlsgate.importing.nginx_syntax import Directive, Settings, read_directives, word
from tlsgate.importing.ports import spoken_at, usual_name


def import_nginx(path: Path, host_name: str) -> Draft:
    """A draft from nginx.conf. ``host_name``: this host's. Raises CannotImport."""
    draft = Draft()
    found: list[Found] = []
    for each in read_directives(path):
        if each.name == "mail" and each.block is not None:
            found.extend(_mail(draft, each.block))
        else:
            nginx_keys.of_main(draft, each)
    add_listeners(draft, found)
    nginx_tls.completed(draft, found[0].place)
    draft.completed(host_name)
    return draft


def _mail(draft: Draft, block: tuple[Directive, ...]) -> Iterator[Found]:
    for_all = _grouped(each for each in block if each.name != "server")
    for directives in for_all.values():
        nginx_keys.of_mail(draft, directives)
    for server in block:
        if server.name == "server" and server.block is not None:
            yield from _server(draft, server, for_all)


def _grouped(directives: Iterator[Directive]) -> dict[str, list[Directive]]:
    found: dict[str, list[Directive]] = {}
    for each in directives:
        found.setdefault(each.name, []).append(each)
    return found


def _server(draft: Draft, server: Directive, for_all: Settings) -> Iterator[Found]:
    own = _grouped(iter(server.block or ()))
    for directives in own.values():
        nginx_keys.of_mail(draft, directives)
    settings: Settings = {**for_all, **own}
    nginx_keys.once(draft, settings)
    for listen in own.get("listen", ()):
        address = _address(draft, listen)
        if address is not None:
            protocol = _protocol(draft, settings, listen, address)
            if protocol is not None:
                yield _listener(draft, settings, listen, address, protocol)


def _address(draft: Draft, listen: Directive) -> HostPort | UnixPath | None:
    """``993``, ``*:993``, ``[::]:993``, ``host:993``, ``unix:/path``."""
    text = listen.words[0] if listen.words else ""
    host, _, port = text.rpartition(":")
    if not text.startswith("unix:"):
        text = f"0.0.0.0:{port}" if host in ("", "*") else text
    try:
        return parse_address(text)
    except Wrong:
        draft.lost(listen.place, f"listen {shown(text)}: is no address that can be listened to", draft.services)
        return None


_PROTOCOLS = {"imap": Protocol.IMAP, "pop3": Protocol.POP3, "smtp": Protocol.SUBMISSION}


def _protocol(draft: Draft, settings: Settings, listen: Directive, address: HostPort | UnixPath) -> Protocol | None:
    """As nginx finds it: what is said, or by the port. SMTP without a login is other servers'."""
    said = word(settings, "protocol")
    at_port = spoken_at(address.port) if isinstance(address, HostPort) else None
    protocol = _PROTOCOLS.get(said) if said else at_port
    if protocol is None:
        draft.lost(listen.place, f"listen {address}: which protocol is spoken there isn't known", draft.services)
        return None
    if protocol not in (Protocol.SUBMISSION, Protocol.MX):
        return protocol
    methods = [each for directive in settings.get("smtp_auth", ()) for each in directive.words]
    if "none" not in methods:
        return Protocol.SUBMISSION
    if set(methods) == {"none"}:
        return Protocol.MX
    draft.lost(settings["smtp_auth"][0].place, "smtp_auth none: a login is asked for here", draft.auth)
    return Protocol.SUBMISSION


def _listener(
    draft: Draft, settings: Settings, listen: Directive, address: HostPort | UnixPath, protocol: Protocol
) -> Found:
    implicit = "ssl" in listen.words[1:] or word(settings, "ssl") == "on"
    tls = TlsMode.IMPLICIT if implicit and protocol is not Protocol.MX else TlsMode.STARTTLS
    if implicit and protocol is Protocol.MX:
        draft.lost(listen.place, f"listen {address} ssl: other servers begin in clear (RFC 3207)", draft.services)
    elif not implicit and protocol is not Protocol.MX and word(settings, "starttls") != "only":
        text = (
            f"listen {address}: logins without TLS are refused here, before the password is sent; STARTTLS is offered"
        )
        draft.lost(listen.place, text, draft.services)
    nginx_tls.of_server(draft, settings, listen.place)
    pool = nginx_backend.pool(draft, settings, protocol, listen.place)
    proxies = _proxies(draft, settings, listen, address)
    both = isinstance(address, HostPort) and address.host == "::" and "ipv6only=off" not in listen.words
    remark = "[::] is for IPv4 clients too" if both else ""
    only = protocol is Protocol.MX and (implicit or word(settings, "starttls") == "only")
    return Found(listen.place, usual_name(protocol, tls), protocol, address, tls, pool, proxies, remark, only)


def _proxies(draft: Draft, settings: Settings, listen: Directive, address: HostPort | UnixPath) -> tuple[str, ...]:
    """Whose PROXY headers are believed. nginx takes one from everybody, but believes these."""
    if "proxy_protocol" not in listen.words[1:]:
        return ()
    networks: list[str] = []
    for each in settings.get("set_real_ip_from", ()):
        try:
            networks.append(str(parse_network(" ".join(each.words))))
        except Wrong:
            text = "set_real_ip_from: is no prefix; proxy_protocol_from has prefixes only"
            draft.lost(each.place, text, draft.services)
    if not isinstance(address, HostPort):
        draft.lost(listen.place, "proxy_protocol: not at a unix socket", draft.services)
        return ()
    if not networks:
        text = f"listen {address} proxy_protocol: name the balancers in proxy_protocol_from; set_real_ip_from has none"
        draft.lost(listen.place, text, draft.services)
    return tuple(networks)
