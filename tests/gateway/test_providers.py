"""How providers stand, and what an admin sees and does about their breakers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage

BREAKER = "/admin/providers/{}/circuit-breaker"


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    """Two providers at one address: OpenAI with two deployments, of which one is spent after a call, and Groq."""
    entries = (
        entry("all", provided.base, "one"),
        entry("spent", provided.base, "two", rpm=1),
        entry("other", provided.base, "three", provider="groq"),
    )
    async with stage(tmp_path, model_list(*entries)) as made:
        yield made


async def standing(lumni: Stage, name: str) -> dict[str, Any]:
    shown = (await lumni.get("/v1/providers")).json()["data"]
    return next(one for one in shown if one["provider"] == name)


@pytest.mark.parametrize("alias", ["/providers", "/api/v1/providers/status"])
async def test_the_states_have_their_old_addresses_too(lumni: Stage, alias: str) -> None:
    """002-26, 000-47, 000-19: and none is open to those without a key."""
    assert (await lumni.get(alias)).json() == (await lumni.get("/v1/providers")).json()
    assert (await lumni.client.get(alias)).status_code == 401


async def test_a_provider_tells_its_state_since_when_and_its_last_error(lumni: Stage, provided: Provider) -> None:
    """000-18, 000-19, 002-12"""
    groq = await standing(lumni, "groq")
    start = lumni.clock.now
    assert (groq["state"], groq["since"], groq["last_error"]) == ("available", start, None)
    provided.chat, provided.message = 503, "down for maintenance"
    for _ in range(3):
        lumni.clock.now += 10
        assert (await lumni.ask(model="other")).status_code == 503
    groq = await standing(lumni, "groq")
    assert (groq["state"], groq["since"]) == ("broken", start + 30)
    assert (groq["last_error"], groq["last_error_at"]) == ("down for maintenance", start + 30)
    assert groq["deployments"][0]["for_seconds"] == 600
    assert (await standing(lumni, "openai"))["state"] == "available"
    lumni.clock.now += 600
    provided.chat = 200
    assert (await lumni.ask(model="other")).status_code == 200
    lumni.clock.now += 1
    groq = await standing(lumni, "groq")
    assert (groq["state"], groq["since"]) == ("available", start + 630)
    assert groq["last_error"] == "down for maintenance"


async def test_a_provider_is_as_well_as_its_best_deployment(lumni: Stage) -> None:
    """000-18: quota that is used up is another state than failure."""
    assert (await lumni.ask(model="spent")).status_code == 200
    lumni.clock.now += 2
    openai = await standing(lumni, "openai")
    assert [entry["state"] for entry in openai["deployments"]] == ["available", "exhausted"]
    assert openai["state"] == "available"
    lumni.clock.now += 60
    openai = await standing(lumni, "openai")
    assert [entry["state"] for entry in openai["deployments"]] == ["available", "available"]
    assert openai["deployments"][1]["since"] == lumni.clock.now


async def test_an_admin_sees_a_breaker_and_closes_it(lumni: Stage, provided: Provider) -> None:
    """002-30, 002-31: state, counts, rate, recovery, history; after the reset the next request is served."""
    provided.chat = 503
    for _ in range(4):
        await lumni.ask(model="other")
    view = (await lumni.get(BREAKER.format("groq"), "admin")).json()
    assert (view["provider"], view["state"]) == ("groq", "open")
    (three,) = view["deployments"]
    assert (three["deployment"], three["state"], three["consecutive_failures"]) == ("three", "open", 3)
    assert (three["failures"], three["successes"], three["failure_rate"]) == (3, 0, 1.0)
    assert (three["recovery_timeout"], three["retry_in"]) == (600, 600)
    assert [event["outcome"] for event in three["history"]] == ["unavailable"] * 3
    provided.chat = 200
    assert (await lumni.ask(model="other")).status_code == 503
    reset = await lumni.post(f"{BREAKER.format('groq')}/reset", "admin")
    assert (reset.status_code, reset.json()["state"]) == (200, "closed")
    assert (await lumni.ask(model="other")).status_code == 200
    view = (await lumni.get(BREAKER.format("groq"), "admin")).json()
    assert view["state"] == "closed"
    assert [event["outcome"] for event in view["deployments"][0]["history"]][-2:] == ["reset", "ok"]


async def test_a_half_open_breaker_is_shown_as_such(lumni: Stage, provided: Provider) -> None:
    """002-30"""
    provided.chat = 503
    for _ in range(3):
        await lumni.ask(model="other")
    lumni.clock.now += 600
    assert (await lumni.get(BREAKER.format("groq"), "admin")).json()["state"] == "half_open"


@pytest.mark.parametrize("who", ["ada", "class", "teacher"])
async def test_only_admins_see_and_close_breakers(lumni: Stage, who: str) -> None:
    """002-30, 003-13"""
    for answer in (
        await lumni.get(BREAKER.format("groq"), who),
        await lumni.post(f"{BREAKER.format('groq')}/reset", who),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


async def test_a_provider_that_is_not_here_has_no_breaker(lumni: Stage) -> None:
    """002-30"""
    for answer in (
        await lumni.get(BREAKER.format("nobody"), "admin"),
        await lumni.post(f"{BREAKER.format('nobody')}/reset", "admin"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_the_health_report_tells_of_every_part(lumni: Stage, provided: Provider) -> None:
    """003-18, 002-25: database, Redis, queue, providers, breakers; nothing of it without a key."""
    report = (await lumni.get("/v1/health")).json()
    assert report["status"] == "ok"
    assert (report["database"]["state"], report["database"]["kind"]) == ("up", "sqlite")
    assert report["redis"] == {"state": "not configured"}
    assert report["queue"] == {"waiting": 0}
    assert report["breakers"] == []
    assert {one["provider"]: one["deployments"] for one in report["providers"]} == {
        "openai": {"available": 2},
        "groq": {"available": 1},
    }
    provided.chat = 503
    for group in ("all", "spent", "other"):
        for _ in range(3):
            await lumni.ask(model=group, fallback=False)
            lumni.clock.now += 61
    answer = await lumni.get("/v1/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert {view["deployment"]: view["state"] for view in answer.json()["breakers"]} == {
        "one": "open", "two": "open", "three": "open",
    }  # fmt: skip
    assert (await lumni.client.get("/v1/health")).status_code == 401
    assert (await lumni.client.get("/health")).json() == {"status": "ok"}
    assert (await lumni.client.get("/health/ready")).json()["status"] == "ready"


async def test_the_report_survives_a_dead_database(lumni: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-18: it says so with a 200; only ``/health/ready`` answers 503."""

    async def hang(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("lumni.api.health.DATABASE_SECONDS", 0.05)
    monkeypatch.setattr("lumni.storage.database.Database.ping", hang)
    report = await lumni.get("/v1/health")
    assert (report.status_code, report.json()["status"]) == (200, "degraded")
    assert report.json()["database"]["state"] == "down"
