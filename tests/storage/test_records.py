"""What the repository promises, on both databases."""

import asyncio
import math
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.errors import RecordsRefused
from lumni.storage.rows import clean_float, clean_int, clean_text, request_row
from lumni.storage.tables import model_selections, requests, task_classifications
from lumni.types import Attempt, Outcome, RequestRecord
from tests.storage.samples import START, record


async def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    async with database.engine.connect() as connection:
        found = await connection.execute(select(table).order_by(table.c.request_id))
        return [dict(row) for row in found.mappings()]


async def test_a_record_comes_back_as_it_was(database: Database) -> None:
    """000-29, 001-11: all fields survive, money to the last nano-dollar."""
    stored = record(cached_tokens=3, reasoning_tokens=4, usage_estimated=True, error_code="x", list_cost=2**62)
    assert await database.records.add([stored]) == 1
    assert await database.records.get(stored.request_id) == stored


async def test_unknown_stays_unknown(database: Database) -> None:
    """A price that nobody knows is not a price of nothing."""
    bare = RequestRecord("bare", START, "chat.completions", "key", "auto", Outcome.AUTH, 401, False)
    await database.records.add([bare])
    found = await database.records.get("bare")
    assert found == bare
    assert found.list_cost is None
    assert await database.records.get("another") is None


async def test_records_outlive_the_process_that_wrote_them(database: Database, database_settings: Settings) -> None:
    """000-29: what one opening of the database wrote, the next one reads."""
    await database.records.add([record()])
    reopened = await Database.open(database_settings)
    try:
        assert await reopened.records.get("req-00000000") == record()
    finally:
        await reopened.close()


async def test_adding_again_changes_nothing(database: Database) -> None:
    """A record is counted once, in every table, and the first version of it stands."""
    await database.records.add([record(1), record(2, task_type=None, attempts=(), provider=None)])
    before = [await rows(database, table) for table in (requests, task_classifications, model_selections)]
    again = [record(1, status=500), record(2), record(2), record(1)]
    assert await database.records.add(again) == 0
    assert await database.records.add([]) == 0
    assert [await rows(database, table) for table in (requests, task_classifications, model_selections)] == before
    assert await database.records.count() == 2


async def test_an_id_twice_in_one_batch_is_stored_once(database: Database) -> None:
    assert await database.records.add([record(1, status=200), record(1, status=500)]) == 1
    found = await database.records.get("req-00000001")
    assert found is not None
    assert found.status == 200


async def test_writers_that_share_ids_count_each_once(database: Database, database_settings: Settings) -> None:
    """Two processes replaying the same records, in opposite order, neither block each other nor count twice."""
    other = await Database.open(database_settings)
    new = 0
    try:
        for start in range(0, 4000, 400):
            batch = [record(number) for number in range(start, start + 400)]
            new += sum(await asyncio.gather(database.records.add(batch), other.records.add(batch[::-1])))
    finally:
        await other.close()
    assert new == await database.records.count() == 4000
    assert len(await rows(database, task_classifications)) == len(await rows(database, model_selections)) == 4000


async def test_the_classification_is_on_record(database: Database) -> None:
    """001-54: task_type, confidence with two decimals, the factors and the time."""
    await database.records.add([record(1), record(2, task_type=None, confidence=None, factors={})])
    assert await rows(database, task_classifications) == [
        {
            "request_id": "req-00000001",
            "task_type": "powerful",
            "confidence": 0.88,
            "factors": {"code": 0.7, "short": -0.25},
            "timestamp": START + timedelta(milliseconds=1),
        }
    ]


async def test_the_selection_is_on_record(database: Database) -> None:
    """001-55: the model chosen first, also when another one answered; nothing was chosen for a cached answer."""
    untried = record(2, attempts=(), benchmark_score=None)
    await database.records.add([record(1), untried, record(3, cached=True), record(4, attempts=(), provider=None)])
    first, second = await rows(database, model_selections)
    assert first == {
        "request_id": "req-00000001",
        "task_type": "powerful",
        "selected_provider": "gemini",
        "selected_model": "gemini-flash",
        "reason": "highest score with quota left",
        "benchmark_score": pytest.approx(71.26, abs=0.011),
        "timestamp": START + timedelta(milliseconds=1),
    }
    assert (second["selected_provider"], second["selected_model"]) == ("groq", "llama-3.3-70b")
    assert second["benchmark_score"] is None


async def test_recent_are_the_latest_first(database: Database) -> None:
    await database.records.add([record(number) for number in (3, 1, 2)])
    assert [found.request_id for found in await database.records.recent(2)] == ["req-00000003", "req-00000002"]


async def test_times_are_moments(database: Database) -> None:
    """Whatever zone a time was written in, the same moment is read, and ordered, in UTC."""
    tokyo = datetime(2026, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=9)))  # an hour before midnight UTC
    await database.records.add([record(1, created_at=tokyo), record(2, created_at=datetime(2026, 3, 1, tzinfo=UTC))])
    later, earlier = await database.records.recent()
    assert earlier.created_at == tokyo
    assert earlier.created_at.utcoffset() == timedelta(0)
    assert later.request_id == "req-00000002"


async def test_characters_that_a_database_refuses_are_replaced(database: Database) -> None:
    nasty = record(
        request_id="nul\x00id",
        label="lone \ud800 and pair \ud83d\ude00",
        factors={"a\x00": 1.0, "b\udfff": 2.0},
        attempts=(Attempt("d\x00", "p\ud800", "m", Outcome.ERROR, 0.0, 1.0, None, "why\x00"),),
    )
    await database.records.add([nasty])
    found = await database.records.get("nul\x00id")
    assert found is not None
    assert (found.request_id, found.label) == ("nul\ufffdid", "lone \ufffd and pair \U0001f600")
    assert found.factors == {"a\ufffd": 1.0, "b\ufffd": 2.0}
    assert found.attempts == (Attempt("d\ufffd", "p\ufffd", "m", Outcome.ERROR, 0.0, 1.0, None, "why\ufffd"),)


async def test_numbers_beyond_the_columns_are_held_at_their_limits(database: Database) -> None:
    huge = record(
        status=10**12,
        prompt_tokens=10**30,
        list_cost=-(10**30),
        latency_ms=math.inf,
        ttft_ms=math.nan,
        confidence=1e9,
        benchmark_score=1e300,
        factors={"n": math.nan, "i": -math.inf, "big": 1e22, "small": 5e-324},
    )
    await database.records.add([huge])
    found = await database.records.get(huge.request_id)
    assert found is not None
    assert (found.status, found.prompt_tokens, found.list_cost) == (2**31 - 1, 2**63 - 1, -(2**63) + 1)
    assert (found.latency_ms, found.ttft_ms, found.confidence) == (sys.float_info.max, 0.0, 1e9)
    assert found.factors == {"n": 0.0, "i": -sys.float_info.max, "big": 1e22, "small": 5e-324}
    assert (await rows(database, task_classifications))[0]["confidence"] == 9.99
    assert (await rows(database, model_selections))[0]["benchmark_score"] == 999.99


async def test_a_time_without_a_zone_is_refused_and_nothing_is_stored(database: Database) -> None:
    with pytest.raises(RecordsRefused):
        await database.records.add([record(1), record(2, created_at=datetime(2026, 3, 1))])  # noqa: DTZ001
    assert await database.records.count() == 0


TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)  # surrogates and NUL too
NUMBER = st.integers(-(2**70), 2**70)
FLOAT = st.floats()
ATTEMPTS = st.builds(Attempt, TEXT, TEXT, TEXT, st.sampled_from(Outcome), FLOAT, FLOAT, st.none() | NUMBER, TEXT)
RECORDS = st.builds(
    RequestRecord,
    request_id=TEXT,
    created_at=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    surface=TEXT,
    key_id=TEXT,
    requested_model=TEXT,
    outcome=st.sampled_from(Outcome),
    status=st.integers(0, 999),
    stream=st.booleans(),
    label=st.none() | TEXT,
    client_request_id=st.none() | TEXT,
    task_type=st.sampled_from([None, "fast", "powerful"]),
    confidence=st.none() | FLOAT,
    factors=st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), FLOAT, max_size=3),
    provider=st.none() | TEXT,
    model=st.none() | TEXT,
    reason=st.none() | TEXT,
    benchmark_score=st.none() | FLOAT,
    cached=st.booleans(),
    prompt_tokens=NUMBER,
    list_cost=st.none() | NUMBER,
    latency_ms=FLOAT,
    ttft_ms=st.none() | FLOAT,
    attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
)


def mended(value: Any) -> Any:
    """What is left of a value that no database takes as it is; every other value is left alone."""
    if isinstance(value, Attempt | RequestRecord):
        return type(value)(**{field.name: mended(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Outcome | bool | datetime | None):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, tuple):
        return tuple(mended(item) for item in value)
    if isinstance(value, dict):
        return {clean_text(key): mended(item) for key, item in value.items()}
    return clean_float(value) if isinstance(value, float) else clean_int(value)


async def test_what_goes_in_comes_out(database_settings: Settings) -> None:
    """For any record, unchanged but for what no database can hold; and the mending touches nothing else."""
    loop = asyncio.get_running_loop()
    database = await Database.open(database_settings)

    async def check(stored: RequestRecord) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(requests.delete())
        assert await database.records.add([stored]) == 1
        assert await database.records.get(stored.request_id) == mended(stored)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(RECORDS)
    def run(stored: RequestRecord) -> None:
        asyncio.run_coroutine_threadsafe(check(stored), loop).result()

    try:
        await asyncio.to_thread(run)
    finally:
        async with database.engine.begin() as connection:
            await connection.execute(requests.delete())
        await database.close()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean_text(text) == text.replace("\x00", "\ufffd")


@given(TEXT)
def test_any_text_becomes_storable(text: str) -> None:
    assert "\x00" not in clean_text(text).encode().decode()
    assert clean_text(clean_text(text)) == clean_text(text)


async def test_what_breaks_a_rule_of_the_schema_is_refused(database: Database) -> None:
    """000-29: such a record would stand in the way of all others; the error holds none of its values."""
    row = request_row(record(1)) | {"surface": None}
    with pytest.raises(RecordsRefused) as refused:
        await database.records.add_rows([request_row(record(0)), row])
    assert "ada" not in str(refused.value)
    assert await database.records.count() == 0


@pytest.mark.parametrize("number", [1, 2, 63, 64, 65, 200])
async def test_batches_of_any_size_are_stored(database: Database, number: int) -> None:
    """000-29: each record once, whatever was there."""
    await database.records.add([record(0), record(number // 2)])
    assert await database.records.add([record(n) for n in range(number)]) == number - len(
        {0, number // 2} & set(range(number))
    )
    assert await database.records.count() == len({0, number // 2, *range(number)})
    assert await database.records.get("req-00000000") == record(0)
