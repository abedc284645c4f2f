"""Sends entries in batches to a service that may be slow, refuse some of them, or be away, without anybody waiting."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

logger = logging.getLogger(__name__)

REFUSED = frozenset({400, 413, 422})  # something in the batch is wrong: halved until it is found
LONGEST_ASKED = 300.0  # seconds of a retry-after that are obeyed


@dataclass(frozen=True, slots=True)
class Pace:
    """``capacity`` and ``batch`` are entries, ``batch_bytes`` bounds a batch too; the rest are seconds.

    ``interval`` is how long an entry may wait for company, ``timeout`` how long one call may take, ``closing`` how
    long ``close`` tries; pauses after failures double from ``first_pause`` to ``longest_pause``.
    """

    capacity: int = 20_000
    batch: int = 100
    batch_bytes: int = 1_000_000
    interval: float = 1.0
    timeout: float = 10.0
    closing: float = 5.0
    first_pause: float = 1.0
    longest_pause: float = 60.0


@dataclass(slots=True)
class Sent:
    """What became of entries: ``delivered``, ``refused`` by the service, ``dropped`` because there was no room.

    ``failures`` counts calls that didn't go well, ``in_a_row`` those since the last one that did.
    """

    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    failures: int = 0
    in_a_row: int = 0


ARRAY = (b"[", b"]")


class Outbox:
    """A bounded queue of JSON values and the task that posts them to ``url``; the oldest is dropped first.

    A batch travels between the two halves of ``envelope``, separated by commas: as an array, if nothing else is said.

    What ``close`` couldn't send is kept in ``spill`` and sent after the next start. A call whose answer got lost is
    made again: entries arrive at least once. All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        spill: Path,
        pace: Pace | None = None,
        envelope: tuple[bytes, bytes] = ARRAY,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.sent = Sent()
        self._url = url
        self._headers = {"content-type": "application/json", **headers}
        self._spill = spill
        self._pace = pace or Pace()
        self._envelope = envelope
        self._chance = chance
        self._queue: deque[bytes] = deque()
        self._flying: list[bytes] = []
        self._full, self._closing = asyncio.Event(), asyncio.Event()
        self._arrived = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        return len(self._queue) + len(self._flying)

    def put(self, entry: bytes) -> None:
        """Hand over one entry, a JSON value; returns at once."""
        if len(self._queue) >= self._pace.capacity:
            self._queue.popleft()
            self.sent.dropped += 1
            if self.sent.dropped == 1:
                logger.error("%s takes nothing and its queue is full: the oldest entries are dropped", self.name)
        self._queue.append(entry)
        self._arrived.set()
        if len(self._queue) >= self._pace.batch:
            self._full.set()

    def start(self) -> None:
        """Begin to send, what the last run kept first."""
        with suppress(FileNotFoundError):
            kept = self._spill.read_bytes().splitlines()
            self._spill.unlink()
            self._queue.extendleft(reversed(kept[-self._pace.capacity :]))
            self._arrived.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"outbox-{self.name}")

    async def close(self) -> None:
        """Send what is left, for at most ``closing`` seconds, and keep the rest for the next start."""
        if self._task is None:
            return
        for event in (self._closing, self._arrived, self._full):
            event.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.closing):
                await asyncio.shield(self._task)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self._client is not None:
            await self._client.aclose()
        if self._queue:
            self._keep()

    def _keep(self) -> None:
        try:
            with self._spill.open("ab") as file:
                file.write(b"".join(entry + b"\n" for entry in self._queue))
        except OSError as error:
            logger.error("%d entries for %s are lost: %s", len(self._queue), self.name, error)
        else:
            logger.info("%d entries for %s are kept for the next start", len(self._queue), self.name)

    async def _run(self) -> None:
        self._client = httpx.AsyncClient(timeout=self._pace.timeout)
        try:
            while self._queue or not self._closing.is_set():
                if not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
                    await self._gather()
                    continue
                self._take()
                pause = await self._send(self._client, len(self._flying))
                if pause is not None:
                    self._put_back()
                    if self._closing.is_set():
                        return
                    await _first(self._closing, pause)
        finally:
            self._put_back()

    async def _gather(self) -> None:
        """Give a batch time to grow, unless it is full or the end has come."""
        self._full.clear()
        if not self._closing.is_set() and len(self._queue) < self._pace.batch:
            await _first(self._full, self._pace.interval)

    def _take(self) -> None:
        """Put the oldest entries into the next batch."""
        size = 0
        while self._queue and len(self._flying) < self._pace.batch:
            size += len(self._queue[0])
            if self._flying and size > self._pace.batch_bytes:
                return
            self._flying.append(self._queue.popleft())

    def _put_back(self) -> None:
        """What wasn't taken goes first next time, as far as there is room."""
        room = max(0, self._pace.capacity - len(self._queue))
        self.sent.dropped += max(0, len(self._flying) - room)
        self._queue.extendleft(reversed(self._flying[-room:] if room else []))
        self._flying.clear()

    async def _send(self, client: httpx.AsyncClient, number: int) -> float | None:
        """Post the first ``number`` entries of the batch; the pause to make, if they have to be sent again."""
        before, after = self._envelope
        body = before + b",".join(self._flying[:number]) + after
        try:
            answer = await client.post(self._url, content=body, headers=self._headers)
        except httpx.HTTPError as error:
            return self._failed(type(error).__name__, 0.0)
        if answer.is_success:
            del self._flying[:number]
            self.sent.delivered += number
            if self.sent.in_a_row:
                logger.info("%s takes entries again; %d wait", self.name, self.pending)
            self.sent.in_a_row = 0
            return None
        if answer.status_code not in REFUSED:
            return self._failed(f"status {answer.status_code}", _asked(answer.headers.get("retry-after", "")))
        if number == 1:
            del self._flying[0]
            self.sent.refused += 1
            logger.error("%s refused an entry with status %d; it is left out", self.name, answer.status_code)
            return None
        pause = await self._send(client, number // 2)
        return pause if pause is not None else await self._send(client, number - number // 2)

    def _failed(self, how: str, asked: float) -> float:
        self.sent.failures += 1
        self.sent.in_a_row += 1
        if self.sent.in_a_row == 1:
            logger.warning("%s takes no entries (%s); %d wait", self.name, how, self.pending)
        pace = self._pace
        pause = min(pace.longest_pause, pace.first_pause * 2.0 ** min(self.sent.in_a_row - 1, 20))
        return max(asked, pause * (0.5 + self._chance() / 2))


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Until ``event``, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _asked(retry_after: str) -> float:
    """Seconds of a ``retry-after``; a date is no number, and none."""
    return min(float(retry_after), LONGEST_ASKED) if retry_after.isascii() and retry_after.isdigit() else 0.0
