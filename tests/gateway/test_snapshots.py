"""How providers stood, noted and found again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumni.gateway.snapshots import EVERY, KEPT, Snapshots
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.types import ProviderState
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import entry, model_list, stage


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


async def test_snapshots_tell_what_was_out_of_order(provided: Provider, tmp_path: Path) -> None:
    """000-31, 000-18, 000-26: state, since when, share of failures and last error; one a moment and deployment."""
    entries = (entry("all", provided.base, "one"), entry("other", provided.base, "two", rpm=1))
    async with stage(tmp_path, model_list(*entries)) as lumni:
        snapshots = Snapshots(lumni.services.quota, lumni.services.database.states.add)
        await lumni.ask("ada", model="other")
        lumni.clock.now += EVERY
        assert (await lumni.ask("ada", model="other")).status_code == 200
        provided.chat, provided.message = 503, "a text of the provider"
        for _ in range(3):
            await lumni.ask("ada")
        lumni.clock.now += 1.1  # quotas are looked at once a second
        await snapshots.take()
        await snapshots.take()
        answer = await lumni.get("/v1/providers/history?limit=2", "monitor")
        broken, spent = answer.json()["data"]
        assert (broken["deployment"], broken["provider"], broken["state"]) == ("one", "openai", "broken")
        assert (broken["failure_rate"], broken["headroom"]) == (1.0, 0.0)
        assert "3 failures in a row" in broken["reason"]
        assert (spent["deployment"], spent["state"], spent["failure_rate"]) == ("two", "exhausted", 0.0)
        at = datetime.fromisoformat(broken["at"])
        assert at == datetime.fromtimestamp(lumni.clock.now // EVERY * EVERY, UTC)
        earlier = await lumni.client.get(
            "/v1/providers/history", params={"before": at.isoformat()}, headers={"x-api-key": "admin"}
        )
        assert {row["state"] for row in earlier.json()["data"]} <= {"available"}
        nobody = await lumni.get("/v1/providers/history?provider=groq", "teacher")
        assert nobody.json()["data"] == []
        assert (await lumni.get("/v1/providers/history", "ada")).status_code == 403


async def test_old_snapshots_go(database_url: str) -> None:
    """000-31, 000-28: a month is kept, on either database."""
    database = await Database.open(Settings(database_url=database_url))
    start = datetime(2026, 3, 1, tzinfo=UTC)
    try:
        for day in (0, 1, 31, 32):
            at = start + timedelta(days=day)
            state = ProviderState(at, "d", "groq", "available", None, 1.0, 0.0, None, "odd \x00 text")
            await database.states.add([state], at - KEPT)
        kept = await database.states.list(None, None, 10)
        assert [(state.at - start).days for state in kept] == [32, 31, 1]
        assert kept == await database.states.list("groq", None, 10)
    finally:
        await database.close()
