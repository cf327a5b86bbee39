"""Tables of pages, by their first column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"`([a-z0-9_]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``cells``: those behind its name."""

    name: str
    cells: tuple[str, ...]

    def names(self, column: int) -> set[str]:
        """What stands in backquotes in a cell."""
        return set(_NAME.findall(self.cells[column]))


def rows(page: Path, header: str) -> list[Row]:
    """Those of the tables whose first column is called ``header``."""
    found = []
    for table in re.split(r"\n{2,}", page.read_text(encoding="utf-8")):
        first, *lines = table.strip().splitlines()
        if first.startswith(f"| {header} |"):
            for line in lines[1:]:
                name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
                found.append(Row(name.strip("`"), tuple(cells)))
    return found
