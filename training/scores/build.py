"""Published figures -> the shipped table: ``uv run python -m training.scores.build SCORES_RAW_CSV [OUTPUT]``.

The same input gives the same bytes. ``sources.yaml`` says what is taken from it, docs/scores.md explains it.
"""

import csv
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from training.scores.normalise import IDENTITY, Link, link, normal_scores, ranks, share

HERE = Path(__file__).parent
OUTPUT = HERE.parents[1] / "lumni" / "catalogue" / "data" / "scores.json"
FORMAT = 1

Json = dict[str, Any]


class Figure(NamedTuple):
    """A model's figure in one column, in the source's unit; ``default``: it ran in the API's default setting."""

    row: str
    score: float
    self_reported: bool
    default: bool


class Column(NamedTuple):
    """All that a source published for one benchmark, and which of it belongs to models of the table."""

    scores: Mapping[str, float]
    figures: Mapping[str, Figure]

    def anchors(self) -> frozenset[str]:
        """Models that may tie this column to another: those that ran in their default setting."""
        return frozenset(model for model, figure in self.figures.items() if figure.default)

    def normal(self) -> dict[str, float]:
        """Normal scores of the table's models, among all models of the column."""
        scores = normal_scores(self.scores)
        return {model: scores[figure.row] for model, figure in self.figures.items()}


def build(published: bytes, sources: Mapping[str, Any]) -> str:
    """The table as JSON, one figure a line. ``published`` is ``scores_raw.csv``, ``sources`` the parsed YAML."""
    columns, given = read_columns(published, sources), sources["columns"]
    found = ways(columns, {name: column[2] for name, column in given.items() if len(column) > 2})
    why_not = {name: unfit(column, found[name], sources["requires"]) for name, column in columns.items()}
    figures = {name: _figures(column, found[name]) for name, column in columns.items()}

    def fit(names: Iterable[str]) -> list[str]:
        return [name for name in names if not why_not[name]]

    return dump(
        {
            "format": FORMAT,
            "input_sha256": hashlib.sha256(published).hexdigest(),
            "base": sources["base"],
            "sources": {source["id"]: _source(source) for source in sources["sources"].values()},
            "columns": {name: _column(c, found[name], given[name], why_not[name]) for name, c in columns.items()},
            "domains": {
                domain: {"columns": fit(rule["columns"]), "general": fit(sources["general"] if rule["general"] else ())}
                for domain, rule in sources["domains"].items()
            },
            "models": {
                model: {name: figures[name][model] for name in columns if model in figures[name]}
                for model in sources["models"]
            },
        }
    )


def read_columns(published: bytes, sources: Mapping[str, Any]) -> dict[str, Column]:
    """The columns in the order of ``sources``. A model that a source lists twice in a column has its median there."""
    wanted = {source: entry["id"] for source, entry in sources["sources"].items()}
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    reported: set[tuple[str, str, str]] = set()
    for row in csv.DictReader(published.decode("utf-8").splitlines()):
        if row["source"] in wanted and row["model"]:
            key = (wanted[row["source"]], row["benchmark"])
            found[key][row["model"]].append(number(row["score"]))
            if row["self_reported"] == "True":
                reported.add((*key, row["model"]))
    columns = {}
    for name, (source, benchmark, *_) in sources["columns"].items():
        scores = {model: median(values) for model, values in found[source, benchmark].items()}
        chosen = {model: choose(scores, rows) for model, rows in sources["models"].items()}
        figures = {
            model: Figure(row, scores[row], (source, benchmark, row) in reported, default)
            for model, (row, default) in chosen.items()
            if row is not None
        }
        columns[name] = Column(scores, figures)
    return columns


def number(text: str) -> float:
    """A figure as published, some as ``52.8%``. Raises ``ValueError`` for what is none."""
    return float(text.removesuffix("%"))


def choose(scores: Mapping[str, float], rows: Iterable[str | None]) -> tuple[str | None, bool]:
    """The first of a model's names that a column has, and whether it stands before the ``~``."""
    default = True
    for row in rows:
        if row is None:
            default = False
        elif row in scores:
            return row, default
    return None, True


class Way(NamedTuple):
    """How a column reaches the base's scale: ``line`` all the way; of the steps, the fewest anchors, the lowest ρ."""

    line: Link
    anchors: int | None
    agreement: float


def ways(columns: Mapping[str, Column], onto: Mapping[str, str]) -> dict[str, Way | None]:
    """For each column its way to the base, which is the column that leads ``onto`` no other; ``None`` without one.

    A column's way depends on the columns that it leads over, and on no others.
    """
    normal = {name: column.normal() for name, column in columns.items()}
    anchors = {name: column.anchors() for name, column in columns.items()}

    def way(name: str) -> Way | None:
        if name not in onto:
            return Way(IDENTITY, None, 1.0)
        over = onto[name]
        step, rest = link(normal[name], normal[over], anchors[name] & anchors[over]), way(over)
        if step is None or rest is None:
            return None
        fewest = step.anchors if rest.anchors is None else min(step.anchors, rest.anchors)
        return Way(step.then(rest.line), fewest, min(step.agreement, rest.agreement))

    return {name: way(name) for name in columns}


def unfit(column: Column, way: Way | None, requires: Mapping[str, float]) -> str:
    """Why no domain may use a column; empty if one may."""
    if len(column.scores) < requires["models"]:
        return f"{len(column.scores)} models, fewer than {requires['models']}"
    if way is None:
        return "too few models in common with the scale"
    if way.anchors is not None and way.anchors < requires["anchors"]:
        return f"{way.anchors} models in common with the scale, fewer than {requires['anchors']}"
    if way.agreement < requires["agreement"]:
        return f"orders common models too differently: ρ {way.agreement:.2f}, below {requires['agreement']}"
    return ""


def _source(source: Mapping[str, Any]) -> Json:
    return {key: str(source[key]) for key in ("title", "date", "unit", "url", "licence")}


def _column(column: Column, way: Way | None, given: Sequence[str], why_not: str) -> Json:
    described: Json = {"source": given[0], "benchmark": given[1], "models": len(column.scores)}
    if len(given) > 2:
        described["onto"] = given[2]
    if way is not None and way.anchors is not None:
        described |= {"anchors": way.anchors, "agreement": round(way.agreement, 3)}
    return {**described, "unused": why_not} if why_not else described


def _figures(column: Column, way: Way | None) -> dict[str, Json]:
    places, normal = ranks(column.scores), column.normal()
    return {
        model: _figure(f, places[f.row], way and share(way.line(normal[model]))) for model, f in column.figures.items()
    }


def _figure(figure: Figure, rank: float, value: float | None) -> Json:
    shown: Json = {"score": round(figure.score, 4), "rank": round(rank, 4)}
    if value is not None:
        shown["value"] = round(value, 4)
    shown["row"] = figure.row
    if figure.self_reported:
        shown["self_reported"] = True
    if not figure.default:
        shown["other_setting"] = True
    return shown


def dump(table: Mapping[str, Any]) -> str:
    """JSON with one line for each innermost object, so that a change of one figure is a change of one line."""

    def text(value: Any, indent: str) -> str:
        if not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values()):
            return json.dumps(value, ensure_ascii=False)
        deeper = indent + " "
        lines = (f"{deeper}{json.dumps(key)}: {text(inner, deeper)}" for key, inner in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"

    return text(dict(table), "") + "\n"


def read_sources() -> Any:
    return yaml.safe_load((HERE / "sources.yaml").read_text(encoding="utf-8"))


def main(arguments: list[str]) -> None:
    if not arguments:
        sys.exit(__doc__)
    output = Path(arguments[1]) if len(arguments) > 1 else OUTPUT
    output.write_text(build(Path(arguments[0]).read_bytes(), read_sources()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
