"""Records on their way to the database, in files that outlive a killed process.

Each process has a folder of its own under ``spool``: segments, which it appends to, and beside the folder a lock that
the kernel gives free when the process ends, however it ends. Whoever gets the lock of another's folder takes it over.
"""

import fcntl
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lumni.storage.lines import is_begun
from lumni.storage.segment import Segment

log = logging.getLogger(__name__)

SEGMENT_BYTES = 4 * 1024 * 1024
CAPACITY = 100_000  # lines kept in memory while the disk takes none
CALM_SECONDS = (
    5.0  # without a failure, after which the disk is trusted again: a short line may fit where a long one won't
)


class Spool:
    """The queue of one process, first in, first out. What the disk refuses is kept in memory, as long as there is room.

    A batch stays here until it is ``done``, so that it can be tried again. No method but ``take`` raises.
    """

    def __init__(
        self,
        parent: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        capacity: int = CAPACITY,
        calm: float = CALM_SECONDS,
    ) -> None:
        self.dropped = 0  # records lost for want of room, on the disk and in memory
        self.failures = 0  # lines that the disk refused
        self.fault = ""  # why it takes none, or took none a moment ago
        self._failed_at = 0.0
        self._calm = calm
        self._parent = parent
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._segment_bytes = segment_bytes
        self._lock: Lock | None = None
        self._segments: deque[Segment] = deque()
        self._made = 0
        self._carried = 0  # bytes that the latest segment began with
        self._memory: deque[bytes] = deque()
        self._capacity = capacity
        self._begun: dict[str, bytes] = {}
        self._taken: list[bytes] = []
        self._borrowed: list[bytes] = []  # those taken that are in no file
        self._pending = 0

    def __len__(self) -> int:
        """Records not yet done, the batch taken included."""
        return self._pending

    @property
    def in_memory(self) -> int:
        """Records that a killed process would lose."""
        return len(self._memory) + len(self._borrowed)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(segment.size for segment in self._segments)

    def begin(self, lines: Mapping[str, bytes]) -> None:
        """Keep what to record of requests, by their ids, in case that this process doesn't see their end."""
        self._begun.update(lines)
        self._append(b"\n".join(lines.values()))

    def put(self, request_id: str, line: bytes) -> None:
        """Append the record of a request, which thereby has ended."""
        self._begun.pop(request_id, None)
        self._pending += 1
        if self._append(line):
            return
        if len(self._memory) >= self._capacity:
            self._memory.popleft()
            self._pending -= 1
            self.dropped += 1
        self._memory.append(line)

    def take(self, limit: int) -> list[bytes]:
        """The oldest records, at most ``limit``; the same ones again until ``done``. Raises ``OSError``."""
        if not self._taken:
            for segment in self._segments:
                while len(self._taken) < limit and not segment.drained:
                    self._taken += _ended(segment.read(limit - len(self._taken)))
            while len(self._taken) < limit and self._memory:
                self._borrowed.append(self._memory.popleft())
                self._taken.append(self._borrowed[-1])
        return self._taken

    def done(self) -> None:
        """The batch last taken is safe elsewhere."""
        self._pending -= len(self._taken)
        self._taken, self._borrowed = [], []
        try:
            self._drop_drained()
            if self._segments and self._segments[-1].drained:
                if not self._begun:
                    self._segments[-1].clear()
                elif self._is_full():
                    self._roll()
        except OSError as error:
            self._failed(error)

    def close(self) -> int:
        """Leave what is not done to whoever takes over; the number of records that nobody can."""
        lost = sum(not self._append(line) for line in [*self._borrowed, *self._memory])
        self._borrowed, self._memory = [], deque()
        for segment in self._segments:
            segment.close()
        if self._lock is not None and not self._pending:
            self._lock.remove_all()
        elif self._lock is not None:
            self._lock.release()
        self._segments.clear()
        self._lock = None
        return lost

    def _append(self, line: bytes) -> bool:
        """Whether the disk took it."""
        try:
            if not self._segments or self._is_full():
                self._roll()
            self._segments[-1].append(line)
        except OSError as error:
            self._failed(error)
            return False
        if self.fault and time.monotonic() - self._failed_at >= self._calm:
            log.info("the spool can be written again; %d records are in memory only", len(self._memory))
            self.fault = ""
        return True

    def _is_full(self) -> bool:
        latest = self._segments[-1]
        return latest.torn or latest.size - self._carried >= self._segment_bytes

    def _roll(self) -> None:
        """A new segment, with the requests that have begun; those that are drained are no longer needed then."""
        if self._lock is None:
            self._lock = Lock.of(self._parent, self._name)
            if self._lock is None:
                raise OSError("another process holds its lock")
        self._lock.folder.mkdir(mode=0o700, exist_ok=True)
        segment = Segment(self._lock.folder / f"{self._made:08d}.jsonl")
        try:
            for line in self._begun.values():
                segment.append(line)
        except OSError:
            segment.remove()
            raise
        self._made += 1
        self._carried = segment.size
        self._segments.append(segment)
        self._drop_drained()

    def _drop_drained(self) -> None:
        while len(self._segments) > 1 and self._segments[0].drained:
            self._segments.popleft().remove()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self._failed_at = time.monotonic()
        if not self.fault:
            self.fault = os.strerror(error.errno) if error.errno else str(error)
            log.error(
                "the spool at %s can't be written (%s): records are kept in memory, where a crash would lose them",
                self._parent, self.fault,
            )  # fmt: skip


class Lock:
    """The right to a process's folder, held as long as that process lives."""

    def __init__(self, folder: Path, path: Path, file: int) -> None:
        self.folder = folder
        self._path = path
        self._file = file

    @classmethod
    def of(cls, parent: Path, name: str) -> "Lock | None":
        """``None`` if another process has it. Raises ``OSError``."""
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = parent / f"{name}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if not _is_at(path, file):  # its last holder has just deleted it: nobody would find what it guards
            os.close(file)
            return None
        return cls(parent / name, path, file)

    def remove_all(self) -> None:
        """Delete the folder with all that is in it, then the lock."""
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()
        self._path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        os.close(self._file)


class Orphan:
    """What a process that is gone has left. It is this process's until ``remove`` or ``release``."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def batches(self, limit: int) -> Iterator[list[bytes]]:
        """The records, then what to record of the requests that had no end. Raises ``OSError``."""
        begun: dict[bytes, bytes] = {}
        for path in sorted(self._lock.folder.glob("*.jsonl")):
            segment = Segment(path)
            try:
                while lines := segment.read(limit):
                    for line in lines:
                        if is_begun(line):
                            begun[_id(line)] = line
                        else:
                            begun.pop(_id(line), None)
                    if ended := _ended(lines):
                        yield ended
            finally:
                segment.close()
        cut = list(begun.values())
        for start in range(0, len(cut), limit):
            yield cut[start : start + limit]

    def remove(self) -> None:
        """Everything of it is safe elsewhere."""
        self._lock.remove_all()

    def release(self) -> None:
        """Leave it to others, or for later."""
        self._lock.release()


def orphans(parent: Path) -> Iterator[Orphan]:
    """What processes that are gone have left under ``parent``; each is for one taker only. Raises ``OSError``."""
    for path in sorted(parent.glob("*.lock")):
        with suppress(PermissionError):
            if lock := Lock.of(parent, path.stem):
                yield Orphan(lock)


def _is_at(path: Path, file: int) -> bool:
    """Whether the open file is the one at the path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


def _ended(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if not is_begun(line)]


def _id(line: bytes) -> bytes:
    """The part of a line, begun or ended, that has the request's id: it is the record's first field."""
    return line.partition(b'"request_id":')[2].partition(b",")[0]
