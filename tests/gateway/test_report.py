"""The report card: each figure from the records, and nobody's but one's own."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lumni.gateway.report import FEWEST, own, percentile, report
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.tables import contents
from lumni.storage.usage import Where
from lumni.types import Attempt, Outcome
from tests.storage.samples import START, record

OK = Attempt("d", "p", "m", Outcome.OK, 0.0, 1.0, 200)
BAD = Attempt("d", "p", "m", Outcome.UNAVAILABLE, 0.0, 1.0, 503)
NOT_CALLED = Attempt("d", "p", "m", Outcome.SKIPPED, 0.0, 0.0)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(Settings(data_dir=tmp_path))
    yield opened
    await opened.close()


async def store(database: Database, *requests: dict[str, Any]) -> None:
    """Requests a second apart, unless they say ``at`` (seconds); ``hash`` is that of the prompt."""
    kept = []
    for number, request in enumerate(requests):
        at, hashed = request.pop("at", number), request.pop("hash", None)
        made = record(number, **{"created_at": START + timedelta(seconds=at), "attempts": (OK,), **request})
        await database.records.add([made])
        if hashed:
            kept.append(
                {
                    "request_id": made.request_id, "created_at": made.created_at, "course": "ai-101",
                    "student": made.student, "privacy": "hash", "prompt_hash": hashed, "answer_hash": "a",
                }
            )  # fmt: skip
    if kept:
        async with database.engine.begin() as connection:
            await connection.execute(contents.insert(), kept)


async def card(database: Database, student: str = "ada", **where: Any) -> dict[str, Any]:
    [found] = [one for one in (await report(database, Where(**where)))["students"] if one["student"] == student]
    return dict(found)


async def test_waste_is_told(database: Database) -> None:
    """Aborted streams with their tokens, and exact duplicates: the first time of a prompt is none."""
    await store(
        database,
        {"outcome": Outcome.DISCONNECTED, "prompt_tokens": 10, "completion_tokens": 5, "hash": "x"},
        {"outcome": Outcome.CUT, "prompt_tokens": 1, "completion_tokens": 1, "hash": "x"},
        {"hash": "x"},
        {"hash": "y"},
        {"student": "ben", "hash": "y"},
        {"student": "eve"},
    )
    assert (await card(database))["waste"] == {"aborted_streams": 2, "aborted_tokens": 17, "duplicates": 2}
    assert (await card(database, "ben"))["waste"]["duplicates"] == 0
    assert (await card(database, "eve"))["waste"]["duplicates"] is None


async def test_how_429s_were_handled_is_told(database: Database) -> None:
    """Who asks again at once is told from who waits; the last 429 was followed by nothing."""
    refused = {"outcome": Outcome.RATE_LIMITED, "status": 429, "attempts": ()}
    await store(
        database, {**refused, "at": 0}, {**refused, "at": 0.5}, {"at": 30.5}, {"at": 31, "student": "ben"},
        {**refused, "at": 40},
    )  # fmt: skip
    assert (await card(database))["rate_limits"] == {
        "refused": 3, "asked_again": 2, "asked_again_at_once": 1, "median_wait_s": 15.25,
    }  # fmt: skip


async def test_the_rest_of_the_card(database: Database) -> None:
    """Tokens, cost, hits, calls beyond the first, P95 of what was answered."""
    await store(
        database,
        *({"latency_ms": float(n), "list_cost": 10**9, "assignment": "hw-1"} for n in range(1, 21)),
        {"attempts": (BAD, NOT_CALLED, BAD, OK), "cached_tokens": 7, "list_cost": None, "assignment": "hw-1"},
        {"outcome": Outcome.CACHED, "cached": True, "attempts": (), "assignment": "hw-1", "latency_ms": 1.0},
        {"outcome": Outcome.BAD_REQUEST, "latency_ms": 9e9, "assignment": "hw-1"},
        {"assignment": "hw-2"},
    )
    found = await card(database, assignment="hw-1")
    assert (found["requests"], found["tokens"]) == (23, 22 * 366)  # a hit took nothing
    assert found["cost"]["unpriced_requests"] == 1
    assert (found["cache_hits"], found["provider_cached_tokens"], found["retries"], found["failed"]) == (1, 7, 2, 1)
    assert found["p95_ms"] == 20.0


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([], 0.95) is None
    assert percentile([5.0], 0.95) == 5.0
    assert percentile(range(1, 101), 0.95) == 95


async def test_a_student_sees_the_class_only_as_a_median_of_many(database: Database) -> None:
    """003-13: of four people a median would tell about one."""
    await store(database, *({"student": f"s{n}", "prompt_tokens": n} for n in range(FEWEST - 1)))
    few = await report(database, Where(course="ai-101"))
    assert few["class_median"]["tokens"] == 46.5
    assert own(few, "s1")["class_median"] is None
    await store(database, *({"student": f"s{n}", "prompt_tokens": n} for n in range(FEWEST)))
    many = own(await report(database, Where()), "s1")
    assert [one["student"] for one in many["students"]] == ["s1"]
    assert many["class_median"]["tokens"] == 47
    assert (await report(database, Where(course="none")))["class_median"] is None
