"""Alerts of a real gateway: what goes wrong in it is found in its own metrics."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumni.services import make_watch
from lumni.storage.errors import StorageError
from lumni.types import Alert
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage
from tests.telemetry.test_alerts import Heard


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    entries = (entry("all", provided.base, "one"), entry("daily", provided.base, "two", provider="groq", rpd=5))
    async with stage(tmp_path, model_list(*entries)) as made:
        yield made


async def test_what_goes_wrong_is_found(lumni: Stage, provided: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-49, 000-53: quota before it is used up, refused keys, failing requests and providers, a database that is
    away: by the gateway's own metrics."""
    heard, services = Heard(), lumni.services
    watch = make_watch(services.settings, services.gauges, heard)
    await watch.look()
    assert heard.alerts == []
    for _ in range(4):
        assert (await lumni.ask(model="daily")).status_code == 200
    provided.chat = 401
    await lumni.ask("ben")

    async def down() -> None:
        raise StorageError("away")

    monkeypatch.setattr(services.database, "ping", down)
    lumni.clock.now += 2
    await watch.look()
    told = {alert.name: alert for alert in heard.alerts}
    assert set(told) == {"quota_low", "key_refused"}  # all else has to last
    assert "80% of the quota" in told["quota_low"].message
    assert told["key_refused"].subject == "one"


async def test_what_others_report_is_told_too(
    provided: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """000-53: such as a budget that is nearly spent; without any channel the log has it."""
    async with stage(tmp_path, model_list(entry("all", provided.base, "one"))) as lumni:
        message = "80 % of the budget of cs1 is spent."
        for _ in range(2):
            lumni.services.bell.notify(Alert("budget_threshold", "cs1 80", message, datetime.now(UTC), course="cs1"))
    assert caplog.text.count(message) == 1
