"""Quota shared through Redis that goes on when Redis doesn't: each process then keeps to its part of every limit."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lumni.quota.arrears import Arrears
from lumni.quota.clockwork import milliseconds
from lumni.quota.members import Away, MemberStore, Order, Pace, Word
from lumni.quota.mirror import Mirror
from lumni.quota.model import NOTHING, Amounts, Correction, Draw, Granted, Pool, Refused, Reservation, WindowState
from lumni.quota.portion import Footing, Note, Part, Portion
from lumni.quota.redis import end
from lumni.quota.store import Shared, Store, Wake, route
from lumni.quota.tide import Tide

_GRACE_MS = 500  # by which clocks of machines may drift apart between two beats
_LOG = logging.getLogger(__name__)


class ResilientStore(Shared):
    """``Store`` of any number of processes; no call fails because of Redis.

    ``client`` is a ``redis.asyncio.Redis``. With ``server_time`` off, ``now`` rules in place of Redis's clock (tests do
    that). Call ``start`` on the event loop that serves, and ``stop`` at the end, so that others needn't wait for us.
    """

    def __init__(
        self, client: Any, *, prefix: str = "lumni", server_time: bool = True, pace: Pace | None = None
    ) -> None:
        self._pace = pace or Pace()
        self._poked = asyncio.Event()
        self._redis = MemberStore(
            client, prefix=prefix, server_time=server_time, pace=self._pace, noticed=self._poked.set
        )
        self._tide = Tide(server_time=server_time)
        self._own, self._apart = Mirror(), Mirror()
        self._arrears = Arrears()
        self._notes: dict[str, Note] = {}
        self._agreed: dict[str, dict[str, int]] = {}
        self._view: Order = ()
        self._entitled = False
        self._applied = 0
        self._until = 0
        self._together = asyncio.Event()
        self._open_gate = asyncio.Event()
        self._open_gate.set()
        self._reachable = False
        self._reason, self._since = "starting", time.time()
        self._portion: Portion | None = self._stand_alone()
        self._wakes: list[Wake] = []
        self._subscribed = False
        self._life: asyncio.Task[None] | None = None

    @property
    def state(self) -> dict[str, Any]:
        shared = self._portion is None
        share = 1.0 if shared else (1 / len(self._view) if self._entitled else 0.0)
        return {
            "mode": "shared" if shared else "degraded",
            "since": self._since,
            "share": share,
            "processes": len(self._view),
            "reason": self._reason,
        }

    @property
    def stranded(self) -> bool:
        return self._portion is not None and not self._entitled

    async def shared_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._together.wait()
        return self._portion is None

    async def start(self) -> None:
        """Join the other processes. Returns when that is done, or after some seconds all the same: it goes on."""
        self._begin()
        await self._wait_for(self._together)

    async def stop(self) -> None:
        """Leave, so that the others needn't keep a part for us."""
        if self._life is not None:
            await end(self._life)
            self._life = None
            with suppress(Away):
                await self._flush()
                await self._redis.leave(self._tide.given)
        await self._redis.close()

    async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
        self._begin()
        self._tide.given = now
        for attempt in range(100):
            if self._portion is not None:
                break
            try:
                return await self._reserve_together(draws, now, lease)
            except Away as away:
                if away.reason == "unheard" and attempt < 99:
                    self._poked.set()
                    await asyncio.sleep(min(0.05, 0.001 * 2**attempt))
                else:
                    self._lose(away)
        return await self._reserve_alone(draws, now, lease)

    async def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        used: Amounts | None = None,
        counted_ago: float = 0.0,
        corrections: Sequence[Correction] = (),
    ) -> bool:
        self._tide.given = now
        actual = reservation.draw.need if used is None else used
        if self._portion is None and not self._arrears.holds(reservation):
            epoch, redis = self._redis.epoch, self._redis
            try:
                live = await redis.settle(reservation, now, used=used, counted_ago=counted_ago, corrections=corrections)
            except Away as away:
                self._lose(away)
            else:
                if epoch == redis.epoch:
                    self._own.finish(reservation, actual, self._tide.latest, milliseconds(counted_ago))
                    return live
        return await self._settle_alone(reservation, actual, counted_ago, corrections)

    async def release(self, reservation: Reservation, now: float) -> bool:
        self._tide.given = now
        if self._portion is None and not self._arrears.holds(reservation):
            epoch = self._redis.epoch
            try:
                live = await self._redis.release(reservation, now)
            except Away as away:
                self._lose(away)
            else:
                if epoch == self._redis.epoch:
                    self._own.finish(reservation, NOTHING, self._tide.latest, 0)
                    return live
        return await self._settle_alone(reservation, NOTHING, 0.0, ())

    async def expire(self, pools: Sequence[Pool], now: float) -> int:
        self._tide.given = now
        if self._portion is None:
            try:
                return await self._redis.expire(pools, now)
            except Away as away:
                self._lose(away)
        return await self._alone().expire(pools, self._tide.earliest / 1000)

    async def learn(self, pool: Pool, corrections: Sequence[Correction], now: float) -> None:
        self._tide.given = now
        if self._portion is None:
            try:
                return await self._redis.learn(pool, corrections, now)
            except Away as away:
                self._lose(away)
        await self._learn_alone(pool, corrections)
        return None

    async def snapshot(self, pools: Sequence[Pool], now: float) -> tuple[WindowState, ...]:
        """As ``Store.snapshot``; on its own, a process shows its part of each limit."""
        self._begin()
        self._tide.given = now
        if self._portion is None:
            try:
                return await self._redis.snapshot(pools, now)
            except Away as away:
                self._lose(away)
        return await self._alone().snapshot(pools, self._tide.earliest / 1000)

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        self._wakes.append(wake)
        if not self._subscribed:
            self._subscribed = True
            self._redis.subscribe(self._wake)
        self._begin()
        return lambda: self._wakes.remove(wake)

    def _begin(self) -> None:
        if self._life is None:
            self._redis.attend()
            self._life = asyncio.get_running_loop().create_task(self._live())

    async def _reserve_together(self, draws: Sequence[Draw], now: float, lease: float) -> Granted | Refused:
        epoch = self._redis.epoch
        answer = await self._redis.reserve(draws, now, lease=lease)
        if isinstance(answer, Granted):
            self._own.adopt(answer.reservation)
            if epoch != self._redis.epoch:  # counted in a state that is gone
                self._arrears.adopt(answer.reservation)
        return answer

    async def _reserve_alone(self, draws: Sequence[Draw], now: float, lease: float) -> Granted | Refused:
        if not self._entitled and await self._wait_for(self._together):
            return await self.reserve(draws, now, lease=lease)
        await self._open_gate.wait()
        portion = self._portion
        if portion is None:
            return await self.reserve(draws, now, lease=lease)
        answer = await portion.reserve(draws, self._tide.earliest / 1000, lease=lease)
        if isinstance(answer, Granted):
            for mirror in (self._own, self._apart, self._arrears):
                mirror.adopt(answer.reservation)
            return answer
        if lease == 0 and self._reachable and await self._wait_for(self._together):
            return await self.reserve(draws, now, lease=lease)
        return portion.explain(answer, draws)

    async def _settle_alone(
        self, reservation: Reservation, actual: Amounts, counted_ago: float, corrections: Sequence[Correction]
    ) -> bool:
        now, ago = self._tide.latest, milliseconds(counted_ago)
        for pool, words in route(corrections, reservation.draw.pools):
            await self._learn_alone(pool, words)
        if self._portion is not None:
            await self._portion.settle(reservation, now / 1000, used=actual, counted_ago=counted_ago)
        self._apart.finish(reservation, actual, now, ago)
        live = self._own.finish(reservation, actual, now, ago)
        self._arrears.finish(reservation, actual, now, ago)
        if self._portion is None:
            self._poked.set()  # Redis is to hear of it
        else:
            self._wake(frozenset(pool.id for pool in reservation.draw.pools))
        return live

    async def _learn_alone(self, pool: Pool, words: Sequence[Correction]) -> None:
        self._notes.setdefault(pool.id, Note()).learn(words, self._tide.latest)
        self._arrears.learned[pool.id] = pool
        if self._portion is not None:
            await self._portion.learn(pool, self._portion.scaled(words), self._tide.latest / 1000)
            self._wake(frozenset([pool.id]))

    def _alone(self) -> Store:
        return self._portion or self._own

    def _stand_alone(self) -> Portion:
        order = sorted(self._view, key=lambda entry: (entry[1], entry[0]))
        names = [name for name, _ in order]
        entitled = self._entitled and self._redis.member in names
        part = Part(names.index(self._redis.member), len(names)) if entitled else Part()
        unsent = self._arrears.mirror
        footing = Footing(part, self._own, self._apart, unsent, self._agreed, self._notes, self._until)
        return Portion(footing, lambda: self._tide.earliest)

    def _lose(self, away: Away) -> None:
        """From now on, and for the call that found out, on our own."""
        reason = f"{away.reason}: {away.detail}" if away.detail else away.reason
        self._reachable = away.reason not in ("unreachable", "missing")
        if self._portion is None:
            _LOG.warning("quota is no longer shared (%s): this process keeps to its part of each limit", reason)
            self._agreed = {name: dict(note.levels) for name, note in self._notes.items()}
            self._portion, self._since = self._stand_alone(), time.time()
            self._together.clear()
            self._wake(None)
        self._reason = reason
        self._poked.set()

    def _unite(self) -> None:
        _LOG.info("quota is shared by %d processes", len(self._view))
        self._portion, self._reason, self._since = None, "", time.time()
        self._apart = Mirror()
        self._together.set()
        self._wake(None)

    async def _live(self) -> None:
        """Beat while all is well; else try to come back."""
        while True:
            self._poked.clear()
            try:
                await (self._beat() if self._portion is None else self._come_back())
            except Away as away:
                self._lose(away)
                self._poked.clear()
            pause = self._pace.beat if self._portion is None else self._pace.beat / (20 if self._reachable else 4)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._poked.wait()

    async def _beat(self) -> None:
        """Say that we live and have heard all there is to hear."""
        sent = -1
        while sent != self._applied:
            await self._flush()
            sent = self._applied
            self._take(await self._sync(beat=True))

    async def _come_back(self) -> None:
        word = await self._sync(beat=False)
        if word.epoch != self._redis.epoch or word.status == "left":
            self._renew(word)
        elif word.absent:
            raise Away("missing")
        self._hear(word)
        await self._flush()
        self._open_gate.clear()
        try:
            await self._flush()
            self._hear(await self._sync(beat=False))
            word = await self._sync(beat=True)
            self._portion = self._stand_alone()
            self._take(word)
            self._unite()
        finally:
            self._open_gate.set()

    async def _sync(self, *, beat: bool) -> Word:
        before, patience = time.monotonic(), milliseconds(self._pace.patience) + _GRACE_MS
        if beat:  # should its answer be lost, it may still have been heard
            self._until = self._tide.latest + patience + milliseconds(self._pace.timeout)
            self._portion = self._portion and self._stand_alone()
        word = await self._redis.sync(self._view, self._applied, self._tide.given, beat=beat)
        self._tide.observe(word.clock, before, time.monotonic())
        if beat:
            self._until = word.clock + patience
        return word

    def _take(self, word: Word) -> None:
        """Take in the answer to a beat. Raises ``Away`` if we can't draw on the common state."""
        if word.epoch == self._redis.epoch and word.status != "left":
            self._view = word.order
            self._entitled = self._entitled or word.entitled
            self._hear(word)
        if word.status:
            raise Away(word.status)

    def _hear(self, word: Word) -> None:
        if word.epoch != self._redis.epoch:
            return
        self._applied = word.head
        for name, fields in word.rows:
            self._notes[name] = Note.of(fields)

    def _renew(self, word: Word) -> None:
        """Another epoch, or we were given up: what we know is to be brought again."""
        lost = word.epoch != self._redis.epoch
        if word.status == "left" and not lost:
            self._entitled = False
            self._view = ()
            return
        self._redis.epoch, self._applied = word.epoch, 0
        self._arrears.all_of(self._own, self._notes, self._tide.earliest)
        for note in self._notes.values():
            note.levels = {}

    async def _flush(self) -> None:
        """Bring to Redis what it hasn't counted."""
        while bill := self._arrears.bill(self._own, self._notes, self._tide):
            await self._redis.push(bill.pools, bill.rows, bill.number, self._tide.given)
            self._arrears.paid()

    async def _wait_for(self, event: asyncio.Event) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.patience + self._pace.settling):
                await event.wait()
        return event.is_set()

    def _wake(self, pools: frozenset[str] | None) -> None:
        for wake in tuple(self._wakes):
            wake(pools)
