"""A request is answered although nothing was classified."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.stage import stage

NO_MODELS = "model_list: []\n"


async def answered(directory: Path, **settings: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the ``lumni`` object of an answer from the lab."""
    async with stage(directory, NO_MODELS, enable_lab="on", **settings) as gateway:
        answer = await gateway.ask(model="auto")
    assert answer.status_code == 200
    return dict(answer.headers), answer.json()["lumni"]


@pytest.mark.parametrize("settings", [{"classify_tasks": False}, {"auto_detect_tasks": False}])
async def test_switched_off_nothing_is_classified_and_the_request_is_served(
    tmp_path: Path, settings: dict[str, bool]
) -> None:
    """001-49."""
    headers, lumni = await answered(tmp_path, **settings)
    assert lumni["classification"] is None
    assert headers["x-lumni-task-type"] == "disabled"
    assert "x-lumni-confidence" not in headers
    assert lumni["selection"]["deployment"]


async def test_a_mistake_in_the_classifier_is_logged_and_the_request_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """001-21."""

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(sys.modules["lumni.intelligence.plan"], "judge", fails)
    with caplog.at_level(logging.ERROR, "lumni.gateway.pipeline"):
        _, lumni = await answered(tmp_path)
    assert lumni["classification"] is None
    assert "a mistake" in caplog.text
