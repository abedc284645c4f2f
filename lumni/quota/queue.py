"""The fair queue: who gets capacity next when it doesn't suffice for all.

It is offered to the waiting in the order of the line. Whoever fits is served: a student behind one whose large request
doesn't fit yet isn't held up, unless that one has been passed over for ``CLAIM_AFTER`` seconds; then the pools that can
serve it first are kept for it.

One event loop's queue; each process has its own before the same store.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from lumni.quota.lease import Lease
from lumni.quota.line import Line, Waiter
from lumni.quota.model import Draw, Granted, Refused
from lumni.quota.running import Running
from lumni.quota.store import Store
from lumni.quota.ticket import NoCapacity, Place, Standby, Ticket

CLAIM_AFTER = 15.0  # seconds in which others may pass a request that doesn't fit yet
LONGEST_NAP = 1.0  # seconds until the store is asked again although nothing was heard


@dataclass(slots=True)
class _Round:
    """What one pass over the line has found out: draws refused by their pools, and pools kept for one waiter."""

    refused: dict[tuple[tuple[str, ...], ...], list[tuple[Sequence[Draw], Refused]]] = field(default_factory=dict)
    claimed: frozenset[str] = frozenset()

    def known(self, draws: Sequence[Draw]) -> Refused | None:
        """The refusal of draws on the same pools that needed no more than these."""
        for smaller, refused in self.refused.get(_shape(draws), ()):
            if all(mine.need.covers(theirs.need) for mine, theirs in zip(draws, smaller, strict=True)):
                return refused
        return None

    def claim(self, waiter: Waiter, now: float) -> None:
        """Keep the pools of the draw that fits first for the first in line who has been passed over long enough."""
        if self.claimed or now - waiter.since < CLAIM_AFTER or waiter.done.done():
            return
        waits = {r.deployment: r.wait for r in waiter.refusals if r.wait is not None}
        if waits and waiter.asked_all:
            best = min((draw for draw in waiter.draws if draw.deployment in waits), key=lambda d: waits[d.deployment])
            self.claimed = frozenset(pool.id for pool in best.pools)


class AllClosed(Exception):
    """All that a request waits for has been closed meanwhile."""


class FairQueue:
    """``clock`` is Unix time for the store; waiting itself is by the event loop's clock.

    ``per_student`` is how many leases a student may hold at once. ``closed`` tells for how many seconds a deployment
    can't be called, whatever its quota: 0 if it can. Who waits for it keeps her place for when it can again.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        *,
        per_student: int = 8,
        closed: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._closed = closed
        self._line = Line()
        self._running = Running(per_student)
        self._orders = count()
        self._news = 0
        self._bell = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    async def lease(self, ticket: Ticket, draws: Sequence[Draw]) -> Lease:
        """Capacity for the first of ``draws`` that fits, at once or after a fair wait.

        Raises ``NoCapacity``; ``AllClosed`` when none of them can be called any more.

        Cancelling the call leaves the queue at once and holds nothing.
        """
        refused: Refused | None = None
        news = self._news
        if not self._line and not self._running.at_cap(ticket) and (can := self._open(draws)):
            answer = await self.attempt(ticket, can)
            if isinstance(answer, Lease):
                answer.index = draws.index(can[answer.index])
                return answer
            refused = answer
        return await self._wait(ticket, draws, refused, stale=news != self._news)

    async def _wait(self, ticket: Ticket, draws: Sequence[Draw], refused: Refused | None, *, stale: bool) -> Lease:
        """A place in line. All that can be called was ``refused`` before, if anything was asked."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(ticket, draws, loop.time(), next(self._orders), loop.create_future())
        if refused is not None:
            self._refused(waiter, refused, asked_all=True, stale=stale)
        self._line.join(waiter)
        self._serve()
        lease = None
        try:
            async with asyncio.timeout_at(ticket.deadline):
                lease = await waiter.done
            return lease
        except TimeoutError:
            raise self._no_capacity(waiter) from None
        finally:
            self._line.leave(waiter)
            if lease is None:
                await _abandon(waiter)

    async def attempt(self, ticket: Ticket, draws: Sequence[Draw]) -> Lease | Refused:
        """The same without a wait, for a fallback of a request that has already had its turn."""
        self._running.begin(ticket)
        try:
            answer = await self._store.reserve(draws, self._clock(), lease=ticket.lease)
        except BaseException:
            self._end(ticket)
            raise
        if isinstance(answer, Granted):
            self._line.granted(ticket.student, answer.reservation.draw.need)
            return Lease(self._store, self._clock, answer.index, answer.reservation, partial(self._end, ticket))
        self._end(ticket)
        return answer

    def place(self, student: str) -> Place | None:
        """Where the student's first waiting request stands."""
        mine = next((w for w in self._line.in_order() if w.ticket.student == student), None)
        return self._line.place(mine) if mine else None

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def running(self) -> int:
        """How many students hold a lease."""
        return len(self._running)

    def line(self) -> tuple[Standby, ...]:
        """All who wait, the next first."""
        now = asyncio.get_running_loop().time()
        return tuple(Standby(waiter.ticket.student, now - waiter.since) for waiter in self._line.in_order())

    def share(self, student: str) -> float:
        """The part of recent capacity that went to ``student``, in [0, 1]."""
        return self._line.share(student)

    def notify(self, pools: frozenset[str] | None = None) -> None:
        """Capacity of ``pools`` (``None``: any) may have come: look again."""
        self._news += 1
        for waiter in self._line:
            if pools is None or waiter.touches(pools):
                waiter.again = 0.0
        self._bell.set()

    async def close(self) -> None:
        """Stop serving; whoever waits is cancelled."""
        if self._unsubscribe:
            self._unsubscribe()
        if self._server:
            self._server.cancel()
            with suppress(asyncio.CancelledError):
                await self._server
        for waiter in self._line:
            waiter.done.cancel()

    def _serve(self) -> None:
        self._bell.set()
        if self._unsubscribe is None:
            self._unsubscribe = self._store.subscribe(self.notify)
        if self._server is None or self._server.done():
            self._server = asyncio.get_running_loop().create_task(self._rounds())

    async def _rounds(self) -> None:
        """A round whenever capacity may have come, while anybody waits."""
        loop = asyncio.get_running_loop()
        while self._line:
            self._bell.clear()
            await self._round()
            soonest = min((w.again for w in self._line if w.again > loop.time()), default=loop.time() + LONGEST_NAP)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(soonest):
                    await self._bell.wait()

    async def _round(self) -> None:
        """Offer what there is to everybody once, in fair order, which each grant changes."""
        found, offered = _Round(), set[int]()
        line = self._line.in_order()
        while line:
            waiter = line.pop(0)
            offered.add(waiter.order)
            if waiter.done.done() or self._running.at_cap(waiter.ticket):
                continue
            if await self._offer(waiter, found):
                line = [other for other in self._line.in_order() if other.order not in offered]

    async def _offer(self, waiter: Waiter, found: _Round) -> bool:
        """Whether the waiter got its lease."""
        now = asyncio.get_running_loop().time()
        if waiter.again > now:
            found.claim(waiter, now)
            return False
        can = self._open(waiter.draws)
        draws = [d for d in can if found.claimed.isdisjoint(pool.id for pool in d.pools)]
        if not can:
            waiter.fail(AllClosed())
        if not draws:
            return False
        news = self._news
        answer: Lease | Refused | None = found.known(draws)
        if answer is None:
            try:
                answer = await self.attempt(waiter.ticket, draws)
            except Exception as fault:  # noqa: BLE001  (the store's fault belongs to the one who asked, not to the line)
                waiter.fail(fault)
                return False
        if isinstance(answer, Lease):
            return await self._hand(answer, waiter, draws)
        found.refused.setdefault(_shape(draws), []).append((draws, answer))
        self._refused(waiter, answer, asked_all=len(draws) == len(can), stale=news != self._news)
        found.claim(waiter, now)
        return False

    async def _hand(self, lease: Lease, waiter: Waiter, draws: Sequence[Draw]) -> bool:
        if waiter.done.done():  # it left while the store was asked
            await lease.release()
            return False
        lease.index = waiter.draws.index(draws[lease.index])
        lease.waited = asyncio.get_running_loop().time() - waiter.since
        waiter.done.set_result(lease)
        return True

    def _open(self, draws: Sequence[Draw]) -> list[Draw]:
        return [draw for draw in draws if not self._closed(draw.deployment)]

    def _refused(self, waiter: Waiter, refused: Refused, *, asked_all: bool, stale: bool) -> None:
        """Note when to ask again; say so at once if that is too late, whatever is given back until then.

        ``asked_all``: all of the waiter's draws but the closed were refused. ``stale``: something was given back
        meanwhile, so ask again.
        """
        now = asyncio.get_running_loop().time()
        if asked_all or not waiter.refusals:
            waiter.refusals, waiter.asked_all = refused.refusals, asked_all
        wait = refused.wait
        waiter.again = 0.0 if stale else now + (LONGEST_NAP if wait is None else min(wait, LONGEST_NAP))
        opens = [wait for draw in waiter.draws if (wait := self._closed(draw.deployment))]
        earliest = min([*opens, *([] if refused.earliest is None else [refused.earliest])], default=math.inf)
        if asked_all and now + earliest > waiter.ticket.deadline:
            waiter.fail(self._no_capacity(waiter))

    def _end(self, ticket: Ticket) -> None:
        self._running.end(ticket)
        if any(self._running.freed(ticket, waiter.ticket) for waiter in self._line):
            self._bell.set()

    def _no_capacity(self, waiter: Waiter) -> NoCapacity:
        share, at_cap = self.share(waiter.ticket.student), self._running.at_cap(waiter.ticket)
        return NoCapacity(waiter.refusals, self._line.place(waiter), share, at_cap=at_cap)


async def _abandon(waiter: Waiter) -> None:
    """Give back a lease that nobody took: its waiter was cancelled or ran out of time in the same moment."""
    if not waiter.done.cancel() and not waiter.done.cancelled() and waiter.done.exception() is None:
        await waiter.done.result().release()


def _shape(draws: Sequence[Draw]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pool.id for pool in draw.pools) for draw in draws)
