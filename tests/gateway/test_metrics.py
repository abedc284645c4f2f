"""``/metrics``: to whom, in which form, and that it agrees with what happened."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lumni.storage.errors import StorageError
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage

DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    """One deployment that nearly everything may ask, and one that is spent after one call."""
    entries = (entry("all", provided.base, "one"), entry("spent", provided.base, "two", provider="groq", rpm=1))
    async with stage(tmp_path, model_list(*entries)) as made:
        yield made


async def series(lumni: Stage) -> dict[str, list[tuple[dict[str, str], float]]]:
    answer = await lumni.get("/metrics", "monitor")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def one(found: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    [value] = [value for given, value in found[name] if given.items() >= labels.items()]
    return value


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics/summary", "/metrics?format=json"])
async def test_metrics_are_for_admins_and_monitors(lumni: Stage, path: str) -> None:
    """004-41: and nobody else."""
    statuses = {who: (await lumni.get(path, who)).status_code for who in ("admin", "monitor", "teacher", "ada")}
    assert statuses == {"admin": 200, "monitor": 200, "teacher": 403, "ada": 403}
    assert (await lumni.client.get(path)).status_code == 401


async def test_prometheus_sees_what_happened(lumni: Stage, provided: Provider) -> None:
    """001-13: requests, calls, quota, breakers and stores in one scrape."""
    assert (await lumni.ask()).status_code == 200
    assert (await lumni.ask(model="spent")).status_code == 200
    provided.chat = 503
    for who in ("ben", "ben", "ben"):
        assert (await lumni.ask(who)).status_code == 503
    assert (await lumni.ask(model="no-such-model")).status_code == 404
    lumni.clock.now += 2  # how deployments stand is read once a second
    found = await series(lumni)
    assert one(found, "lumni_client_responses_total", outcome="ok") == 2
    assert one(found, "lumni_client_responses_total", outcome="not_found") == 1
    assert one(found, "lumni_upstream_attempts_total", deployment="one", outcome="unavailable") == 3
    assert one(found, "lumni_requested_models_total", model="other") == 1
    assert one(found, "lumni_breaker_state", deployment="one") == 2
    assert one(found, "lumni_breaker_state", deployment="two") == 0
    assert one(found, "lumni_deployments", provider="openai", state="broken") == 1
    assert one(found, "lumni_deployments", provider="groq", state="exhausted") == 1
    [pool] = {given["pool"] for given, value in found["lumni_quota_limit"] if value == 1}
    assert one(found, "lumni_quota_used", pool=pool, kind="requests", period="60") == 1
    assert one(found, "lumni_quota_remaining", pool=pool, kind="requests", period="60") == 0
    assert {value for _, value in found["lumni_quota_overrun_requests"]} == {0}
    assert one(found, "lumni_store_up", store="database") == 1
    assert one(found, "lumni_store_up", store="spool") == 1
    assert one(found, "lumni_records_in_memory") == 0
    assert one(found, "lumni_queue_depth") == 0
    assert one(found, "lumni_build_info") == 1


async def test_a_database_that_is_down_is_a_figure(lumni: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """001-13: and no reason not to answer."""

    async def down() -> None:
        raise StorageError("away")

    monkeypatch.setattr(lumni.services.database, "ping", down)
    assert one(await series(lumni), "lumni_store_up", store="database") == 0


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/metrics?format=json", {}),
        ("/metrics", {"accept": "application/json"}),
        ("/metrics?window_minutes=60", {}),
        ("/metrics?provider=openai", {}),
        ("/v1/metrics/summary", {}),
    ],
)
async def test_json_has_every_form_of_asking(lumni: Stage, path: str, headers: dict[str, str]) -> None:
    """002-29, 002-36"""
    await lumni.ask()
    answer = await lumni.client.get(path, headers={"x-api-key": "admin", **headers})
    body = answer.json()
    assert (body["object"], body["window_minutes"], body["requests"]["total"]) == ("metrics", 60, 1)
    assert body["latency_ms"]["p99"] >= body["latency_ms"]["p50"] > 0
    assert body["resources"]["cpu_seconds"] > 0


async def test_json_of_one_provider(lumni: Stage) -> None:
    """002-17, 002-29"""
    await lumni.ask()
    await lumni.ask(model="spent")
    body = (await lumni.get("/metrics?window_minutes=60&provider=groq", "admin")).json()
    assert (body["requests"]["total"], list(body["providers"])) == (1, ["groq"])


@pytest.mark.parametrize(
    ("query", "status"),
    [("window_minutes=0", 400), ("window_minutes=1441", 400), ("format=xml", 400), ("provider=x", 404)],
)
async def test_wrong_questions_are_told_so(lumni: Stage, query: str, status: int) -> None:
    """003-07"""
    answer: Any = await lumni.get(f"/metrics?{query}", "admin")
    assert (answer.status_code, "message" in answer.json()["error"]) == (status, True)


async def test_every_metric_is_documented(lumni: Stage) -> None:
    """001-13: each family has its line in the document."""
    await lumni.ask()
    families = text_string_to_metric_families((await lumni.get("/metrics", "admin")).text)
    words = DOCUMENT.read_text(encoding="utf-8")
    missing = {
        family.name for family in families if not family.name.startswith("process_") and f"`{family.name}" not in words
    }
    assert not missing
