"""The quota of this process, made from the settings, and kept over a restart."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from lumni.catalogue.model import Catalogue
from lumni.quota.breaker import Breakers
from lumni.quota.limits import StudentLimits, Tier
from lumni.quota.memory import MemoryStore
from lumni.quota.pools import Pools
from lumni.quota.queue import FairQueue
from lumni.quota.service import Quota
from lumni.quota.store import Store
from lumni.settings import Settings

logger = logging.getLogger(__name__)
SAVE_EVERY = 10.0  # seconds: what a killed process may forget


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Redis for any number of processes if there is one, else this process's memory."""
    if settings.redis_url is None:
        yield MemoryStore()
        return
    from lumni.quota.redis import connect  # Redis's client takes 6 MiB
    from lumni.quota.resilient import ResilientStore

    client = connect(settings.redis_url.get_secret_value())
    store = ResilientStore(client)
    try:
        await store.start()
        if store.stranded:
            where, why = _where(settings.redis_url.get_secret_value()), store.state["reason"]
            logger.warning("Redis at %s can't be used (%s): nobody is served until it can", where, why)
        yield store
    finally:
        await store.stop()
        await client.aclose()


def _where(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def make_quota(settings: Settings, catalogue: Catalogue, store: Store, clock: Callable[[], float] = time.time) -> Quota:
    """Limits of students and providers over ``store``, with nothing used yet. ``clock`` returns Unix time."""
    student, others = tiers(settings)
    breakers = Breakers(clock, threshold=settings.breaker_threshold, recovery=settings.breaker_recovery)
    return Quota(
        catalogue=catalogue,
        pools=Pools(catalogue),
        store=store,
        clock=clock,
        queue=FairQueue(store, clock, per_student=settings.student_concurrency, closed=breakers.closed_for),
        breakers=breakers,
        students=StudentLimits(store, clock, default=student, tiers=others),
    )


def tiers(settings: Settings) -> tuple[Tier, dict[str, Tier]]:
    """The limits of students, and those of other roles. Admins have none unless the settings name some."""
    roles = {role: _tier(settings, role) for role in ("teacher", "monitor")}
    admin = _tier(settings, "admin") if "admin" in settings.limit_tiers else Tier(None, 1.0, None, None)
    return _tier(settings, "student"), {**roles, "admin": admin}


def _tier(settings: Settings, role: str) -> Tier:
    given = settings.limit_tiers.get(role)
    burst, rate = settings.default_rate_limit_capacity, settings.default_rate_limit_refill_rate
    minute, hour = settings.max_requests_per_minute, settings.max_requests_per_hour
    if given:
        burst = burst if given.burst is None else given.burst
        rate = given.refill_rate or rate
        minute = minute if given.per_minute is None else given.per_minute
        hour = hour if given.per_hour is None else given.per_hour
    return Tier(burst or None, rate, minute or None, hour or None)


class QuotaFile:
    """What one process knows of quota: read at the start, written every ten seconds and at the end.

    In ``folder``, as ``quota.json``, or for each of several workers as ``quota.<worker>.json``; a worker that is new
    begins with what the single process knew. A file that can't be read is put aside, since forgetting is better than
    not serving.
    """

    def __init__(self, quota: Quota, folder: Path, worker: int | None = None) -> None:
        self._quota = quota
        self._alone = folder / "quota.json"
        self._path = self._alone if worker is None else folder / f"quota.{worker}.json"
        self._task: asyncio.Task[None] | None = None

    def load(self) -> None:
        path = self._path if self._path.exists() else self._alone
        try:
            saved = orjson.loads(path.read_bytes())
            self._quota.load(saved["process"])
            if isinstance(self._quota.store, MemoryStore):
                self._quota.store.load(saved["store"])
        except FileNotFoundError:
            return
        except Exception:
            logger.exception("the saved state of quota can't be read; it is put aside as %s.bad", path.stem)
            with suppress(OSError):
                path.replace(path.with_suffix(".bad"))

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self.save()

    def save(self) -> None:
        store = self._quota.store
        saved: dict[str, Any] = {"process": self._quota.dump(), "store": {}}
        if isinstance(store, MemoryStore):
            saved["store"] = store.dump(self._quota.clock())
        beside = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            beside.write_bytes(orjson.dumps(saved))
            beside.replace(self._path)
        except OSError as error:
            logger.warning("the state of quota could not be saved: %s", error)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY)
            self.save()
