"""Words for what would be right."""

from __future__ import annotations

from collections.abc import Iterable

from tlsgate.config.fault import shown


def one_of(words: Iterable[str]) -> str:
    """ "a", "b" or "c", each in quotes."""
    *most, last = map(shown, words)
    return f"{', '.join(most)} or {last}" if most else last


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant."""
    from difflib import get_close_matches  # only for files with faults: no start waits for it

    found = get_close_matches(word.lower().replace("-", "_"), list(choices), n=1)
    return found[0] if found else None
