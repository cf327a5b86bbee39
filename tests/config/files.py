"""Config files for tests: a small good one to build on, and faulty ones that say themselves where they are faulty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsgate.config import ConfigError, Fault, load

_PARTS = {
    "[server]": 'hostname = "mail.example.org"',
    "[tls]": 'certificate = "fullchain.pem"\nprivate_key = "privkey.pem"',
    "[[listeners]]": """\
name = "imaps"
protocol = "imap"
address = "[::]:993"
tls = "implicit"
pool = "imap"
""",
    "[pools.imap]": 'backends = [{ address = "10.0.0.5:143" }]',
}


def completed(text: str) -> str:
    """A config of ``text`` and of what a good config can't do without, as far as ``text`` doesn't have it."""
    missing = [f"{header}\n{keys}\n" for header, keys in _PARTS.items() if header not in text]
    return text + "\n" + "".join(missing)


def written(directory: Path, text: str) -> Path:
    """The path of a config file with ``text``."""
    path = directory / "tlsgate.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(directory: Path, text: str) -> tuple[Fault, ...]:
    """The faults that ``load`` finds in a file with ``text``; there must be some."""
    path = written(directory, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert all(fault.file == path for fault in caught.value.faults)
    return caught.value.faults


_MARK = "#! "


def assert_marked(directory: Path, text: str) -> None:
    """The faults of ``text`` must be those that its comments name: ``#! key: part of what is said``, several by " & ".

    A comment of its own, in the first line, is for faults without a line.
    """
    marked = []
    for number, line in enumerate(text.splitlines(), 1):
        _, mark, notes = line.partition(_MARK)
        for note in notes.split(" & ") if mark else ():
            key, _, words = note.partition(": ")
            marked.append((None if line.startswith(_MARK) else number, key, words))
    faults = faults_of(directory, text)
    found = sorted((fault.line or 0, fault.key) for fault in faults)
    assert found == sorted((line or 0, key) for line, key, _ in marked), "\n".join(map(str, faults))
    assert all(fault.problem and fault.expected for fault in faults)
    for place, key, words in marked:
        said = [str(fault) for fault in faults if (fault.line, fault.key) == (place, key)]
        assert any(words in sentence for sentence in said), (words, said)
