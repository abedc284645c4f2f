"""Interleaved rounds: each puts every load on every target in turn, so that a slow minute of the machine hits all."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.loads import Kind, Load, Run, run
from bench.targets import Target


@dataclass(frozen=True)
class Plan:
    """How long to measure: at most ``rounds``, and none but the first that would end later than ``budget`` seconds.

    The other times are seconds of one load. ``budget`` counts from when the first server is started.
    """

    rounds: int
    budget: float
    saturated: float
    spaced: float
    warm_up: float

    def loads(self) -> list[Load]:
        """The loads of a round: closed loops for CPU and throughput, one client or open loops for latency."""
        return [
            Load("plain", Kind.PLAIN, self.saturated),
            Load("burst", Kind.BURST, self.saturated, connections=8),
            Load("paced", Kind.PACED, self.saturated, connections=64),
            Load("plain-half", Kind.PLAIN, self.saturated, connections=64, share=0.5),
            Load("plain-alone", Kind.PLAIN, self.saturated, connections=1, timed=True),
            Load("plain-spaced", Kind.PLAIN, self.spaced, rate=25.0),
            Load("paced-spaced", Kind.PACED, self.spaced, rate=3.0),
        ]


DEFAULT = Plan(rounds=5, budget=345.0, saturated=2.0, spaced=4.0, warm_up=1.0)
QUICK = Plan(rounds=2, budget=90.0, saturated=0.8, spaced=1.5, warm_up=0.3)
SMOKE = Plan(rounds=1, budget=30.0, saturated=0.1, spaced=0.3, warm_up=0.0)

Runs = dict[tuple[str, str], list[Run]]  # (target, load) -> one Run a round


def measure(
    loadgen: Path,
    targets: Sequence[Target],
    plan: Plan,
    started: float,
    directory: Path,
    progress: Callable[[str], None],
) -> Runs:
    """All rounds. ``started`` is the moment of ``time.monotonic`` from which the budget counts."""
    loads = plan.loads()
    for target, load in _turns(targets, loads[:2]):
        if plan.warm_up:
            run(loadgen, target, replace(load, seconds=plan.warm_up), directory)
    runs: Runs = {(target.name, load.name): [] for target, load in _turns(targets, loads)}
    for number in range(plan.rounds):
        began = time.monotonic()
        for target in targets:
            progress(f"round {number + 1} of {plan.rounds}: {target.name}")
            for load in loads:
                fitted = _fitted(load, runs[target.name, "plain"])
                runs[target.name, load.name].append(run(loadgen, target, fitted, directory))
        now = time.monotonic()
        if now - started + (now - began) > plan.budget:
            break
    return runs


def _fitted(load: Load, saturated: Sequence[Run]) -> Load:
    """With the rate that its share of what was just done comes to."""
    if load.share is None:
        return load
    return replace(load, rate=load.share * saturated[-1].requests / saturated[-1].seconds)


def _turns(targets: Sequence[Target], loads: Sequence[Load]) -> Iterable[tuple[Target, Load]]:
    return ((target, load) for target in targets for load in loads)
