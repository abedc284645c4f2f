"""How good each model is at what, from ``data/scores.json``: published figures, each with its source and date.

docs/scores.md says how the table is built. A model or a domain without a figure is unknown: ``None``, never a number.
"""

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.resources import files as resources
from typing import Any, Literal, NamedTuple, get_args

import yaml

from lumni.catalogue.model import Deployment

Domain = Literal[
    "reasoning",
    "coding",
    "maths",
    "language",
    "instruction_following",
    "data_analysis",
    "long_context",
    "vision",
    "tool_use",
]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

Confidence = Literal["high", "medium", "low"]

SOLID_AGREEMENT = 0.8
"""Spearman's ρ from which on a column counts as ordering models like the scale's others."""

CLASSICS: Mapping[str, tuple[str, ...]] = {
    "mmlu": ("mmlu", "mmlu-simple-evals", "mmlu-collected"),
    "hellaswag": ("hellaswag",),
    "gsm8k": ("gsm8k", "gsm8k-collected"),
    "humaneval": ("humaneval-simple-evals", "humaneval"),
    "gpqa": ("gpqa", "gpqa-simple-evals", "gpqa-reported"),
    "math": ("math", "math-simple-evals", "math-reported"),
    "ifeval": ("ifeval",),
}
"""The classic benchmarks by name, and the columns that publish them, the first preferred."""

_PUNCTUATION = re.compile(r"[-_. ]")
_VARIANT = re.compile(r":(?:free|nitro|floor|exacto|extended|online)$")  # OpenRouter's: routing, not another model


class Column(NamedTuple):
    """One benchmark of one source. ``models`` is how many that source ranked; ``agreement`` is Spearman's ρ with the
    scale over common models, the lowest on the way to it, and 1 for the scale itself. ``unused`` says why no domain
    uses the column, and is empty if one may."""

    name: str
    benchmark: str
    source: str
    url: str
    licence: str
    date: datetime.date
    unit: Literal["share", "percent", "rating"]
    models: int
    agreement: float | None
    unused: str


class Figure(NamedTuple):
    """A model in a column: ``score`` as published, in the source's unit (share, percent or rating points).

    ``rank`` is its place in that column, in (0, 1); ``value`` that place on the common scale, ``None`` where the column
    can't be put on it. ``row`` is what the source calls the model; ``self_reported`` by whoever made it;
    ``other_setting`` than the API's default, mostly with more thinking.
    """

    column: Column
    score: float
    rank: float
    value: float | None
    row: str
    self_reported: bool
    other_setting: bool

    @property
    def percent(self) -> float | None:
        """The figure in percent, whether it was published as such or as a share; ``None`` for a rating."""
        factor = {"share": 100.0, "percent": 1.0}.get(self.column.unit)
        return None if factor is None else round(self.score * factor, 2)


@dataclass(frozen=True)
class Score:
    """How good a model is in a domain: ``value`` in [0, 1] is the share of LiveBench's models that it beats.

    ``general``: no test of the domain itself has the model, so its overall strength stands in for it. ``classics`` are
    the model's figures of :data:`CLASSICS`, whatever the domain.
    """

    model: str
    domain: Domain
    value: float
    figure: Figure
    general: bool
    classics: Mapping[str, Figure] = field(default_factory=dict, compare=False, repr=False)

    @property
    def column(self) -> str:
        return self.figure.column.name

    @property
    def source(self) -> str:
        return self.figure.column.source

    @property
    def date(self) -> datetime.date:
        return self.figure.column.date

    @cached_property
    def provenance(self) -> Mapping[str, str]:
        """Where ``value`` is from, as it is recorded and shown."""
        return {
            "model": self.model,
            "column": self.column,
            "source": self.source,
            "date": self.date.isoformat(),
            "confidence": self.confidence,
        }

    @property
    def n(self) -> int:
        """How many models the source ranked there."""
        return self.figure.column.models

    @property
    def confidence(self) -> Confidence:
        """High unless one thing speaks against the figure (medium) or several (low)."""
        weak = (
            self.general,
            self.figure.self_reported,
            self.figure.other_setting,
            (self.figure.column.agreement or 0.0) < SOLID_AGREEMENT,
        )
        return ("high", "medium", "low")[min(2, sum(weak))]


@lru_cache(maxsize=4096)
def key(name: str) -> str:
    """What of a model's name is compared: its last part, without case, punctuation and OpenRouter's variants."""
    return _PUNCTUATION.sub("", _VARIANT.sub("", name.lower().rsplit("/", 1)[-1]))


class Scores:
    """The table. ``table`` is the parsed ``scores.json``, ``names`` the aliases of each canonical model."""

    def __init__(self, table: Mapping[str, Any], names: Mapping[str, list[str]]) -> None:
        columns = {name: _column(name, given, table["sources"]) for name, given in table["columns"].items()}
        self.columns: Mapping[str, Column] = columns
        self.version: str = table["input_sha256"]
        self._order: Mapping[str, Mapping[str, list[str]]] = table["domains"]
        self._figures = {
            model: {name: _figure(columns[name], given) for name, given in figures.items()}
            for model, figures in table["models"].items()
        }
        found = {(model, domain): self._find(model, domain) for model in self._figures for domain in DOMAINS}
        self._scores = {place: score for place, score in found.items() if score is not None}
        self._canonical = {key(name): model for model, aliases in names.items() for name in (model, *aliases)}

    def canonical(self, name: str) -> str | None:
        """The model that a provider's (or LiteLLM's) name means; ``None`` if it isn't listed."""
        return self._canonical.get(key(name))

    def model_of(self, deployment: Deployment) -> str | None:
        """The canonical model that a deployment serves, by its ``base_model`` or its provider's name."""
        base = deployment.info.get("base_model")
        return (base and self.canonical(str(base))) or self.canonical(deployment.model_id)

    def figures(self, model: str) -> Mapping[str, Figure]:
        """All published figures of a model by column, also those that no domain uses; empty if there are none."""
        return self._figures.get(self.canonical(model) or "", {})

    def classics(self, model: str) -> Mapping[str, Figure]:
        """The figures of :data:`CLASSICS` that are published for a model, each from the first source that has it."""
        return _classics(self.figures(model))

    def score(self, model: str, domain: Domain) -> Score | None:
        """How good ``model`` (any of its names) is in ``domain``; ``None`` where nothing is published: unknown.

        The domain's columns count in their order, then those that say how strong a model is on the whole.
        """
        canonical = self.canonical(model)
        return None if canonical is None else self._scores.get((canonical, domain))

    def _find(self, model: str, domain: Domain) -> Score | None:
        figures, order = self._figures[model], self._order[domain]
        for general in (False, True):
            for name in order["general" if general else "columns"]:
                figure = figures.get(name)
                if figure is not None and figure.value is not None:
                    return Score(model, domain, figure.value, figure, general, _classics(figures))
        return None


def _classics(figures: Mapping[str, Figure]) -> Mapping[str, Figure]:
    found = {name: next((figures[c] for c in columns if c in figures), None) for name, columns in CLASSICS.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _column(name: str, given: Mapping[str, Any], sources: Mapping[str, Any]) -> Column:
    source = sources[given["source"]]
    return Column(
        name=name,
        benchmark=given["benchmark"],
        source=source["title"],
        url=source["url"],
        licence=source["licence"],
        date=datetime.date.fromisoformat(source["date"]),
        unit=source["unit"],
        models=given["models"],
        agreement=given.get("agreement", None if given.get("onto") else 1.0),
        unused=given.get("unused", ""),
    )


def _figure(column: Column, given: Mapping[str, Any]) -> Figure:
    return Figure(
        column,
        given["score"],
        given["rank"],
        given.get("value"),
        given["row"],
        given.get("self_reported", False),
        given.get("other_setting", False),
    )


@cache
def known_scores() -> Scores:
    """The bundled table, read once."""
    data = resources("lumni.catalogue") / "data"
    names = yaml.safe_load((data / "model_names.yaml").read_text(encoding="utf-8"))["models"]
    return Scores(json.loads((data / "scores.json").read_text(encoding="utf-8")), names)
