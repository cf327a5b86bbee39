"""Commands that pages show: tlsgate takes them as they are written."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.docs.pages import ROOT, pages
from tlsgate import cli

# In indented code; what has "[", "…" or "|" is a form, not a command.
_SHOWN = re.compile(r"^ {4,}(?:sudo )?(?:\S*/bin/)?tlsgate ([a-z][^\[…|\n]*)$", re.MULTILINE)


def shown() -> Iterator[tuple[str, str]]:
    for page in pages():
        for found in _SHOWN.finditer(page.read_text(encoding="utf-8")):
            yield f"{page.relative_to(ROOT)}: {found[1][:40]}", re.split(r"  #| >", found[1])[0]


COMMANDS = dict(shown())


@pytest.fixture(autouse=True)
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are read, and no command is run."""
    monkeypatch.setattr(cli, "import_module", lambda _name: SimpleNamespace(execute=lambda _arguments: 0))
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_are_understood(command: str) -> None:
    """What is pasted must not be answered with a usage message."""
    assert cli.main(shlex.split(command)) == 0


def test_commands_are_found() -> None:
    assert len(COMMANDS) >= 15


def test_every_command_is_told_of() -> None:
    """What the table of operations.md hasn't is found by nobody."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("## Commands")[2].partition("\n## ")[0]
    assert [name for name in cli._COMMANDS if f"`tlsgate {name}" not in table and f"`{name} " not in table] == []
