"""Memory of processes, what they share counted once (PSS)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PSS = re.compile(r"^Pss: +([0-9]+) kB", re.MULTILINE)


def pss(pids: Iterable[int]) -> int:
    """In KiB. Processes that have ended have none."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total
