"""When windows reset and when a logged call stops counting. Pure; times are whole milliseconds of Unix time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from math import ceil
from zoneinfo import ZoneInfo

from lumni.quota.model import DAY, MONTH, Window

DEFAULT_BLOCK_MS = 3_600_000  # a refusal that names no end closes a window at most so long, then one call asks again
POOL_BLOCK_MS = 60_000  # … and a whole pool so long, since most limits are per minute


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded down; a microsecond of grace makes up for binary fractions."""
    return int(seconds * 1000 + 0.001)


def milliseconds_up(seconds: float) -> int:
    """Whole milliseconds, rounded up, with the same grace."""
    return ceil(seconds * 1000 - 0.001)


def round_up(time_ms: int, width_ms: int) -> int:
    return -(-time_ms // width_ms) * width_ms


def drops_at(window: Window, stamp_ms: int, resets: Sequence[int], anchor_ms: int | None = None) -> int:
    """The first moment when a call logged at ``stamp_ms`` no longer counts in a sliding or fixed window.

    ``resets`` are the calendar's resets around now (empty without a calendar); ``anchor_ms`` a learned reset.
    """
    period, guard = window.period_ms, window.guard_ms
    if window.style == "sliding":
        return stamp_ms + period
    if not resets:
        anchor = milliseconds(window.anchor) if anchor_ms is None else anchor_ms
        return anchor + -(-(stamp_ms + guard + 1 - anchor) // period) * period + guard
    for reset in resets:
        if reset > stamp_ms + guard:
            return reset + guard
    return resets[-1] + period + guard


def calendar_resets(window: Window, now_ms: int) -> tuple[int, ...]:
    """Five resets of a window that follows a calendar, the second being the last one before now; else nothing.

    A zone's midnight moves with daylight saving time, so a day has 23 to 25 hours here, and months their own lengths.
    """
    if window.style != "fixed" or not (
        window.period_ms == MONTH * 1000 or (window.zone and window.period_ms == DAY * 1000)
    ):
        return ()
    zone: tzinfo = ZoneInfo(window.zone) if window.zone else UTC
    local = datetime.fromtimestamp(now_ms / 1000, zone)
    return _resets(zone, local.year, local.month, local.day if window.period_ms == DAY * 1000 else 0)


@lru_cache(maxsize=256)
def _resets(zone: tzinfo, year: int, month: int, day: int) -> tuple[int, ...]:
    if day:
        today = datetime(year, month, day, tzinfo=UTC)
        days = [today + timedelta(days=n) for n in range(-1, 4)]
    else:
        months = [year * 12 + month - 1 + n for n in range(-1, 4)]
        days = [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in months]
    starts = tuple(int(d.replace(tzinfo=zone).timestamp() * 1000) for d in days)
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"the calendar of {zone} runs backwards around {year}-{month}-{day}")
    return starts
