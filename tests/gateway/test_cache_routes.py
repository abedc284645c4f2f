"""What the cache saved, and how it is emptied: over HTTP, in metrics, on the command line."""

from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lumni.types import Principal
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import WHO, Stage
from tests.gateway.test_cache import ask, cached, entry, state

COURSES = {
    "cleo": Principal("cleo-key", student="cleo", course="cs101"),
    "dan": Principal("dan-key", student="dan", course="cs101"),
    "eve": Principal("eve-key", student="eve", course="cs102"),
    "tess": Principal("tess-key", role="teacher", student="tess", course="cs101"),
}


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    with patch.dict(WHO, COURSES):
        async with cached(tmp_path, entry(provided.base, "relay")) as made:
            yield made


async def clear(lumni: Stage, who: str, query: str = "") -> tuple[int, int | None]:
    answer = await lumni.client.delete(f"/v1/cache/clear{query}", headers={"x-api-key": who})
    return answer.status_code, answer.json().get("cleared")


async def test_answers_are_shared_within_a_course_and_never_beyond(lumni: Stage) -> None:
    """003-14: what cleo was told, dan may hear; eve is in another course."""
    states = [state(await ask(lumni, who)) for who in ("cleo", "dan", "eve", "tess")]
    assert states == [(200, "miss"), (200, "hit"), (200, "miss"), (200, "hit")]


async def test_clearing_makes_the_next_request_a_new_one(lumni: Stage, provided: Provider) -> None:
    """003-24: a teacher clears her course, an admin one or all; nobody else anything."""
    for who in ("cleo", "eve"):
        await ask(lumni, who)
    assert [await clear(lumni, who) for who in ("cleo", "monitor", "teacher")] == [(403, None)] * 3
    assert await clear(lumni, "tess", "?course=cs102") == (403, None)
    assert await clear(lumni, "tess") == (200, 1)
    assert [state(await ask(lumni, who)) for who in ("dan", "eve")] == [(200, "miss"), (200, "hit")]
    assert await clear(lumni, "admin", "?course=cs102") == (200, 1)
    assert state(await ask(lumni, "eve")) == (200, "miss")
    assert await clear(lumni, "admin") == (200, 2)
    assert provided.calls["chat"] == 4
    acts = [act.action for act in await lumni.services.people.audit.list(WHO["admin"])]
    assert acts.count("cache.clear") == 3


async def test_what_is_under_way_when_it_is_cleared_is_not_kept(lumni: Stage, provided: Provider) -> None:
    """003-24: else an answer from before would come back after."""
    import asyncio

    provided.hold.clear()
    asking = asyncio.create_task(ask(lumni, "cleo"))
    await provided.until_asked(1)
    await clear(lumni, "admin")
    provided.hold.set()
    assert state(await asking) == (200, "miss")
    assert state(await ask(lumni, "cleo")) == (200, "miss")


async def test_figures_are_the_same_everywhere(lumni: Stage) -> None:
    """003-23, 002-18, 002-36, 003-36: over HTTP, for Prometheus, and in the JSON metrics."""
    for _ in range(4):
        await ask(lumni, "cleo")
    await ask(lumni, "cleo", headers={"cache-control": "no-cache"})
    told = (await lumni.get("/v1/cache/stats", "tess")).json()
    assert told == {
        "object": "cache.stats", "enabled": True, "type": "memory", "ttl_seconds": 3600.0, "size": 1, "hit_rate": 0.75,
        "hits": 3, "misses": 1, "bypasses": 1, "shared": 0, "faults": 0,
        "saved": {"tokens": 45, "cost_usd": "0.060000000"},
    }  # fmt: skip
    assert [(await lumni.get("/v1/cache/stats", who)).status_code for who in ("admin", "monitor", "cleo")] == [
        200, 200, 403,
    ]  # fmt: skip
    families = text_string_to_metric_families((await lumni.get("/metrics", "monitor")).text)
    samples = {(s.name, s.labels.get("result")): s.value for family in families for s in family.samples}
    assert [samples["lumni_cache_requests_total", result] for result in ("hit", "miss", "bypass")] == [3, 1, 1]
    assert samples["lumni_cache_saved_tokens_total", None] == 45
    assert samples["lumni_cache_saved_usd_total", None] == pytest.approx(0.06)
    assert samples["lumni_cache_entries", None] == 1
    assert samples["lumni_cache_faults_total", None] == 0
    summary = (await lumni.get("/metrics?format=json", "monitor")).json()
    assert summary["cache"] == {"hits": 3, "misses": 2, "hit_rate": 0.6}


async def test_a_store_that_is_away_says_so_when_it_is_cleared(lumni: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-24: 503 and a code, since nobody knows whether anything was forgotten."""

    async def away(_: str) -> int:
        raise OSError("the response cache's redis does not answer")

    monkeypatch.setattr(lumni.services.pipeline.cache.store, "clear", away)
    answer = await lumni.client.delete("/v1/cache/clear", headers={"x-api-key": "admin"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "cache_unavailable")
