"""The table of attacks: from a row to the tests that show it. ``python -m tests.adversarial.cases`` prints it."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from tests.adversarial.case import Case
from tests.dialogue.transcript import TRANSCRIPTS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LETTERS = {"A": 22, "B": 16, "C": 8, "D": 23, "E": 7}
ROWS = [f"{letter}{number}" for letter, last in LETTERS.items() for number in range(1, last + 1)]


@dataclass(frozen=True)
class Row:
    """One attack, the right answer, and the tests that show it, as in the table."""

    name: str
    attack: str
    answer: str
    tests: tuple[str, ...]


@cache
def table() -> dict[str, Row]:
    """The rows by their names."""
    written = tomllib.loads((HERE / "cases.toml").read_text())
    return {
        name: Row(name, row["attack"], row["answer"], tuple(map(_unabridged, row["tests"])))
        for name, row in written.items()
    }


def _unabridged(test: str) -> str:
    if test.startswith("TRANSCRIPTS/"):
        return f"tests/dialogue/test_transcripts.py::test_as_written[{test.removeprefix('TRANSCRIPTS/')}]"
    return test.replace("ADVERSARIAL/", "tests/adversarial/", 1)


def found(test: str) -> list[str]:
    """The tests that a row's word stands for, as pytest calls them; none when there is no such test."""
    path, _, function = test.partition("::")
    function, bracket, pattern = function.partition("[")
    if function not in functions(path):
        return []
    if not bracket:
        return [test]
    pattern = pattern.removesuffix("]")
    names = transcripts() if path.startswith("tests/dialogue/") else [each for each, _ in parameters(path, function)]
    return [f"{path}::{function}[{name}]" for name in names if fnmatchcase(name, pattern)]


@cache
def functions(path: str) -> frozenset[str]:
    """The test functions of a file, which isn't run for it; none when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.parse(file.read_text()).body if isinstance(each, kinds))


@cache
def transcripts() -> list[str]:
    """As ``test_transcripts`` names them."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in TRANSCRIPTS.rglob("*.txt"))


@cache
def parameters(path: str, function: str) -> list[tuple[str, Case | None]]:
    """The cases of one test by their names, and what they are where they are scripts."""
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    cases: list[tuple[str, Case | None]] = []
    for mark in getattr(getattr(module, function), "pytestmark", []):
        for each in mark.args[1] if mark.name == "parametrize" and len(mark.args) > 1 else ():
            if (name := getattr(each, "id", None)) is not None:
                case = each.values[0]
                cases.append((name, case if isinstance(case, Case) else None))
    return cases


def scripts() -> list[tuple[str, Case]]:
    """All cases of this folder that are scripts: once for each TLS mode."""
    return [
        (f"tests/adversarial/{file.name}::{function}[{name}]", case)
        for file in sorted(HERE.glob("test_*.py"))
        for function in sorted(functions(f"tests/adversarial/{file.name}"))
        if function.startswith("test_")
        for name, case in parameters(f"tests/adversarial/{file.name}", function)
        if case is not None
    ]


def summary() -> str:
    """How many scripts there are, by protocol and TLS mode."""
    counted = Counter((case.protocol.value, name.rpartition("-")[2].rstrip("]")) for name, case in scripts())
    words = ", ".join(f"{protocol} {mode} {count}" for (protocol, mode), count in sorted(counted.items()))
    different = len({case.name for _, case in scripts()})
    return f"{len(table())} attacks; {different} scripts on the wire, {sum(counted.values())} with their modes: {words}"


def _show() -> None:
    for row in table().values():
        print(f"{row.name}  {row.attack}\n     right: {row.answer}")
        for test in row.tests:
            print(f"     {len(found(test)):4} {test}")
    print(summary())


if __name__ == "__main__":
    _show()
