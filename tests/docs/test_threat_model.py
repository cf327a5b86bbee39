"""The threat model claims nothing that isn't tested."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
_SECTIONS = dict(re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", TEXT))
_WITHOUT_TESTS = {"What is worth attacking", "Where trust ends", "What is left"}
_NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", TEXT)))


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("named", _NAMED)
def test_what_is_named_is_there(named: str) -> None:
    """A claim whose test was renamed or dropped is a claim that nobody watches."""
    path, _, test = named.partition("::")
    assert re.fullmatch(r"test_\w+", test)
    assert (ROOT / path).is_file()
    assert test in functions_of(ROOT / path)


@pytest.mark.parametrize("title", sorted(_SECTIONS.keys() - _WITHOUT_TESTS))
def test_every_claim_names_a_test(title: str) -> None:
    """Or it belongs under what is left."""
    claims = re.findall(r"(?ms)^- .*?(?=^- |^$|\Z)", _SECTIONS[title])
    assert claims
    for claim in claims:
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", claim), claim


def test_the_sections_are_read() -> None:
    """A heading that changes would take its claims out of sight."""
    assert _SECTIONS.keys() > _WITHOUT_TESTS
    assert len(_SECTIONS) == 12
    assert len(_NAMED) > 100
