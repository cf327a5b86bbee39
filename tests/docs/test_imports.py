"""Pages that show what becomes of another proxy's config show what the import prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tlsgate.importing.draft import Draft
from tlsgate.importing.nginx import import_nginx
from tlsgate.importing.perdition import import_perdition
from tlsgate.importing.stunnel import import_stunnel
from tlsgate.importing.toml import toml


@pytest.mark.parametrize(
    ("source", "language", "importing"),
    [
        ("nginx", "nginx", import_nginx),
        ("perdition", "perdition", import_perdition),
        ("stunnel", "ini", import_stunnel),
    ],
)
def test_the_result_is_what_is_shown(
    source: str, language: str, importing: Callable[[Path, str], Draft], tmp_path: Path
) -> None:
    """Else a reader waits for a config that the command doesn't give."""
    page = ROOT / "docs" / "howto" / f"from-{source}.md"
    (before,), (after, *_) = blocks(page, language), blocks(page, "toml")
    path = tmp_path / f"{source}.conf"
    path.write_text(before.text)
    draft = importing(path, "mail.example.org")
    assert toml(draft, f"{source}'s {path.name}").replace(f"{tmp_path}/", "") == after.text
    assert draft.missing, "the page says that something is left"
