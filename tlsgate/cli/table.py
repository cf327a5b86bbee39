"""What people read in a terminal: tables, times, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsgate.cli.admin_api import printable


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with aligned columns. What comes from elsewhere may stand in ``rows`` as it is."""
    lines = [headings, *([printable(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def span(seconds: float) -> str:
    """A time in its two largest units."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (left, "s")) if number]
    return " ".join(parts[:2]) or "0s"


def size(octets: float) -> str:
    """Octets in their largest unit, in five characters or fewer as long as they are less than 10 TiB."""
    for unit in ("", "K", "M", "G"):
        if octets < 1000:
            return f"{octets:.0f}{unit}" if octets >= 10 or not unit else f"{octets:.1f}{unit}"
        octets /= 1024
    return f"{octets:.1f}T"
