"""What time Redis has, as seen from here: between two bounds, because an answer takes a while."""

import time
from collections import deque

from lumni.quota.clockwork import milliseconds

_KEPT = 16  # observations; beats come once a second, so that no drift of clocks matters


class Tide:
    """Redis's clock in milliseconds. With ``server_time`` off it is the caller's own, ``given`` in seconds."""

    def __init__(self, *, server_time: bool) -> None:
        self.given = time.time()
        self._server_time = server_time
        self._seen: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        offset = (time.time() - time.monotonic()) * 1000
        self._low = self._high = offset

    def observe(self, clock: int, asked: float, answered: float) -> None:
        """Redis said ``clock`` between two moments of our monotonic clock."""
        low, high = clock - answered * 1000, clock + 1 - asked * 1000
        if any(high < other_low or low > other_high for other_low, other_high in self._seen):
            self._seen.clear()  # its clock was set
        self._seen.append((low, high))
        self._low = max(entry[0] for entry in self._seen)
        self._high = min(entry[1] for entry in self._seen)

    @property
    def earliest(self) -> int:
        """It is at least this late there."""
        return int(time.monotonic() * 1000 + self._low) if self._server_time else milliseconds(self.given)

    @property
    def latest(self) -> int:
        """It is at most this late there."""
        return int(time.monotonic() * 1000 + self._high) + 1 if self._server_time else milliseconds(self.given)
