"""stunnel: each service before a mail server to a listener and a pool of ours. It knows nothing of logins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import Address, HostPort
from tlsgate.importing import stunnel_keys, stunnel_tls
from tlsgate.importing.addresses import address
from tlsgate.importing.draft import Draft, Plain, Table
from tlsgate.importing.listeners import Found, add_listeners, free_name
from tlsgate.importing.ports import spoken_at
from tlsgate.importing.stunnel_syntax import Option, Service, read_services

_ALL_IPV4 = "0.0.0.0"


def import_stunnel(path: Path, host_name: str) -> Draft:
    """A draft from stunnel.conf. ``host_name``: this host's. Raises CannotImport."""
    draft = Draft()
    for_all, *services = read_services(path)
    stunnel_keys.of_main(draft, for_all)
    stunnel_keys.of_service(draft, for_all)
    found: list[Found] = []
    secondary = []
    for service in services:
        whole = Service(service.place, service.name, [*for_all.options, *service.options])
        if whole.last("sni") is not None and not _client(whole):
            secondary.append((service, whole))
            continue
        for listener in _service(draft, whole):
            found.append(listener)
            stunnel_keys.of_service(draft, service)
    add_listeners(draft, found)
    for service, whole in secondary:
        stunnel_tls.of_name(draft, whole)
        stunnel_keys.of_service(draft, service)
    stunnel_tls.completed(draft, found[0].place)
    draft.auth.remarks.append("stunnel knows nothing of logins: the backends judge them, as they did")
    draft.auth.keys["source"] = "backend"
    draft.completed(host_name)
    return draft


def _client(service: Service) -> bool:
    return _says(service, "client", "yes")


def _says(service: Service, key: str, value: str) -> bool:
    option = service.last(key)
    return option is not None and option.value.lower() == value


def _service(draft: Draft, service: Service) -> Iterator[Found]:
    """None, or one."""
    why = None
    accept = service.last("accept")
    if _client(service):
        why = "a client's end of TLS; tlsgate is a server's"
    elif service.last("exec") is not None:
        why = "starts a program; tlsgate connects to a server"
    elif accept is None:
        why = "listens to nothing"
    elif not service.values("connect"):
        why = "connects to nothing"
    if why is None and accept is not None:
        yield from _listening(draft, service, accept)
    else:
        _left_out(draft, service, str(why))


def _left_out(draft: Draft, service: Service, why: str) -> None:
    draft.lost(service.place, f"[{service.name}]: {why}", draft.services)


def _listening(draft: Draft, service: Service, accept: Option) -> Iterator[Found]:
    try:
        # ":::993" is all of IPv6; "993" was all of IPv4.
        here = address(accept.value, _ALL_IPV4)
    except Wrong:
        draft.lost(accept.place, f"[{service.name}]: accept = {shown(accept.value)} is no address", draft.services)
        return
    backends = list(_backends(draft, service))
    negotiated = _last(service, "protocol")
    protocol, why = _protocol(service, negotiated, here, backends)
    if protocol is None:
        _left_out(draft, service, "which of mail's protocols it is can't be told from its ports or its name")
    elif negotiated not in ("", "imap", "pop3", "smtp", "proxy"):
        _left_out(draft, service, f"protocol = {shown(negotiated)} isn't mail's")
    elif backends:
        implicit = negotiated in ("", "proxy") and protocol is not Protocol.MX
        if negotiated in ("", "proxy") and not implicit:
            _left_out(draft, service, "TLS at once at port 25; other servers begin in clear (RFC 3207)")
        stunnel_tls.of_service(draft, service)
        pool = _pool(draft, service, protocol, backends, negotiated == "proxy")
        tls = TlsMode.IMPLICIT if implicit else TlsMode.STARTTLS
        remark = f"stunnel's [{service.name}]; {protocol} {why}"
        if protocol is Protocol.SUBMISSION:
            remark += "; a login is asked for"
        only = protocol is Protocol.MX  # stunnel takes nothing before STARTTLS
        yield Found(service.place, service.name, protocol, here, tls, pool, remark=remark, require_tls=only)


def _last(service: Service, key: str) -> str:
    option = service.last(key)
    return "" if option is None else option.value.lower()


_NEGOTIATED = {"imap": Protocol.IMAP, "pop3": Protocol.POP3, "smtp": Protocol.SUBMISSION}
_CALLED = (
    ("imap", Protocol.IMAP),
    ("pop", Protocol.POP3),
    ("smtp", Protocol.SUBMISSION),
    ("submission", Protocol.SUBMISSION),
)


def _protocol(service: Service, negotiated: str, here: Address, backends: list[Address]) -> tuple[Protocol | None, str]:
    """What is spoken, and how that was found: by ``protocol``, the backends' port, that listened to, or the name."""
    mx = isinstance(here, HostPort) and here.port == 25
    ports = {each.port for each in backends if isinstance(each, HostPort)}
    spoken = {Protocol.SUBMISSION if found is Protocol.MX else found for found in map(spoken_at, ports) if found}
    at_port = spoken_at(here.port) if isinstance(here, HostPort) else None
    named = next((protocol for part, protocol in _CALLED if part in service.name.lower()), None)
    if negotiated in _NEGOTIATED:
        protocol, why = _NEGOTIATED[negotiated], f"by protocol = {negotiated}"
    elif len(spoken) == 1:
        protocol, why = spoken.pop(), "is guessed by the backend's port"
    elif at_port is not None:
        protocol, why = at_port, "is guessed by the port"
    elif named is not None:
        protocol, why = named, "is guessed by the name"
    else:
        return None, ""
    return (Protocol.MX if mx and protocol is Protocol.SUBMISSION else protocol), why


def _backends(draft: Draft, service: Service) -> Iterator[Address]:
    seen: set[Address] = set()
    for each in service.values("connect"):
        try:
            there = address(each.value, "localhost")
            if isinstance(there, HostPort) and not there.port:
                raise Wrong
        except Wrong:
            text = f"[{service.name}]: connect = {shown(each.value)} is no address"
            draft.lost(each.place, text, draft.services)
            continue
        if there not in seen:
            seen.add(there)
            yield there


def _pool(draft: Draft, service: Service, protocol: Protocol, addresses: list[Address], proxy: bool) -> str:
    """In the order that was written, or by turns: as ``failover`` says."""
    turns = _says(service, "failover", "rr") and not _says(service, "delay", "yes")
    backends: list[dict[str, Plain]] = []
    for index, each in enumerate(addresses, 1):
        backends.append({"address": str(each), **({} if turns or len(addresses) == 1 else {"priority": 10 * index})})
    name = free_name(service.name, set(draft.pools))
    table = draft.pools[name] = Table(f"[pools.{_quoted(name)}]", {"backends": backends})
    if proxy:
        table.keys["client_address"] = "proxy-v1"
    stunnel_keys.of_pool(draft, service, table)
    if protocol is Protocol.MX:
        draft.lost(service.place, f"[{service.name}]: name the domains that mail is taken for", draft.relay)
        draft.relay.keys["domains"] = []
    return name


def _quoted(name: str) -> str:
    """A name as a part of a TOML header: a dot would end it."""
    return f'"{name}"' if "." in name else name
