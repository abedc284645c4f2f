"""How much of what a class could get right it gets right, if strong models are scarce. In virtual time, no network.

    uv run python -m bench.correctness PATH.jsonl [--classes 20]

The class of ``bench.classroom`` asks rows of a benchmark file (``prompt``, ``group``, ``weak``, ``strong``: the shares
of attempts in which each tier solved it), so that it is recorded how likely each answer is to be right. Planner, quota
and queue are those of the gateway; only the providers are played, by a pause. Each class is held once for each router:

* ``lumni``: nothing is said about the requests, the classifier and the quota's shadow prices decide
* ``complexity``: LiteLLM's complexity router names each one's tier (``taskType``), as many strong as the accounts allow
* ``random``: a coin names it, as often

docs/benchmarks.md says what the figures mean.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.classroom.trace import DEFAULT, Ask, class_trace
from bench.routing import Rows, Vector, complexity
from lumni.catalogue.limits import Limit, PoolLimits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import known_scores
from lumni.errors import LumniError
from lumni.gateway.admission import Door
from lumni.gateway.planning import Planner
from lumni.gateway.quotas import make_quota
from lumni.gateway.turn import Turn
from lumni.quota.memory import MemoryStore
from lumni.quota.service import Quota
from lumni.settings import Settings
from lumni.types import ChatRequest, Principal, TaskType, Usage
from tests.quota.virtual import run, wall_clock

STRONG_RPM, STRONG_ACCOUNTS, WEAK_RPM, WEAK_ACCOUNTS = 30, 2, 60, 4
SECONDS_TO_ANSWER = 1.0
USED = Usage(prompt_tokens=150, completion_tokens=150)
Router = Callable[[int], TaskType | None]


@dataclass(frozen=True)
class Lesson:
    """One class: who asks when, and which row. ``scarce`` is the share of requests that strong accounts can serve."""

    asks: Sequence[Ask]
    rows: Sequence[int]
    scarce: float

    @classmethod
    def of(cls, rows: Rows, seed: int) -> "Lesson":
        """Every benchmark of ``rows`` is asked alike often."""
        asks, rng = class_trace(DEFAULT, seed), random.Random(seed)
        members = [np.flatnonzero(rows.groups == group).tolist() for group in sorted(set(rows.groups.tolist()))]
        chosen = [rng.choice(rng.choice(members)) for _ in asks]
        span = max(ask.deadline for ask in asks)
        calls = STRONG_ACCOUNTS * STRONG_RPM * (1 + span / 60)
        return cls(asks, chosen, min(1.0, calls / len(asks)))


def clairvoyant(lesson: Lesson, rows: Rows) -> float:
    """Expected right answers if the strong calls that there are went where they gain most: nobody can have more."""
    weak, strong = rows.weak[list(lesson.rows)], rows.strong[list(lesson.rows)]
    gains = np.sort(np.maximum(0, strong - weak))[::-1]
    return float(weak.sum() + gains[: round(lesson.scarce * len(gains))].sum())


def attended(lesson: Lesson, rows: Rows, router: Router) -> float:
    """Expected right answers of the class as it really went; who wasn't served has none."""
    tiers = run(_hold(lesson, rows, router))
    right = {"powerful": rows.strong, "fast": rows.weak}
    return float(sum(right[tier][row] for tier, row in zip(tiers, lesson.rows, strict=True) if tier))


async def _hold(lesson: Lesson, rows: Rows, router: Router) -> list[TaskType | None]:
    """The tier that answered each request."""
    catalogue = _catalogue()
    settings = Settings(max_requests_per_minute=0, max_requests_per_hour=0, default_rate_limit_capacity=0)
    quota = make_quota(settings, catalogue, MemoryStore(), wall_clock)
    planner = Planner(catalogue, quota, known_scores())
    start = asyncio.get_running_loop().time()
    asking = (
        _one(planner, quota, ask, start, rows.bodies[row], router(row))
        for ask, row in zip(lesson.asks, lesson.rows, strict=True)
    )
    tiers = await asyncio.gather(*asking)
    await quota.close()
    return list(tiers)


async def _one(
    planner: Planner, quota: Quota, ask: Ask, start: float, body: Mapping[str, object], hint: TaskType | None
) -> TaskType | None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(start + ask.at - loop.time())
    now, moment = loop.time(), datetime.fromtimestamp(wall_clock(), UTC)
    whole = {**body, "max_tokens": ask.max_tokens}
    request = ChatRequest(
        str(ask.number), whole, "auto", moment, now, now + ask.patience, task_type=hint, label=ask.student
    )
    principal = Principal("class", role="teacher")
    try:
        door = Door(quota, request, principal)
        await door.knock(burst_only=False)
        admitted = await door.enter()
        plan = await planner.plan(request, principal)
        turn = Turn(quota, admitted.ticket, quota.estimator.demand(whole))
        chosen = await turn.lease(plan.deployments, request.deadline - SECONDS_TO_ANSWER)
    except LumniError:
        return None
    await turn.enter(chosen)
    await asyncio.sleep(SECONDS_TO_ANSWER)
    turn.answered(chosen, USED, {}, 0.0)
    turn.close()
    return chosen.tier


def _catalogue() -> Catalogue:
    strong = [_deployment(f"strong-{n}", "openai/gpt-oss-120b", "powerful", STRONG_RPM) for n in range(STRONG_ACCOUNTS)]
    weak = [_deployment(f"weak-{n}", "llama-3.1-8b-instant", "fast", WEAK_RPM) for n in range(WEAK_ACCOUNTS)]
    return Catalogue(tuple(strong + weak))


def _deployment(id_: str, model: str, tier: TaskType, rpm: int) -> Deployment:
    return Deployment(
        id=id_,
        group=model,
        provider="groq",
        account=id_,
        model=f"groq/{model}",
        params={"model": f"groq/{model}", "api_key": id_},
        tier=tier,
        free=True,
        pools=(PoolLimits(id_, (Limit("requests", 60, rpm, "refilling"),)),),
    )


def routers(rows: Rows, lesson: Lesson, seed: int) -> dict[str, Router]:
    """What each router says about a row; the others than Lumni's are told how many strong calls there are."""
    scores = complexity(rows.bodies).fails
    bar = np.quantile(scores[list(lesson.rows)], 1 - lesson.scarce)
    rng = random.Random(seed)
    return {
        "lumni": lambda _: None,
        "complexity": lambda row: "powerful" if scores[row] > bar else "fast",
        "random": lambda _: "powerful" if rng.random() < lesson.scarce else "fast",
    }


def measure(rows: Rows, classes: int) -> dict[str, list[float]]:
    """Of each router, and each class: the right answers as a share of the clairvoyant's."""
    shares: dict[str, list[float]] = {}
    for seed in range(1, classes + 1):
        lesson = Lesson.of(rows, seed)
        best = clairvoyant(lesson, rows)
        for name, router in routers(rows, lesson, seed).items():
            shares.setdefault(name, []).append(attended(lesson, rows, router) / best)
    return shares


def show(shares: Mapping[str, Sequence[float]], console: Console) -> None:
    table = Table("router", "of the clairvoyant's right answers", "behind lumni")
    first = np.array(shares["lumni"])
    for name, found in shares.items():
        own = np.array(found)
        table.add_row(name, _mean(own), "" if name == "lumni" else _mean(first - own))
    console.print(table)


def _mean(values: Vector) -> str:
    """The mean with the normal 95 % interval of its estimate."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.1%} ± {half:.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="How much of what a class could get right it gets right.")
    parser.add_argument("rows", type=Path, help="JSONL of prompts with weak and strong solve rates")
    parser.add_argument("--classes", type=int, default=20, help="how many classes, each with its own seed")
    options = parser.parse_args(arguments)
    try:
        rows = Rows.read(options.rows)
    except (LumniError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    show(measure(rows, options.classes), Console(highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
