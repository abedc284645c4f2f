"""From runs to figures: medians over the rounds, percentiles over all rounds' samples, ratios between targets."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.loads import Run
from bench.rounds import Runs
from bench.targets import DIRECT


@dataclass(frozen=True)
class Figures:
    """One target. CPU and latency are in milliseconds, rates in answers a second.

    ``added`` figures are the target's percentile minus the same percentile of the provider called directly.
    """

    request_cpu: float
    burst_stream_cpu: float
    paced_stream_cpu: float
    lone_stream_cpu: float
    requests_per_second: float
    streams_per_second: float
    latency_p50: float
    latency_p99: float
    added_latency_p50: float
    added_latency_p99: float
    added_spaced_p50: float
    added_spaced_p99: float
    added_half_load_p50: float
    added_half_load_p99: float
    added_first_content_p50: float
    added_first_content_p99: float
    added_gap_p50: float
    added_gap_p99: float
    answers: int
    errors: int
    error: str


def figures(runs: Runs) -> dict[str, Figures]:
    """The figures of each target. ``runs`` must contain the provider itself."""
    return {name: _of(name, runs) for name in dict.fromkeys(target for target, _ in runs)}


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` is in (0, 1]. NaN without samples."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1] if samples else math.nan


def ratio(of: float, to: float) -> float:
    """``of / to``; NaN where there is nothing to divide by."""
    return of / to if to > 0 else math.nan


def _of(name: str, runs: Runs) -> Figures:
    loads = ("plain", "burst", "paced", "plain-half", "plain-alone", "plain-spaced", "paced-spaced")
    plain, burst, many, half, alone, spaced, paced = (runs[name, load] for load in loads)
    latency, direct_latency = _pooled(alone, "latency_ms"), _pooled(runs[DIRECT, "plain-alone"], "latency_ms")
    between, direct_between = _pooled(spaced, "latency_ms"), _pooled(runs[DIRECT, "plain-spaced"], "latency_ms")
    first, direct_first = _pooled(paced, "first_ms"), _pooled(runs[DIRECT, "paced-spaced"], "first_ms")
    halved = _pooled(half, "latency_ms")
    gaps, direct_gaps = _pooled(paced, "gap_ms"), _pooled(runs[DIRECT, "paced-spaced"], "gap_ms")
    every = [*plain, *burst, *many, *half, *alone, *spaced, *paced]
    return Figures(
        request_cpu=statistics.median(run.cpu_ms for run in plain),
        burst_stream_cpu=statistics.median(run.cpu_ms for run in burst),
        paced_stream_cpu=statistics.median(run.cpu_ms for run in many),
        lone_stream_cpu=statistics.median(run.cpu_ms for run in paced),
        requests_per_second=statistics.median(run.requests / run.seconds for run in plain),
        streams_per_second=statistics.median(run.requests / run.seconds for run in burst),
        latency_p50=percentile(latency, 0.50),
        latency_p99=percentile(latency, 0.99),
        added_latency_p50=percentile(latency, 0.50) - percentile(direct_latency, 0.50),
        added_latency_p99=percentile(latency, 0.99) - percentile(direct_latency, 0.99),
        added_spaced_p50=percentile(between, 0.50) - percentile(direct_between, 0.50),
        added_spaced_p99=percentile(between, 0.99) - percentile(direct_between, 0.99),
        added_first_content_p50=percentile(first, 0.50) - percentile(direct_first, 0.50),
        added_first_content_p99=percentile(first, 0.99) - percentile(direct_first, 0.99),
        added_half_load_p50=percentile(halved, 0.50) - percentile(direct_between, 0.50),
        added_half_load_p99=percentile(halved, 0.99) - percentile(direct_between, 0.99),
        added_gap_p50=percentile(gaps, 0.50) - percentile(direct_gaps, 0.50),
        added_gap_p99=percentile(gaps, 0.99) - percentile(direct_gaps, 0.99),
        answers=sum(run.requests for run in every),
        errors=sum(run.errors for run in every),
        error=next((run.error for run in every if run.error), ""),
    )


def _pooled(runs: Sequence[Run], times: str) -> list[float]:
    return [value for run in runs for value in getattr(run, times)]
