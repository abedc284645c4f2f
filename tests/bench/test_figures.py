"""Figures that follow from runs made by hand."""

import math

import pytest

from bench.figures import figures, percentile, ratio
from bench.loads import Run
from bench.rounds import SMOKE, Runs


def _runs(target: str, cpu: list[float], latency: list[float]) -> Runs:
    return {
        (target, load.name): [Run(10, 0, "", 0, 2.0, latency, latency, cpu_ms=value) for value in cpu]
        for load in SMOKE.loads()
    }


def test_added_latency_is_the_gateways_percentile_minus_the_providers() -> None:
    """Show 6: direct and gateway are compared over all rounds' samples."""
    found = figures(_runs("direct", [0.1], [1.0, 2.0, 3.0]) | _runs("gateway", [6.0], [5.0, 8.0, 30.0]))
    assert found["gateway"].added_latency_p50 == 6.0
    assert found["gateway"].added_latency_p99 == 27.0
    assert found["direct"].added_latency_p99 == 0.0


def test_one_slow_round_does_not_move_the_figure() -> None:
    """Show 6: CPU per request and rates are medians over the rounds."""
    found = figures(_runs("direct", [0.1], [1.0]) | _runs("gateway", [6.0, 90.0, 7.0], [1.0]))
    assert found["gateway"].request_cpu == 7.0
    assert found["gateway"].requests_per_second == 5.0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles_are_nearest_ranks(share: float, expected: float) -> None:
    """Show 6: a percentile is a value that was measured, in any order of the samples."""
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_nothing_to_divide_by_gives_no_ratio() -> None:
    """Show 6: a load that measured nothing is told as nothing."""
    assert math.isnan(ratio(3.0, 0.0))
    assert math.isnan(percentile([], 0.5))
    assert ratio(3.0, 2.0) == 1.5
