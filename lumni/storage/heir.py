"""Stores what processes that died have left in their spools."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from lumni.storage.rows import Row
from lumni.storage.spool import Orphan, orphans
from lumni.storage.writer import rows_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
CLOSING_SECONDS = 5.0
BATCH = 500


class Heir:
    """Looks under ``parent`` at the start and every few seconds; what can't be stored now is left for the next look."""

    def __init__(
        self, parent: Path, add: Callable[[Sequence[Row]], Awaitable[object]], every: float = LOOK_SECONDS
    ) -> None:
        """``add`` stores a batch, idempotently, without what the database refuses. ``every`` is in seconds."""
        self._parent = parent
        self._add = add
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="spool-heir")

    async def close(self) -> None:
        """Look once more, for at most ``CLOSING_SECONDS``, and stop; what is half done then is left to others."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self.look()
        except Exception as error:  # noqa: BLE001  (the files stay)
            log.warning("what dead processes left in the spool waits for the next start (%s)", type(error).__name__)

    async def look(self) -> int:
        """Take over all that is left behind; the number of lines. Raises the database's errors, and ``OSError``."""
        return sum([await self._inherit(orphan) for orphan in orphans(self._parent)])

    async def _run(self) -> None:
        failing = False
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  (whatever it is, the files stay and the next look comes)
                if not failing:
                    log.warning("what dead processes left in the spool can't be stored (%s)", type(error).__name__)
                failing = True
            else:
                failing = False
            await asyncio.sleep(self._every)

    async def _inherit(self, orphan: Orphan) -> int:
        number = 0
        try:
            for batch in orphan.batches(BATCH):
                await self._add(await rows_of(batch))
                number += len(batch)
        except BaseException:
            orphan.release()
            raise
        orphan.remove()
        if number:
            log.info("%d records of a process that ended early were taken over", number)
        return number
