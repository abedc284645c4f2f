"""A deployment that fails is left alone, and comes back by itself."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.breaker import HISTORY, Breakers
from lumni.types import Outcome


@dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(clock)


def fail(breakers: Breakers, times: int) -> None:
    for _ in range(times):
        breakers.record("a", Outcome.UNAVAILABLE, "503")


def test_three_failures_in_a_row_open_it_for_600_seconds(breakers: Breakers, clock: Clock) -> None:
    """004-03, 004-04, 002-09: and only its own deployment."""
    fail(breakers, 2)
    assert breakers.allow("a")
    fail(breakers, 1)
    assert breakers.state("a") == "open"
    assert not breakers.allow("a")
    assert breakers.allow("b")
    blocked = breakers.blocked("a")
    assert blocked is not None
    assert blocked[1] == 600
    clock.now += 599.9
    assert not breakers.allow("a")
    clock.now += 0.1
    assert breakers.state("a") == "half_open"


def test_a_success_resets_the_count(breakers: Breakers) -> None:
    """004-05"""
    fail(breakers, 2)
    breakers.record("a", Outcome.OK)
    fail(breakers, 2)
    assert breakers.state("a") == "closed"


def test_one_probe_decides(breakers: Breakers, clock: Clock) -> None:
    """004-37: of many who ask in half-open state one is let through; its answer closes, its failure opens again."""
    fail(breakers, 3)
    clock.now += 600
    assert [breakers.allow("a") for _ in range(5)] == [True, False, False, False, False]
    fail(breakers, 1)
    assert breakers.state("a") == "open"
    clock.now += 600
    assert breakers.allow("a")
    breakers.record("a", Outcome.OK)
    assert breakers.state("a") == "closed"
    assert breakers.view("a")["consecutive_failures"] == 0
    assert all(breakers.allow("a") for _ in range(5))


def test_a_lost_probe_is_given_up(breakers: Breakers, clock: Clock) -> None:
    """000-17: a probe whose end nobody reports doesn't keep its deployment out for ever."""
    fail(breakers, 3)
    clock.now += 600
    assert breakers.allow("a")
    clock.now += 120
    assert breakers.allow("a")


@pytest.mark.parametrize(
    "outcome", [Outcome.RATE_LIMITED, Outcome.BAD_REQUEST, Outcome.CONTEXT, Outcome.DISCONNECTED, Outcome.SKIPPED]
)
def test_quota_and_bad_requests_are_no_failures(breakers: Breakers, clock: Clock, outcome: Outcome) -> None:
    """000-27: they neither open it nor count towards it, and free the probe for the next call."""
    for _ in range(10):
        breakers.record("a", outcome)
    assert breakers.allow("a")
    fail(breakers, 2)
    breakers.record("a", outcome)
    fail(breakers, 1)
    assert breakers.state("a") == "open"
    clock.now += 600
    assert breakers.allow("a")
    breakers.record("a", outcome)
    assert breakers.state("a") == "half_open"
    assert breakers.allow("a")


def test_a_refused_key_takes_the_account_out_at_once_and_says_so(breakers: Breakers, clock: Clock) -> None:
    """000-15, 000-17: 401 and 404 don't get better by asking three times; they are asked again after the recovery."""
    breakers.record("a", Outcome.AUTH)
    blocked = breakers.blocked("a")
    assert blocked is not None
    assert "key" in blocked[0]
    clock.now += 600
    assert breakers.allow("a")


def test_admins_see_its_history_and_can_reset_it(breakers: Breakers, clock: Clock) -> None:
    """002-30, 002-31: bounded history; a reset closes it."""
    fail(breakers, 3)
    view = breakers.view("a")
    assert view["state"] == "open"
    assert (view["failures"], view["consecutive_failures"], view["failure_rate"]) == (3, 3, 1.0)
    assert view["retry_in"] == 600
    assert [event["outcome"] for event in view["history"]] == ["unavailable"] * 3
    breakers.reset("a")
    assert breakers.allow("a")
    for _ in range(200):
        breakers.record("a", Outcome.OK)
    assert len(breakers.view("a")["history"]) == HISTORY
    assert breakers.view("never called")["state"] == "closed"


def test_an_open_breaker_survives_a_restart(breakers: Breakers, clock: Clock) -> None:
    """000-38"""
    fail(breakers, 3)
    again = Breakers(clock)
    again.load(breakers.dump())
    assert not again.allow("a")
    clock.now += 600
    assert again.allow("a")


@given(st.lists(st.sampled_from([*Outcome, "wait", "ask"]), max_size=60))
def test_never_more_than_one_call_between_opening_and_closing(steps: list[str]) -> None:
    """002-09: whatever happens, an open breaker lets nothing through, and a half-open one a single probe."""
    clock = Clock()
    breakers = Breakers(clock, recovery=60, probe_time=1000)
    probing = False
    for step in steps:
        before = breakers.state("a")
        if step == "wait":
            clock.now += 30
        elif step == "ask":
            allowed = breakers.allow("a")
            assert allowed == (before == "closed" or (before == "half_open" and not probing))
            probing = probing or (allowed and before == "half_open")
        else:
            breakers.record("a", Outcome(step))
            probing = False
            assert not (before != "closed" and step == Outcome.UNAVAILABLE) or breakers.state("a") == "open"
