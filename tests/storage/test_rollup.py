"""``usage_metrics`` is at any moment the sum of the records."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from lumni.settings import Settings
from lumni.storage import migrate, rollup
from lumni.storage.database import Database
from lumni.storage.rows import request_row
from lumni.storage.tables import metadata, requests, usage_metrics
from lumni.types import Attempt, Outcome, RequestRecord
from tests.storage.samples import START, record

# Around midnight, the ends of months and of a leap February, and both changes of the clocks, in three zones.
ZONES = {"Europe/Berlin": (2026, 3, 29), "America/New_York": (2026, 11, 1), "Australia/Lord_Howe": (2026, 4, 5)}
EDGES = [
    datetime(*day, hour, tzinfo=ZoneInfo(zone))
    for zone, change in ZONES.items()
    for day in (change, (2026, 1, 1), (2024, 3, 1), (2026, 10, 25), (2026, 5, 31))
    for hour in (0, 2, 3)
]
MOMENTS = st.builds(
    lambda edge, micros: edge.astimezone(UTC) + timedelta(microseconds=micros),
    st.sampled_from(EDGES),
    st.integers(-2, 2) | st.integers(-4 * 3600 * 10**6, 4 * 3600 * 10**6),
)
NAMES = st.sampled_from([None, "groq", "gemini"])
TOKENS = st.integers(0, 10**6)
MONEY = st.none() | st.integers(0, 10**10)
OUTCOMES = st.sampled_from(Outcome)
ATTEMPTS = st.builds(
    Attempt, st.just("d"), st.sampled_from(["groq", "gemini"]), st.just("m"), OUTCOMES, st.just(0.0), st.just(1.0)
)
RECORDS = st.lists(
    st.builds(
        record,
        number=st.integers(0, 40),
        created_at=MOMENTS,
        provider=NAMES,
        model=st.sampled_from([None, "m"]),
        course=st.sampled_from([None, "ai-101"]),
        outcome=OUTCOMES,
        cached=st.booleans(),
        prompt_tokens=TOKENS,
        completion_tokens=TOKENS,
        list_cost=MONEY,
        billed_cost=MONEY,
        latency_ms=st.floats(0, 1e6),
        attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
    ),
    max_size=30,
)


async def stored(database: Database, table: Any) -> list[dict[str, Any]]:
    async with database.engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


def by_day(moments: Sequence[tuple[datetime, int]], zone: str) -> dict[date, int]:
    days: dict[date, int] = {}
    for moment, number in moments:
        day = moment.astimezone(ZoneInfo(zone)).date()
        days[day] = days.get(day, 0) + number
    return days


async def check(database: Database) -> None:
    """The table against the records themselves, summed up in another way: figure by figure, and by local days."""
    records, metrics = await stored(database, requests), await stored(database, usage_metrics)
    keys = {(row["timestamp"], row["provider"], row["model"], row["course"]) for row in metrics}
    assert len(keys) == len(metrics)
    for metric in metrics:
        begin, end = metric["timestamp"], metric["timestamp"] + timedelta(minutes=15)
        near = [r for r in records if begin <= r["created_at"] < end and (r["course"] or "") == metric["course"]]
        place = (metric["provider"], metric["model"])
        own = [r for r in near if (r["provider"] or "", r["model"] or "") == place]
        calls = [
            a["outcome"] for r in near for a in r["attempts"]
            if (a["provider"], a["model"]) == place and a["outcome"] != "skipped"
        ]  # fmt: skip
        ended = calls + [r["outcome"] for r in own if not r["attempts"]]
        good = ("ok", "cached", "rate_limited", "disconnected", "skipped")
        expected = {
            "requests": len(own),
            "calls": len(calls),
            "tokens": sum(r["prompt_tokens"] + r["completion_tokens"] for r in own),
            "prompt_tokens": sum(r["prompt_tokens"] for r in own),
            "completion_tokens": sum(r["completion_tokens"] for r in own),
            "errors": sum(outcome not in good for outcome in ended),
            "rate_limit_hits": ended.count("rate_limited"),
            "cached": sum(r["cached"] for r in own),
            "list_cost": sum(r["list_cost"] or 0 for r in own),
            "billed_cost": sum(r["billed_cost"] or 0 for r in own),
            "unpriced": sum(
                r["list_cost"] is None and r["prompt_tokens"] + r["completion_tokens"] > 0 for r in own
            ),
            "latency_ms": sum(round(r["latency_ms"]) for r in own),
        }  # fmt: skip
        assert {name: metric[name] for name in expected} == expected
        assert metric["cost_usd"] == pytest.approx(expected["list_cost"] / 1e9, abs=1e-6)
    assert sum(metric["requests"] for metric in metrics) == len(records)
    for zone in ZONES:
        counted = by_day([(metric["timestamp"], metric["requests"]) for metric in metrics], zone)
        assert {day: n for day, n in counted.items() if n} == by_day([(r["created_at"], 1) for r in records], zone)


async def test_sums_are_the_records(database_settings: Settings) -> None:
    """000-28, 000-30, 001-53: in whatever batches, also twice; by days and months of three time zones."""
    loop = asyncio.get_running_loop()
    database = await Database.open(database_settings)

    async def example(batches: list[list[RequestRecord]]) -> None:
        async with database.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
        for batch in batches:
            await database.records.add(batch)
        await check(database)

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(RECORDS, max_size=4))
    def run(batches: list[list[RequestRecord]]) -> None:
        asyncio.run_coroutine_threadsafe(example(batches), loop).result()

    try:
        await asyncio.to_thread(run)
    finally:
        await example([])
        await database.close()


async def test_writers_at_once_sum_up_to_the_same(database: Database, database_settings: Settings) -> None:
    """Four writers with overlapping batches, in no common order: nothing is lost and nobody blocks another."""
    others = [await Database.open(database_settings) for _ in range(3)]
    try:
        for start in range(0, 1200, 200):
            batch = [record(n, provider=f"p{n % 7}", course=f"c{n % 5}") for n in range(start, start + 300)]
            await asyncio.gather(
                *(one.records.add(batch[:: 1 if i % 2 else -1]) for i, one in enumerate([database, *others]))
            )
    finally:
        for other in others:
            await other.close()
    await check(database)


async def test_sums_beyond_64_bits_are_held(database: Database) -> None:
    """A provider that counts nonsense does not keep other records out."""
    await database.records.add([record(n, prompt_tokens=2**63 - 1, list_cost=2**62) for n in range(3)])
    await database.records.add([record(n, prompt_tokens=2**63 - 1, list_cost=2**62) for n in range(3, 6)])
    metrics = await stored(database, usage_metrics)
    answered = next(metric for metric in metrics if metric["provider"] == "groq")
    assert (answered["requests"], answered["tokens"], answered["list_cost"]) == (6, 2**63 - 1, 2**63 - 1)
    assert answered["cost_usd"] == pytest.approx(9999.999999)


async def test_what_is_taken_away_is_no_longer_in_the_sums(database: Database) -> None:
    """For records that are erased: in the transaction that deletes them."""
    await database.records.add([record(n, student=f"s{n % 3}") for n in range(30)])
    async with database.engine.begin() as connection:
        gone = delete(requests).where(requests.c.student == "s1").returning(requests)
        await rollup.add(connection, [dict(row) for row in (await connection.execute(gone)).mappings()], sign=-1)
    assert await database.records.count() == 20
    await check(database)


async def test_records_of_before_are_summed_up_by_the_migration(database_settings: Settings) -> None:
    """Upgrading a database with records in it: as if the sums had always been kept."""
    database = await Database.open(database_settings)
    try:
        batch = [record(n, created_at=START + timedelta(minutes=7 * n), provider=f"p{n % 3}") for n in range(50)]
        await database.records.add([*batch, record(60, attempts=(), provider=None, model=None, list_cost=None)])
        before = rollup.rolled_up([request_row(one) for one in batch])
        await migrate.downgrade(database.engine, "0006")
        await migrate.upgrade(database.engine)
        await check(database)
        assert len(await stored(database, usage_metrics)) >= len(before)
    finally:
        async with database.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
        await database.close()
