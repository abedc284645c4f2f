"""Budgets as teachers and admins handle them: added, changed, topped up, reset, shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_hex
from typing import Any, Protocol, get_args

from lumni.budget import Balance, Budget, Payer, Period, State, TopUp, Unit, limit_of, span
from lumni.errors import InvalidRequest, PermissionDenied
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.courses import Courses
from lumni.people.store import RulesStore
from lumni.types import Principal

MOST = 10**15  # a million dollars in nano-dollars: 64 bits hold nine thousand times that, however often it is topped up


class BalanceStore(Protocol):
    """``lumni.storage.ledger`` says what each method does."""

    async def states(self, budget: str | None = None) -> Mapping[Balance, State]: ...
    async def reset(self, budget: str, period: str, who: str | None = None) -> int: ...
    async def forget(self, who: str) -> None: ...


@dataclass(frozen=True, slots=True)
class BalanceView:
    """One balance: ``limit`` is all that it has, top-ups and what was carried over included."""

    budget: Budget
    balance: Balance
    state: State
    limit: int


class BudgetDesk:
    """A course's budget as a whole is the admins': no teacher may give her course more than others have."""

    def __init__(
        self, store: RulesStore, balances: BalanceStore, courses: Courses, now: Callable[[], datetime], audit: Audit
    ) -> None:
        self._store = store
        self._balances = balances
        self._courses = courses
        self._now = now
        self._audit = audit

    async def list(self, actor: Principal, course: str | None = None) -> list[Budget]:
        """Those of a course, or all that ``actor`` manages."""
        return await self._store.budgets(rights.scope(actor, course))

    async def get(self, actor: Principal, budget: str) -> Budget:
        """Raises :class:`NotFound`, also for budgets of others."""
        rights.manager(actor)
        found = await self._store.budget(budget)
        if found is None or not rights.manages(actor, found.course):
            raise rights.missing("budget", budget)
        return found

    async def add(self, actor: Principal, course: str, **values: Any) -> Budget:
        """A new budget. ``values`` are fields of :class:`Budget`; an ``amount`` of dollars is in nano-dollars."""
        await self._courses.get(actor, course)
        made = checked(Budget(f"b-{token_hex(8)}", course, self._now(), **values))
        self._may(actor, made)
        if made.assignment is not None and await self._store.assignment(course, made.assignment) is None:
            raise InvalidRequest(f"assignment: the course has no {made.assignment!r}.", param="assignment")
        await self._store.add_budget(made)
        await self._audit.done(actor, "budget.add", made.id, course, **values)
        return made

    async def change(self, actor: Principal, budget: str, **values: Any) -> Budget:
        """Change ``amount``, ``carry_over`` or ``economy``. It holds at once, also for the period that runs."""
        before = await self.get(actor, budget)
        self._may(actor, before)
        checked(replace(before, **values))
        if values:
            await self._store.change_budget(budget, values)
            await self._audit.done(actor, "budget.change", budget, before.course, **values)
        return await self.get(actor, budget)

    async def remove(self, actor: Principal, budget: str) -> None:
        """With its balances: nothing is counted any more."""
        before = await self.get(actor, budget)
        self._may(actor, before)
        await self._store.remove_budget(budget)
        await self._audit.done(actor, "budget.remove", budget, before.course)

    async def top_up(self, actor: Principal, budget: str, amount: int, who: str | None = None) -> Budget:
        """Add to the period that runs, for one payer or all. A negative amount takes away what was added too much."""
        found = await self.get(actor, budget)
        self._may(actor, found)
        if amount == 0 or abs(amount) > MOST:
            raise InvalidRequest("amount: say how much to add.", param="amount")
        period = await self._period(actor, found)
        if not await self._store.top_up(TopUp(budget, who or "", period, amount)):
            raise rights.missing("budget", budget)
        await self._audit.done(actor, "budget.top_up", budget, found.course, amount=amount, who=who, period=period)
        return found

    async def reset(self, actor: Principal, budget: str, who: str | None = None) -> int:
        """Count nothing as spent in the period that runs, for one payer or all: how many balances that were."""
        found = await self.get(actor, budget)
        self._may(actor, found)
        period = await self._period(actor, found)
        count = await self._balances.reset(budget, period, who)
        await self._audit.done(actor, "budget.reset", budget, found.course, who=who, period=period)
        return count

    async def balances(self, actor: Principal, budget: str) -> Sequence[BalanceView]:
        """Every balance that somebody has drawn on, the latest period first."""
        found = await self.get(actor, budget)
        top_ups = await self._store.top_ups(budget)
        states = await self._balances.states(budget)
        order = sorted(states, key=lambda name: (name.period, name.who), reverse=True)
        return [
            BalanceView(
                found, name, states[name], limit_of(found, name.who, name.period, top_ups) + states[name].carried
            )
            for name in order
        ]

    async def _period(self, actor: Principal, budget: Budget) -> str:
        course = await self._courses.get(actor, budget.course)
        return span(budget.period, self._now(), course.time_zone, budget.created_at).name

    @staticmethod
    def _may(actor: Principal, budget: Budget) -> None:
        if actor.role != "admin" and budget.per == "course" and budget.assignment is None:
            raise PermissionDenied("Only an admin may decide about the budget of a whole course.")


def checked(budget: Budget) -> Budget:
    """The budget itself. Raises :class:`InvalidRequest` when its fields can't be right together."""
    for name, kinds in (("unit", Unit), ("period", Period), ("per", Payer)):
        if getattr(budget, name) not in get_args(kinds):
            raise InvalidRequest(f"{name}: must be one of {', '.join(get_args(kinds))}.", param=name)
    if not 0 <= budget.amount <= MOST:
        raise InvalidRequest("amount: must be 0 or more.", param="amount")
    if budget.who is not None and budget.per == "course":
        raise InvalidRequest("who: a course's budget has one balance only.", param="who")
    if budget.carry_over and budget.period == "total":
        raise InvalidRequest("carry_over: a budget in total has no period before.", param="carry_over")
    return budget
