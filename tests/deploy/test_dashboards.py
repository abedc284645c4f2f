"""Dashboards and rules say what they mean, as far as that shows without Prometheus and Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import build
from tests.deploy.files import DEPLOY, Asked, dashboards, expressions, panels, rule_tests, rules, statements

DOCUMENT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
WORD = re.compile(r"(?:lumni|gen_ai|process)[_:][\w:]+(?!\w)")
PARTS = re.compile(r"_(?:bucket|sum|count)$")


def names(asked: Asked) -> set[str]:
    """The metrics that an expression names."""
    text = re.sub(r'"[^"]*"', "", asked.text)
    text = re.sub(r"\bby \([^)]*\)", "", text)
    return set(WORD.findall(text))


def test_dashboards_are_built_from_their_source() -> None:
    """001-14: what Grafana reads is what `python -m deploy.grafana.build` writes."""
    assert {path.name: path.read_text(encoding="utf-8") for path in build.FOLDER.glob("*.json")} == build.texts()


def lost(given: Any, kept: Any, where: str = "") -> list[str]:
    """Where ``kept`` lacks a key, or has another value."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [at for key in given for at in lost(given[key], kept.get(key), f"{where}/{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [at for number, one in enumerate(given) for at in lost(one, kept[number], f"{where}/{number}")]
    return [] if given == kept else [where]


@pytest.mark.parametrize("name", ["operations.json", "quota.json", "teacher.json"])
def test_grafana_knows_every_key(name: str) -> None:
    """001-14: read into Grafana's own models and written from them, a dashboard is the same."""
    register_default_plugins()
    given = json.loads((build.FOLDER / name).read_text(encoding="utf-8"))
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert len(given["panels"]) > 10
    assert lost(given, kept) == []


def test_every_panel_has_a_place_of_its_own() -> None:
    """001-14: none outside the page, none over another, each with something to show."""
    for name, dashboard in dashboards().items():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, (name, panel["title"])
            assert max(x for x, _ in cells) < 24
            assert panel["type"] == "row" or panel["targets"], (name, panel["title"])
            taken |= cells
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_panels_ask_sources_that_are_provisioned() -> None:
    """001-14"""
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/lumni.yaml").read_text(encoding="utf-8"))
    sources = {(source["uid"], source["type"]) for source in provisioned["datasources"]}
    asked = {(panel["datasource"]["uid"], panel["datasource"]["type"]) for _, panel in panels() if "targets" in panel}
    assert asked == sources


@pytest.mark.parametrize("asked", expressions(), ids=lambda asked: asked.where)
def test_every_metric_asked_for_exists(asked: Asked) -> None:
    """001-13: it is in the document (a test compares that with what is exposed), or a rule records it."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = names(asked)
    assert named or "up{" in asked.text
    for name in named - recorded:
        assert name.startswith("process_") or f"`{PARTS.sub('', name)}`" in DOCUMENT, name


def test_students_appear_in_no_metric() -> None:
    """001-14: only the database knows them, so no panel of Prometheus can disagree with it."""
    assert not [asked for asked in expressions() if re.search(r"student|key_id|label=", asked.text)]
    assert [asked for asked in statements() if "student" in asked.text]


def test_every_alert_is_tested_and_documented() -> None:
    """003-49: a unit test in which it fires, and a line on what to do."""
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    fired = {case["alertname"] for test in rule_tests() for case in test["alert_rule_test"] if case["exp_alerts"]}
    silent = {case["alertname"] for test in rule_tests() for case in test["alert_rule_test"] if not case["exp_alerts"]}
    assert fired == silent == alerts
    assert not {alert for alert in alerts if f"`{alert}`" not in DOCUMENT}
