"""The sink of request records that feeds the database without ever holding up a request."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from lumni.storage.errors import RecordsRefused, sqlstate
from lumni.storage.queue import MemoryQueue, RecordQueue
from lumni.types import RequestRecord

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
CLOSING_PAUSE = 0.25


class RecordWriter:
    """Takes records at once and stores them in batches, in the background, in the order they came.

    A database that is away is tried again, with growing pauses, until it is back; a record that it refuses is logged
    and left out. All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        add: Callable[[Sequence[RequestRecord]], Awaitable[object]],
        *,
        queue: RecordQueue | None = None,
        batch: int = 200,
        interval: float = 0.05,
        attempt_timeout: float = 30.0,
        close_timeout: float = 10.0,
    ) -> None:
        """``add`` stores a batch, idempotently (``RecordRepository.add``). Times are in seconds.

        ``interval`` is how long a record may wait for company, ``attempt_timeout`` how long one batch may take,
        ``close_timeout`` how long ``close`` tries to store what is left.
        """
        self._add = add
        self._queue = MemoryQueue() if queue is None else queue
        self._batch = batch
        self._interval = interval
        self._attempt_timeout = attempt_timeout
        self._close_timeout = close_timeout
        self._accepted = 0
        self._settled = 0
        self._reported_drops = 0
        self._failures = 0
        self._refused = 0
        self._flushes = 0
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = asyncio.Event()
        self._progress = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to store; records written before wait in the queue."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="record-writer")

    def write(self, record: RequestRecord) -> None:
        """Hand a record over; it returns at once and never raises."""
        self._queue.put(record)
        self._accepted += 1
        self._arrived.set()
        if len(self._queue) >= self._batch:
            self._urgent.set()

    @property
    def pending(self) -> int:
        """Records not yet in the database."""
        return len(self._queue)

    @property
    def dropped(self) -> int:
        """Records lost because the queue was full."""
        return self._queue.dropped

    @property
    def refused(self) -> int:
        """Records that the database would not take."""
        return self._refused

    async def flush(self) -> None:
        """Wait until everything written so far is stored; as long as it takes (bound it with ``asyncio.timeout``)."""
        if self._task is None:
            raise RuntimeError("the record writer was not started")
        goal = self._accepted
        self._flushes += 1
        self._urgent.set()
        try:
            async with self._progress:
                await self._progress.wait_for(lambda: self._settled >= goal)
        finally:
            self._flushes -= 1

    async def close(self) -> None:
        """Store what is left, for at most ``close_timeout``, and stop; what remains then is counted in the log."""
        if self._task is None:
            return
        self._closing.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self.flush()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self.pending:
            log.error("%d request records could not be stored before the end and are lost", self.pending)

    async def _run(self) -> None:
        while True:
            if not len(self._queue):
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            await self._store()

    async def _gather(self) -> None:
        """Give a batch time to grow, unless it is full or somebody waits for it."""
        if self._flushes or len(self._queue) >= self._batch:
            return
        self._urgent.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval):
                await self._urgent.wait()

    async def _store(self) -> None:
        """One attempt at the oldest batch; a pause if it failed."""
        batch = self._queue.take(self._batch)
        self._report_drops()
        try:
            async with asyncio.timeout(self._attempt_timeout):
                refused = await self._add_all(batch)
        except Exception as error:  # noqa: BLE001  (whatever it is, the records must survive it)
            self._report_failure(error)
            await self._pause()
            return
        self._queue.done()
        self._refused += refused
        if self._failures:
            log.info("the database takes request records again; %d are waiting", self.pending)
            self._failures = 0
        async with self._progress:
            self._settled = self._accepted - len(self._queue)
            self._progress.notify_all()

    async def _add_all(self, batch: Sequence[RequestRecord]) -> int:
        """Store a batch, without the records that the database refuses: halved until they are found. Their number."""
        try:
            await self._add(batch)
        except RecordsRefused as refusal:
            if len(batch) == 1:
                log.error("request %r can't be recorded: %s", batch[0].request_id, refusal)
                return 1
            half = len(batch) // 2
            return await self._add_all(batch[:half]) + await self._add_all(batch[half:])
        return 0

    async def _pause(self) -> None:
        if self._closing.is_set():
            await asyncio.sleep(CLOSING_PAUSE)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))):
                await self._closing.wait()

    def _report_failure(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            # The driver's own words may quote data: the kind of error has to do.
            kind = sqlstate(error) or type(getattr(error, "orig", None) or error).__name__
            log.warning("the database takes no request records (%s); %d wait for it", kind, self.pending)

    def _report_drops(self) -> None:
        if (new := self.dropped - self._reported_drops) > 0:
            log.error("%d request records were dropped: the database is away and the queue is full", new)
            self._reported_drops += new
