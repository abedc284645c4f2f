"""A deployment's quota as requests are weighed against it: what all of a moment have in common is found out once."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from operator import le

from lumni.intelligence import Availability
from lumni.quota.inference import AT_ONCE
from lumni.quota.model import ONE_REQUEST, Amounts, Kind, WindowState
from lumni.quota.service import describe
from lumni.quota.standing import Standing
from lumni.quota.strategies import gauges_of, weigh


class Outlook:
    """How one deployment stands by its ``standing``, ready to be asked by many requests.

    Windows of what runs at once say whether there is room now, but nothing about what is left for later.
    """

    def __init__(self, standing: Standing) -> None:
        clocked = [window for window in standing.windows if window.limit is not None and window.period != AT_ONCE]
        self.standing = standing
        self._clocked = tuple(clocked)
        self._gauges = gauges_of(map(_running, clocked))
        room = dict.fromkeys(ONE_REQUEST.by_kind, inf)
        for kind, _, left, _ in gauges_of(standing.windows):
            room[kind] = min(room[kind], left)
        self._room = tuple(room.values())
        self._closed = any(window.blocked_in > 0 for window in clocked)

    def availability(self, need: Amounts, calls: float) -> Availability:
        """For a request that needs so much of its quota; ``calls`` are those of late."""
        standing, takes = self.standing, need.by_kind
        headroom, price = weigh(self._gauges, takes)
        return Availability(
            0.0 if standing.blocked else headroom,
            standing.blocked,
            standing.until,
            (1.0 if self._closed else price) if self._gauges else None,
            calls,
            self._unfit(takes) if headroom == 0 else "",
            not standing.blocked and self._fits(takes),
        )

    def _fits(self, takes: Mapping[Kind, int]) -> bool:
        """Whether there is room for it now."""
        return all(map(le, takes.values(), self._room))

    def _unfit(self, takes: Mapping[Kind, int]) -> str:
        """Why this request could never fit its windows; nothing if it could."""
        for window in self._clocked:
            if (window.limit or 0) < (amount := takes[window.kind]):
                kind = window.kind.replace("_", " ")
                return f"its quota is {describe(window)}, this request needs about {amount:,} {kind} at once"
        return ""


def _running(window: WindowState) -> WindowState:
    """A window with calls in flight isn't new before they are over, and a whole period more."""
    in_flight = window.reserved > 0 and window.reset_in <= 0
    return replace(window, reset_in=window.period) if in_flight else window
