"""What one student may ask of Lumni: a burst bucket per key, and sliding minute and hour per student.

The same stores count them as count providers' windows, so they are exact in any number of processes. A request that is
let in is counted at once; one that is refused counts nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

from lumni.quota.model import HOUR, MINUTE, ONE_REQUEST, Draw, Pool, Refused, Window, WindowState
from lumni.quota.store import Store


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of one kind of student; ``None`` means no such limit.

    Defaults: a burst of 100 that refills by one a second (002-22), ten a minute, 100 an hour (003-28, 003-29).
    """

    burst: int | None = 100
    refill_rate: float = 1.0
    per_minute: int | None = 10
    per_hour: int | None = 100

    def burst_pool(self, key: str) -> Pool:
        if not self.burst:
            return Pool(f"key:{key}")
        return Pool(f"key:{key}", (Window("requests", self.burst / self.refill_rate, self.burst, "refilling"),))

    def student_pool(self, student: str) -> Pool:
        limits = ((MINUTE, self.per_minute), (HOUR, self.per_hour))
        return Pool(
            f"student:{student}",
            tuple(Window("requests", period, limit) for period, limit in limits if limit is not None),
        )


@dataclass(frozen=True, slots=True)
class Allowance:
    """The tightest limit after a request: what ``x-ratelimit-*`` tell our own clients.

    ``retry_after`` in seconds is ``None`` when the request was let in; ``words`` say which limit refused it.
    """

    limit: int | None
    remaining: int | None
    reset_in: float
    retry_after: float | None = None
    window: str = ""
    words: str = ""

    @property
    def allowed(self) -> bool:
        return self.retry_after is None

    def headers(self) -> dict[str, str]:
        """OpenAI's names; ``reset`` as it writes durations. Empty without any limit."""
        if self.limit is None or self.remaining is None:
            return {}
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.reset_in:.3f}".rstrip("0").rstrip(".") + "s",
        }


@dataclass(slots=True)
class StudentLimits:
    """Both layers of limits. ``clock`` returns Unix time; ``tiers`` are by name, ``default`` is for all others."""

    store: Store
    clock: Callable[[], float]
    default: Tier = field(default_factory=Tier)
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    _pools: dict[tuple[str, str, str], Pool] = field(default_factory=dict)

    def set_tiers(self, default: Tier, tiers: Mapping[str, Tier]) -> None:
        """Other limits from now on; what was used counts against them."""
        self.default, self.tiers = default, tiers
        self._pools.clear()

    async def burst(self, key: str, tier: str = "") -> Allowance:
        """Count one request against the key's bucket alone: what a cache answers costs a student nothing."""
        return await self._take((self._pool("key", key, tier),))

    async def enter(self, student: str, tier: str = "", *, key: str = "") -> Allowance:
        """Count one request against the student's minute and hour and the bucket of her ``key``: all or nothing."""
        pools = (self._pool("student", student, tier), *((self._pool("key", key, tier),) if key else ()))
        return await self._take(pools)

    async def state(self, student: str, tier: str = "") -> tuple[WindowState, ...]:
        """The student's windows as they are; counts nothing."""
        return await self.store.snapshot([self._pool("student", student, tier)], self.clock())

    async def _take(self, pools: tuple[Pool, ...]) -> Allowance:
        pools = tuple(pool for pool in pools if pool.windows)
        if not pools:
            return Allowance(None, None, 0.0)
        answer = await self.store.reserve([Draw("", pools, ONE_REQUEST)], self.clock(), lease=0)
        if not isinstance(answer, Refused):
            return _tightest(answer.states)
        refusal = answer.refusals[0]
        window = next(w for p in pools if p.id == refusal.pool for w in p.windows if w.key == refusal.window)
        wait = window.period if refusal.wait is None else refusal.wait
        return Allowance(window.limit, 0, wait, wait, window.key, _words(window))

    def _pool(self, layer: str, name: str, tier: str) -> Pool:
        """One object a pool, because stores recognise it by identity faster than by value."""
        key = layer, name, tier
        if (pool := self._pools.get(key)) is None:
            if len(self._pools) >= 20_000:
                self._pools.clear()
            chosen = self.tiers.get(tier, self.default)
            pool = chosen.burst_pool(name) if layer == "key" else chosen.student_pool(name)
            self._pools[key] = pool
        return pool


def _tightest(rows: tuple[WindowState, ...]) -> Allowance:
    """The window with the least left; of equals the one that is new last."""
    row = min(rows, key=lambda r: (r.left if r.left is not None else 1 << 60, -r.reset_in))
    return Allowance(row.limit, row.left, ceil(row.reset_in * 1000) / 1000, None, row.window)


def _words(window: Window) -> str:
    if window.style == "refilling":
        return f"{window.limit} at once, and {(window.limit or 0) / window.period:g} a second from then on"
    return f"{window.limit} {'a minute' if window.period == MINUTE else 'an hour'}"
