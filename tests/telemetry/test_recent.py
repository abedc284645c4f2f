"""Figures of the last minutes."""

import pytest

from lumni.telemetry.recent import Recent
from lumni.telemetry.summary import summary
from lumni.types import Json, Outcome
from tests.gateway.provider import Clock
from tests.telemetry.records import attempt, failure, record


@pytest.fixture
def clock() -> Clock:
    return Clock(1_790_000_100.0)  # a whole minute, and a whole quarter of an hour


@pytest.fixture
def recent(clock: Clock) -> Recent:
    return Recent(clock)


def shown(recent: Recent, minutes: int = 60, provider: str | None = None) -> Json:
    return summary(recent.window(minutes), provider)


def test_percentiles_are_those_of_the_requests(recent: Recent) -> None:
    """002-14: P50, P95 and P99 of the answers' times, within one percent."""
    for number in range(1, 1001):
        recent.write(record(latency_ms=float(number)))
    found = shown(recent)["latency_ms"]
    assert found["p50"] == pytest.approx(500, rel=0.01)
    assert found["p95"] == pytest.approx(950, rel=0.01)
    assert found["p99"] == pytest.approx(990, rel=0.01)
    assert (found["mean"], found["max"]) == (500.5, 1000)


def test_errors_are_by_type_and_limits_are_none(recent: Recent) -> None:
    """002-15: a limit that was reached, and a client that left, are counted but are no errors."""
    outcomes = (Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.UNAVAILABLE, Outcome.RATE_LIMITED, Outcome.DISCONNECTED)
    for outcome in outcomes:
        recent.write(failure(outcome))
    for _ in range(5):
        recent.write(record())
    found = shown(recent)
    assert found["errors"] == {"total": 3, "rate": 0.3, "by_type": {"timeout": 2, "unavailable": 1}}
    assert (found["rate_limit_hits"], found["requests"]["total"], found["requests"]["successful"]) == (1, 10, 5)


def test_throughput_is_over_the_time_that_is_covered(recent: Recent, clock: Clock) -> None:
    """002-16: requests a second and a minute, since the start if that is less long ago than the window."""
    for _ in range(60):
        recent.write(record())
    clock.now += 120
    assert shown(recent)["throughput"]["requests_per_second"] == 0.5
    assert shown(recent)["throughput"]["requests_per_minute"] == 30


def test_providers_have_figures_of_their_own(recent: Recent) -> None:
    """002-17, 002-29: calls and their failures belong to whom was called, the answer to who gave it."""
    calls = (attempt(0, Outcome.UNAVAILABLE, duration_ms=10.0), attempt(1, duration_ms=80.0))
    recent.write(record(deployment="d1", provider="p1", attempts=calls))
    recent.write(record(deployment="d1", provider="p1", attempts=(attempt(1, Outcome.RATE_LIMITED), attempt(1))))
    providers = shown(recent)["providers"]
    assert (providers["p0"]["answers"], providers["p0"]["calls"]) == (0, 1)
    assert providers["p0"]["errors"]["by_type"] == {"unavailable": 1}
    assert (providers["p1"]["answers"], providers["p1"]["calls"], providers["p1"]["rate_limit_hits"]) == (2, 3, 1)
    assert providers["p1"]["errors"]["total"] == 0
    only = shown(recent, provider="p1")
    assert (only["requests"]["total"], list(only["providers"])) == (2, ["p1"])
    assert shown(recent, provider="p0")["requests"]["total"] == 0


def test_a_window_forgets_what_is_older(recent: Recent, clock: Clock) -> None:
    """002-29: to the minute within the last hour, to the quarter of an hour within the last day."""
    recent.write(record())
    clock.now += 30 * 60
    recent.write(record())
    assert shown(recent, 60)["requests"]["total"] == 2
    assert shown(recent, 29)["requests"]["total"] == 1
    clock.now += 2 * 3600
    recent.write(record())
    assert [shown(recent, minutes)["requests"]["total"] for minutes in (1, 60, 130, 180, 1440)] == [1, 1, 2, 3, 3]
    clock.now += 25 * 3600
    assert shown(recent, 1440)["requests"]["total"] == 0


def test_what_is_folded_is_counted_once(recent: Recent, clock: Clock) -> None:
    """002-29: the running minute too is in the longer windows, and no request twice."""
    for _ in range(200):
        recent.write(record())
        clock.now += 60
    assert shown(recent, 1440)["requests"]["total"] == 200


def test_memory_is_bounded(recent: Recent, clock: Clock) -> None:
    """002-36: three days of requests are kept as one day of slices."""
    for _ in range(3 * 24 * 60):
        recent.write(record())
        clock.now += 60
    assert len(recent._minutes) <= 61
    assert len(recent._quarters) <= 97


def test_a_clock_that_is_set_back_loses_nothing(recent: Recent, clock: Clock) -> None:
    recent.write(record())
    clock.now -= 30
    recent.write(record())
    assert shown(recent)["requests"]["total"] == 2


def test_costs_are_exact(recent: Recent) -> None:
    """003-36: sums of money are of whole nano-dollars."""
    for _ in range(3):
        recent.write(record(list_cost=100_000_001, billed_cost=1))
    assert shown(recent)["cost_usd"] == {"list": "0.300000003", "billed": "0.000000003"}
    assert shown(recent)["tokens"] == {"prompt": 300, "completion": 60, "total": 360}
