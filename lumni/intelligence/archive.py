"""Decisions as JSON, to be kept with the record of a request."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lumni.intelligence.decision import Decision, Option, Out
from lumni.intelligence.model import Facts, Rank, Task
from lumni.types import Json


def dump(decision: Decision) -> Json:
    """For :func:`load`. Infinite waits, which JSON lacks, become ``null``."""
    return {
        "requested": decision.requested,
        "automatic": decision.automatic,
        "named": decision.named,
        "reason": decision.reason,
        "domain": decision.domain,
        "classification": decision.classification,
        "task": list(decision.task),
        "weights": None if decision.weights is None else dict(decision.weights),
        "strategy": decision.strategy,
        "options": [_dumped(option) for option in decision.options],
        "excluded": [list(out) for out in decision.excluded],
        "kept": decision.kept,
        "faults": list(decision.faults),
    }


def load(dumped: Mapping[str, Any]) -> Decision:
    """What :func:`dump` wrote."""
    return Decision(
        requested=dumped["requested"],
        automatic=dumped["automatic"],
        named=dumped["named"],
        reason=dumped["reason"],
        domain=dumped["domain"],
        classification=dumped["classification"],
        task=Task(*dumped["task"]),
        weights=dumped["weights"],
        strategy=dumped["strategy"],
        options=tuple(map(_loaded, dumped["options"])),
        excluded=tuple(Out(*out) for out in dumped["excluded"]),
        kept=dumped["kept"],
        faults=tuple(dumped["faults"]),
    )


def _dumped(option: Option) -> list[Any]:
    deployment, provider, model, facts, (wait, *rest), strict, place, room, benchmark = option
    rank = [None if wait == math.inf else wait, *rest]
    return [deployment, provider, model, list(facts), rank, strict, place, room, benchmark]


def _loaded(dumped: Sequence[Any]) -> Option:
    deployment, provider, model, facts, (wait, *rest), strict, place, room, benchmark = dumped
    rank = Rank(math.inf if wait is None else wait, *rest)
    return Option(deployment, provider, model, Facts(*facts), rank, strict, place, room, benchmark)
