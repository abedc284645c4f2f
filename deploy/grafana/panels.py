"""The parts of a dashboard, as Grafana's JSON wants them (schema version 39, Grafana 10.4 and newer)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
WIDTH = 24  # columns of a dashboard
PROMETHEUS = {"type": "prometheus", "uid": "lumni-prometheus"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "lumni-postgres"}

Kind = Literal["stat", "timeseries", "table", "bargauge", "state-timeline", "piechart"]


@dataclass(frozen=True)
class Panel:
    """One picture. ``queries`` are PromQL by legend, or one SQL statement; ``red_from`` colours values from there on.

    ``red_below`` does the same for values under it. ``mappings`` name values of a state.
    """

    title: str
    queries: dict[str, str] = field(default_factory=dict)
    sql: str = ""
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    description: str = ""
    red_from: float | None = None
    red_below: float | None = None
    mappings: dict[int, str] = field(default_factory=dict)
    highest: float | None = None

    def targets(self) -> list[Json]:
        if self.sql:
            form = "time_series" if self.kind == "timeseries" else "table"
            return [{"refId": "A", "datasource": POSTGRES, "format": form, "rawQuery": True, "rawSql": self.sql}]
        now = self.kind in ("stat", "table", "bargauge", "piechart")
        return [
            {
                "refId": chr(ord("A") + place), "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend,
                "instant": now, "range": not now, **({"format": "table"} if self.kind == "table" else {}),
            }
            for place, (legend, expr) in enumerate(self.queries.items())
        ]  # fmt: skip

    def json(self, number: int, x: int, y: int) -> Json:
        return {
            "id": number,
            "title": self.title,
            "description": self.description,
            "type": self.kind,
            "datasource": POSTGRES if self.sql else PROMETHEUS,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": self.targets(),
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _defaults(self) -> Json:
        steps: list[Json] = [{"color": "green", "value": None}]
        if self.red_from is not None:
            steps.append({"color": "red", "value": self.red_from})
        if self.red_below is not None:
            steps = [{"color": "red", "value": None}, {"color": "green", "value": self.red_below}]
        defaults: Json = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.kind in ("bargauge", "timeseries"):
            defaults["min"] = 0
        if self.highest is not None:
            defaults["max"] = self.highest
        if self.stacked:
            defaults["custom"] = {"fillOpacity": 40, "stacking": {"mode": "normal"}}
        if self.mappings:
            options = {str(value): {"text": text, "index": value} for value, text in self.mappings.items()}
            defaults["mappings"] = [{"type": "value", "options": options}]
        return defaults

    def _options(self) -> Json:
        if self.kind in ("stat", "bargauge", "piechart"):
            return {"reduceOptions": {"calcs": ["lastNotNull"], "values": bool(self.sql), "fields": ""}}
        if self.kind == "timeseries":
            return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
        return {}


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]


def variable(name: str, label: str, sql: str) -> Json:
    """A choice of one, several or all values that ``sql`` finds."""
    return {
        "name": name, "label": label, "type": "query", "datasource": POSTGRES, "query": sql,
        "multi": True, "includeAll": True, "refresh": 1, "sort": 1, "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def dashboard(uid: str, title: str, rows: Sequence[Row], variables: Sequence[Json] = (), since: str = "6h") -> Json:
    """Rows from top to bottom, the panels of each from left to right, wrapped where a line is full."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        number = len(panels) + 1
        panels.append({"id": number, "title": row.title, "type": "row", "collapsed": False, "gridPos": place})
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "uid": uid, "title": title, "tags": ["lumni"], "schemaVersion": 39, "version": 1, "editable": True,
        "timezone": "browser", "refresh": "30s", "time": {"from": f"now-{since}", "to": "now"},
        "templating": {"list": list(variables)}, "annotations": {"list": []}, "panels": panels,
    }  # fmt: skip
