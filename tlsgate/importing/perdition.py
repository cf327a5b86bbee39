"""Perdition: one protocol, its servers, and what is done to user names, to a config of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import Address, HostPort
from tlsgate.importing import perdition_keys, perdition_tls, perdition_users
from tlsgate.importing.addresses import address
from tlsgate.importing.draft import Draft, Table
from tlsgate.importing.listeners import Found, add_listeners
from tlsgate.importing.perdition_syntax import Option, read_options
from tlsgate.importing.ports import number, usual_name
from tlsgate.importing.reading import CannotImport, Place

Options = Mapping[str, Option]

_PROTOCOLS = {
    "pop3": (Protocol.POP3, 110),
    "pop3s": (Protocol.POP3, 995),
    "imap4": (Protocol.IMAP, 143),
    "imap": (Protocol.IMAP, 143),
    "imap4s": (Protocol.IMAP, 993),
    "imaps": (Protocol.IMAP, 993),
}


def import_perdition(path: Path, host_name: str) -> Draft:
    """A draft from perdition.conf. ``host_name``: this host's. Raises CannotImport."""
    draft = Draft()
    options = read_options(path)
    start = Place(path, 1)
    name = _protocol_name(draft, options, start)
    protocol, port = _PROTOCOLS[name]
    mode = perdition_tls.mode(draft, options, secure=name.endswith("s"))
    add_listeners(draft, list(_listeners(draft, options, protocol, port, mode.listen, start)))
    perdition_tls.of_listeners(draft, options, mode, start)
    draft.pools[str(protocol)] = Table(f"[pools.{protocol}]")
    _backends(draft, options, draft.pools[str(protocol)], port, mode, start)
    perdition_users.names(draft, options, draft.pools[str(protocol)])
    perdition_users.popmap(draft, options, start)
    perdition_keys.others(draft, options)
    draft.completed(host_name)
    return draft


def _protocol_name(draft: Draft, options: Options, start: Place) -> str:
    """As it is said, else as the file is called, else Perdition's default."""
    option = options.get("protocol")
    if option is not None and option.value:
        if option.value.lower() not in _PROTOCOLS:
            raise CannotImport(f"{option.place}: protocol {shown(option.value)} isn't one that tlsgate speaks")
        return option.value.lower()
    called = re.search(r"\.(imap4s?|imaps|pop3s?)\.conf$", start.file.name)
    if called is not None:
        return called[1]
    text = "no protocol is named: POP3, as by default; perdition.imap4 and its like serve others by the same file"
    draft.lost(start, text, draft.services)
    return "pop3"


def _listeners(
    draft: Draft, options: Options, protocol: Protocol, port: int, tls: TlsMode, start: Place
) -> Iterator[Found]:
    usual = _port(draft, options, "listen_port", port)
    bound = options.get("bind_address")
    texts = [each.strip() for each in bound.value.split(",") if each.strip()] if bound is not None else []
    if bound is None or not texts:
        place = options["listen_port"].place if "listen_port" in options else start
        yield Found(place, usual_name(protocol, tls), protocol, HostPort("::", usual), tls, str(protocol))
        return
    for each in texts:
        try:
            here: Address = address(each, "::", usual)
        except Wrong:
            draft.lost(bound.place, f"bind_address {shown(each)}: is no address", draft.services)
            continue
        yield Found(bound.place, usual_name(protocol, tls), protocol, here, tls, str(protocol))


def _port(draft: Draft, options: Options, name: str, usual: int) -> int:
    option = options.get(name)
    if option is None or not option.value:
        return usual
    try:
        return number(option.value) or usual
    except Wrong:
        draft.lost(option.place, f"{name} {shown(option.value)}: isn't known here", draft.services)
        return usual


def _backends(draft: Draft, options: Options, table: Table, port: int, mode: perdition_tls.Mode, start: Place) -> None:
    """By turns, as Perdition takes them."""
    usual = _port(draft, options, "outgoing_port", port)
    option = options.get("outgoing_server")
    found: list[str] = []
    for each in option.value.split(",") if option is not None else ():
        try:
            there = address(each.strip(), "", usual)
            if isinstance(there, HostPort) and not (there.host and there.port):
                raise Wrong
        except Wrong:
            draft.lost(option.place if option else start, f"outgoing_server {shown(each)}: is no address", table)
        else:
            found.extend([str(there)] if str(there) not in found else [])
    if not found:
        draft.lost(start, "no outgoing_server that can be used: put in the server of users that no map has", table)
        found.append(f"192.0.2.1:{usual}")  # RFC 5737: nobody has it
    how = perdition_tls.of_backends(draft, options, mode, table)
    table.keys["backends"] = [{"address": each, **how} for each in found]
