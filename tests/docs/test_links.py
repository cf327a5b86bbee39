"""Links between pages, and from pages to files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A reader who follows one finds a file, and the heading that was meant. Other sites' aren't looked at."""
    assert [link for link in links(page) if "://" not in link and not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(target)


def test_every_page_of_docs_can_be_found() -> None:
    """A page that no chain of links, or of names in backquotes, leads to from README.md is read by nobody."""
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        named = [*links(page), *re.findall(r"`([\w./-]+\.md)`", page.read_text(encoding="utf-8"))]
        leads = [(page.parent / link.partition("#")[0]).resolve() for link in named if "://" not in link]
        waiting += [each for each in leads if each.suffix == ".md" and each.exists()]
    assert [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in found] == []


def test_the_checks_see_links() -> None:
    """They would pass if no link were recognized."""
    assert "docs/configuration.md" in links(ROOT / "README.md")
    assert "several-replicas" in anchors(ROOT / "docs" / "operations.md")
