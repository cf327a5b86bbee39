"""The dashboard: its questions parse, and ask for what is served."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.served import metrics, strangers
from tests.deploy.tools import DEPLOY, succeeds
from tests.system.peers import program

Panel = dict[str, Any]


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found = json.loads((DEPLOY / "grafana" / "tlsgate.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def panels(dashboard: dict[str, Any]) -> list[Panel]:
    found: list[Panel] = dashboard["panels"]
    return found


@pytest.fixture(scope="module")
def questions(panels: list[Panel]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_its_questions_parse(questions: list[str], tmp_path: Path) -> None:
    """As rules, which Prometheus' own tool reads."""
    plain = [question.replace("$__rate_interval", "5m") for question in questions]
    rules = [{"record": f"panel:number:{number}", "expr": question} for number, question in enumerate(plain)]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    succeeds(program("promtool"), "check", "rules", path)


def test_it_asks_for_what_is_served(questions: list[str]) -> None:
    """A panel for a metric that isn't there is empty for ever."""
    known = metrics()
    assert {question: wrong for question in questions if (wrong := strangers(question, known))} == {}


def test_every_metric_of_ours_is_shown(questions: list[str]) -> None:
    """One that is new is to be seen; histograms by their buckets."""
    ours = {name for name in metrics() if name.startswith("tlsgate_") and not name.endswith(("_sum", "_count"))}
    shown = set(re.findall(r"tlsgate_\w+", " ".join(questions)))
    assert {name for name in ours if not name.endswith("_created")} <= shown


def test_its_variables_are_there(dashboard: dict[str, Any], questions: list[str]) -> None:
    """A variable that nobody sets is asked for as it is written, and finds nothing."""
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard).replace("$__rate_interval", "")
    used = set(re.findall(r"\$\{?(\w+)", text))
    assert used == variables.keys()
    known = metrics()
    asked = [variable["definition"] for variable in variables.values() if variable["type"] == "query"]
    assert [strangers(question, known) for question in asked] == [[]] * len(asked)
    assert all("$job" in question for question in questions)


def test_no_panel_hides_another(panels: list[Panel]) -> None:
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
