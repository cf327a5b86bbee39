"""The ratios as a picture: a line a figure, a dot a subject, on a logarithmic scale; SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from bench.peers.figures import FIGURES, Figure, Values

_LEFT, _WIDTH, _ROW, _TOP, _RIGHT = 320, 560, 26, 56, 40  # pixels
_MARKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
_COLOURS = ("#d62728", "#1f77b4", "#7fb2d9", "#2ca02c", "#9467bd", "#8c564b", "#7f7f7f")
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" \
font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="24">cost; left is cheaper</text>
"""


def plot(found: Mapping[str, Values], reference: str) -> str:
    """Left of ``reference`` is cheaper; what is out of the scale stands at its edge."""
    others = [name for name in found if name != reference]
    rows = [(figure.title, ratios) for figure in FIGURES if (ratios := _ratios(figure, found, reference))]
    bottom = _TOP + _ROW * len(rows)
    parts = [_HEAD.format(width=_LEFT + _WIDTH + _RIGHT, height=bottom + 40)]
    parts += _legend(others)
    parts += _scale(bottom, reference)
    for number, (title, ratios) in enumerate(rows):
        y = _TOP + _ROW * number + _ROW // 2
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(title)}</text>\n')
        # The first is the one that it is about: drawn last, above the others.
        for name in reversed(others):
            if name in ratios:
                parts.append(
                    f'<circle cx="{_x(ratios[name]):.1f}" cy="{y}" r="6" fill="{_colour(others, name)}">'
                    f"<title>{escape(name)}: {ratios[name]:.2f}</title></circle>\n"
                )
    return "".join([*parts, "</svg>\n"])


def _ratios(figure: Figure, found: Mapping[str, Values], reference: str) -> dict[str, float]:
    against = found[reference].get(figure.key)
    ratios = {}
    for name, values in found.items():
        if against is not None and figure.key in values and name != reference:
            ratio = figure.ratio(values[figure.key], against)
            if ratio is not None:
                ratios[name] = ratio
    return ratios


def _x(ratio: float) -> float:
    least, most = math.log(_MARKS[0]), math.log(_MARKS[-1])
    return _LEFT + _WIDTH * (min(max(math.log(ratio), least), most) - least) / (most - least)


def _legend(names: list[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        x = _LEFT + number * _WIDTH // max(len(names), 1)
        yield f'<circle cx="{x}" cy="20" r="6" fill="{_colour(names, name)}"/>'
        yield f'<text x="{x + 11}" y="24">{escape(name)}</text>\n'


def _scale(bottom: int, reference: str) -> Iterator[str]:
    for mark in _MARKS:
        x, colour = _x(mark), "#000000" if mark == 1 else "#dddddd"
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>'
        said = escape(reference) if mark == 1 else f"{mark:g}x"
        yield f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{said}</text>\n'


def _colour(names: list[str], name: str) -> str:
    return _COLOURS[names.index(name) % len(_COLOURS)]
