"""Memory of processes, what they share counted once (PSS)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PSS = re.compile(r"^Pss: +([0-9]+) kB", re.MULTILINE)
_ANONYMOUS = re.compile(r"^Pss_Anon: +([0-9]+) kB", re.MULTILINE)


def pss(pids: Iterable[int]) -> int:
    """In KiB. Processes that have ended have none."""
    return _sum(pids, _PSS)


def anonymous(pids: Iterable[int]) -> int:
    """The same without what is in files, whose share depends on who else on this host has mapped them."""
    return _sum(pids, _ANONYMOUS)


def _sum(pids: Iterable[int], line: re.Pattern[str]) -> int:
    total = 0
    for pid in pids:
        with suppress(OSError):
            found = line.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total
