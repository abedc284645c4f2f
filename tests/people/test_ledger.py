"""The ledger over both databases: hard under any concurrency, and nobody refused while there is something left."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from lumni.budget import Answer, Ask, Balance, Bill, Bounds, Budget, Change, Draw, State
from lumni.classroom import Course
from lumni.errors import LimitsUnavailable
from lumni.people import ledger as module
from lumni.people.ledger import Ledger, LedgerStore, new_hold
from lumni.storage.database import Database

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
PATIENCE = 60.0  # seconds: enough on a busy machine
EVERYBODY = Balance("b-all", "cs1", "total")
RATE = 2_000_000  # nano-dollars a million tokens, so two a token


@pytest.fixture
async def kept(database: Database) -> Database:
    await database.people.add_course(Course("cs1", "cs1", NOW))
    for name, per in (("b-all", "course"), ("b-own", "student")):
        await database.rules.add_budget(Budget(name, "cs1", NOW, "usd", 1000, per=per))  # type: ignore[arg-type]
    return database


@asynccontextmanager
async def desks(store: LedgerStore, count: int, changes: list[Change] | None = None) -> AsyncIterator[list[Ledger]]:
    """As many processes have: each its own desk, none knows of the others."""
    made = [Ledger(store, lambda: NOW, (changes if changes is not None else []).append) for _ in range(count)]
    yield made
    for desk in made:
        await desk.close()


def soon() -> float:
    return asyncio.get_running_loop().time() + PATIENCE


def ask(*draws: Draw, most: int = 50, enough: int = 20) -> Ask:
    return Ask(new_hold(), draws, Bounds(most, enough), NOW + timedelta(minutes=5))


async def test_the_cap_holds_to_the_nano_dollar_and_nobody_is_refused_while_budget_is_left(kept: Database) -> None:
    """000-61, issue 5, show 1: four processes, each student also with a budget of her own."""
    random, limit, own = Random(7), 20_011, 900
    served: Counter[str] = Counter()
    refused: list[tuple[Ask, Answer]] = []
    spent: Counter[Balance] = Counter()

    async def student(name: str, desk: Ledger) -> None:
        for _ in range(3):
            mine = Draw(Balance("b-own", name, "total"), own, 31, RATE)
            wanted = ask(Draw(EVERYBODY, limit, 31, RATE), mine)
            answer = await desk.reserve(wanted, soon())
            if answer.verdict.tokens is None:
                assert answer.verdict.gone
                refused.append((wanted, answer))
                continue
            served[name] += 1
            await asyncio.sleep(random.random() * 0.01)
            used = random.randint(3, 31 + 2 * answer.verdict.tokens)
            for draw in wanted.draws:
                spent[draw.balance] += used
            desk.settle(Bill(answer.hold, wanted.draws, {"b-all": used, "b-own": used}))

    async with desks(kept.ledger, 4) as four, asyncio.TaskGroup() as group:
        for number in range(40):
            for desk in four:
                group.create_task(student(f"s-{number}", desk))
    states = await kept.ledger.states("b-all") | await kept.ledger.states("b-own")
    for balance, state in states.items():
        assert state == State(spent[balance]), balance
        assert state.spent <= (limit if balance == EVERYBODY else own)
    assert refused
    for wanted, answer in refused:
        place = answer.verdict.at[0]
        draw = wanted.draws[place]
        assert draw.limit - answer.states[place].spent < draw.need(1)
    left = limit - states[EVERYBODY].spent
    assert left < 33 or all(own - state.spent < 33 for name, state in states.items() if name.budget == "b-own")


async def test_requests_wait_for_what_others_hold(kept: Database) -> None:
    """000-61: of another process too; what comes back serves who came first."""
    async with desks(kept.ledger, 2) as (here, there):
        first = await here.reserve(ask(Draw(EVERYBODY, 100, 100, 0)), soon())
        waiting = [asyncio.create_task(there.reserve(ask(Draw(EVERYBODY, 100, 40, 0)), soon())) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting)
        here.settle(Bill(first.hold, (Draw(EVERYBODY, 100, 100, 0),), {"b-all": 10}))
        answers = [await task for task in waiting[:2]]
        assert all(answer.verdict.tokens is not None for answer in answers)
        assert not waiting[2].done()
        for answer in answers:
            there.settle(Bill(answer.hold, (Draw(EVERYBODY, 100, 40, 0),), {"b-all": 40}))
        last = await waiting[2]
        assert last.verdict.gone


async def test_who_leaves_holds_nothing(kept: Database) -> None:
    """000-61: whether it waited or was just being served."""
    async with desks(kept.ledger, 1) as (desk,):
        for delay in (0.0, 0.001, 0.003, 0.01):
            tasks = [asyncio.create_task(desk.reserve(ask(Draw(EVERYBODY, 100, 30, 0)), soon())) for _ in range(8)]
            await asyncio.sleep(delay)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for answer in done:
                if isinstance(answer, Answer):
                    desk.settle(Bill(answer.hold, (Draw(EVERYBODY, 100, 30, 0),), {}))
            await desk.settled()
            assert (await kept.ledger.states("b-all")).get(EVERYBODY, State()) == State()


async def test_a_deadline_ends_the_wait(kept: Database) -> None:
    """000-61: with what was found, so that the client hears that it is not gone."""
    async with desks(kept.ledger, 1) as (desk,):
        await desk.reserve(ask(Draw(EVERYBODY, 100, 100, 0)), soon())
        answer = await desk.reserve(ask(Draw(EVERYBODY, 100, 1, 0)), asyncio.get_running_loop().time() + 0.3)
        assert answer.verdict.tokens is None
        assert not answer.verdict.gone


async def test_what_a_killed_process_held_counts_as_spent(kept: Database) -> None:
    """000-61: when it lapses; who settles late after all is counted as what was really used."""
    draws = (Draw(EVERYBODY, 100, 60, 0),)
    async with desks(kept.ledger, 1) as (desk,):
        held = await desk.reserve(ask(*draws), soon())
        assert await kept.ledger.lapse(NOW + timedelta(minutes=4)) == 0
        assert await kept.ledger.lapse(NOW + timedelta(minutes=6)) == 1
        assert await kept.ledger.lapse(NOW + timedelta(minutes=6)) == 0
        assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(60)
        assert (await desk.reserve(ask(Draw(EVERYBODY, 100, 41, 0)), soon())).verdict.gone
        for _ in range(2):
            desk.settle(Bill(held.hold, draws, {"b-all": 25}))
        await desk.settled()
        assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(25)


async def test_a_removed_budget_holds_nobody_up(kept: Database) -> None:
    """000-61: also one that is removed while a request runs under it."""
    own = Balance("b-own", "s-1", "total")
    draws = (Draw(EVERYBODY, 1, 5, 0), Draw(own, 100, 5, 0))
    await kept.rules.remove_budget("b-all")
    async with desks(kept.ledger, 1) as (desk,):
        answer = await desk.reserve(ask(*draws), soon())
        assert answer.verdict.tokens is not None
        desk.settle(Bill(answer.hold, draws, {"b-own": 5, "b-all": 5}))
        await desk.settled()
        assert await kept.ledger.states("b-own") == {own: State(5)}


async def test_a_reset_begins_anew_and_keeps_what_is_held(kept: Database) -> None:
    """000-61"""
    draws = (Draw(EVERYBODY, 100, 40, 0),)
    async with desks(kept.ledger, 1) as (desk,):
        first = await desk.reserve(ask(*draws), soon())
        desk.settle(Bill(first.hold, draws, {"b-all": 40}))
        await desk.reserve(ask(*draws), soon())
        assert await kept.ledger.reset("b-all", "total") == 1
        assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(0, 40)


async def test_each_change_is_told_once(kept: Database) -> None:
    """Issue 5: of several processes, the one whose transaction it was."""
    changes: list[Change] = []
    draws = (Draw(EVERYBODY, 1000, 10, 0),)
    async with desks(kept.ledger, 3, changes) as made:

        async def one(desk: Ledger) -> None:
            answer = await desk.reserve(ask(*draws), soon())
            desk.settle(Bill(answer.hold, draws, {"b-all": 7}))

        await asyncio.gather(*(one(desk) for desk in made for _ in range(20)))
    steps = sorted((change.before.spent, change.after.spent) for change in changes)
    assert steps[0][0] == 0
    assert steps[-1][1] == 7 * 60
    assert all(before[1] == after[0] for before, after in pairwise(steps))


class Shaky:
    """A store whose answers get lost, before or after it did its work."""

    def __init__(self, store: LedgerStore, faults: Sequence[str]) -> None:
        self.store = store
        self.faults = list(faults)

    async def post(self, asks: Sequence[Ask], bills: Sequence[Bill]) -> tuple[list[Answer], list[Change]]:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise OSError
        done = await self.store.post(asks, bills)
        if fault == "after":
            raise OSError
        return done

    async def lapse(self, now: datetime) -> int:
        return await self.store.lapse(now)

    async def states(self, budget: str | None = None, names: Iterable[Balance] = ()) -> Mapping[Balance, State]:
        return await self.store.states(budget, names)


async def test_lost_answers_count_nothing_twice(kept: Database) -> None:
    """000-61: the database fell silent before or after it committed."""
    draws = (Draw(EVERYBODY, 100, 40, 0),)
    shaky = Shaky(kept.ledger, ["after", "before", "after", "", "after", "before"])
    async with desks(shaky, 1) as (desk,):
        answer = await desk.reserve(ask(*draws), soon())
        assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(0, 40)
        desk.settle(Bill(answer.hold, draws, {"b-all": 33}))
        await desk.settled()
        assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(33)


async def test_without_the_database_nobody_spends(kept: Database) -> None:
    """000-61: a clear 503 after the request's own time."""
    async with desks(Shaky(kept.ledger, ["before"] * 3), 1) as (desk,):
        with pytest.raises(LimitsUnavailable) as caught:
            await desk.reserve(ask(Draw(EVERYBODY, 100, 1, 0)), asyncio.get_running_loop().time() + 0.3)
        assert caught.value.code == "budgets_unavailable"


async def test_a_long_line_for_one_budget_holds_up_nobody_else(kept: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-61: who waits for one balance takes nobody's place before another."""
    monkeypatch.setattr(module, "AT_ONCE", 10)
    monkeypatch.setattr(module, "DEEP", 3)
    whole, own = (Draw(EVERYBODY, 100, 100, 0),), (Draw(Balance("b-own", "s-1", "total"), 100, 1, 0),)
    async with desks(kept.ledger, 1) as (desk,):
        first = await desk.reserve(ask(*whole), soon())
        line = [asyncio.create_task(desk.reserve(ask(*whole), soon())) for _ in range(30)]
        await asyncio.sleep(0.3)
        assert (await desk.reserve(ask(*own), soon())).verdict.tokens is not None
        assert not any(task.done() for task in line)
        desk.settle(Bill(first.hold, whole, {"b-all": 1}))
        answers = await asyncio.gather(*line)
        assert all(answer.verdict.gone for answer in answers)


async def test_whoever_listens_badly_stops_nobody(kept: Database) -> None:
    """000-61: a fault in what hears of a change is the log's matter."""

    def fail(_: Change) -> None:
        raise ValueError

    desk = Ledger(kept.ledger, lambda: NOW, fail)
    draws = (Draw(EVERYBODY, 100, 10, 0),)
    for _ in range(3):
        answer = await desk.reserve(ask(*draws), soon())
        desk.settle(Bill(answer.hold, draws, {"b-all": 10}))
    await desk.close()
    assert (await kept.ledger.states("b-all"))[EVERYBODY] == State(30)
