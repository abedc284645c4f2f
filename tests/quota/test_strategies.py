"""Each strategy orders as its name says, and scarce quota has a price that follows its fill and its clock."""

from collections import Counter
from dataclasses import replace
from math import inf
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.model import DAY, Amounts, WindowState
from lumni.quota.strategies import Contender, Strategy, headroom, order, perishing, shadow_price, sustainable

ONE = Amounts()


def day(limit: int | None, used: int, reset_in: float, blocked_in: float = 0.0) -> WindowState:
    return WindowState("p", "r86400000", "requests", DAY, limit, used, 0, reset_in, blocked_in, "catalogue")


FEW = [
    Contender("a", priority=2, used=5, latency=0.9, cost=10, quality=0.4),
    Contender("b", priority=0, used=9, latency=None, cost=None, quality=0.9),
    Contender("c", priority=1, used=0, latency=0.2, cost=30, quality=0.6),
]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("priority", "bca"),
        ("least_used", "cab"),
        ("least_latency", "cab"),
        ("lowest_cost", "acb"),
        ("quality", "bca"),
        ("adaptive", "bca"),
    ],
)
def test_orders(strategy: Strategy, expected: str) -> None:
    """000-11, 000-13, 002-03, 002-04, 002-05: and the unknown comes last."""
    assert "".join(FEW[place].deployment for place in order(strategy, FEW)) == expected


def test_round_robin_hits_each_once() -> None:
    """000-12, 002-02: N requests over N candidates."""
    firsts = [order("round_robin", FEW, turn=turn)[0] for turn in range(30)]
    assert Counter(firsts) == {0: 10, 1: 10, 2: 10}
    assert firsts[:3] == [0, 1, 2]
    assert order("round_robin", []) == []


def test_quota_that_would_be_lost_costs_nothing_and_the_last_call_of_the_day_costs_most() -> None:
    """000-58: a day's quota that lasts to its reset is free; behind pace the price rises; before the reset it falls."""
    fresh = shadow_price([day(20, 0, DAY)], Amounts(0))
    morning = shadow_price([day(20, 10, 0.9 * DAY)], ONE)
    empty = shadow_price([day(20, 19, 0.9 * DAY)], ONE)
    evening = shadow_price([day(20, 10, 0.1 * DAY)], ONE)
    assert fresh == evening == 0
    assert 0 < morning < empty
    assert empty == pytest.approx(1)
    assert shadow_price([day(None, 10**6, DAY)], ONE) == 0
    assert shadow_price([day(20, 0, DAY, blocked_in=60)], ONE) == pytest.approx(1)
    assert shadow_price([], ONE) == 0


def test_adaptive_spends_scarce_strong_quota_on_those_who_gain() -> None:
    """000-58: with plenty everyone gets the strong model; when it runs short only who gains from it."""
    weak = Contender("weak", quality=0.5, windows=(day(10_000, 10, DAY / 2),))
    plenty = Contender("strong", quality=0.9, windows=(day(20, 2, DAY / 2),))
    short = Contender("strong", quality=0.9, windows=(day(20, 15, DAY / 2),))
    assert order("adaptive", [weak, plenty], gain=0.1) == [1, 0]
    assert order("adaptive", [weak, short], gain=0.1) == [0, 1]
    assert order("adaptive", [weak, short], gain=0.9) == [1, 0]


windows = st.builds(
    day, st.none() | st.integers(0, 100), st.integers(0, 120), st.floats(0, 2 * DAY), st.sampled_from([0.0, 30.0])
)


@given(st.lists(windows, max_size=3), st.integers(0, 5))
def test_prices_are_between_0_and_1_and_rise_with_use(found: list[WindowState], more: int) -> None:
    """000-58"""
    price = shadow_price(found, ONE)
    assert 0 <= price <= 1.0000001
    assert shadow_price(found, Amounts(1 + more)) >= price
    assert 0 <= headroom(found, Amounts(1 + more)) <= headroom(found, ONE) <= 1


def test_what_is_lost_by_waiting_is_what_the_scarcest_window_has_left() -> None:
    """000-22: a second's window is new before one looks again; one that is closed loses nothing."""
    second = WindowState("p", "r1000", "requests", 1, 1, 1, 0, 0.3, 0, "configured")
    minute = WindowState("p", "r60000", "requests", 60, 60, 15, 0, 30, 0, "configured")
    assert perishing([second, minute]) == pytest.approx(44 / 60)
    assert perishing([second]) == perishing([]) == 1
    assert perishing([minute, day(10, 9, DAY / 2)]) == 0
    assert perishing([replace(second, blocked_in=5.0)]) == 0


def test_what_can_be_sustained_is_what_the_slowest_window_of_up_to_an_hour_allows() -> None:
    tokens = WindowState("p", "t60000", "tokens", 60, 6000, 0, 0, 0, 0, "configured")
    minute = WindowState("p", "r60000", "requests", 60, 30, 15, 0, 30, 0, "configured")
    assert sustainable([minute, tokens, day(10, 0, 0)], Amounts(1, 100, 300)) == pytest.approx(0.25)
    assert sustainable([minute, tokens], Amounts(1, 10, 10)) == pytest.approx(0.5)
    assert sustainable([day(None, 0, 0)], ONE) == inf


standings = st.builds(
    Contender,
    st.text(max_size=3),
    st.integers(0, 3),
    st.integers(0, 9),
    st.none() | st.floats(0, 9),
    st.none() | st.integers(0, 9),
    st.floats(0, 1),
    st.lists(windows, max_size=2).map(tuple),
)


@given(st.sampled_from(list(get_args(Strategy))), st.lists(standings, max_size=6), st.integers(0, 99), st.floats(0, 1))
def test_every_order_names_every_candidate_once(
    strategy: Strategy, found: list[Contender], turn: int, gain: float
) -> None:
    """002-32: no strategy loses or repeats a candidate."""
    assert sorted(order(strategy, found, turn=turn, gain=gain)) == list(range(len(found)))
