"""Configs that pages show: what is pasted from them must work."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages
from tlsgate.config.build import build
from tlsgate.config.rules import broken_rules

BLOCKS = [block for page in pages() for block in blocks(page, "toml")]

# What every config needs. An example that hasn't all of it shows a part.
_NEEDED = frozenset({"server", "tls", "listeners", "pools"})
_BASE: Mapping[str, Any] = {
    "server": {"hostname": "mail.example.org"},
    "tls": {"certificate": "fullchain.pem", "private_key": "privkey.pem"},
    "listeners": [{"name": "imaps", "protocol": "imap", "address": "[::]:993", "tls": "implicit", "pool": "imap"}],
    "pools": {"imap": {"backends": [{"address": "10.0.0.5:143"}]}},
}


def is_whole(table: Mapping[str, Any]) -> bool:
    return table.keys() >= _NEEDED


def completed(table: Mapping[str, Any], base: Mapping[str, Any] = _BASE) -> dict[str, Any]:
    """``table``, with what it lacks of ``base``; of the listeners that it shows, the first are those of ``base``."""
    whole = {**base, **table}
    for key in base.keys() & table.keys():
        ours, theirs = base[key], table[key]
        if isinstance(ours, dict):
            whole[key] = completed(theirs, ours)
        elif key == "listeners":
            first, *rest = theirs
            whole[key] = [completed(first, ours[0]), *rest]
    return whole


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_examples_are_good(block: Block) -> None:
    """Whole ones as they are, parts within a small config: their keys are known, their values good, nothing clashes."""
    table = tomllib.loads(block.text)
    config, findings = build(table if is_whole(table) else completed(table), Path("/etc/tlsgate"))
    assert [*findings, *broken_rules(config)] == []


def test_readme_has_whole_configs() -> None:
    """Its three cases are to be copied as they are, not to be completed by who reads them."""
    shown = [tomllib.loads(block.text) for block in blocks(ROOT / "README.md", "toml")]
    assert len([table for table in shown if is_whole(table)]) >= 3


def test_a_faulty_part_is_found() -> None:
    """The check would pass if parts were not looked at."""
    for fault in ({"pools": {"imap": {"logn": "same"}}}, {"listeners": [{"pool": "nowhere"}]}):
        config, findings = build(completed(fault), Path("/etc/tlsgate"))
        assert [*findings, *broken_rules(config)] != []
