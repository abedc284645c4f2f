"""A provider that says nothing is asked again soon at first, and ever more rarely while it refuses."""

from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.backoff import FIRST, LONGEST, Backoff


def test_each_refusal_doubles_the_pause_and_a_success_ends_it() -> None:
    """000-20: from a second to a minute."""
    backoff, now, pauses = Backoff(), 0.0, []
    for _ in range(9):
        pauses.append(backoff.refused("p", now, now + 0.25))
        now += 0.25 + pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.refused("other", now, now) == FIRST
    backoff.succeeded("p", now)
    assert backoff.refused("p", now, now) == FIRST


def test_calls_under_way_together_are_one_refusal() -> None:
    """000-20: ten that came to a full window say no more than one; nor does a success from before it was full."""
    backoff = Backoff()
    assert backoff.refused("p", 0.0, 1.0) == 1.0
    assert backoff.refused("p", 0.5, 1.25) == 0.75
    backoff.succeeded("p", 0.9)
    assert backoff.refused("p", 2.0, 2.0) == 2.0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5), st.booleans()), max_size=50))
def test_a_pause_is_never_longer_than_a_minute(calls: list[tuple[float, float, bool]]) -> None:
    """000-20"""
    backoff, now = Backoff(), 0.0
    for gap, took, refused in calls:
        now += gap
        if refused:
            assert 0 <= backoff.refused("p", now - took, now) <= LONGEST + 1e-6
        else:
            backoff.succeeded("p", now - took)
