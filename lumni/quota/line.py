"""Who waits for capacity, in which order, and how fast the line moves.

Max–min: the student who has received least of late, relative to her weight, is first; the greedy one waits, and
nobody's share depends on how many requests others pile up. Courses of higher priority go before others, but who waits
long is moved up to them, so that nobody starves. Where there is enough for all in time, nobody is made to leave for
having asked much: who must leave soon goes first, if that makes nobody late who comes before.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from lumni.quota.lease import Lease
from lumni.quota.model import Amounts, Draw, Refusal, Refused
from lumni.quota.shares import Shares, cost
from lumni.quota.ticket import Place, Ticket

PROMOTE_AFTER = 20.0  # seconds of waiting that count as one step of course priority
RESCUE = 15.0  # seconds before its deadline in which a request goes first, unless others would be late for that
PACE_WINDOW = 120.0  # seconds over which grants are counted, to estimate how long a place in line takes


@dataclass(eq=False, slots=True)
class Waiter:
    """A request in line. ``again`` is the loop time before which nothing fits unless something is given back."""

    ticket: Ticket
    draws: Sequence[Draw]
    since: float
    order: int
    done: "asyncio.Future[Lease]"
    again: float = 0.0
    refusals: tuple[Refusal, ...] = ()
    asked_all: bool = False  # whether the refusals are of all its draws but the closed ones

    def touches(self, pools: frozenset[str]) -> bool:
        return any(pool.id in pools for draw in self.draws for pool in draw.pools)

    def fail(self, error: Exception) -> None:
        """Tell it so, unless it has its answer or left."""
        if not self.done.done():
            self.done.set_exception(error)


class Line:
    """The waiting, and what everybody received of late. Times are the event loop's."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []
        self._shares = Shares()
        self._grants: deque[float] = deque(maxlen=1000)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiter]:
        """In the order of their coming."""
        return iter(self._waiting)

    def join(self, waiter: Waiter) -> None:
        self._waiting.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        self._waiting.remove(waiter)

    def granted(self, student: str, need: Amounts) -> None:
        """Note what somebody received."""
        now = _now()
        self._shares.add(student, cost(need), now)
        self._grants.append(now)

    def share(self, student: str) -> float:
        """The part of recent capacity that went to ``student``, in [0, 1]."""
        return self._shares.part(student, _now())

    def in_order(self, asking: Waiter | None = None) -> list[Waiter]:
        """All who wait (``asking`` even if its time is over), the next first."""
        now = _now()
        received = {w.ticket.student: self._shares.of(w.ticket.student, now) for w in self._waiting}
        highest = max((w.ticket.priority for w in self._waiting), default=0)

        def level(waiter: Waiter) -> float:
            return -min(highest, waiter.ticket.priority + (now - waiter.since) // PROMOTE_AFTER)

        def key(waiter: Waiter) -> tuple[float, float, int]:
            return level(waiter), received[waiter.ticket.student] / waiter.ticket.weight, waiter.order

        fair = sorted((w for w in self._waiting if w is asking or not w.done.done()), key=key)
        return [w for _, group in groupby(fair, level) for w in self._rescue(list(group), now)]

    def place(self, waiter: Waiter) -> Place:
        """Where it stands among those who wait for the same pools, and for how long that is likely to be."""
        pools = frozenset(pool.id for draw in waiter.draws for pool in draw.pools)
        line = [w for w in self.in_order(waiter) if w.touches(pools)]
        position = line.index(waiter) + 1 if waiter in line else 1
        pace = self._pace(_now())
        queueing = position / pace if pace else None
        fits = Refused(waiter.refusals).wait
        known = [seconds for seconds in (queueing, fits) if seconds is not None]
        return Place(position, max(len(line), 1), max(known) if known else None)

    def _rescue(self, line: list[Waiter], now: float) -> list[Waiter]:
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


def _now() -> float:
    return asyncio.get_running_loop().time()
