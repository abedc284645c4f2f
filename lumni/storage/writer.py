"""The sink of request records that feeds the database without ever holding up a request."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from lumni.storage import lines
from lumni.storage.errors import RecordsRefused, sqlstate
from lumni.storage.queue import LineQueue, MemoryQueue
from lumni.storage.rows import Row
from lumni.types import ChatRequest, RequestRecord

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
CLOSING_PAUSE = 0.25
BEGUN_SECONDS = 0.02
TICK = 0.001  # seconds; event loops' clocks need be no finer
READ_AT_ONCE = 50  # lines made into rows before other work goes on, about a millisecond


class RecordWriter:
    """Takes records at once and stores them in batches, in the background, in the order they came.

    They are in the ``queue`` before ``write`` returns: what is then lost, and when, is the queue's to say. Of requests
    that take longer than ``BEGUN_SECONDS`` it has what to record if this process doesn't see their end. A database that
    is away is tried again, with growing pauses, until it is back; a record that it refuses is logged and left out. All
    methods belong to the event loop's thread.
    """

    def __init__(
        self,
        add: Callable[[Sequence[Row]], Awaitable[object]],
        *,
        queue: LineQueue | None = None,
        batch: int = 500,
        interval: float = 0.25,
        attempt_timeout: float = 30.0,
        close_timeout: float = 10.0,
    ) -> None:
        """``add`` stores a batch, idempotently (``RecordRepository.add_rows``). Times are in seconds.

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
        # Not yet in the queue's care: when they began, in the loop's time, and what to record. The oldest are first.
        self._begun: dict[str, tuple[float, Callable[[], RequestRecord]]] = {}
        self._beginning: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to store; records written before wait in the queue."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="record-writer")

    def begin(self, request: ChatRequest, unended: Callable[[], RequestRecord]) -> None:
        """A request has begun. ``unended`` is asked for what to record if this process doesn't live to see its end."""
        loop = asyncio.get_running_loop()
        self._begun[request.request_id] = loop.time(), unended
        if self._beginning is None:
            self._beginning = loop.call_later(BEGUN_SECONDS, self._look)

    def note_begun(self, age: float = 0.0) -> None:
        """Put the requests that have run for so many seconds into the queue's care, together."""
        latest = asyncio.get_running_loop().time() - age
        noted: dict[str, bytes] = {}
        for request_id in [one for one, (at, _) in self._begun.items() if at <= latest]:
            _, unended = self._begun.pop(request_id)
            try:
                noted[request_id] = lines.encode_begun(unended())
            except (TypeError, ValueError) as error:
                log.warning("the begin of request %r can't be kept: %s", request_id, error)
        if noted:
            self._queue.begin(noted)

    def _look(self) -> None:
        """Note those that are due, with those that soon would be: most requests end before, and cost nothing here."""
        loop, self._beginning = asyncio.get_running_loop(), None
        due = loop.time() - BEGUN_SECONDS + TICK
        if any(at <= due for at, _ in self._begun.values()):
            self.note_begun(BEGUN_SECONDS / 2)
        if self._begun:
            oldest = next(iter(self._begun.values()))[0]
            self._beginning = loop.call_at(oldest + BEGUN_SECONDS, self._look)

    def write(self, record: RequestRecord) -> None:
        """Hand a record over; it returns at once and never raises."""
        self._begun.pop(record.request_id, None)
        try:
            line = lines.encode(record)
        except (TypeError, ValueError) as error:
            self._refused += 1
            log.error("request %r can't be recorded: %s", record.request_id, error)
            return
        self._queue.put(record.request_id, line)
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

    @property
    def in_memory(self) -> int:
        """Records that would be lost if this process were killed now."""
        return self._queue.in_memory

    @property
    def fault(self) -> str:
        """Why the spool can't be written; empty if nothing is wrong with it."""
        return self._queue.fault

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

    async def settled(self, within: float) -> bool:
        """Wait at most so many seconds for ``flush``; whether everything written so far is stored."""
        try:
            async with asyncio.timeout(within):
                await self.flush()
        except TimeoutError:
            return False
        return True

    async def caught_up(self, within: float) -> None:
        """As ``settled``, for who only wants to see what can be seen: no wait for a database that is away."""
        if not self._failures:
            await self.settled(within)

    async def close(self) -> None:
        """Store what is left, for at most ``close_timeout``, and stop; what remains is left in the queue's care."""
        if self._task is None:
            return
        self._closing.set()
        await self.settled(self._close_timeout)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self._beginning is not None:
            self._beginning.cancel()
        waiting = self.pending
        if lost := self._queue.close():
            log.error("%d request records could not be stored before the end and are lost", lost)
        if waiting > lost:
            log.warning("%d request records are in the spool, for the next start", waiting - lost)

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
        self._report_drops()
        try:
            batch = self._queue.take(self._batch)
            async with asyncio.timeout(self._attempt_timeout):
                await self.add(await rows_of(batch))
        except Exception as error:  # noqa: BLE001  (whatever it is, the records must survive it)
            self._report_failure(error)
            await self._pause()
            return
        self._queue.done()
        if self._failures:
            log.info("the database takes request records again; %d are waiting", self.pending)
            self._failures = 0
        async with self._progress:
            self._settled = self._accepted - len(self._queue)
            self._progress.notify_all()

    async def add(self, batch: Sequence[Row]) -> None:
        """Store a batch now, without the records that the database refuses: halved until they are found.

        Raises the database's own errors when it is away.
        """
        try:
            await self._add(batch)
        except RecordsRefused as refusal:
            if len(batch) == 1:
                self._refused += 1
                log.error("request %r can't be recorded: %s", batch[0]["request_id"], refusal)
                return
            half = len(batch) // 2
            await self.add(batch[:half])
            await self.add(batch[half:])

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


async def rows_of(batch: Sequence[bytes]) -> list[Row]:
    """The rows of these lines, without those that are none. Other work goes on in between."""
    rows: list[Row] = []
    for number, line in enumerate(batch, start=1):
        try:
            rows.append(lines.row_of(line))
        except ValueError as error:
            log.error("a line of the spool is no record and is left out: %s", error)
        if number % READ_AT_ONCE == 0:
            await asyncio.sleep(0)
    return rows
