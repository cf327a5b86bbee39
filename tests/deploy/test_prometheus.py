"""The alerts: they parse, they go off when they should, and they ask for what is served."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.served import metrics, strangers
from tests.deploy.tools import DEPLOY, documents, succeeds
from tests.system.peers import program

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (found,) = documents(ALERTS.read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_alerts_parse() -> None:
    succeeds(program("promtool"), "check", "rules", ALERTS)


def test_alerts_go_off_when_they_should() -> None:
    """What they say is read at night: a label that isn't there would leave a hole in it."""
    succeeds(program("promtool"), "test", "rules", "alerts.test.yaml", directory=ALERTS.parent)


def test_alerts_ask_for_what_is_served(rules: list[dict[str, Any]]) -> None:
    """An alert for a metric that isn't there never goes off."""
    known = metrics()
    assert {rule["alert"]: wrong for rule in rules if (wrong := strangers(rule["expr"], known))} == {}


def test_alerts_have_a_severity_and_words(rules: list[dict[str, Any]]) -> None:
    """A route by severity would lose one that has none."""
    assert {rule["labels"]["severity"] for rule in rules} <= {"critical", "warning", "info"}
    assert all(rule["annotations"]["summary"] for rule in rules)
