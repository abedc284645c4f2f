"""Settings changed at run time, put into effect in this process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lumni.catalogue.allowlist import allowed
from lumni.gateway.planning import Planner, Switches
from lumni.gateway.quotas import tiers
from lumni.quota.service import Quota
from lumni.runtime import Changed, effective
from lumni.settings import Settings

logger = logging.getLogger(__name__)
EVERY = 1.0  # seconds: after them a change made in another process is in effect here


class Steering:
    """``read`` gives what was changed; while it can't, what was read last goes on holding."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Awaitable[Sequence[Changed]]],
        planner: Planner,
        quota: Quota,
    ) -> None:
        self._configured = settings
        self._read = read
        self._planner = planner
        self._quota = quota
        self._changes: Mapping[str, Any] | None = None  # nothing was put into effect yet
        self._task: asyncio.Task[None] | None = None
        self.settings = settings

    async def start(self) -> None:
        """Put into effect what was changed before, and then what will be."""
        await self.refresh()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def refresh(self) -> None:
        """Put into effect what is changed by now."""
        changes = {changed.name: changed.value for changed in await self._read()}
        if changes == self._changes:
            return
        self.settings, self._changes = effective(self._configured, changes), changes
        self._planner.switches = Switches.of(self.settings)
        self._quota.students.set_tiers(*tiers(self.settings))
        self._quota.breakers.withhold(self._withheld())
        if changes:
            logger.info("changed at run time: %s", ", ".join(sorted(changes)))

    def _withheld(self) -> dict[str, str]:
        catalogue = self._quota.catalogue
        disabled = self.settings.disabled_deployments.items()
        return {id_: why for name, why in disabled for id_ in allowed([[name]], catalogue) or ()}

    async def _keep(self) -> None:
        told = False
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.refresh()
                told = False
            except Exception as error:  # noqa: BLE001  (whatever it is, what holds goes on holding)
                if not told:
                    logger.warning("changed settings can't be read (%s); those known go on holding", error)
                told = True
