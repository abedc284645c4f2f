"""Budgets as arithmetic."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from lumni.budget import Balance, Bounds, Draw, State, carried, decide, ends_early, previous, span

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo", "UTC")
DAWN = datetime(2000, 1, 1, tzinfo=UTC)
NAME = Balance("b", "w", "total")
amounts = st.integers(0, 10_000)


def draw(limit: int, base: int, rate: int) -> Draw:
    return Draw(NAME, limit, base, rate)


draws = st.builds(draw, amounts, st.integers(1, 2000), st.sampled_from((0, 1, 333_333, 1_000_000, 7_000_001)))
states = st.builds(State, amounts, amounts, st.integers(0, 100))
bounds = st.integers(1, 5000).flatmap(lambda most: st.builds(Bounds, st.just(most), st.integers(1, most)))


@given(st.lists(st.tuples(draws, states), min_size=1, max_size=3), bounds)
def test_what_is_granted_never_exceeds_what_is_free(balances: list[tuple[Draw, State]], wanted: Bounds) -> None:
    """000-61: and who is refused for good could not be served by what is not spent, whatever others hold."""
    some, known = [pair[0] for pair in balances], [pair[1] for pair in balances]
    verdict = decide(some, known, wanted)
    room = [draw.limit + state.carried - state.spent for draw, state in balances]
    if verdict.tokens is not None:
        assert 1 <= verdict.tokens <= wanted.most
        for one, state, left in zip(some, known, room, strict=True):
            assert one.need(verdict.tokens) <= left - state.reserved
    elif verdict.gone:
        assert verdict.at
        assert all(some[place].need(1) > room[place] for place in verdict.at)
    else:
        assert all(one.need(1) <= left for one, left in zip(some, room, strict=True))
        assert any(state.reserved > 0 for state in known)


@given(st.lists(st.tuples(draws, states), min_size=1, max_size=3), bounds)
def test_nobody_waits_when_nobody_holds_anything(balances: list[tuple[Draw, State]], wanted: Bounds) -> None:
    """000-61: so a wait always ends: in time, all who run have settled."""
    verdict = decide([pair[0] for pair in balances], [pair[1]._replace(reserved=0) for pair in balances], wanted)
    assert verdict.tokens is not None or verdict.gone


@given(
    st.integers(0, 60 * 365 * 86_400).map(
        lambda seconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    st.sampled_from(ZONES),
    st.sampled_from(("day", "week", "month")),
)
def test_periods_follow_the_calendar_without_gaps(at: datetime, zone: str, period: str) -> None:
    """000-22: every moment is in exactly one period of its time zone, over daylight-saving changes and lost days."""
    since = datetime(1999, 1, 1, tzinfo=UTC)
    current = span(period, at, zone, since)  # type: ignore[arg-type]
    assert current.ends is not None
    assert current.starts <= at < current.ends
    first = datetime.fromisoformat(current.name).date()
    assert first <= at.astimezone(ZoneInfo(zone)).date()
    assert span(period, current.ends, zone, since).starts == current.ends  # type: ignore[arg-type]
    before = previous(period, current, zone, since)  # type: ignore[arg-type]
    assert before is not None
    assert before.ends == current.starts
    if period == "week":
        assert first.weekday() == 0
    if period == "month":
        assert first.day == 1


def test_days_have_the_hours_that_the_clock_gives_them() -> None:
    """000-22: 23 and 25 when it changes."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    hours = []
    for month, day in ((3, 29), (7, 1), (10, 25)):
        found = span("day", datetime(2026, month, day, 12, tzinfo=UTC), "Europe/Berlin", since)
        assert found.ends is not None
        hours.append((found.ends - found.starts) / timedelta(hours=1))
    assert hours == [23, 24, 25]


def test_what_a_period_left_is_carried_over_at_most_once() -> None:
    """000-61: a budget of 100 has at most 200, also after months in which nobody asked."""
    one = Draw(NAME, 100, 1, 0, cap=100)
    assert carried(one, None, 100) == 100
    assert carried(one, State(spent=30), 100) == 70
    assert carried(one, State(spent=30, carried=100), 100) == 100
    assert carried(one, State(spent=30, reserved=50), 100) == 20
    assert carried(one, State(spent=130), 100) == 0


def test_a_budget_that_goes_too_fast_is_noticed() -> None:
    """Issue 5: by a straight line, not before a fifth is used."""
    start = datetime(2026, 9, 1, tzinfo=UTC)
    end, half = start + timedelta(days=10), start + timedelta(days=5)
    assert ends_early(60, 100, start, end, half)
    assert not ends_early(40, 100, start, end, half)
    assert not ends_early(19, 100, start, end, start + timedelta(hours=1))
    assert ends_early(21, 100, start, end, start + timedelta(hours=1))
    assert not ends_early(100, 100, start, end, end)
