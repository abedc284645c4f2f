"""Budgets as arithmetic: what they count, when their periods turn, and what a request may still take. No I/O, no clock.

Amounts are whole: requests, tokens, or nano-USD at list price. A budget has one *balance* for each student, group or
course that it is kept for, in each of its periods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

Unit = Literal["requests", "tokens", "usd"]
Period = Literal["day", "week", "month", "total"]
Payer = Literal["student", "group", "course"]

PER_TOKEN = 1_000_000  # rates are per million tokens, as prices are
FAIR_OUTPUT = 2048  # tokens of an answer that is bounded because others hold the rest of the budget
PART = 4  # … or this part of what is free, if that is more


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount for ``per`` each student, group (section of the roster) or the whole course, in each ``period``.

    ``who`` narrows it to one student or group. ``assignment``: it counts only what is asked for that. ``carry_over``
    adds what a period left over, at most ``amount``, to the next. ``economy``: when it would end before its time,
    automatic choices go by cost.
    """

    id: str
    course: str
    created_at: datetime
    unit: Unit
    amount: int
    period: Period = "total"
    per: Payer = "course"
    who: str | None = None
    assignment: str | None = None
    carry_over: bool = False
    economy: bool = True


@dataclass(frozen=True, slots=True)
class TopUp:
    """More for one period of one balance; ``who`` is empty for all balances of the budget."""

    budget: str
    who: str
    period: str
    amount: int


class Balance(NamedTuple):
    """Names what one payer has in one period. ``period`` is its first day (``2026-09-01``), or ``total``."""

    budget: str
    who: str
    period: str


class State(NamedTuple):
    """What became of a balance so far: used up, held by requests that run, and carried over from the period before."""

    spent: int = 0
    reserved: int = 0
    carried: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """What a request may take from one balance: ``base``, and ``rate`` a million tokens of output.

    ``limit`` is without what is carried over; ``before`` is the balance of the period before and its limit, if what it
    left is to be carried over.
    """

    balance: Balance
    limit: int
    base: int
    rate: int
    cap: int = 0  # the most that may be carried over
    before: tuple[Balance, int] | None = None

    def need(self, tokens: int) -> int:
        """What ``tokens`` of output take at most."""
        return self.base - (-tokens * self.rate // PER_TOKEN)

    def tokens(self, room: int) -> int | None:
        """The most tokens of output that ``room`` pays for; negative: not even the prompt; ``None``: any number."""
        if room < self.base:
            return -1
        return (room - self.base) * PER_TOKEN // self.rate if self.rate else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens of output: the ``most`` that there can be, and how many are ``enough`` if that much isn't free now."""

    most: int
    enough: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that wants to run. What it is granted is held under ``hold``, at the longest until ``expires_at``.

    ``again``: nobody knows whether it was granted before; what it then held is given back.
    """

    hold: str
    draws: tuple[Draw, ...]
    bounds: Bounds
    expires_at: datetime
    again: bool = False


@dataclass(frozen=True, slots=True)
class Bill:
    """What a request really took: ``used`` by the budget of its ``draws``. Nothing, if it wasn't answered."""

    hold: str
    draws: tuple[Draw, ...]
    used: Mapping[str, int]


class Verdict(NamedTuple):
    """``tokens`` of output that are granted; else where it fails: for good (``gone``), or until others settle."""

    tokens: int | None
    at: tuple[int, ...] = ()
    gone: bool = False


class Answer(NamedTuple):
    """The verdict on an ask, and its balances as they were for that, in the order of its draws."""

    hold: str
    verdict: Verdict
    states: tuple[State, ...]


class Change(NamedTuple):
    """What settling did to a balance."""

    draw: Draw
    before: State
    after: State


def decide(draws: Sequence[Draw], states: Sequence[State], bounds: Bounds) -> Verdict:
    """Whether a request may run: now, once others are settled, or never in this period.

    What is granted can't be exceeded, so that no sum of grants ever exceeds a limit. Gone is a budget only if what is
    not spent can't pay for the prompt and one token.
    """
    free = [_tokens(draw, state.reserved, state) for draw, state in zip(draws, states, strict=True)]
    ever = [_tokens(draw, 0, state) for draw, state in zip(draws, states, strict=True)]
    if gone := tuple(place for place, tokens in enumerate(ever) if tokens is not None and tokens < 1):
        return Verdict(None, gone, gone=True)
    now = min((tokens for tokens in free if tokens is not None), default=bounds.most)
    at_all = min((tokens for tokens in ever if tokens is not None), default=bounds.most)
    if now >= bounds.most:
        return Verdict(bounds.most)
    if now >= min(bounds.enough, at_all):
        return Verdict(min(now, bounds.most, max(bounds.enough, now // PART)))
    target = min(bounds.enough, at_all)
    return Verdict(None, tuple(place for place, tokens in enumerate(free) if tokens is not None and tokens < target))


def _tokens(draw: Draw, reserved: int, state: State) -> int | None:
    return draw.tokens(draw.limit + state.carried - state.spent - reserved)


def carried(draw: Draw, before: State | None, limit_before: int) -> int:
    """What the period before left over. One in which nobody asked (``None``) left everything.

    What was still held then counts as spent.
    """
    if before is None:
        return draw.cap
    left = limit_before + before.carried - before.spent - before.reserved
    return max(0, min(draw.cap, left))


class Span(NamedTuple):
    """A period: its name, and the moments between which it runs; ``None`` where it has no end."""

    name: str
    starts: datetime
    ends: datetime | None


def span(period: Period, at: datetime, zone: str, since: datetime) -> Span:
    """The period that ``at`` lies in, by the calendar of a time zone; one in total runs from ``since`` on."""
    if period == "total":
        return Span("total", since, None)
    here = ZoneInfo(zone)
    day = at.astimezone(here).date()
    if period == "day":
        first, then = day, day + timedelta(days=1)
    elif period == "week":
        first = day - timedelta(days=day.weekday())
        then = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        then = (first + timedelta(days=31)).replace(day=1)
    return Span(first.isoformat(), _midnight(first, here), _midnight(then, here))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def previous(period: Period, current: Span, zone: str, since: datetime) -> Span | None:
    """The period before, unless the budget wasn't there by then."""
    if period == "total" or current.starts <= since:
        return None
    return span(period, current.starts - timedelta(seconds=1), zone, since)


def limit_of(budget: Budget, who: str, period: str, top_ups: Mapping[Balance, int]) -> int:
    """The amount with its top-ups, without what is carried over."""
    return (
        budget.amount + top_ups.get(Balance(budget.id, "", period), 0) + top_ups.get(Balance(budget.id, who, period), 0)
    )


def ends_early(spent: int, limit: int, starts: datetime, ends: datetime, now: datetime) -> bool:
    """Whether a budget would be used up before ``ends`` if it went on as until now, by a straight line.

    Nothing is said before a fifth of the budget is used.
    """
    passed = (now - starts) / (ends - starts) if ends > starts else 1.0
    used = spent / limit if limit > 0 else 1.0
    return passed < 1 and used > max(passed, 0.2)
