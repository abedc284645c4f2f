"""Budgets under concurrency: requests wait at one desk a process, which posts all that came together in one go.

While the database works on one transaction, whatever arrives is gathered for the next one; so the busier a process is,
the less a request costs the database. The database's locks make it hold across processes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import token_hex
from typing import Protocol

from lumni.budget import Answer, Ask, Balance, Bill, Change, State
from lumni.errors import LimitsUnavailable

logger = logging.getLogger(__name__)

AT_ONCE = 500  # requests in one transaction
DEEP = 50  # requests of those that wait for the same balance: who stands behind them can't be served before them
PEEK = 0.1  # seconds between looks at balances whose rest is held by requests, perhaps of other processes
LAPSE_EVERY = 5.0  # seconds
PAUSE = 0.25  # seconds before the database is tried again
CLOSING = 10.0  # seconds for what is still to be settled at the end


class LedgerStore(Protocol):
    """``lumni.storage.ledger`` says what each method does."""

    async def post(self, asks: Sequence[Ask], bills: Sequence[Bill]) -> tuple[list[Answer], list[Change]]: ...
    async def lapse(self, now: datetime) -> int: ...
    async def states(self, budget: str | None = None, names: Iterable[Balance] = ()) -> Mapping[Balance, State]: ...


@dataclass(eq=False, slots=True)
class _Waiter:
    ask: Ask
    done: "asyncio.Future[Answer]"
    last: Answer | None = None

    @property
    def held_up(self) -> list[Balance]:
        """The balances that it was last made to wait for."""
        return [self.ask.draws[place].balance for place in self.last.verdict.at] if self.last else []


@dataclass(slots=True)
class _Work:
    """What the next transactions have to do."""

    asks: list[_Waiter] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)


class Ledger:
    """``changed`` hears of every balance that settling changed."""

    def __init__(self, store: LedgerStore, now: Callable[[], datetime], changed: Callable[[Change], None]) -> None:
        self._store = store
        self._now = now
        self._changed = changed
        self._work = _Work()
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._lapse_at = 0.0
        self._away = False
        self._clerk: asyncio.Task[None] | None = None
        self._closed = False

    async def reserve(self, ask: Ask, deadline: float) -> Answer:
        """The answer to an ask, once it isn't to wait for others any more, or at the ``deadline`` (loop time).

        Who is cancelled holds nothing. Raises :class:`LimitsUnavailable` when the database doesn't answer in time.
        """
        waiter = _Waiter(ask, asyncio.get_running_loop().create_future())
        self._work.asks.append(waiter)
        self._ring()
        answer = None
        try:
            async with asyncio.timeout_at(deadline):
                answer = await waiter.done
            return answer
        except TimeoutError:
            if waiter.last is None or self._away:
                raise LimitsUnavailable(
                    "The budgets are kept in the database, which doesn't answer. Ask again in a moment.",
                    code="budgets_unavailable",
                    retry_after=5.0,
                ) from None
            return waiter.last
        finally:
            self._work.asks.remove(waiter)
            granted = waiter.done.done() and not waiter.done.cancelled()
            if answer is None and (granted or waiter.ask.again):
                self.settle(Bill(waiter.ask.hold, waiter.ask.draws, {}))

    def settle(self, bill: Bill) -> None:
        """Count what was really used, soon. Nothing is lost if the database is away meanwhile."""
        self._work.bills.append(bill)
        self._ring()

    async def settled(self) -> None:
        """Until everything handed over before is in the database."""
        while self._work.bills or not self._idle.is_set():
            self._ring()
            await self._idle.wait()

    async def close(self) -> None:
        """Settle what is left, for ten seconds at most. What then remains lapses: it counts as it was held."""
        if self._clerk is None:
            self._closed = True
            return
        try:
            async with asyncio.timeout(CLOSING):
                await self.settled()
        except TimeoutError:
            logger.error("%d requests could not be settled before the end; they count as held", len(self._work.bills))
        self._closed = True
        self._clerk.cancel()
        await asyncio.wait([self._clerk])

    def _ring(self) -> None:
        self._idle.clear()
        self._bell.set()
        if not self._closed and (self._clerk is None or self._clerk.done()):
            self._clerk = asyncio.get_running_loop().create_task(self._serve(), name="ledger")

    async def _serve(self) -> None:
        while True:
            if not self._bell.is_set():
                if not self._work.bills:
                    self._idle.set()
                try:
                    async with asyncio.timeout(PEEK if self._work.asks else None):
                        await self._bell.wait()
                except TimeoutError:
                    pass
            self._bell.clear()
            await self._round()

    async def _round(self) -> None:
        """One transaction, and what it says told to those who wait."""
        waiters = self._next()
        bills = self._work.bills[:AT_ONCE]
        if not waiters and not bills:
            return
        try:
            await self._lapse()
            answers, changes = await self._store.post([waiter.ask for waiter in waiters], bills)
        except Exception as error:  # noqa: BLE001  (whatever it is, what is to be settled must survive it)
            self._failed(waiters, error)
            await asyncio.sleep(PAUSE)
            self._bell.set()
            return
        self._away = False
        del self._work.bills[: len(bills)]
        for waiter, answer in zip(waiters, answers, strict=True):
            self._tell(waiter, answer)
        for change in changes:
            try:
                self._changed(change)
            except Exception:
                logger.exception("a change of the balance %s was not told", change.draw.balance)
        if self._work.bills:
            self._bell.set()

    def _next(self) -> list[_Waiter]:
        """Who is asked about now, in the order of arrival."""
        chosen: list[_Waiter] = []
        deep: Counter[Balance] = Counter()
        for waiter in self._work.asks:
            held_up = waiter.held_up
            if waiter.done.done() or any(deep[balance] >= DEEP for balance in held_up):
                continue
            deep.update(held_up)
            chosen.append(waiter)
            if len(chosen) == AT_ONCE:
                break
        return chosen

    async def _lapse(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._work.asks and now >= self._lapse_at:
            self._lapse_at = now + LAPSE_EVERY
            await self._store.lapse(self._now())

    def _tell(self, waiter: _Waiter, answer: Answer) -> None:
        waiter.last = answer
        granted = answer.verdict.tokens is not None
        if waiter.done.done():  # it left meanwhile
            if granted:
                self._work.bills.append(Bill(waiter.ask.hold, waiter.ask.draws, {}))
                self._bell.set()
        elif granted or answer.verdict.gone:
            waiter.done.set_result(answer)

    def _failed(self, waiters: Sequence[_Waiter], error: Exception) -> None:
        """Nobody knows whether it was committed."""
        if not self._away:
            logger.warning("the budgets can't be kept (%s); requests wait for the database", type(error).__name__)
        self._away = True
        for waiter in waiters:
            waiter.ask = replace(waiter.ask, again=True)


def new_hold() -> str:
    """A name for what a request holds."""
    return f"h-{token_hex(8)}"
