"""What was used, by any range and grouping, is what the records say."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.tables import metadata
from lumni.storage.usage import GROUPS, Group, Used, Where
from lumni.types import Outcome, RequestRecord
from tests.storage.samples import START, record
from tests.storage.test_rollup import MOMENTS, MONEY, OUTCOMES, TOKENS, ZONES

NAMES = st.sampled_from([None, "a", "b"])
RECORDS = st.lists(
    st.builds(
        record,
        created_at=MOMENTS,
        student=NAMES,
        label=NAMES,
        course=NAMES,
        assignment=NAMES,
        provider=NAMES,
        model=NAMES,
        outcome=OUTCOMES,
        prompt_tokens=TOKENS,
        completion_tokens=TOKENS,
        list_cost=MONEY,
        billed_cost=MONEY,
    ),
    max_size=25,
).map(lambda found: [record_with(one, number) for number, one in enumerate(found)])
WHERE = st.builds(
    Where,
    since=st.none() | MOMENTS,
    until=st.none() | MOMENTS,
    user=NAMES,
    student=NAMES,
    course=NAMES,
    assignment=NAMES,
    model=NAMES,
    provider=NAMES,
)


def record_with(one: RequestRecord, number: int) -> RequestRecord:
    return replace(one, request_id=f"r{number}")


def expected(records: list[RequestRecord], where: Where, groups: tuple[Group, ...], zone: str) -> dict[Any, Used]:
    """The same by a plain loop."""
    found: dict[Any, Used] = {}
    for r in records:
        if (where.since and r.created_at < where.since) or (where.until and r.created_at >= where.until):
            continue
        if where.user and (r.student or r.label) != where.user:
            continue
        if any(
            getattr(where, name) not in (None, getattr(r, name))
            for name in ("student", "course", "assignment", "model", "provider")
        ):
            continue
        values = {
            "student": r.student or r.label,
            "day": r.created_at.astimezone(ZoneInfo(zone)).date(),
            **{name: getattr(r, name) for name in ("model", "provider", "assignment", "course")},
        }
        used = found.setdefault(tuple(values[name] for name in groups), Used())
        used.requests += 1
        for outcome in ("ok", "cached", "rate_limited", "disconnected", "cut"):
            setattr(used, outcome, getattr(used, outcome) + (r.outcome == Outcome(outcome)))
        used.prompt_tokens += r.prompt_tokens
        used.completion_tokens += r.completion_tokens
        used.list_cost += r.list_cost or 0
        used.billed_cost += r.billed_cost or 0
        used.unpriced += r.list_cost is None and r.prompt_tokens + r.completion_tokens > 0
    return found


async def test_sums_are_those_of_the_records(database_settings: Settings) -> None:
    """000-54, 003-04, 003-35: for any range, any grouping, and the days of three zones at their odd hours."""
    loop = asyncio.get_running_loop()
    database = await Database.open(database_settings)

    async def example(records: list[RequestRecord], where: Where, groups: tuple[Group, ...], zone: str) -> None:
        async with database.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
        await database.records.add(records)
        found = await database.usage.sums(where, groups, zone)
        wanted = expected(records, where, groups, zone)
        if not groups:
            wanted = wanted or {(): Used()}
        assert found == wanted
        pages = [one.request_id async for page in database.usage.pages(where) for one in page]
        assert len(pages) == len(set(pages)) == sum(used.requests for used in wanted.values())

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(RECORDS, WHERE, st.lists(st.sampled_from(GROUPS), max_size=3, unique=True), st.sampled_from(sorted(ZONES)))
    def run(records: list[RequestRecord], where: Where, groups: list[Group], zone: str) -> None:
        asyncio.run_coroutine_threadsafe(example(records, where, tuple(groups), zone), loop).result()

    try:
        await asyncio.to_thread(run)
    finally:
        await example([], Where(), (), "UTC")
        await database.close()


async def test_records_come_page_by_page_in_order(database: Database) -> None:
    """Also those of one moment: none is left out between two pages, none comes twice."""
    batch = [record(n, created_at=START + timedelta(seconds=n // 700)) for n in range(2500)]
    await database.records.add(batch)
    pages = [page async for page in database.usage.pages(Where())]
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [one.request_id for page in pages for one in page] == [one.request_id for one in batch]


async def test_history_is_the_sum_of_the_rollup(database: Database) -> None:
    """000-28: past days by provider and model, from usage_metrics."""
    day = datetime(2026, 3, 1, tzinfo=ZoneInfo("UTC"))
    await database.records.add([record(n, created_at=day + timedelta(hours=n)) for n in range(48)])
    whole, second = await database.usage.history(), await database.usage.history(day + timedelta(days=1))
    answered = {row["provider"]: row["requests"] for row in whole}
    assert answered == {"gemini": 0, "groq": 48}
    assert {row["provider"]: (row["calls"], row["rate_limit_hits"]) for row in second} == {
        "gemini": (24, 24), "groq": (24, 0),
    }  # fmt: skip
    assert await database.usage.active(day + timedelta(days=3)) == 0
    assert await database.usage.active(day) == 1
