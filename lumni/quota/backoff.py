"""How long to leave a pool alone that refuses without saying for how long. Times are seconds of any one clock."""

from dataclasses import dataclass, field

FIRST = 1.0  # second: the shortest window that providers have
LONGEST = 60.0  # most limits are per minute


@dataclass(slots=True)
class _Closed:
    at: float
    seconds: float


@dataclass(slots=True)
class Backoff:
    """A second after the first refusal, twice as long after each further one; a success begins anew.

    Of calls that were under way together, only the first that is refused counts; the others say nothing new.
    """

    _closed: dict[str, _Closed] = field(default_factory=dict)

    def refused(self, pool: str, sent: float, now: float) -> float:
        """For how many seconds to close ``pool``, a call of which was ``sent`` and is refused ``now``."""
        last = self._closed.get(pool)
        if last is None:
            self._closed[pool] = _Closed(now, FIRST)
            return FIRST
        if sent >= last.at:
            last.at, last.seconds = now, min(LONGEST, last.seconds * 2)
        return max(0.0, last.at + last.seconds - now)

    def succeeded(self, pool: str, sent: float) -> None:
        """A call of ``pool`` that was ``sent`` then was answered."""
        last = self._closed.get(pool)
        if last is not None and sent >= last.at:
            del self._closed[pool]
