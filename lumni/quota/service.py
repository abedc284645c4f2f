"""Quota as the gateway sees it: the store, the queue, the breakers and all that was learned, in one hand."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lumni.catalogue.model import Catalogue, Deployment
from lumni.quota.backoff import Backoff
from lumni.quota.breaker import Breakers
from lumni.quota.estimate import Estimator
from lumni.quota.inference import AT_ONCE, Inference, is_unknown
from lumni.quota.limits import StudentLimits
from lumni.quota.memory import MemoryStore
from lumni.quota.model import ONE_REQUEST, Amounts, Correction, Pool, WindowState
from lumni.quota.pools import Pools
from lumni.quota.queue import FairQueue
from lumni.quota.standing import Standing, Standings
from lumni.quota.store import Shared, Store
from lumni.quota.strategies import headroom
from lumni.quota.traffic import Traffic
from lumni.types import Outcome

logger = logging.getLogger(__name__)

PRESSED = 0.5  # of what can be sustained: a class doesn't come evenly, and what is lost before it comes is missing then
GLANCE = 1.0  # seconds for which what was read of the pools is good enough to rank by; reserving is always exact


@dataclass
class Quota:
    """State of one process before a store that may be shared. ``clock`` returns Unix time in seconds.

    ``telling`` are the deployments whose answers say how many requests of the minute remain.
    """

    catalogue: Catalogue
    pools: Pools
    store: Store
    clock: Callable[[], float]
    queue: FairQueue
    breakers: Breakers
    students: StudentLimits
    estimator: Estimator = field(default_factory=Estimator)
    traffic: Traffic = field(default_factory=Traffic)
    inference: Inference = field(default_factory=Inference)
    telling: set[str] = field(default_factory=set)
    backoff: Backoff = field(default_factory=Backoff)
    _states: dict[str, tuple[str, float]] = field(default_factory=dict)  # and since when
    _seen: Mapping[str, tuple[WindowState, ...]] = field(default_factory=dict)
    _seen_at: float = float("-inf")
    _standings: Standings = field(init=False)
    _stood_by: tuple[Mapping[str, tuple[WindowState, ...]], frozenset[str]] | None = None  # seen, and out of order then
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def standings(self) -> Standings:
        """How each enabled deployment stands, quotas as of the last second, and what is out of order as of now.

        The same object while nothing changes.
        """
        seen, broken = await self._glance(), self._broken()
        if self._stood_by is None or seen is not self._stood_by[0] or broken.keys() != self._stood_by[1]:
            found = {d.id: self._dated(d.id, self._standing(d.id, seen, broken)) for d in self.catalogue.enabled}
            self._standings = Standings(found, self.pools)
            self._stood_by = seen, frozenset(broken)
        elif broken:
            self._standings = self._standings.retold(broken)
        return self._standings

    def pressed(self, standings: Standings, need: Amounts) -> bool:
        """Whether requests come faster than half of what the accounts can sustain, if each takes ``need``."""
        return self.traffic.demand(self.clock()) > PRESSED * standings.supply(need)

    @property
    def stranded(self) -> bool:
        """Whether nothing is known of the limits, since Redis was never reached."""
        return isinstance(self.store, Shared) and self.store.stranded

    async def shared_within(self, seconds: float) -> bool:
        """Wait until limits aren't kept in parts any more; whether that is so. At once with one process's memory."""
        return not isinstance(self.store, Shared) or await self.store.shared_within(seconds)

    async def rows(self) -> tuple[WindowState, ...]:
        """Every window of every pool, read now."""
        return await self.store.snapshot(self.pools.all, self.clock())

    def failed(self, deployment: Deployment, outcome: Outcome, detail: str, status: int | None = None) -> None:
        """Tell the breakers of a failure. A refused key is the account's: all its deployments are taken out.

        But a 403 may be about the model (OpenAI's projects and Groq's organizations allow them one by one).
        """
        touched = [deployment]
        if outcome is Outcome.AUTH and status != 403:
            same = (deployment.provider, deployment.account)
            touched = [d for d in self.catalogue.enabled if (d.provider, d.account) == same]
        for one in touched:
            self.breakers.record(one.id, outcome, detail)

    def heard(self, pools: Sequence[Pool], words: Sequence[Correction]) -> tuple[Correction, ...]:
        """What a success teaches about the pools that it drew on, ``words`` being what the provider said of them."""
        if not pools or not is_unknown(pools[0]):
            return tuple(words)
        return (*words, *self.inference.answered(pools[0].id, words, self.clock()))

    def timed(self, pools: Sequence[Pool], words: Sequence[Correction], sent: float, now: float) -> list[Correction]:
        """``words`` of a refusal; where they name neither window nor time, we choose one. ``sent`` and ``now`` are in
        seconds of one clock."""

        def time(word: Correction) -> Correction:
            if not pools or word.kind is not None or not word.refused or word.reset_in is not None:
                return word
            return replace(word, reset_in=self.backoff.refused(pools[0].id, sent, now))

        return [time(word) for word in words]

    async def inferred(self, pools: Sequence[Pool], words: Sequence[Correction]) -> tuple[Correction, ...]:
        """What a refusal gives away besides ``words``, which the store hasn't taken in yet; about the first pool."""
        if not pools or not is_unknown(pools[0]) or not any(word.refused for word in words):
            return ()
        rows = await self.store.snapshot(pools[:1], self.clock())
        return self.inference.refused(pools[0].id, words, rows, self.clock())

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, which waits for nothing but the store, in the background; ``close`` waits for it.

        So nobody's answer does. With one process's memory, which keeps nobody waiting, it is done at once.
        """
        if not isinstance(self.store, MemoryStore):
            self._task(work)
            return
        try:
            self._guarded(work).send(None)
        except StopIteration:
            return
        raise RuntimeError("what waits can't be done at once")

    async def surely(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for ``work``, which goes on if the one who waits is cancelled. Its own failure is logged, not raised."""
        await asyncio.shield(self._task(work))

    async def close(self) -> None:
        """Send the waiting away and finish what is being given back."""
        await self.queue.close()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def dump(self) -> dict[str, Any]:
        """What this process alone knows and a restart must not forget, as JSON."""
        return {
            "breakers": self.breakers.dump(),
            "estimates": self.estimator.dump(),
            "traffic": self.traffic.dump(),
            "inferred": self.inference.dump(),
            "states": self._states,
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote, for deployments that still exist."""
        known = self.catalogue.by_id
        self.breakers.load({name: saved for name, saved in dumped["breakers"].items() if name in known})
        self.estimator.load(dumped["estimates"])
        self.traffic.load(dumped["traffic"])
        self.inference.load(dumped["inferred"])
        self._states |= {name: tuple(saved) for name, saved in dumped.get("states", {}).items() if name in known}

    def _task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("a reservation could not be settled; it counts as used once it expires")

    async def _glance(self) -> Mapping[str, tuple[WindowState, ...]]:
        now = self.clock()
        if not 0 <= now - self._seen_at < GLANCE:
            self._seen_at = now  # at once, so that of many requests only one asks
            found: dict[str, list[WindowState]] = {}
            for row in await self.rows():
                found.setdefault(row.pool, []).append(row)
            self._seen = {pool: tuple(rows) for pool, rows in found.items()}
        return self._seen

    def _dated(self, id_: str, standing: Standing) -> Standing:
        state, since = self._states.get(id_, ("", 0.0))
        if state != standing.state:
            since = self.clock()
            self._states[id_] = standing.state, since
        return standing._replace(since=since)

    def _broken(self) -> dict[str, tuple[str, float]]:
        """What can't be called now: why, and for how many seconds."""
        if self.breakers.all_closed:
            return {}
        return {d.id: broken for d in self.catalogue.enabled if (broken := self.breakers.blocked(d.id))}

    def _standing(
        self, id_: str, seen: Mapping[str, tuple[WindowState, ...]], broken: Mapping[str, tuple[str, float]]
    ) -> Standing:
        windows = tuple(row for pool in self.pools.of(id_) for row in seen.get(pool.id, ()))
        if id_ in broken:
            return Standing(0.0, *broken[id_], windows)
        return Standing(headroom(windows, ONE_REQUEST), windows=windows)


def describe(window: WindowState) -> str:
    """A window in words: ``30 requests a minute``, ``2 at once``; without a number while its limit is unknown."""
    if window.period == AT_ONCE:
        return f"{window.limit} at once"
    spans: dict[float, str] = {1: "second", 60: "minute", 3600: "hour", 86400: "day", 31 * 86400: "month"}
    span = spans.get(round(window.period), f"{window.period:g} s")
    kind = window.kind.replace("_", " ")
    amount = "" if window.limit is None else f"{window.limit:,} "
    kind = kind.removesuffix("s") if window.limit == 1 else kind
    article = "an" if span == "hour" else "a" if span.isalpha() else "in"
    return f"{amount}{kind} {article} {span}"
