"""The project's Markdown pages: their links, headings and code."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)(```+)(\w*)[^\n]*\n(.*?)^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]\[]*\]\(([^)\s]+)\)")
_NOT_OURS = frozenset({"build", "dist", "venv", "node_modules"})
_CODE_SPAN = re.compile(r"`[^`\n]*`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``line``: of its first line of text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page, but for those of environments and what is built."""
    found = []
    for directory, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in _NOT_OURS]
        found += [Path(directory, name) for name in names if name.endswith(".md")]
    return sorted(found)


def blocks(page: Path, language: str) -> list[Block]:
    """Its fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start(4)) + 1, language, dedent(found[4]))
        for found in _FENCE.finditer(text)
        if found[3] == language
    ]


def links(page: Path) -> list[str]:
    """Where its links and pictures lead, as they are written; what stands in code is none."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    return _LINK.findall(_CODE_SPAN.sub("", plain))


def anchors(page: Path) -> set[str]:
    """What a link may have behind "#": headings, as forges make anchors of them."""
    found: dict[str, int] = {}
    names = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names
