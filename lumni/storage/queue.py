"""Records on their way to the database, in memory."""

from collections import deque
from typing import Protocol

from lumni.types import RequestRecord


class RecordQueue(Protocol):
    """First in, first out; a batch stays in the queue's care until it is ``done``, so that it can be tried again."""

    def put(self, record: RequestRecord) -> None:
        """Append; never waits."""

    def take(self, limit: int) -> list[RequestRecord]:
        """The oldest records, at most ``limit``; the same ones again until ``done`` is called."""

    def done(self) -> None:
        """The batch last taken is safe elsewhere."""

    def __len__(self) -> int:
        """Records not yet done, the batch taken included."""

    @property
    def dropped(self) -> int:
        """Records lost for want of room, since the start."""


class MemoryQueue:
    """At most ``capacity`` waiting records; the oldest is dropped for a new one."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._waiting: deque[RequestRecord] = deque(maxlen=capacity)
        self._taken: list[RequestRecord] = []
        self._capacity = capacity
        self.dropped = 0

    def put(self, record: RequestRecord) -> None:
        if len(self._waiting) == self._capacity:
            self.dropped += 1
        self._waiting.append(record)

    def take(self, limit: int) -> list[RequestRecord]:
        if not self._taken:
            self._taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        return self._taken

    def done(self) -> None:
        self._taken = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)
