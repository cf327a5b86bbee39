"""The figures as a table for people, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from bench.peers.figures import FIGURES, Values


def table(found: Mapping[str, Values], reference: str) -> str:
    """A row a figure, a column a subject: the figure, and its ratio to ``reference``."""
    lines = [f"| | {' | '.join(found)} |", "| --- |" + " ---: |" * len(found)]
    for figure in FIGURES:
        if not any(figure.key in values for values in found.values()):
            continue
        cells = []
        for name, values in found.items():
            value, against = values.get(figure.key), found[reference].get(figure.key)
            ratio = None if value is None or against is None else figure.ratio(value, against)
            said = "-" if value is None else rounded(value)
            cells.append(said if ratio is None or name == reference else f"{said} ({ratio:.2f}x)")
        title = f"{figure.title}, {figure.unit}" if figure.unit else figure.title
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rounded(value: float) -> str:
    """To three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
