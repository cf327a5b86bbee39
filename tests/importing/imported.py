"""What an import gives, as our own loader reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tlsgate.config import Config, load
from tlsgate.importing.draft import Draft
from tlsgate.importing.toml import toml

HOST = "gate.example.org"


class Imported:
    """``config``: loaded without a fault. ``missing``: what wasn't carried over, without file names: "LINE: text"."""

    def __init__(self, importing: Callable[[Path, str], Draft], path: Path, text: str) -> None:
        path.write_text(text)
        draft = importing(path, HOST)
        self.text = toml(draft, "a test")
        self.missing = [each.removeprefix(f"{path}:") for each in draft.missing]
        for each in draft.missing:
            assert self.text.count(f"# not carried over: {each}\n") == 1
        made = path.parent / "made.toml"
        made.write_text(self.text)
        self.config: Config = load(made)

    def lost(self, line: int, words: str) -> bool:
        """Whether something of that line wasn't carried over, said with these words."""
        return any(each.startswith(f"{line}: ") and words in each for each in self.missing)
