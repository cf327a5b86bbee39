"""Every address of the admin API is told of."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

_ROUTE = re.compile(r"Route\(\s*\"(/[^\"]*)\"")


def test_every_route_is_in_operations_or_beside_the_metrics() -> None:
    """What isn't there is used by our own commands alone, and changed without a thought."""
    sources = (ROOT / "tlsgate" / "ops").glob("*.py")
    routes = {route for source in sources for route in _ROUTE.findall(source.read_text(encoding="utf-8"))}
    assert len(routes) >= 10
    told = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("operations.md", "metrics-and-log.md")
    )
    # "/api/bans/{network:path}" is told as "/api/bans/192.0.2.0/24".
    assert [route for route in sorted(routes) if route.partition("{")[0] not in told] == []
