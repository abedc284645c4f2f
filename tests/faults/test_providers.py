"""What a client sees of limits and refusals that providers tell in their own dialects, and what it never sees."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.faults.conftest import LANES
from tests.faults.providers import PROVIDERS, QUESTION, SECONDS, WAYS, Stage, set_stage

HOUR = 3600
NEVER_SAY_WHEN_THE_DAY_ENDS = ("gemini", "gemini-as-openai")  # asked again after an hour, therefore

every_provider = pytest.mark.parametrize("provider", PROVIDERS)
every_period = pytest.mark.parametrize("period", SECONDS)
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module", params=LANES)
def module_stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from set_stage(tmp_path_factory.mktemp("providers"), request.param)


@pytest.fixture
def stage(module_stage: Stage) -> Stage:
    with httpx.Client(base_url=module_stage.gateway.url, headers={"x-api-key": module_stage.gateway.key}) as admin:
        for provider in {shape.prefix for shape in PROVIDERS.values()}:  # what one test did to them ends with it
            admin.post(f"/admin/providers/{provider}/circuit-breaker/reset").raise_for_status()
    return module_stage


def ask(stage: Stage, model: str, way: str) -> tuple[str, dict[str, Any]]:
    """The official client's answer: its text, and the ``lumni`` object."""
    if way == "whole":
        answer = stage.client.chat.completions.create(model=model, messages=QUESTION)
        return answer.choices[0].message.content or "", answer.model_extra["lumni"]  # type: ignore[index]
    text = ""
    metadata: dict[str, Any] = {}
    for chunk in stage.client.chat.completions.create(model=model, messages=QUESTION, stream=True):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        metadata |= (chunk.model_extra or {}).get("lumni", {})
    return text, metadata


def tells_in_headers(stage: Stage, provider: str, period: str, way: str) -> bool:
    """Whether the one answer already said that nothing is left. LiteLLM drops the headers of Groq's whole answers."""
    kept = way == "stream" or stage.lane == "relay"
    return provider == "openai" or ((provider, period) == ("groq", "day") and kept)


def outcomes(metadata: Any) -> list[str]:
    return [attempt["outcome"] for attempt in metadata["attempts"]]


@every_way
@every_period
@every_provider
def test_a_provider_s_limit_is_told_with_its_own_wait(stage: Stage, provider: str, period: str, way: str) -> None:
    """000-14, 004-13: wherever a provider hides it, ``retry-after`` says when the quota is back."""
    model = f"{provider}-{period}-{way}"
    assert ask(stage, model, way)[0]
    before = stage.lab.totals()["over_limit"]
    told_before = tells_in_headers(stage, provider, period, way)
    for attempts in ([] if told_before else ["rate_limited"], []):  # told by the provider, then remembered
        with pytest.raises(openai.RateLimitError) as caught:
            ask(stage, model, way)
        error = caught.value
        assert isinstance(error.body, dict)
        assert (error.type, error.code) == ("rate_limit_error", "providers_exhausted")
        assert outcomes(error.body) == attempts
        least = HOUR if provider in NEVER_SAY_WHEN_THE_DAY_ENDS else SECONDS[period] / 2
        assert (
            min(least, SECONDS[period] / 2)
            <= int(error.response.headers["retry-after"])
            <= SECONDS[period] * 601 / 600 + 1
        )
        # To ask again tomorrow is nothing for a client to do by itself.
        assert error.response.headers["x-should-retry"] == ("true" if period == "minute" else "false")
    assert stage.lab.totals()["over_limit"] == before + (0 if told_before else 1)


@every_way
@every_period
@every_provider
def test_a_spent_account_is_replaced_in_silence(stage: Stage, provider: str, period: str, way: str) -> None:
    """004-02: the client sees an answer like any other; the first account is then left alone."""
    model = f"{provider}-{period}-{way}-pair"
    answers = [ask(stage, model, way) for _ in range(3)]
    assert all(text for text, _ in answers)
    assert [metadata["selection"]["deployment"][-1] for _, metadata in answers] == ["0", "1", "1"]
    told_before = tells_in_headers(stage, provider, period, way)
    second = ["ok"] if told_before else ["rate_limited", "ok"]
    assert [outcomes(metadata) for _, metadata in answers] == [["ok"], second, ["ok"]]


@every_way
@every_provider
def test_a_dead_key_is_told_as_the_gateway_s_own(stage: Stage, provider: str, way: str) -> None:
    """000-35: a student's key is well: a 401 would send them looking for the fault in their own."""
    with pytest.raises(openai.InternalServerError) as caught:
        ask(stage, f"{provider}-dead", way)
    error = caught.value
    assert error.status_code == 503
    assert isinstance(error.body, dict)
    assert outcomes(error.body) == ["auth"]
    assert "refused the key of this gateway's account" in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert "www-authenticate" not in error.response.headers


@every_way
@every_provider
def test_a_dead_key_takes_no_other_account_down(stage: Stage, provider: str, way: str) -> None:
    for expected in (["auth", "ok"], ["ok"]):  # then it is left alone
        text, metadata = ask(stage, f"{provider}-dead-pair", way)
        assert text
        assert outcomes(metadata) == expected
        assert ask(stage, f"{provider}-live", way)[1]["attempts"][0]["outcome"] == "ok"


FAULTS: dict[str, dict[str, Any]] = {
    **{f"status-{status}": {"kind": "status", "status": status} for status in (400, 401, 403, 500)},
    **{kind: {"kind": kind} for kind in ("dead_key", "cut", "truncate", "malformed")},
    "stall": {"kind": "stall", "seconds": 1},
    "status-429": {"kind": "status", "status": 429},  # the last: quota that was refused stays out for its minute
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_key_is_told_to_anyone(stage: Stage, fault: str) -> None:
    """000-08: in no body, header, log line (also at DEBUG) or record, even if the provider quotes the key."""
    groups = [f"{provider}-{kind}" for provider in PROVIDERS for kind in ("live", "odd-key")]
    for group in groups:
        key = stage.keys[f"{group}-0"]
        told = f"Bad key {key}: sent as Authorization: Bearer {key} and ?key={key}&x=1"
        body: dict[str, Any] = (
            {"body": {"error": {"message": told, "code": key}, "key": key}} if fault.startswith("status") else {}
        )
        stage.add_fault(f"{group}-0", **FAULTS[fault], **body)
    asked = [(group, way == "stream") for group in groups for way in WAYS]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda one: stage.post(*one), asked))
    assert stage.lab.faults_met() >= len(groups)
    stage.lab.clear_faults()
    if fault.startswith("status"):
        assert all(answer.status_code >= 400 for answer in answers)
    captured = {
        f"{group} {stream}": everything_in(answer) for (group, stream), answer in zip(asked, answers, strict=True)
    }
    wait_for_records(stage, {answer.headers["x-request-id"] for answer in answers})
    captured["log"] = stage.gateway.log()
    for file in stage.gateway.database.parent.rglob("*"):
        if file.is_file():
            captured[file.name] = file.read_bytes().decode("latin-1")
    secrets = stage.secrets()
    assert [where for where, text in captured.items() if any(secret in text for secret in secrets)] == []


def everything_in(answer: httpx.Response) -> str:
    return f"{answer.status_code} {dict(answer.headers)} {answer.text}"


def wait_for_records(stage: Stage, ids: set[str]) -> None:
    deadline = time.monotonic() + 120
    while True:
        connection = sqlite3.connect(stage.gateway.database)
        found = {row[0] for row in connection.execute("SELECT request_id FROM requests")}
        connection.close()
        if ids <= found:
            return
        assert time.monotonic() < deadline, f"no record of {ids - found}"
        time.sleep(0.1)
