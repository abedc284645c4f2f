"""The model card: what the weights were made of, and how good they are. Nothing in it is written by hand."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lumni.training.examples import CLASSROOM, Source
from lumni.training.fit import Settings
from lumni.training.judge import Figure

CLASSROOM_LICENCE = "CC-BY-4.0"


class Facts(NamedTuple):
    """What a card tells. ``sha256`` and ``size`` are those of the weight file."""

    sha256: str
    size: int
    versions: dict[str, str]
    settings: Settings
    trained_on: Sequence[Source]
    judged_on: Sequence[Source]
    trained: Sequence[Figure]
    judged: Sequence[Figure]
    coverage: Sequence[tuple[float, float]]


def card(facts: Facts) -> str:
    """The card as Markdown. The same facts give the same text."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts.versions.items()))
    chosen = ", ".join(f"{name} = {value:g}" for name, value in facts.settings._asdict().items())
    parts = [
        "# Model card of the classifier",
        "Written by `lumni train` together with the weights; docs/routing.md says how they are used.",
        f"- weights: {facts.size:,} bytes, SHA-256 `{facts.sha256}`\n- settings: {chosen}\n- made with: {versions}",
        "## What it was trained on",
        _rows(facts.trained_on),
        _sources(facts.trained_on),
        "## How good it is on rows that it wasn't trained on",
        "With the bootstrap's 95 % interval. By cross-validation over the training rows:",
        _figures(facts.trained),
    ]
    if facts.judged:
        parts += ["On rows that were only used to judge:", _figures(facts.judged), _coverage(facts.coverage)]
        parts += [_rows(facts.judged_on), _sources(facts.judged_on)]
    return "\n\n".join([*parts, LIMITS]) + "\n"


LIMITS = """## What it can't do

- A benchmark row's share of failures is the mean over the few small models that were measured. A classroom prompt's is
  what its level's rubric expects, not a measurement (training/classroom/RUBRIC.md); so is a strong model's gain there.
- Most classroom languages have some fifty prompts: their figures have wide intervals, and their confidence is capped.
- It sees the form and the words of a question, not whether its premise is true. Facts that are hard only because they
  are rare look like other facts."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figures(figures: Sequence[Figure]) -> str:
    rows = [[f.name, f"{f.rows:,}", f"{f.value:.3f}", f"{f.low:.3f} to {f.high:.3f}"] for f in figures]
    return _table(["figure", "rows", "value", "95 % interval"], rows)


def _coverage(points: Sequence[tuple[float, float]]) -> str:
    shown = "; ".join(f"{share:.0%}: {right:.1%}" for share, right in points)
    return f"Right labels when only the surest share is decided: {shown}."


def _rows(sources: Sequence[Source]) -> str:
    counts: Counter[str] = Counter()
    licences: defaultdict[str, set[str]] = defaultdict(set)
    for source in sources:
        for example in source.examples:
            counts[example.group] += 1
            licences[example.group].add(example.licence or (CLASSROOM_LICENCE if example.group == CLASSROOM else ""))
    rows = [[group, f"{counts[group]:,}", ", ".join(sorted(licences[group]))] for group in sorted(counts)]
    return _table(["group", "rows", "licence"], rows)


def _sources(sources: Sequence[Source]) -> str:
    rows = [[f"`{source.name}`", f"{len(source.examples):,}", f"`{source.sha256}`"] for source in sources]
    return _table(["file", "rows", "SHA-256"], rows)
