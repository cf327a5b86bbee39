"""What the config says of a client by its address alone ([admission] allow, block, trust)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from tlsgate import config
from tlsgate.admission.lists import ListFault, unreadable
from tlsgate.admission.network import ClientAddress, network_of
from tlsgate.admission.prefixes import Found, PrefixSet
from tlsgate.admission.reread import ListFile


class Standing(enum.Enum):
    """Where a client stands; the first that holds counts."""

    ALLOWED = enum.auto()
    """Passes every check but the total cap."""
    BLOCKED = enum.auto()
    TRUSTED = enum.auto()
    """Nothing counts that is counted by network: connections, their rate, failed logins."""
    STRANGER = enum.auto()


class Ruling(NamedTuple):
    """``key``, ``found``: where in the config the client is listed, in which prefix and why; None for a STRANGER."""

    standing: Standing
    key: str = ""
    found: Found | None = None

    @property
    def reason(self) -> str:
        """For a log: "192.0.2.0/24 in /etc/tlsgate/drop.txt: SBL123"; "" for a STRANGER."""
        if self.found is None:
            return ""
        network, why = self.found
        return f"{network} in {self.key}: {why}" if why else f"{network} in {self.key}"


_STRANGER = Ruling(Standing.STRANGER)


class Inline(Struct, frozen=True):
    """The prefixes that the config itself lists at ``key``."""

    key: str
    prefixes: PrefixSet

    def __str__(self) -> str:
        return self.key

    def find(self, address: ClientAddress) -> Found | None:
        """The longest prefix that holds ``address``."""
        return self.prefixes.find(address)


Source = Inline | ListFile


class AddressRules(Struct, frozen=True):
    """The rules of one config. Its files' lists follow their files while ``reread.watch`` runs."""

    allow: tuple[Source, ...] = ()
    block: tuple[Source, ...] = ()
    trust: tuple[Source, ...] = ()

    @property
    def files(self) -> tuple[ListFile, ...]:
        """Each list file once."""
        return tuple(dict.fromkeys(each for each in (*self.allow, *self.block) if isinstance(each, ListFile)))

    def rule(self, address: ClientAddress) -> Ruling:
        """What to do with a client. One of 6to4 or NAT64 is blocked as its IPv4 address too, but not allowed as it."""
        return (
            _look_up(self.allow, address, Standing.ALLOWED)
            or _look_up(self.block, address, Standing.BLOCKED)
            or ((inner := address.embedded) and _look_up(self.block, inner, Standing.BLOCKED))
            or _look_up(self.trust, address, Standing.TRUSTED)
            or _STRANGER
        )


def _look_up(sources: tuple[Source, ...], address: ClientAddress, standing: Standing) -> Ruling | None:
    for source in sources:
        if (found := source.find(address)) is not None:
            return Ruling(standing, str(source), found)
    return None


def load_rules(admission: config.Admission) -> AddressRules:
    """Read every list file. Raises ListFault with all faults. Reads files: not for the trio loop."""
    files: dict[Path, ListFile] = {}
    faults: list[str] = []
    for path in dict.fromkeys(each for each in (*admission.allow, *admission.block) if isinstance(each, Path)):
        try:
            files[path] = ListFile(path)
        except OSError as error:
            faults.append(unreadable(path, error))
        except ListFault as fault:
            faults.append(str(fault))
    if faults:
        raise ListFault("\n".join(faults))
    return AddressRules(
        _sources("admission.allow", admission.allow, files.__getitem__),
        _sources("admission.block", admission.block, files.__getitem__),
        _sources("admission.trust", admission.trust, files.__getitem__),
    )


def _sources(key: str, given: Iterable[config.Network | Path], file: Callable[[Path], ListFile]) -> tuple[Source, ...]:
    """``given`` at ``key`` of the config: its prefixes in one set, then its files."""
    given = tuple(given)
    inline = PrefixSet((network_of(each), "") for each in given if not isinstance(each, Path))
    paths = dict.fromkeys(each for each in given if isinstance(each, Path))
    return (*((Inline(key, inline),) if inline.count else ()), *map(file, paths))
