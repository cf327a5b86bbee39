"""What is made of figures: a ratio over 1 is dearer, whatever the unit. If this fails, the results say the opposite."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.peers.figures import FIGURES, medians
from bench.peers.plot import plot
from bench.peers.table import rounded, table

FOUND = {
    "tlsgate": {"imap_us": 300.0, "messages_cpu_s": 500.0, "added_us": -3.0},
    "nginx": {"imap_us": 600.0, "messages_cpu_s": 1000.0, "added_us": 50.0},
    "<none>": {"refused_cpu_s": 20000.0},
}
SVG = "{http://www.w3.org/2000/svg}"


def test_ratios_are_of_costs() -> None:
    by_key = {figure.key: figure for figure in FIGURES}
    assert by_key["imap_us"].ratio(300, 600) == 0.5
    assert by_key["messages_cpu_s"].ratio(500, 1000) == 2
    assert by_key["added_us"].ratio(-3, 50) is None


def test_the_table_has_what_was_measured_and_nothing_else() -> None:
    said = table(FOUND, "nginx").splitlines()
    assert said == [
        "| | tlsgate | nginx | <none> |",
        "| --- | ---: | ---: | ---: |",
        "| CPU a login, IMAP, µs | 300 (0.50x) | 600 | - |",
        "| Messages a CPU second | 500 (2.00x) | 1,000 | - |",
        "| Added round trip, median, µs | -3.00 | 50.0 | - |",
        "| Refused connections a CPU second | - | - | 20,000 |",
    ]


def test_the_plot_puts_the_cheaper_to_the_left() -> None:
    root = ElementTree.fromstring(plot(FOUND, "nginx"))  # noqa: S314 - our own
    dots = {
        title.text: float(dot.attrib["cx"]) for dot in root.iter(f"{SVG}circle") for title in dot.iter(f"{SVG}title")
    }
    assert set(dots) == {"tlsgate: 0.50", "tlsgate: 2.00"}
    middle = next(float(line.attrib["x1"]) for line in root.iter(f"{SVG}line") if line.attrib["stroke"] == "#000000")
    assert dots["tlsgate: 0.50"] < middle < dots["tlsgate: 2.00"]
    assert "<none>" in {text.text for text in root.iter(f"{SVG}text")}


def test_medians_are_over_the_rounds_that_have_a_figure() -> None:
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 3.0}, {"a": 100.0}]) == {"a": 3.0, "b": 5.0}


@pytest.mark.parametrize(("value", "said"), [(0.754, "0.75"), (44.21, "44.2"), (50000.0, "50,000"), (-113.5, "-114")])
def test_three_digits_count(value: float, said: str) -> None:
    assert rounded(value) == said
