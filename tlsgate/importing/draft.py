"""A tlsgate config in the making: tables of keys, and beside them what could not be carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlsgate.config.fault import Wrong
from tlsgate.config.values import parse_file, parse_hostname, parse_server_name
from tlsgate.importing.reading import Place

Plain = str | int | bool
Value = Plain | Sequence[str] | Sequence[Mapping[str, Plain]]


@dataclass(slots=True)
class Table:
    """One table of TOML. ``remarks``: comments above its keys. Without a ``header`` it is comments alone."""

    header: str
    keys: dict[str, Value] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Draft:
    """Each kind of table, and ``missing``: what could not be carried over, a line each."""

    def __init__(self) -> None:
        self.server = Table("[server]")
        self.tls = Table("[tls]")
        self.sni: list[Table] = []
        self.services = Table("")
        self.listeners: list[Table] = []
        self.pools: dict[str, Table] = {}
        self.auth = Table("[auth]")
        self.limits = Table("[limits]")
        self.dns = Table("[dns]")
        self.screening = Table("[screening]")
        self.relay = Table("[relay]")
        self.admin = Table("[admin]")
        self.missing: list[str] = []
        self._by_name: dict[str, tuple[str, str]] = {}

    @property
    def tables(self) -> tuple[Table, ...]:
        """All, in the order of a config file."""
        first = (self.server, self.tls, *self.sni, self.services, *self.listeners, *self.pools.values())
        return (*first, self.auth, self.limits, self.dns, self.screening, self.relay, self.admin)

    def lost(self, place: Place, text: str, table: Table) -> None:
        """Something isn't carried over; it would belong to ``table``. Said once, however often it comes."""
        said = "".join(each if each.isprintable() else "?" for each in f"{place}: {text}")
        if said not in self.missing:
            self.missing.append(said)
            table.remarks.append(f"not carried over: {said}")

    def once(self, table: Table, key: str, value: Value, place: Place) -> None:
        """A key that is one for all services here: who wants another value than the first doesn't get it."""
        if table.keys.setdefault(key, value) != value:
            text = f"differs from what another service has; {key} is one for all in {table.header}"
            self.lost(place, text, table)

    def seconds(self, table: Table, key: str, seconds: float, most: float, place: Place) -> None:
        """A duration of at most ``most`` seconds. 0 stands for no limit, which we don't have."""
        if not 0 < seconds <= most:
            what = "no limit" if not seconds else "so long a time"
            self.lost(place, f"{what}: {key} is {duration(most)}, the most that it can be", table)
            seconds = most
        self.once(table, key, duration(seconds), place)

    def host_name(self, name: str, place: Place) -> bool:
        """The name to greet with; whether it can be one."""
        try:
            self.once(self.server, "hostname", parse_hostname(name), place)
        except Wrong:
            return False
        return True

    def certificate(self, place: Place, pair: tuple[str, str], names: Sequence[str]) -> None:
        """A certificate's and its key's file. The first is for every name, others for the ``names`` they come with."""
        try:
            certificate, key = (absolute(place, each) for each in pair)
        except Wrong:
            self.lost(place, "a certificate's or a key's file whose name can't be written", self.tls)
            return
        keys: dict[str, Value] = {"certificate": certificate, "private_key": key}
        if all(self.tls.keys.setdefault(name, value) == value for name, value in keys.items()):
            return
        hostnames = sorted({each.lower() for each in names if _is_server_name(each)})
        known = [self._by_name.get(each) for each in hostnames]
        if hostnames and not any(known):
            self.sni.append(Table("[[tls.sni]]", {"hostnames": hostnames, **keys}))
            self._by_name.update(dict.fromkeys(hostnames, (certificate, key)))
        elif not hostnames or any(each != (certificate, key) for each in known):
            self.lost(place, "another certificate: they are told apart by server names, in [[tls.sni]]", self.tls)

    def completed(self, host_name: str) -> None:
        """Keys that a config can't be without, where the source had no word for them. ``host_name``: this host's."""
        if "hostname" not in self.server.keys:
            self.server.remarks.append("this host's name: no other was found")
            try:
                self.server.keys["hostname"] = parse_hostname(host_name)
            except Wrong:
                self.server.keys["hostname"] = "localhost"
        self.server.keys = {"hostname": self.server.keys.pop("hostname"), **self.server.keys}
        self.tls.keys.setdefault("minimum_version", "1.2")


_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration(seconds: float) -> str:
    """As a config writes it; no shorter than a millisecond."""
    milliseconds = max(1, round(seconds * 1000))
    return next(f"{milliseconds // size}{unit}" for unit, size in _UNITS if not milliseconds % size)


def absolute(place: Place, path: str) -> str:
    """A file's path, from the directory of the file that names it. Raises Wrong."""
    return str(parse_file(str(Path(place.file.absolute().parent, path))))


def _is_server_name(name: str) -> bool:
    try:
        parse_server_name(name)
    except Wrong:
        return False
    return True
