"""What was listened to, as [[listeners]]: each with a name, and an address, of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from tlsgate.config.enums import Protocol, TlsMode
from tlsgate.config.values import Address, HostPort
from tlsgate.importing.draft import Draft, Table
from tlsgate.importing.reading import CannotImport, Place

_ALL_IPV4, _ALL = "0.0.0.0", "::"
_ADMIN = 9090


class Found(Struct, frozen=True):
    """A listener of the source's. ``proxies``: prefixes that send a PROXY header. ``remark``: a comment, or "".

    ``require_tls``: of mx, no mail in clear was taken.
    """

    place: Place
    name: str
    protocol: Protocol
    address: Address
    tls: TlsMode
    pool: str
    proxies: tuple[str, ...] = ()
    remark: str = ""
    require_tls: bool = False


def add_listeners(draft: Draft, found: Sequence[Found]) -> None:
    """Into ``draft``. Raises CannotImport when there are none."""
    if not found:
        raise CannotImport("\n".join([*draft.missing, "nothing was found that tlsgate could take over"]))
    kept: list[Found] = []
    for each in found:
        _keep(draft, kept, each)
    names: set[str] = set()
    for each in kept:
        names.add(name := free_name(each.name, names))
        draft.listeners.append(_table(name, each))
    _admin(draft, [each.address for each in kept])


def free_name(wanted: str, taken: set[str]) -> str:
    """``wanted`` as a name of ours, which may have no other characters than these; with a number if it is taken."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", wanted)[:56] or "mail"
    return next(each for n in range(1, len(taken) + 2) if (each := name if n == 1 else f"{name}-{n}") not in taken)


def _keep(draft: Draft, kept: list[Found], new: Found) -> None:
    """Take ``new`` in; of those that overlap, the widest stays for all."""
    overlapping = [old for old in kept if _overlap(old.address, new.address)]
    place = kept.index(overlapping[0]) if overlapping else len(kept)
    widest = max(*overlapping, new, key=lambda each: _width(each.address)) if overlapping else new
    for each in (*overlapping, new):
        if each is not widest and not _alike(each, widest):
            text = f"{each.address} is a part of {widest.address}, which can have one listener only"
            draft.lost(each.place, text, draft.services)
    kept[place:] = [widest, *(each for each in kept[place:] if each not in overlapping)]


def _alike(one: Found, other: Found) -> bool:
    return replace(one, place=other.place, name=other.name, address=other.address, remark=other.remark) == other


def _overlap(one: Address, other: Address) -> bool:
    """As the config's rules see it: "[::]" takes IPv4 as well."""
    if not isinstance(one, HostPort) or not isinstance(other, HostPort):
        return one == other
    if one.port != other.port or not one.port:
        return False
    hosts = (one.host, other.host)
    return one.host == other.host or _ALL in hosts or (_ALL_IPV4 in hosts and ":" not in one.host + other.host)


def _width(address: Address) -> int:
    host = address.host if isinstance(address, HostPort) else ""
    return (_ALL_IPV4, _ALL).index(host) + 1 if host in (_ALL_IPV4, _ALL) else 0


def _table(name: str, found: Found) -> Table:
    table = Table("[[listeners]]", remarks=[found.remark] if found.remark else [])
    table.keys = {
        "name": name,
        "protocol": str(found.protocol),
        "address": str(found.address),
        "tls": str(found.tls),
        "pool": found.pool,
    }
    if found.require_tls:
        table.keys["require_tls"] = True
    if found.proxies:
        table.keys["proxy_protocol_from"] = found.proxies
    return table


def _admin(draft: Draft, addresses: Sequence[Address]) -> None:
    """The admin address, where its usual port is taken."""
    ports = {each.port for each in addresses if isinstance(each, HostPort)}
    if _ADMIN in ports:
        free = next(port for port in range(_ADMIN + 1, _ADMIN + 2 + len(ports)) if port not in ports)
        draft.admin.keys["address"] = f"127.0.0.1:{free}"
