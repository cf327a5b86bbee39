"""Registered domains by the public suffix list, which comes with a package and is never fetched."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_MISSING = "screening.surbl: needs the extra tlsgate[surbl], which isn't installed (Python package publicsuffixlist)"


class SuffixesMissing(Exception):
    """The package with the list isn't installed; the text says what is to be installed."""


def missing_extra() -> str:
    """What is to be installed before messages can be scanned, "" for nothing."""
    return _MISSING if find_spec("publicsuffixlist") is None else ""


class Suffixes:
    """What registries hold. Its private part counts too: "a.github.io" is somebody else's than "b.github.io"."""

    def __init__(self) -> None:
        """Takes 0.1 s: not for the trio loop. Raises SuffixesMissing."""
        try:
            from publicsuffixlist import PublicSuffixList
        except ModuleNotFoundError as fault:
            raise SuffixesMissing(_MISSING) from fault
        self._list: PublicSuffixList = PublicSuffixList(accept_unknown=False)

    @classmethod
    async def load(cls) -> Suffixes:
        """The same, beside the trio loop."""
        return await trio.to_thread.run_sync(cls)

    def is_top_level(self, label: str) -> bool:
        """Whether names may end in this label, lower-case; "test", "local" and the like are nobody's. Cheap."""
        return label != "arpa" and self._list.publicsuffix(label) is not None

    def registered(self, name: str) -> str | None:
        """The registered domain that a name, in A-labels, is in.

        None for a name that no registry has, such as "printer.local", for a bare suffix, and for the reverse zones.
        """
        if not self.is_top_level(name.rpartition(".")[2]):
            return None
        return self._list.privatesuffix(name)
