"""What a client has used up of its bounds."""

from __future__ import annotations

from tlsgate.dialogue.events import Bounds


class Tally:
    """Counts commands, bad commands and failed authentications; each method says whether the bound is reached."""

    __slots__ = ("_attempts", "_bad", "_bounds", "_commands")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._commands = self._bad = self._attempts = 0

    def command(self) -> bool:
        """One more command of any kind: NOOPs without end don't keep a connection."""
        self._commands += 1
        return self._commands > self._bounds.commands

    def forgive_commands(self) -> None:
        """The commands up to now have led to something."""
        self._commands = 0

    def bad(self) -> bool:
        """One more command that was wrong or not allowed."""
        self._bad += 1
        return self._bad >= self._bounds.bad_commands

    def attempt(self) -> bool:
        """One more authentication that failed."""
        self._attempts += 1
        return self._attempts >= self._bounds.auth_attempts
