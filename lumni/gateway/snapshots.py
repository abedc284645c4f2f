"""How providers stand, noted every five minutes, so that tomorrow one can see what was out of order today."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from lumni.quota.service import Quota
from lumni.types import ProviderState

logger = logging.getLogger(__name__)
EVERY = 300.0  # seconds
KEPT = timedelta(days=31)

Store = Callable[[Sequence[ProviderState], datetime], Awaitable[None]]


class Snapshots:
    """``store`` takes the states of a moment, and the moment from which on states are kept.

    Moments are full five minutes of the clock, the same for all processes: of several, the first one's states stay.
    """

    def __init__(self, quota: Quota, store: Store) -> None:
        self._quota = quota
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def take(self) -> None:
        """Note how every deployment stands now."""
        at = datetime.fromtimestamp(self._quota.clock() // EVERY * EVERY, UTC)
        states = await self.states(at)
        if states:
            await self._store(states, at - KEPT)

    async def states(self, at: datetime) -> list[ProviderState]:
        """How every enabled deployment stands."""
        standings, breakers = await self._quota.standings(), self._quota.breakers
        found = []
        for deployment in self._quota.catalogue.enabled:
            standing, seen = standings[deployment.id], breakers.view(deployment.id)
            state = "disabled" if breakers.withheld(deployment.id) else standing.state
            since = None if standing.since is None else datetime.fromtimestamp(standing.since, UTC)
            found.append(
                ProviderState(
                    at, deployment.id, deployment.provider, state, since, standing.headroom, seen["failure_rate"],
                    standing.blocked or None, seen["last_error"] or None,
                )
            )  # fmt: skip
        return found

    async def _keep(self) -> None:
        while True:
            try:
                await self.take()
            except Exception as error:  # noqa: BLE001  (the database may be away; the next snapshot comes in time)
                logger.warning("how providers stand could not be noted: %s", error)
            await asyncio.sleep(EVERY - self._quota.clock() % EVERY)
