"""A process that answers each line that it is told with a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


class Talker:
    """``python -m module arguments``. ``end`` or ``kill`` it."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str) -> dict[str, Any]:
        """Raises RuntimeError when it is gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def kill(self) -> None:
        """Whatever it does."""
        with self._process as process:
            process.kill()
