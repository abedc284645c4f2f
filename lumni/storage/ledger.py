"""The repository of balances: what is held and spent, changed under locks, so that no sum ever exceeds its limit.

One transaction takes many requests at once. Balances are locked in the order of their names, so that processes which
want the same ones wait for each other and never in a circle.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.budget import Answer, Ask, Balance, Bill, Change, Draw, State, Verdict, carried, decide
from lumni.storage.engine import SQLITE_BEGIN
from lumni.storage.rows import clean_text
from lumni.storage.tables import budget_balances as balances
from lumni.storage.tables import budget_holds as holds
from lumni.storage.tables import budget_top_ups, budgets

KEPT_LAPSED = timedelta(days=7)  # for so long a lapsed hold can still be settled with what was really used
LAPSED_AT_ONCE = 500
_KEY = tuple_(balances.c.budget, balances.c.who, balances.c.period)

States = dict[Balance, State]


class LedgerRepository:
    """Balances and what is held of them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._open_new = dialect.insert(balances).on_conflict_do_nothing()

    async def post(self, asks: Sequence[Ask], bills: Sequence[Bill]) -> tuple[list[Answer], list[Change]]:
        """Settle ``bills``, then decide each of ``asks`` in order, in one transaction.

        A bill whose hold is not there any more changes nothing. An ask that must wait keeps later ones from what it
        waits for. Budgets that were removed meanwhile count for nothing.
        """
        parts = [ask.draws for ask in asks] + [bill.draws for bill in bills]
        draws = {draw.balance: draw for part in parts for draw in part}
        await self._open([draws[balance] for balance in sorted(draws)])
        async with self._writing() as connection:
            before = await _locked(connection, draws)
            states = dict(before)
            used: dict[str, Mapping[str, int]] = {ask.hold: {} for ask in asks if ask.again}
            await _settle(connection, used | {bill.hold: bill.used for bill in bills}, states)
            settled = dict(states)
            answers = _decided(asks, states)
            await _write(connection, before, states)
            held = [row for ask, answer in zip(asks, answers, strict=True) for row in _holds(ask, answer, states)]
            if held:
                await connection.execute(insert(holds), held)
        changed = (Change(draws[name], before[name], state) for name, state in settled.items())
        return answers, [change for change in changed if change.before != change.after]

    async def lapse(self, now: datetime) -> int:
        """Count as spent what requests held that never came back: their calls have most likely been sent. How many."""
        due = (holds.c.expires_at < now) & holds.c.lapsed.is_(False)
        async with self._engine.connect() as connection:
            query = select(holds.c.budget, holds.c.who, holds.c.period).where(due).distinct().limit(LAPSED_AT_ONCE)
            names = sorted(Balance(*row) for row in await connection.execute(query))
        if not names:
            return 0
        async with self._writing() as connection:
            before = await _locked(connection, names)
            states = dict(before)
            columns = (holds.c.budget, holds.c.who, holds.c.period)
            these = update(holds).where(due & tuple_(*columns).in_(names)).values(lapsed=True)
            rows = (await connection.execute(these.returning(*columns, holds.c.amount))).all()
            for budget, who, period, amount in rows:
                state = states[Balance(budget, who, period)]
                states[Balance(budget, who, period)] = state._replace(
                    spent=state.spent + amount, reserved=state.reserved - amount
                )
            await _write(connection, before, states)
            await connection.execute(delete(holds).where(holds.c.lapsed, holds.c.expires_at < now - KEPT_LAPSED))
        return len(rows)

    async def states(self, budget: str | None = None, names: Iterable[Balance] = ()) -> States:
        """Balances as they are: all of a budget, or those named that there are."""
        which = _KEY.in_(list(names)) if budget is None else balances.c.budget == clean_text(budget)
        query = select(balances).where(which)
        async with self._engine.connect() as connection:
            return {Balance(*row[:3]): State(*row[3:]) for row in await connection.execute(query)}

    async def reset(self, budget: str, period: str, who: str | None = None) -> int:
        """Begin a period anew for one payer or all: nothing spent. What is held stays held. How many balances."""
        mine = (balances.c.budget == clean_text(budget)) & (balances.c.period == period)
        theirs = (holds.c.budget == clean_text(budget)) & (holds.c.period == period) & holds.c.lapsed
        if who is not None:
            mine, theirs = mine & (balances.c.who == clean_text(who)), theirs & (holds.c.who == clean_text(who))
        async with self._writing() as connection:
            names = select(balances).where(mine).order_by(balances.c.who).with_for_update()
            found = len((await connection.execute(names)).all())
            await connection.execute(update(balances).where(mine).values(spent=0))
            await connection.execute(delete(holds).where(theirs))
        return found

    async def forget(self, who: str) -> None:
        """Remove every balance of one payer, and the budgets and top-ups that are hers alone."""
        async with self._writing() as connection:
            query = select(balances).where(balances.c.who == clean_text(who))
            order = (balances.c.budget, balances.c.who, balances.c.period)
            await connection.execute(query.order_by(*order).with_for_update())
            await connection.execute(delete(holds).where(holds.c.who == clean_text(who)))
            await connection.execute(delete(balances).where(balances.c.who == clean_text(who)))
            await connection.execute(delete(budget_top_ups).where(budget_top_ups.c.who == clean_text(who)))
            await connection.execute(delete(budgets).where(budgets.c.who == clean_text(who)))

    async def _open(self, draws: Sequence[Draw]) -> None:
        """Make the balances that aren't there yet, in a transaction of their own: it never waits for a locked one."""
        wanted = [draw.balance for draw in draws] + [draw.before[0] for draw in draws if draw.before]
        known = await self.states(names=wanted) if wanted else {}
        for draw in draws:
            if draw.balance in known:
                continue
            brought = 0
            if draw.before is not None:
                brought = carried(draw, known.get(draw.before[0]), draw.before[1])
            row = {**draw.balance._asdict(), "spent": 0, "reserved": 0, "carried": brought}
            try:
                async with self._writing() as connection:
                    await connection.execute(self._open_new, [row])
            except IntegrityError:
                continue  # the budget was removed meanwhile

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; SQLite's has the file's lock from its beginning."""
        async with self._engine.connect() as connection:
            await connection.execution_options(**{SQLITE_BEGIN: "IMMEDIATE"})
            async with connection.begin():
                yield connection


async def _locked(connection: AsyncConnection, names: Iterable[Balance]) -> States:
    wanted = sorted(names)
    if not wanted:
        return {}
    order = (balances.c.budget, balances.c.who, balances.c.period)
    query = select(balances).where(_KEY.in_(wanted)).order_by(*order).with_for_update()
    return {Balance(*row[:3]): State(*row[3:]) for row in await connection.execute(query)}


async def _settle(connection: AsyncConnection, used: Mapping[str, Mapping[str, int]], states: States) -> None:
    """What was held makes room for what was ``used``, by hold and budget. A lapsed hold was counted as spent before."""
    if not used:
        return
    gone = delete(holds).where(holds.c.id.in_(list(used)))
    columns = (holds.c.id, holds.c.budget, holds.c.who, holds.c.period, holds.c.amount, holds.c.lapsed)
    for hold, budget, who, period, amount, lapsed in (await connection.execute(gone.returning(*columns))).all():
        name = Balance(budget, who, period)
        if name not in states:
            continue
        spent, reserved, brought = states[name]
        spent += used[hold].get(budget, 0) - (amount if lapsed else 0)
        states[name] = State(max(0, spent), reserved - (0 if lapsed else amount), brought)


def _decided(asks: Sequence[Ask], states: States) -> list[Answer]:
    """One answer an ask; what is granted is held in ``states``."""
    answers: list[Answer] = []
    claimed: set[Balance] = set()
    for ask in asks:
        draws = [draw for draw in ask.draws if draw.balance in states]
        seen = tuple(states.get(draw.balance, State()) for draw in ask.draws)
        verdict = decide(ask.draws, seen, ask.bounds) if len(draws) == len(ask.draws) else _without(ask, draws, states)
        if verdict.tokens is not None and not claimed.isdisjoint(draw.balance for draw in draws):
            verdict = Verdict(None, tuple(i for i, draw in enumerate(ask.draws) if draw.balance in claimed))
        if verdict.tokens is not None:
            for draw in draws:
                state = states[draw.balance]
                states[draw.balance] = state._replace(reserved=state.reserved + draw.need(verdict.tokens))
        elif not verdict.gone:
            claimed.update(ask.draws[place].balance for place in verdict.at)
        answers.append(Answer(ask.hold, verdict, seen))
    return answers


def _without(ask: Ask, draws: Sequence[Draw], states: States) -> Verdict:
    """The verdict without the budgets that are gone."""
    verdict = decide(draws, [states[draw.balance] for draw in draws], ask.bounds)
    return verdict._replace(at=tuple(ask.draws.index(draws[place]) for place in verdict.at))


def _holds(ask: Ask, answer: Answer, states: Mapping[Balance, State]) -> list[dict[str, Any]]:
    tokens = answer.verdict.tokens
    if tokens is None:
        return []
    common = {"id": ask.hold, "expires_at": ask.expires_at, "lapsed": False}
    mine = [draw for draw in ask.draws if draw.balance in states]
    return [{**common, **draw.balance._asdict(), "amount": draw.need(tokens)} for draw in mine]


async def _write(connection: AsyncConnection, before: States, states: States) -> None:
    rows = [
        {"b": name.budget, "w": name.who, "p": name.period, "s": state.spent, "r": state.reserved}
        for name, state in states.items()
        if state != before[name]
    ]
    if not rows:
        return
    columns = balances.c
    mine = (columns.budget == bindparam("b")) & (columns.who == bindparam("w")) & (columns.period == bindparam("p"))
    await connection.execute(update(balances).where(mine).values(spent=bindparam("s"), reserved=bindparam("r")), rows)
