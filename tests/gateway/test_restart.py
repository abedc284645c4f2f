"""A gateway that is stopped, or killed, goes on where it was."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.lab import LabServer
from tests.services.gateway import Gateway
from tests.upstream.wire import QUESTION

DAY = 86_400
CONFIG = """
model_list:
  - model_name: learned
    litellm_params: {{model: openai/gpt-4o, api_base: "{lab}/openai/v1", api_key: sk-learned-000000}}
    model_info: {{id: learned}}
  - model_name: counted
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{lab}/openai/v1", api_key: sk-counted-000000, rpd: 3}}
    model_info: {{id: counted}}
  - model_name: broken
    litellm_params: {{model: openai/gpt-4.1, api_base: "{lab}/openai/v1", api_key: sk-broken-0000000}}
    model_info: {{id: broken}}
"""
# The provider knows of a limit that the gateway doesn't.
LIMITS = {"openai": {"gpt-4o": {"rpd": 2}}}
SETTINGS = {"NUM_RETRIES": "0", "REQUEST_TIMEOUT": "10", "HEALTH_CHECK_INTERVAL": "0"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("lab"), LIMITS) as made:
        yield made


def ask(gateway: Gateway, model: str, user: str = "ada") -> httpx.Response:
    body = {"model": model, "messages": QUESTION, "user": user}
    headers = {"x-api-key": gateway.key}
    return httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=120)


def get(gateway: Gateway, path: str) -> Any:
    return httpx.get(gateway.url + path, headers={"x-api-key": gateway.key}).json()


def day_of(gateway: Gateway, deployment: str) -> tuple[int, int, str]:
    """(limit, used, provenance) of its day."""
    shown = [d for provider in get(gateway, "/v1/providers")["data"] for d in provider["deployments"]]
    (quota,) = [one["quota"] for one in shown if one["id"] == deployment]
    return next((row["limit"], row["used"], row["provenance"]) for row in quota if row["period"] == DAY)


def calls(lab: LabServer) -> int:
    return sum(lab.totals()[name] for name in ("ok", "over_limit"))


def use(gateway: Gateway, lab: LabServer) -> None:
    """Two of a day that only the provider knows, two of three of one that is configured, and a broken deployment."""
    for model in ("learned", "learned", "counted", "counted"):
        assert ask(gateway, model).status_code == 200
    assert ask(gateway, "learned").status_code == 429
    lab.add_fault("status", status=500, model="gpt-4.1", times=3)
    for _ in range(3):
        assert ask(gateway, "broken", "ben").status_code == 503
    lab.clear_faults()


def check(gateway: Gateway, lab: LabServer) -> None:
    """It knows all that, and calls nobody whom it must not call."""
    before = calls(lab)
    assert ask(gateway, "learned", "ben").status_code == 429
    assert ask(gateway, "broken", "ben").json()["error"]["code"] == "all_providers_down"
    assert calls(lab) == before
    assert day_of(gateway, "learned") == (2, 2, "learned")
    assert day_of(gateway, "counted") == (3, 2, "configured")
    (breaker,) = get(gateway, "/v1/health")["breakers"]
    assert (breaker["deployment"], breaker["state"]) == ("broken", "open")
    assert breaker["last_error"]
    minute = next(row for row in get(gateway, "/v1/rate-limit/ada")["windows"] if row["limit"] == 10)
    assert minute["used"] == 5
    assert ask(gateway, "counted", "ben").status_code == 200
    assert ask(gateway, "counted", "ben").status_code == 429


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_usage_limits_and_breakers_survive(lab: LabServer, tmp_path: Path, end: str) -> None:
    """000-38: stopped at once; killed as of the last ten seconds, at which it saves."""
    httpx.post(f"{lab.url}/_lab/reset").raise_for_status()
    saved = tmp_path / ".lumni" / "quota.json"
    with Gateway(tmp_path, CONFIG.format(lab=lab.url), **SETTINGS) as gateway:
        use(gateway, lab)
        if end == "killed":
            after, deadline = time.time(), time.monotonic() + 120
            while not saved.exists() or saved.stat().st_mtime < after:
                assert time.monotonic() < deadline, "it never saved"
                time.sleep(0.1)
            gateway.process.kill()
            gateway.process.wait()
        else:
            assert gateway.stop(signal.SIGTERM) == 0
    with Gateway(tmp_path, **SETTINGS) as again:
        check(again, lab)
        assert "Traceback" not in again.log()
