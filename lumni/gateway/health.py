"""Looks after what is out of order, by calls that cost no quota, so that it comes back without waiting or a restart."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from lumni.catalogue.model import Deployment
from lumni.catalogue.providers import LAB
from lumni.quota.service import Quota
from lumni.types import Outcome
from lumni.upstream.probe import Finding, FreeCall, Prober, free_call

logger = logging.getLogger(__name__)
AT_ONCE = 8  # free calls


class HealthChecks:
    """Every ``interval`` seconds, give or take a tenth, asks for deployments that are out or were never heard of.

    While all is well nobody is asked. A check takes nothing out: a key may be allowed to chat and not to list models.
    It shortens the time out, by what took the deployment out:

    - its key was refused: back at once when a call that needs the key goes well;
    - the provider has no such model: back at once when its list names the model;
    - it failed: the next request is the probe, and decides.
    """

    def __init__(
        self, quota: Quota, prober: Prober, interval: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._quota = quota
        self._prober = prober
        self._interval = interval
        self._chance = chance
        self._task: asyncio.Task[None] | None = None
        self._well: set[str] = set()  # never called, but their provider answered
        self._refusing: set[str] = set()  # addresses that have refused a key, so that they do look at it

    def start(self) -> None:
        if self._interval > 0:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._prober.close()

    async def check(self) -> None:
        """One round: each account that needs it is asked once, whatever the number of its deployments."""
        await self._quota.standings()  # so that it is known since when they are as they are, also if nobody asks
        due: dict[FreeCall, list[Deployment]] = {}
        for deployment in self._quota.catalogue.enabled:
            if self._needs_it(deployment) and (call := free_call(deployment)):
                due.setdefault(call, []).append(deployment)
        few = asyncio.Semaphore(AT_ONCE)

        async def ask(call: FreeCall, deployments: list[Deployment]) -> None:
            async with few:
                finding = await self._prober.ask(call)
            if finding.outcome is Outcome.AUTH:
                self._refusing.add(call.url)
            for deployment in deployments:
                self._learn(deployment, finding, proves_key=call.proves_key or call.url in self._refusing)

        await asyncio.gather(*(ask(call, deployments) for call, deployments in due.items()))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval * (0.9 + 0.2 * self._chance()))
            try:
                await self.check()
            except Exception:
                logger.exception("a round of health checks failed")

    def _needs_it(self, deployment: Deployment) -> bool:
        if deployment.provider == LAB:
            return False
        if self._quota.breakers.cause(deployment.id):
            return True
        traffic, breakers = self._quota.traffic, self._quota.breakers
        heard_of = breakers.heard_of(deployment.id) or traffic.latency(deployment.id) is not None
        return not heard_of and deployment.id not in self._well

    def _learn(self, deployment: Deployment, finding: Finding, *, proves_key: bool) -> None:
        breakers, id_ = self._quota.breakers, deployment.id
        cause = breakers.cause(id_)
        if finding.outcome is not Outcome.OK:
            breakers.note(
                id_,
                f"health check: {finding.detail}",
                keep_out=finding.outcome is Outcome.AUTH and cause == Outcome.AUTH,
            )
            logger.info("%s: health check: %s", id_, finding.detail)
            return
        self._well.add(id_)
        if cause in (Outcome.AUTH, Outcome.NOT_FOUND):
            if proves_key if cause == Outcome.AUTH else deployment.model_id in finding.models:
                breakers.reset(id_, "health_check")
                logger.info("%s is back: its provider takes the key and has the model", id_)
        elif cause and breakers.try_early(id_, self._interval):
            logger.info("%s may be back: the next request decides", id_)
