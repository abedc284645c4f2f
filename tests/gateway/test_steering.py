"""Settings that admins change while the gateway runs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from lumni.gateway.planning import Planner
from lumni.gateway.quotas import make_quota
from lumni.gateway.steering import Steering
from lumni.people.settings import SettingsDesk
from lumni.quota.memory import MemoryStore
from lumni.runtime import CHANGEABLE, Changed
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.types import Principal
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage
from tests.telemetry.records import catalogue

ADMIN = Principal("admin-key", role="admin")


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    entries = (entry("all", provided.base, "one", priority=0), entry("all", provided.base, "two", priority=1))
    async with stage(tmp_path, model_list(*entries), routing_strategy="priority", max_requests_per_minute=3) as made:
        yield made


async def change(lumni: Stage, who: str = "admin", **changes: Any) -> Response:
    return await lumni.client.patch("/admin/settings", headers={"x-api-key": who}, json=changes)


def row(answer: Response, name: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return next(one for one in answer.json()["data"] if one["name"] == name)


async def served_by(lumni: Stage) -> str:
    answer = await lumni.ask("admin")
    assert answer.status_code == 200, answer.text
    return answer.headers["x-lumni-deployment"]


async def test_a_deployment_is_taken_out_and_given_back(lumni: Stage) -> None:
    """004-40: at once, with its reason wherever its state is shown; and it is in the audit log."""
    assert await served_by(lumni) == "one"
    shown = row(await change(lumni, disabled_deployments={"one": "the key leaked"}), "disabled_deployments")
    assert (shown["value"], shown["configured"]) == ({"one": "the key leaked"}, {})
    assert shown["changed_by"] == "admin-key"
    assert await served_by(lumni) == "two"
    [openai] = (await lumni.get("/v1/providers")).json()["data"]
    assert [(d["state"], d.get("reason")) for d in openai["deployments"]] == [
        ("disabled", "taken out of service: the key leaked"),
        ("available", None),
    ]
    await change(lumni, disabled_deployments={"openai/*": "nobody paid"})
    refused = await lumni.ask("admin")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "all_providers_down")
    assert "nobody paid" in refused.json()["error"]["message"]
    assert "changed_at" not in row(await change(lumni, disabled_deployments=None), "disabled_deployments")
    assert await served_by(lumni) == "one"
    acts = (await lumni.get("/admin/audit", "admin")).json()["data"]
    assert [(act["action"], act["subject"]) for act in acts] == [("setting.change", "disabled_deployments")] * 3


async def test_limits_of_students_change_for_those_who_have_used_theirs(lumni: Stage) -> None:
    """004-40: what was used before counts."""
    assert [(await lumni.ask()).status_code for _ in range(4)] == [200, 200, 200, 429]
    await change(lumni, max_requests_per_minute=5)
    assert [(await lumni.ask()).status_code for _ in range(3)] == [200, 200, 429]


async def test_the_strategy_changes(lumni: Stage) -> None:
    """004-40, 000-12"""
    assert {await served_by(lumni) for _ in range(4)} == {"one"}
    await change(lumni, routing_strategy="round_robin")
    assert {await served_by(lumni) for _ in range(4)} == {"one", "two"}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"routing_strategy": "fastest"}, 400, "routing_strategy"),
        ({"selection_weights": {"benchmark_ranking": 0.9}}, 400, "sum to 1"),
        ({"max_requests_per_minute": -1}, 400, "max_requests_per_minute"),
        ({"default_rate_limit_refill_rate": 1e-320}, 400, "default_rate_limit_refill_rate"),
        ({"disabled_deployments": {"nobody": "x"}}, 400, "nobody is no deployment or provider here"),
        ({"port": 80}, 400, "port"),
    ],
)
async def test_what_is_wrong_changes_nothing(lumni: Stage, changes: Any, status: int, words: str) -> None:
    """004-40: also of what is right beside it."""
    answer = await change(lumni, **{"classify_tasks": False, **changes})
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    listed = (await lumni.get("/admin/settings", "admin")).json()["data"]
    assert [one["name"] for one in listed] == list(CHANGEABLE)
    assert not [one for one in listed if "changed_at" in one]


async def test_only_admins_see_and_change_them(lumni: Stage) -> None:
    """004-40"""
    for who in ("ada", "teacher", "monitor"):
        assert (await lumni.get("/admin/settings", who)).status_code == 403
        assert (await change(lumni, who, classify_tasks=False)).status_code == 403


async def test_another_process_follows_also_after_a_restart(database_url: str) -> None:
    """004-40, 000-38: on either database."""
    settings = Settings(database_url=database_url)
    database = await Database.open(settings)

    def process() -> tuple[Steering, Planner]:
        quota = make_quota(settings, catalogue(), MemoryStore())
        planner = Planner(catalogue(), quota)
        return Steering(settings, database.settings.list, planner, quota), planner

    class Log:
        async def done(self, *_: object, **__: object) -> None: ...

    desk = SettingsDesk(database.settings, lambda: datetime.now(UTC), lambda _: (), Log())  # type: ignore[arg-type]
    steering, planner = process()
    await steering.start()
    try:
        await desk.change(ADMIN, {"routing_strategy": "least-used", "classify_tasks": False})
        async with asyncio.timeout(60):
            while planner.switches.strategy != "least_used":
                await asyncio.sleep(0.05)
        assert planner.switches.classifying == "never"
        again, planner_again = process()
        await again.refresh()
        assert planner_again.switches == planner.switches
        await desk.change(ADMIN, {"routing_strategy": None, "classify_tasks": None})
        await again.refresh()
        assert (planner_again.switches.strategy, again.settings) == ("auto", settings)
    finally:
        await steering.close()
        await database.close()


async def test_what_cannot_be_read_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """004-40: neither a value of another version, with which a gateway starts all the same, nor an outage."""
    stored = [
        Changed(name, value, datetime.now(UTC), "k")
        for name, value in (("routing_strategy", "of-tomorrow"), ("unheard_of", 1), ("classify_tasks", False))
    ]
    away = False

    async def read() -> Sequence[Changed]:
        if away:
            raise OSError("away")
        return stored

    settings = Settings()
    quota = make_quota(settings, catalogue(), MemoryStore())
    planner = Planner(catalogue(), quota)
    steering = Steering(settings, read, planner, quota)
    await steering.start()
    try:
        assert (planner.switches.strategy, planner.switches.classifying) == ("auto", "never")
        assert [name in caplog.text for name in ("routing_strategy", "unheard_of")] == [True, True]
        away = True
        with pytest.raises(OSError, match="away"):
            await steering.refresh()
        assert planner.switches.classifying == "never"
    finally:
        await steering.close()
