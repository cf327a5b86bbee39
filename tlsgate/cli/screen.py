"""A terminal as a whole screen that is drawn again and again."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Sequence
from types import TracebackType

from tlsgate.cli.admin_api import printable

# The other screen, no cursor, and no line that goes on in the next; and all of it back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen:
    """Takes the terminal over while it is entered; Ctrl-C ends it as q does."""

    def __enter__(self) -> Screen:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> bool:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        self._write(_LEAVE)
        return kind is KeyboardInterrupt

    @property
    def height(self) -> int:
        """Lines there are."""
        return shutil.get_terminal_size().lines

    def show(self, lines: Sequence[str]) -> None:
        """Draw; what there is no room for is left out."""
        width, height = shutil.get_terminal_size()
        shown = [printable(line[:width]) + _REST_OF_LINE for line in lines[:height]]
        self._write(_HOME + "\n".join(shown) + _REST)

    def quit_within(self, seconds: float) -> bool:
        """Wait so long, or until q is pressed or nobody can press it any more: True then."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0]:
                pressed = os.read(sys.stdin.fileno(), 100)
                if not pressed or b"q" in pressed.lower():
                    return True
        return False

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
