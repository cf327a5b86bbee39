"""stunnel's syntax: ``key = value`` lines, services in brackets, comments, and a directory of more files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from msgspec import Struct

from tlsgate.importing.reading import CannotImport, Place, read

_MOST_FILES = 256
_MOST_SERVICES = 256


@dataclass(frozen=True, slots=True)
class Option:
    """``key``: in lower case. ``value`` may be secret."""

    place: Place
    key: str
    value: str = field(repr=False)


class Service(Struct, frozen=True):
    """``name`` "": what stands before all services, and holds for those that don't say otherwise."""

    place: Place
    name: str
    options: list[Option]

    def values(self, key: str) -> list[Option]:
        """All options of that name."""
        return [each for each in self.options if each.key == key.lower()]

    def last(self, key: str) -> Option | None:
        """The one that counts, None without one."""
        return next(reversed(self.values(key)), None)


def read_services(path: Path) -> tuple[Service, ...]:
    """What stands before the services, and the services. Raises CannotImport."""
    services = [Service(Place(path, 1), "", [])]
    for place, line in _lines(path):
        header = re.fullmatch(r"\[(.*)\]", line)
        if header is not None:
            services.append(Service(place, header[1], []))
            if len(services) > _MOST_SERVICES:
                raise CannotImport(f"{place}: more than {_MOST_SERVICES} services")
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise CannotImport(f'{place}: is no "key = value"')
        services[-1].options.append(Option(place, key.strip().lower(), value.strip()))
    return tuple(services)


def _lines(path: Path, included: bool = False) -> Iterator[tuple[Place, str]]:
    """Those that say something; an included file's own includes stay what they are."""
    for number, text in enumerate(read(path).split("\n"), 1):
        line = text.strip()
        include = re.fullmatch(r"(?i:include)\s*=\s*(.*)", line)
        if include is not None and not included:
            for each in _files(Place(path, number), include[1]):
                yield from _lines(each, included=True)
        elif line and line[0] not in ";#":
            yield Place(path, number), line


def _files(place: Place, directory: str) -> list[Path]:
    """In the order of their names, as stunnel reads them."""
    try:
        found = list(islice((place.file.absolute().parent / directory).iterdir(), _MOST_FILES + 1))
    except (OSError, ValueError):
        raise CannotImport(f"{place}: a directory that can't be read") from None
    if len(found) > _MOST_FILES:
        raise CannotImport(f"{place}: a directory of more than {_MOST_FILES} files")
    return sorted(each for each in found if each.is_file() and not each.name.startswith("."))
