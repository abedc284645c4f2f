"""Which requests deserve the strong tier: Lumni's classifier next to length, LiteLLM's complexity router and chance.

    uv run python -m bench.routing PATH.jsonl [--resamples 1000] [--json FILE]

A row has a ``prompt`` (or ``messages``), its benchmark as ``group``, and ``weak`` and ``strong``: the shares of
attempts in which models of the weak and of the strong tier solved it. Nothing of it may have been trained on. Each
router ranks all rows; docs/benchmarks.md says what the figures mean. Needs no network and no gateway.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lumni.errors import InvalidRequest
from lumni.training import figures
from lumni.training.examples import body_of

Vector = NDArray[np.float64]
Places = NDArray[np.int64]
Texts = Sequence[dict[str, Any]]
SEED = 1


class Scores(NamedTuple):
    """One router's word on each row: how likely the weak tier is to fail, and how much the strong one would gain.

    ``probable``: the first is meant as a probability.
    """

    fails: Vector
    gain: Vector
    probable: bool = False


class Estimate(NamedTuple):
    """A figure with the bootstrap's 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Rows(NamedTuple):
    """What the file holds, column by column."""

    bodies: Texts
    groups: NDArray[np.str_]
    weak: Vector
    strong: Vector

    @classmethod
    def read(cls, path: Path) -> "Rows":
        """Raises ``InvalidRequest``, naming the line."""
        found = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                found.append((body_of(row), str(row["group"]), float(row["weak"]), float(row["strong"])))
            except (ValueError, KeyError, TypeError) as error:
                message = f"{path}, line {number}: a row has `prompt`, `group`, `weak` and `strong` ({error!r})."
                raise InvalidRequest(message) from error
        bodies, groups, weak, strong = zip(*found, strict=True)
        return cls(bodies, np.array(groups), np.array(weak), np.array(strong))


def lumni(bodies: Texts) -> Scores:
    """The classifier as the gateway calls it."""
    from lumni.intelligence import classify

    found = [classify(body) for body in bodies]
    fails, gain = np.array([one.weak_fails for one in found]), np.array([one.gain for one in found])
    return Scores(fails, gain, probable=True)


def complexity(bodies: Texts) -> Scores:
    """LiteLLM's complexity router: the score that it cuts into tiers, of the user's words."""
    from lumni.upstream.runtime import load_litellm

    load_litellm()
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = ComplexityRouter("router", None, derive_savings_baseline=False)
    scores = np.array([router.classify(_text(body))[1] for body in bodies], dtype=np.float64)
    return Scores(scores, scores)


def length(bodies: Texts) -> Scores:
    """The longer, the harder."""
    scores = np.array([len(_text(body)) for body in bodies], dtype=np.float64)
    return Scores(scores, scores)


def chance(bodies: Texts) -> Scores:
    """Any order."""
    scores = np.random.default_rng(SEED).random(len(bodies))
    return Scores(scores, scores)


ROUTERS: dict[str, Callable[[Texts], Scores]] = {
    "lumni": lumni,
    "litellm complexity": complexity,
    "length": length,
    "random": chance,
}


def measure(rows: Rows, routers: Sequence[str], resamples: int) -> dict[str, dict[str, Any]]:
    """The figures of each router, and how far its APGR is behind the first one's in the same resamples."""
    failed, gains = rows.weak < 0.5, rows.strong - rows.weak
    count, scores = len(rows.weak), {name: ROUTERS[name](rows.bodies) for name in routers}

    def estimate(figure: Callable[[Places], float]) -> Estimate:
        return Estimate(figure(np.arange(count)), *figures.interval(figure, count, resamples, SEED))

    def figures_of(name: str) -> dict[str, Any]:
        fails, gain, probable = scores[name]

        def apgr(gain: Vector) -> Callable[[Places], float]:
            return lambda at: figures.apgr(gain[at], gains[at], rows.groups[at])

        told: dict[str, Any] = {
            "apgr": estimate(apgr(gain)),
            "auc": estimate(lambda at: figures.auc(fails[at], failed[at])),
        }
        if probable:
            told["ece"] = estimate(lambda at: figures.calibration_error(fails[at], 1 - rows.weak[at]))
            told["coverage"] = figures.coverage(fails, failed)
        if name != routers[0]:
            first, own = apgr(scores[routers[0]].gain), apgr(gain)
            told["behind"] = estimate(lambda at: first(at) - own(at))
        return told

    return {name: figures_of(name) for name in routers}


def show(found: dict[str, dict[str, Any]], console: Console) -> None:
    table = Table("router", "APGR", "AUC of “weak fails”", "calibration error", "APGR behind the first")
    for name, told in found.items():
        table.add_row(name, *(str(told.get(figure, "")) for figure in ("apgr", "auc", "ece", "behind")))
    console.print(table)
    for name, told in found.items():
        if "coverage" in told:
            curve = ", ".join(f"{share:.0%}: {right:.1%}" for share, right in told["coverage"])
            console.print(f"{name}, right when it decides only the surest … of the rows: {curve}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Which requests deserve the strong tier.")
    parser.add_argument("rows", type=Path, help="JSONL of prompts with weak and strong solve rates")
    parser.add_argument("--routers", nargs="+", choices=list(ROUTERS), default=list(ROUTERS))
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    options = parser.parse_args(arguments)
    try:
        rows = Rows.read(options.rows)
    except (InvalidRequest, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    found = measure(rows, options.routers, options.resamples)
    show(found, Console(width=None if sys.stdout.isatty() else 150, highlight=False))
    print(f"{len(rows.weak):,} rows of {len(set(rows.groups.tolist()))} groups, {options.resamples} resamples")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _text(body: dict[str, Any]) -> str:
    content = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "")
    return content if isinstance(content, str) else " ".join(p.get("text", "") for p in content)


if __name__ == "__main__":
    sys.exit(main())
