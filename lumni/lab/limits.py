"""The lab's own judge of rate limits: windows that admit or refuse, all of a request's at once.

Three kinds of window: *fixed* (the counter falls to zero when the clock's minute, hour, day or month begins, UTC),
*sliding* (what was taken counts for one whole length) and *refilling* (a bucket that refills evenly).
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Unit = Literal["requests", "tokens"]
Kind = Literal["fixed", "sliding", "refilling"]
Period = Literal["second", "minute", "hour", "day", "month"]

SECONDS: dict[Period, float] = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 30 * 86400}
_PERIOD_NAMES: dict[str, Period] = {"s": "second", "m": "minute", "h": "hour", "d": "day", "month": "month"}
_KINDS = ("fixed", "sliding", "refilling")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` requests or tokens a period."""

    unit: Unit
    period: Period
    amount: int
    kind: Kind = "sliding"

    @property
    def short(self) -> str:
        """The usual abbreviation: RPM, TPD, …"""
        return f"{self.unit[0]}p{'month' if self.period == 'month' else self.period[0]}".upper()


def parse_limits(spec: dict[str, object]) -> tuple[Limit, ...]:
    """Limits from names like ``{"rpm": 30, "tpd": 1000, "kind": "fixed"}``; ``None`` is no limit.

    Raises ``ValueError`` for an unknown name or an amount that is not a whole number.
    """
    kind = spec.get("kind", "sliding")
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}")
    limits = []
    for name, amount in spec.items():
        if name == "kind" or amount is None:
            continue
        period = _PERIOD_NAMES.get(name[2:])
        if name[:2] not in ("rp", "tp") or period is None:
            raise ValueError(f"unknown limit {name!r}: use rpm, rph, rpd, rpmonth, tpm, tph, tpd, tpmonth, rps or tps")
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            raise ValueError(f"{name} must be a whole number, not {amount!r}")
        limits.append(Limit("requests" if name[0] == "r" else "tokens", period, amount, kind))  # type: ignore[arg-type]
    return tuple(limits)


@dataclass(frozen=True, slots=True)
class Reading:
    """A window at one moment; ``reset_in`` is the seconds until it is empty again if nothing more comes."""

    limit: Limit
    used: float
    reset_in: float

    @property
    def remaining(self) -> int:
        return max(0, math.floor(self.limit.amount - self.used + 1e-9))


class Window(ABC):
    """One limit's count. Times are in seconds since the epoch and never go back."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    @abstractmethod
    def used(self, now: float) -> float:
        """How much of the limit is taken at ``now``."""

    @abstractmethod
    def add(self, amount: float, now: float) -> None:
        """Take ``amount`` (or give back, when negative)."""

    @abstractmethod
    def reset_in(self, now: float) -> float:
        """Seconds until nothing is taken, if nothing more comes."""

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` fits; 0 when it does, infinity when it never can."""
        if amount > self.limit.amount:
            return math.inf
        over = self.used(now) + amount - self.limit.amount
        return 0.0 if over <= 1e-9 else self._wait(over, now)

    @abstractmethod
    def _wait(self, over: float, now: float) -> float:
        """As ``wait``, when ``over`` is what is taken too much."""

    def reading(self, now: float) -> Reading:
        return Reading(self.limit, self.used(now), self.reset_in(now))


class FixedWindow(Window):
    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self._end = 0.0
        self._used = 0.0

    def used(self, now: float) -> float:
        if now >= self._end:
            self._end, self._used = _period_end(self.limit.period, now), 0.0
        return self._used

    def add(self, amount: float, now: float) -> None:
        self._used = max(0.0, self.used(now) + amount)

    def reset_in(self, now: float) -> float:
        return self._end - now if self.used(now) else 0.0

    def _wait(self, over: float, now: float) -> float:  # noqa: ARG002  (a fixed window frees everything at once)
        return self._end - now


class SlidingWindow(Window):
    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self._length = SECONDS[limit.period]
        self._taken: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def used(self, now: float) -> float:
        while self._taken and self._taken[0][0] + self._length <= now:
            self._used -= self._taken.popleft()[1]
        return max(0.0, self._used)

    def add(self, amount: float, now: float) -> None:
        self.used(now)
        self._taken.append((now, amount))
        self._used += amount

    def reset_in(self, now: float) -> float:
        return self._taken[-1][0] + self._length - now if self.used(now) else 0.0

    def _wait(self, over: float, now: float) -> float:
        freed = 0.0
        for when, amount in self._taken:
            freed += amount
            if freed >= over - 1e-9:
                return when + self._length - now
        return self._length


class RefillingWindow(Window):
    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self._rate = limit.amount / SECONDS[limit.period]
        self._used = 0.0
        self._at = 0.0

    def used(self, now: float) -> float:
        self._used = max(0.0, self._used - max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return self._used

    def add(self, amount: float, now: float) -> None:
        self._used = max(0.0, self.used(now) + amount)

    def reset_in(self, now: float) -> float:
        return self.used(now) / self._rate if self._rate else 0.0

    def _wait(self, over: float, now: float) -> float:  # noqa: ARG002  (it refills at one pace)
        return over / self._rate


_WINDOWS: dict[Kind, Callable[[Limit], Window]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "refilling": RefillingWindow,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The window that stands longest in the way; ``wait`` is in seconds, infinite when the request can never fit."""

    reading: Reading
    requested: int
    wait: float


class Pool:
    """All windows that one account's calls to one model (or to models that share a quota) draw on."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.windows = [_WINDOWS[limit.kind](limit) for limit in limits]

    def admit(self, tokens: int, now: float) -> Refusal | None:
        """Take one request and ``tokens`` from every window, or from none and say why."""
        refusals = []
        for window in self.windows:
            amount = _amount(window.limit, tokens)
            if wait := window.wait(amount, now):
                refusals.append(Refusal(window.reading(now), amount, wait))
        if refusals:
            return max(refusals, key=lambda refusal: refusal.wait)
        for window in self.windows:
            window.add(_amount(window.limit, tokens), now)
        return None

    def settle(self, difference: int, now: float) -> None:
        """Give back (negative) or add tokens, once the real usage is known."""
        for window in self.windows:
            if window.limit.unit == "tokens" and difference:
                window.add(difference, now)

    def readings(self, now: float) -> list[Reading]:
        return [window.reading(now) for window in self.windows]


def _amount(limit: Limit, tokens: int) -> int:
    return 1 if limit.unit == "requests" else tokens


def _period_end(period: Period, now: float) -> float:
    if period != "month":
        return (now // SECONDS[period] + 1) * SECONDS[period]
    today = datetime.fromtimestamp(now, UTC)
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp()
