"""What stands in ``deploy/``: the dashboards' expressions and statements, the rules."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "rules_test.yml"
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
COMPARED = re.compile(r"^(.*\S)\s*(?:>|<)\s*([\d.]+)$", re.DOTALL)


class Asked(NamedTuple):
    """``where`` it stands, and an expression of PromQL or a statement of SQL."""

    where: str
    text: str


def dashboards() -> dict[str, Any]:
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            yield f"{name}: {panel['title']}", panel


def expressions() -> list[Asked]:
    """Of all panels, and of all rules: of an alert what it compares, since alerts themselves are silent."""
    found = [
        Asked(where, target["expr"].replace("$__rate_interval", "5m"))
        for where, panel in panels()
        for target in panel.get("targets", ())
        if "expr" in target
    ]
    for rule in rules():
        if "record" in rule:
            found.append(Asked(rule["record"], rule["expr"]))
        else:
            found += [Asked(rule["alert"], part) for part in compared(rule["expr"])]
    return found


def compared(expression: str) -> list[str]:
    """The left sides of ``a > 1 and b < 2``. Raises ``AssertionError`` where an alert isn't of that form."""
    parts = [COMPARED.match(part.strip()) for part in expression.split(" and ")]
    assert all(parts), f"no comparison with a number: {expression}"
    return [part[1] for part in parts if part]


def statements() -> list[Asked]:
    """Of all panels and variables, with Grafana's macros as it would fill them in."""
    asked = [
        Asked(where, target["rawSql"])
        for where, panel in panels()
        for target in panel.get("targets", ())
        if "rawSql" in target
    ]
    asked += [
        Asked(f"{name}: {variable['name']}", variable["query"])
        for name, dashboard in dashboards().items()
        for variable in dashboard["templating"]["list"]
    ]
    return [Asked(where, _filled(text)) for where, text in asked]


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def rule_tests() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    return tests


def _filled(statement: str) -> str:
    """Grafana's macros for PostgreSQL, with an hour's range, an interval of a minute and two courses chosen."""
    statement = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 hour' AND now()", statement)
    group = r"""floor(extract(epoch from \1) / 60) * 60 AS "time" """
    statement = re.sub(r"\$__timeGroupAlias\((\w+), \$__interval\)", group, statement)
    return statement.replace("$course", "'none','cs1'")
