"""Tells people of alerts: each once, however often it is raised, by whichever process, before and after a restart."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson

from lumni.telemetry.alerts import OVER
from lumni.telemetry.alerts.channels import Channel, Refused
from lumni.telemetry.alerts.locks import opened_alone
from lumni.types import Alert

logger = logging.getLogger(__name__)

MOST_WAITING = 1000  # alerts; more are no help to anybody
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between tries


class Book:
    """Which alerts were told when, in a file that processes share.

    The end of an alert is told if its beginning was; after that it is new again.
    """

    def __init__(self, path: Path, repeat: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._repeat = repeat
        self._clock = clock

    def is_news(self, alert: Alert) -> bool:
        """Whether it is to be told; the next one like it is not, for ``repeat`` seconds."""
        now, key = self._clock(), f"{alert.name} {alert.subject}"
        with opened_alone(self._path) as file:
            told = self._read(file)
            last = told.pop(key, None)
            if OVER in alert.facts:
                news = last is not None
            else:
                news = last is None or now - last >= self._repeat
                told[key] = now if news else last
            if news:
                file.seek(0)
                file.truncate()
                file.write(orjson.dumps(told))
        return news

    def _read(self, file: IO[bytes]) -> dict[str, Any]:
        file.seek(0)
        with suppress(ValueError, AttributeError, TypeError):  # whatever somebody wrote into it
            told = orjson.loads(file.read() or b"{}")
            oldest = self._clock() - max(self._repeat, 7 * 86400)
            return {key: when for key, when in told.items() if when > oldest}
        return {}


class Bell:
    """A sink of alerts. All methods belong to the event loop's thread; nobody waits for a channel.

    A channel that fails is tried again for some minutes. Every alert is in the log too.
    """

    def __init__(
        self, channels: Mapping[str, Channel], book: Book, pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE)
    ) -> None:
        self._channels = channels
        self._book = book
        self._pauses = pauses
        self._raised: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)
        self._sending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="alerts-bell")

    def notify(self, alert: Alert) -> None:
        """Tell it, unless it was told of late."""
        with suppress(asyncio.QueueFull):
            self._raised.put_nowait(alert)

    async def close(self, seconds: float = 3.0) -> None:
        """Tell what was raised, for at most so long."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._raised.join()
                await self._finish(self._sending)
        for task in (self._task, *self._sending):
            task.cancel()
        await asyncio.wait([self._task, *self._sending])
        self._task = None

    @staticmethod
    async def _finish(tasks: set[asyncio.Task[None]]) -> None:
        while tasks:
            await asyncio.wait(set(tasks))

    async def _run(self) -> None:
        while True:
            alert = await self._raised.get()
            try:
                if await asyncio.to_thread(self._book.is_news, alert):
                    self._tell(alert)
            except OSError as error:
                logger.error("alerts can't be remembered (%s): told all the same", error.strerror)
                self._tell(alert)
            finally:
                self._raised.task_done()

    def _tell(self, alert: Alert) -> None:
        level = logging.INFO if alert.severity == "info" else logging.WARNING
        logger.log(level, "alert %s: %s", alert.name, alert.message)
        for name, channel in self._channels.items():
            task = asyncio.get_running_loop().create_task(self._send(name, channel, alert))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, name: str, channel: Channel, alert: Alert) -> None:
        first, longest = self._pauses
        for attempt in range(TRIES):
            try:
                await channel.send(alert)
            except Exception as error:  # noqa: BLE001  (whatever a mail server does, the next try may go well)
                # A mail server's own words may hold addresses.
                kind = str(error) if isinstance(error, Refused) else type(error).__name__
            else:
                return
            await asyncio.sleep(min(longest, first * 2**attempt))
        logger.error("the alert %s of %s could not be sent by %s (%s)", alert.name, alert.subject, name, kind)
