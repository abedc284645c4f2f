"""Records on their way to the database, as lines (``lumni.storage.lines``), in memory."""

from collections import deque
from collections.abc import Mapping
from typing import Protocol


class LineQueue(Protocol):
    """First in, first out; a batch stays in the queue's care until it is ``done``, so that it can be tried again."""

    def begin(self, lines: Mapping[str, bytes]) -> None:
        """Keep what to record of requests, by their ids, in case that this process doesn't see their end."""

    def put(self, request_id: str, line: bytes) -> None:
        """Append a record; never waits."""

    def take(self, limit: int) -> list[bytes]:
        """The oldest records, at most ``limit``; the same ones again until ``done`` is called."""

    def done(self) -> None:
        """The batch last taken is safe elsewhere."""

    def close(self) -> int:
        """The number of records that are not done and can't be kept for later."""

    def __len__(self) -> int:
        """Records not yet done, the batch taken included."""

    @property
    def dropped(self) -> int:
        """Records lost for want of room, since the start."""

    @property
    def in_memory(self) -> int:
        """Records that a killed process would lose."""

    @property
    def fault(self) -> str:
        """Why records can't be kept where they outlive the process; empty if nothing is wrong."""


class MemoryQueue:
    """At most ``capacity`` waiting records; the oldest is dropped for a new one. Nothing outlives the process."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._waiting: deque[bytes] = deque(maxlen=capacity)
        self._taken: list[bytes] = []
        self._capacity = capacity
        self.dropped = 0
        self.fault = ""

    def begin(self, lines: Mapping[str, bytes]) -> None:
        """Nothing: they would end with the process."""

    def put(self, request_id: str, line: bytes) -> None:  # noqa: ARG002
        if len(self._waiting) == self._capacity:
            self.dropped += 1
        self._waiting.append(line)

    def take(self, limit: int) -> list[bytes]:
        if not self._taken:
            self._taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        return self._taken

    def done(self) -> None:
        self._taken = []

    def close(self) -> int:
        return len(self)

    @property
    def in_memory(self) -> int:
        return len(self)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)
