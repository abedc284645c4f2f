"""A window never admits more than its limit, and says truly when it will admit again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.lab.faults import FaultQueue, parse_fault, parse_fault_option
from lumni.lab.limits import SECONDS, Limit, Pool, parse_limits

_LIMITS = st.builds(
    Limit,
    unit=st.sampled_from(["requests", "tokens"]),
    period=st.sampled_from(["second", "minute", "hour", "day"]),
    amount=st.integers(1, 50),
    kind=st.sampled_from(["fixed", "sliding", "refilling"]),
)
_CALLS = st.lists(st.tuples(st.floats(0, 5000), st.integers(1, 20)), max_size=60)


def _inside(limit: Limit, taken: list[tuple[float, int]], start: float, end: float) -> int:
    return sum(1 if limit.unit == "requests" else tokens for when, tokens in taken if start <= when < end)


@given(limits=st.lists(_LIMITS, min_size=1, max_size=3), calls=_CALLS)
def test_a_window_never_admits_more_than_its_limit(limits: list[Limit], calls: list[tuple[float, int]]) -> None:
    """000-20: whatever arrives when, no window of the pool is ever over its limit."""
    pool, now, admitted = Pool(limits), 1_800_000_000.0, []
    for gap, tokens in calls:
        now += gap
        if pool.admit(tokens, now) is None:
            admitted.append((now, tokens))
    for limit in limits:
        length = SECONDS[limit.period]
        for when, _ in admitted:
            if limit.kind == "fixed":
                start = when // length * length
                assert _inside(limit, admitted, start, start + length) <= limit.amount
            elif limit.kind == "sliding":
                assert _inside(limit, admitted, when, when + length) <= limit.amount
            else:
                refilled = limit.amount * (admitted[-1][0] - when) / length
                assert _inside(limit, admitted, when, math.inf) <= limit.amount + refilled + 1e-6


@given(limits=st.lists(_LIMITS, min_size=1, max_size=3), calls=_CALLS)
def test_a_refused_call_fits_after_the_wait_and_not_before(limits: list[Limit], calls: list[tuple[float, int]]) -> None:
    """000-22: the lab's retry-after is honest."""
    pool, now = Pool(limits), 1_800_000_000.0
    for gap, tokens in calls:
        now += gap
        refusal = pool.admit(tokens, now)
        if refusal is None or math.isinf(refusal.wait):
            continue
        limit = refusal.reading.limit
        before = Pool([limit])
        assert refusal.wait > 0
        alone = next(window for window in pool.windows if window.limit == limit)
        assert alone.wait(refusal.requested, now + refusal.wait * 0.5) > 0
        now += refusal.wait + 1e-3
        assert alone.wait(refusal.requested, now) == 0
        assert before.admit(tokens, now) is None


def test_all_windows_take_or_none_does() -> None:
    """000-20: a call that one window refuses costs the others nothing."""
    pool = Pool(parse_limits({"rpm": 5, "tpm": 10}))
    assert pool.admit(8, 0) is None
    assert pool.admit(8, 1) is not None
    assert [reading.used for reading in pool.readings(1)] == [1, 8]


def test_settling_gives_back_what_was_not_used() -> None:
    """000-25: a reservation becomes the real usage."""
    pool = Pool(parse_limits({"tpm": 10}))
    assert pool.admit(10, 0) is None
    pool.settle(-7, 1)
    assert pool.admit(7, 2) is None
    assert pool.admit(1, 3) is not None


def test_a_month_ends_with_the_calendar() -> None:
    """000-22: fixed monthly windows reset at the month's first second, UTC."""
    pool = Pool(parse_limits({"rpmonth": 1, "kind": "fixed"}))
    noon_of_january_31 = 1_769_860_800.0
    assert pool.admit(1, noon_of_january_31) is None
    refusal = pool.admit(1, noon_of_january_31 + 1)
    assert refusal is not None
    assert refusal.wait == 43_199


@pytest.mark.parametrize("spec", [{"rpx": 1}, {"rpm": -1}, {"rpm": 1.5}, {"rpm": True}, {"rpm": 1, "kind": "odd"}])
def test_wrong_limits_are_named(spec: dict[str, object]) -> None:
    """000-23: a limit that means nothing is refused."""
    with pytest.raises(ValueError, match=r"rp|kind"):
        parse_limits(spec)


def test_faults_meet_whom_they_name_as_often_as_they_say() -> None:
    """004-02: a scripted outage is exactly the one that was scripted."""
    queue = FaultQueue()
    queue.add(parse_fault_option("status:status=502,profile=groq,times=2,retry_after=1.5"))
    assert queue.take("openai", "m", "a") is None
    hits = [queue.take("groq", "m", "a") for _ in range(3)]
    assert [fault.status if fault else None for fault in hits] == [502, 502, None]


def test_chances_come_from_the_seed() -> None:
    """004-02: a flaky provider is flaky in the same way every time."""

    def run(seed: int) -> list[bool]:
        queue = FaultQueue(seed)
        queue.add(parse_fault({"kind": "cut", "times": None, "probability": 0.5}))
        return [queue.take("groq", "m", "a") is not None for _ in range(60)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 10 < sum(run(1)) < 50


@pytest.mark.parametrize(
    "text", ["explode", "status:status=99", "cut:after=x", "cut:colour=red", "stall:seconds", "cut:times=-1"]
)
def test_wrong_faults_are_refused(text: str) -> None:
    """004-02: a misspelt fault doesn't pass for one that never strikes."""
    with pytest.raises(ValueError, match=r"kind|status|after|colour|name=value|times"):
        parse_fault_option(text)
