"""The fair queue: who gets capacity next when it doesn't suffice for all.

Max–min: among the waiting, the student who has received least of late, relative to her weight, is served first; the
greedy one waits, and nobody's share depends on how many requests others pile up. Courses of higher priority go before
others, but who waits long is moved up to them, so that nobody starves. Where there is enough for all in time, nobody is
made to leave for having asked much: who must leave soon goes first, if that makes nobody late who comes before.
Whoever fits is served: a student behind one whose large request doesn't fit yet isn't held up, unless that one has been
passed over for ``CLAIM_AFTER`` seconds; then the pools that can serve it first are kept for it.

One event loop's queue; each process has its own before the same store.
"""

import asyncio
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby

from lumni.quota.lease import Lease
from lumni.quota.model import Draw, Granted, Refusal, Refused
from lumni.quota.shares import Shares, cost
from lumni.quota.store import Store
from lumni.quota.ticket import NoCapacity, Place, Standby, Ticket

CLAIM_AFTER = 15.0  # seconds in which others may pass a request that doesn't fit yet
PROMOTE_AFTER = 20.0  # seconds of waiting that count as one step of course priority
RESCUE = 15.0  # seconds before its deadline in which a request goes first, unless others would be late for that
LONGEST_NAP = 1.0  # seconds until the store is asked again although nothing was heard
PACE_WINDOW = 120.0  # seconds over which grants are counted, to estimate how long a place in line takes


@dataclass(eq=False, slots=True)
class _Waiter:
    ticket: Ticket
    draws: Sequence[Draw]
    since: float
    order: int
    done: "asyncio.Future[Lease]"
    again: float = 0.0  # loop time before which nothing fits unless something is given back
    refusals: tuple[Refusal, ...] = ()
    asked_all: bool = False  # whether the refusals are of all its draws but the closed ones

    def touches(self, pools: frozenset[str]) -> bool:
        return any(pool.id in pools for draw in self.draws for pool in draw.pools)


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
        self._per_student = per_student
        self._closed = closed
        self._shares = Shares()
        self._waiting: list[_Waiter] = []
        self._running: dict[str, int] = {}
        self._grants: deque[float] = deque(maxlen=1000)
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
        loop = asyncio.get_running_loop()
        waiter = _Waiter(ticket, draws, loop.time(), next(self._orders), loop.create_future())
        if not self._waiting and not self._at_cap(waiter) and (draws := self._open(waiter)):
            news = self._news
            answer = await self.attempt(ticket, draws)
            if isinstance(answer, Lease):
                answer.index = waiter.draws.index(draws[answer.index])
                return answer
            self._refused(waiter, answer, asked_all=True, stale=news != self._news)
        self._waiting.append(waiter)
        self._serve()
        lease = None
        try:
            async with asyncio.timeout_at(ticket.deadline):
                lease = await waiter.done
            return lease
        except TimeoutError:
            raise self._no_capacity(waiter) from None
        finally:
            self._waiting.remove(waiter)
            if lease is None:
                await _abandon(waiter)

    async def attempt(self, ticket: Ticket, draws: Sequence[Draw]) -> Lease | Refused:
        """The same without a wait, for a fallback of a request that has already had its turn."""
        self._start(ticket)
        try:
            answer = await self._store.reserve(draws, self._clock(), lease=ticket.lease)
        except BaseException:
            self._end(ticket)
            raise
        if isinstance(answer, Granted):
            return self._granted(ticket, answer)
        self._end(ticket)
        return answer

    def place(self, student: str) -> Place | None:
        """Where the student's first waiting request stands."""
        mine = next((w for w in self._line() if w.ticket.student == student), None)
        return self._place(mine) if mine else None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def line(self) -> tuple[Standby, ...]:
        """All who wait, the next first."""
        now = asyncio.get_running_loop().time()
        return tuple(Standby(waiter.ticket.student, now - waiter.since) for waiter in self._line())

    def share(self, student: str) -> float:
        """The part of recent capacity that went to ``student``, in [0, 1]."""
        return self._shares.part(student, asyncio.get_running_loop().time())

    def notify(self, pools: frozenset[str] | None = None) -> None:
        """Capacity of ``pools`` (``None``: any) may have come: look again."""
        self._news += 1
        for waiter in self._waiting:
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
        for waiter in self._waiting:
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
        while self._waiting:
            self._bell.clear()
            await self._round()
            soonest = min((w.again for w in self._waiting if w.again > loop.time()), default=loop.time() + LONGEST_NAP)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(soonest):
                    await self._bell.wait()

    async def _round(self) -> None:
        """Offer what there is to everybody once, in fair order, which each grant changes."""
        found, offered = _Round(), set[int]()
        line = self._line()
        while line:
            waiter = line.pop(0)
            offered.add(waiter.order)
            if not waiter.done.done() and not self._at_cap(waiter) and await self._offer(waiter, found):
                line = [other for other in self._line() if other.order not in offered]

    async def _offer(self, waiter: _Waiter, found: _Round) -> bool:
        """Whether the waiter got its lease."""
        now = asyncio.get_running_loop().time()
        if waiter.again > now:
            self._claim(waiter, found, now)
            return False
        can = self._open(waiter)
        draws = [d for d in can if found.claimed.isdisjoint(pool.id for pool in d.pools)]
        if not draws:
            if not can and not waiter.done.done():
                waiter.done.set_exception(AllClosed())
            return False
        news = self._news
        answer: Lease | Refused | None = found.known(draws)
        if answer is None:
            try:
                answer = await self.attempt(waiter.ticket, draws)
            except Exception as fault:  # noqa: BLE001  (the store's fault belongs to the one who asked, not to the line)
                if not waiter.done.done():
                    waiter.done.set_exception(fault)
                return False
        if isinstance(answer, Lease):
            return await self._hand(answer, waiter, draws)
        found.refused.setdefault(_shape(draws), []).append((draws, answer))
        self._refused(waiter, answer, asked_all=len(draws) == len(can), stale=news != self._news)
        self._claim(waiter, found, now)
        return False

    async def _hand(self, lease: Lease, waiter: _Waiter, draws: Sequence[Draw]) -> bool:
        if waiter.done.done():  # it left while the store was asked
            await lease.release()
            return False
        lease.index = waiter.draws.index(draws[lease.index])
        lease.waited = asyncio.get_running_loop().time() - waiter.since
        waiter.done.set_result(lease)
        return True

    def _open(self, waiter: _Waiter) -> list[Draw]:
        return [draw for draw in waiter.draws if not self._closed(draw.deployment)]

    def _refused(self, waiter: _Waiter, refused: Refused, *, asked_all: bool, stale: bool) -> None:
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
        if asked_all and not waiter.done.done() and now + earliest > waiter.ticket.deadline:
            waiter.done.set_exception(self._no_capacity(waiter))

    def _claim(self, waiter: _Waiter, found: _Round, now: float) -> None:
        """Keep the pools of the draw that fits first for the first in line who has been passed over long enough."""
        if found.claimed or now - waiter.since < CLAIM_AFTER or waiter.done.done():
            return
        waits = {r.deployment: r.wait for r in waiter.refusals if r.wait is not None}
        if waits and waiter.asked_all:
            best = min((draw for draw in waiter.draws if draw.deployment in waits), key=lambda d: waits[d.deployment])
            found.claimed = frozenset(pool.id for pool in best.pools)

    def _line(self, asking: _Waiter | None = None) -> list[_Waiter]:
        """All who wait (``asking`` even if its time is over), the next first."""
        now = asyncio.get_running_loop().time()
        received = {w.ticket.student: self._shares.of(w.ticket.student, now) for w in self._waiting}

        highest = max((w.ticket.priority for w in self._waiting), default=0)

        def level(waiter: _Waiter) -> float:
            return -min(highest, waiter.ticket.priority + (now - waiter.since) // PROMOTE_AFTER)

        def key(waiter: _Waiter) -> tuple[float, float, int]:
            return level(waiter), received[waiter.ticket.student] / waiter.ticket.weight, waiter.order

        fair = sorted((w for w in self._waiting if w is asking or not w.done.done()), key=key)
        return [w for _, group in groupby(fair, level) for w in self._rescue(list(group), now)]

    def _rescue(self, line: list[_Waiter], now: float) -> list[_Waiter]:
        """Those who must leave soon go first, if at the present pace it makes nobody late who has a better claim."""
        if not any(w.ticket.deadline - now < RESCUE for w in line) or not (pace := self._pace(now)):
            return line
        timely = in_time([pace * (w.ticket.deadline - now) for w in line])
        first = [w for w, can in zip(line, timely, strict=True) if can and w.ticket.deadline - now < RESCUE]
        return first + [w for w in line if w not in first]

    def _pace(self, now: float) -> float:
        """Grants a second of late; 0 when nobody knows."""
        recent = [at for at in self._grants if at > now - PACE_WINDOW]
        return len(recent) / (now - recent[0]) if recent and now > recent[0] else 0.0

    def _granted(self, ticket: Ticket, granted: Granted) -> Lease:
        now = asyncio.get_running_loop().time()
        self._shares.add(ticket.student, cost(granted.reservation.draw.need), now)
        self._grants.append(now)
        ended = partial(self._end, ticket)
        return Lease(self._store, self._clock, granted.index, granted.reservation, ended)

    def _at_cap(self, waiter: _Waiter) -> bool:
        ticket = waiter.ticket
        return ticket.capped and self._running.get(_holder(ticket), 0) >= self._cap(ticket)

    def _start(self, ticket: Ticket) -> None:
        holder = _holder(ticket)
        self._running[holder] = self._running.get(holder, 0) + 1

    def _end(self, ticket: Ticket) -> None:
        holder = _holder(ticket)
        left = self._running[holder] - 1
        if left:
            self._running[holder] = left
        else:
            del self._running[holder]
        if any(_holder(w.ticket) == holder and left == self._cap(w.ticket) - 1 for w in self._waiting):
            self._bell.set()

    def _cap(self, ticket: Ticket) -> int:
        return self._per_student if ticket.cap is None else ticket.cap

    def _no_capacity(self, waiter: _Waiter) -> NoCapacity:
        share, at_cap = self.share(waiter.ticket.student), self._at_cap(waiter)
        return NoCapacity(waiter.refusals, self._place(waiter), share, at_cap=at_cap)

    def _place(self, waiter: _Waiter) -> Place:
        pools = frozenset(pool.id for draw in waiter.draws for pool in draw.pools)
        line, now = [w for w in self._line(waiter) if w.touches(pools)], asyncio.get_running_loop().time()
        position = line.index(waiter) + 1 if waiter in line else 1
        pace = self._pace(now)
        queueing = position / pace if pace else None
        fits = Refused(waiter.refusals).wait
        known = [seconds for seconds in (queueing, fits) if seconds is not None]
        return Place(position, max(len(line), 1), max(known) if known else None)


def _holder(ticket: Ticket) -> str:
    """For whom running calls are counted."""
    return ticket.holder or ticket.student


def in_time(deadlines: Sequence[float]) -> list[bool]:
    """Who of a line can be served in time, one after the other in any order; whoever is nearer the front has the better
    claim. ``deadlines`` count in turns: the n-th to be served needs one of at least n.

    All can if the n-th soonest deadline is at least n (Jackson 1955: the soonest deadline first makes the least late).
    """
    taken: list[float] = []
    found = []
    for deadline in deadlines:
        place = bisect_right(taken, deadline)
        can = deadline >= place + 1 and all(later >= n for n, later in enumerate(taken[place:], place + 2))
        if can:
            taken.insert(place, deadline)
        found.append(can)
    return found


async def _abandon(waiter: _Waiter) -> None:
    """Give back a lease that nobody took: its waiter was cancelled or ran out of time in the same moment."""
    if not waiter.done.cancel() and not waiter.done.cancelled() and waiter.done.exception() is None:
        await waiter.done.result().release()


def _shape(draws: Sequence[Draw]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pool.id for pool in draw.pools) for draw in draws)
