"""What is installed is what was looked at: pinned, by hash, from wherever the installer's own settings say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
_PIN = re.compile(r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[^\s;]+( ; [^\\]+)?(\s+--hash=sha256:[0-9a-f]{64})+")
_INSTALLERS = ("Makefile", "deploy/Dockerfile", ".ci/make-venv", ".ci/run", ".ci/test", ".ci/install-peers")


def requirements(text: str) -> list[str]:
    """Its entries, each on one line, without comments."""
    lines = re.sub(r"(?m)^\s*#.*$", "", text).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_every_requirement_is_one_version_by_hash(path: Path) -> None:
    """Another file under the same name and version, by whoever has taken over an account or a mirror, is refused."""
    entries = requirements(path.read_text())
    assert entries
    for entry in entries:  # an option, such as an index, is no entry of this form
        assert _PIN.fullmatch(entry), entry


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_no_file_names_a_host(path: Path) -> None:
    """It would be asked instead of the mirror that an installation has been given."""
    assert "://" not in path.read_text()


@pytest.mark.parametrize("name", _INSTALLERS)
def test_nothing_is_installed_from_a_file_without_its_hashes(name: str) -> None:
    """pip checks hashes of all files or, where it isn't told to and one lacks them, of none that lack them."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    commands = [each for each in re.split(r"\n|&&", text) if re.search(r"(?i)install\b.* (-r|--requirement) ", each)]
    assert commands or name.startswith(".ci/")
    for command in commands:
        assert "--require-hashes" in command or "$(TOOL_INSTALL)" in command, command
    assert not re.search(r"(?m)^TOOL_INSTALL = (?!.* --require-hashes )", text)


def test_nothing_is_installed_by_its_name() -> None:
    """That would be whatever has the name at that moment."""
    lines = [
        each
        for each in (ROOT / "Makefile").read_text().splitlines()
        if re.search(r"PIP\) install|TOOL_INSTALL\)", each)
    ]
    assert len(lines) > 5
    for line in lines:
        assert " -r " in line or line.endswith(" --editable ."), line
