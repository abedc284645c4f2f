"""Prompts and experiments through the whole line, to the record, to Portkey and to the report."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lumni.__main__ import app
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage
from tests.telemetry.portkey_double import KEY, Portkey, portkey
from tests.telemetry.test_prompts import TUTOR

TONE: dict[str, Any] = {
    "models": ["all"],
    "variants": [
        {"name": "one", "model": "first", "prompt": {"id": "tutor"}},
        {"name": "two", "model": "second"},
    ],
}
STUDENTS = [f"student-{number}" for number in range(12)]
ASKED = {"model": "all", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def service() -> AsyncIterator[Portkey]:
    async with portkey() as double:
        double.prompts = {"tutor": TUTOR}
        yield double


@pytest.fixture
async def lumni(provided: Provider, service: Portkey, tmp_path: Path) -> AsyncIterator[Stage]:
    listed = model_list(entry("first", provided.base, "d1"), entry("second", provided.base, "d2"))
    settings = {"portkey_api_key": KEY, "portkey_base_url": service.base, "portkey_enabled": True}
    async with stage(tmp_path, listed, experiments={"tone": TONE}, **settings) as made:
        yield made


async def sent(lumni: Stage) -> None:
    """Until nothing is on its way to Portkey."""
    async with asyncio.timeout(120):
        while "lumni_export_pending" in (text := (await lumni.get("/metrics", "admin")).text) and any(
            line.startswith("lumni_export_pending") and not line.endswith(" 0.0") for line in text.splitlines()
        ):
            await asyncio.sleep(0.05)


async def test_a_prompt_goes_through_the_router(lumni: Stage, provided: Provider, service: Portkey) -> None:
    """001-04: rendered by Portkey, sent by the Router, before the student's own words; named in the record."""
    prompt = {"id": "tutor", "label": "prod", "variables": {"topic": "loops", "name": "Ada Lovelace", "strict": True}}
    service.prompts["tutor@prod"] = TUTOR
    answer = await lumni.ask(model="first", prompt=prompt)
    assert answer.status_code == 200
    [body] = provided.bodies
    assert [message["role"] for message in body["messages"]] == ["system", "user", "user"]
    assert body["messages"][0]["content"] == "You teach loops. Never give the answer."
    assert "Ada Lovelace" in json.dumps(body["messages"][1])
    assert (body["temperature"], "prompt" in body, body["model"]) == (0.2, False, "stand-in")
    assert answer.json()["lumni"]["prompt"] == "tutor@prod"
    only = await lumni.post("/v1/chat/completions", model="first", prompt=prompt, temperature=1)
    assert (only.status_code, provided.bodies[1]["temperature"]) == (200, 1)  # the client's word counts
    assert len(provided.bodies[1]["messages"]) == 2


async def test_unknown_prompts_are_not_found_and_old_experiments_no_obstacle(lumni: Stage) -> None:
    """001-04, 001-05: a program that asks for an experiment goes on when it is over."""
    answer = await lumni.ask(model="first", prompt={"id": "nothing"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "prompt_not_found")
    over = await lumni.ask(model="first", experiment="last-year")
    assert (over.status_code, over.json()["lumni"]["experiment"]) == (200, None)
    neither = await lumni.post("/v1/chat/completions", model="first")
    assert (neither.status_code, neither.json()["error"]["param"]) == (400, "messages")
    assert (await lumni.ask(model="first", prompt={"id": "../../etc/passwd"})).status_code == 400


async def test_students_are_dealt_and_stay(lumni: Stage, provided: Provider, service: Portkey) -> None:
    """001-05: each to one variant, by model and prompt; told in header, body, record and Portkey's log."""
    dealt: dict[str, set[str]] = {}
    for student in STUDENTS * 2:
        answer = await lumni.ask("class", user=student)
        variant = answer.headers["x-lumni-variant"]
        dealt.setdefault(student, set()).add(variant)
        told = answer.json()["lumni"]
        assert variant == f"tone/{told['experiment']['variant']}"
        assert told["selection"]["deployment"] == {"tone/one": "d1", "tone/two": "d2"}[variant]
        assert told["prompt"] == ("tutor" if variant == "tone/one" else None)
    assert {len(variants) for variants in dealt.values()} == {1}
    assert {variant for variants in dealt.values() for variant in variants} == {"tone/one", "tone/two"}
    outside = await lumni.ask("ada", model="first")
    assert "x-lumni-variant" not in outside.headers
    asked = await lumni.ask("ada", model="second", experiment="tone")
    assert asked.headers["x-lumni-variant"].startswith("tone/")
    await sent(lumni)
    logged = [log["metadata"] for log in service.logs if log["metadata"].get("experiment") == "tone"]
    assert len(logged) == 2 * len(STUDENTS) + 1
    assert {log["variant"] for log in logged} == {"one", "two"}


async def test_feedback_reaches_both_places(lumni: Stage, service: Portkey) -> None:
    """001-05, 001-03: of one's own requests only; the latest counts; Portkey gets it by the trace."""
    mine = (await lumni.ask("ada")).headers["x-lumni-request-id"]
    for value in (-3, 5):
        given = await lumni.post("/v1/feedback", "ada", request_id=mine, value=value, weight=0.5)
        assert (given.status_code, given.json()["value"]) == (200, value)
    for who, body in (
        ("ben", {"request_id": mine, "value": 1}),
        ("ada", {"request_id": "req_nobodys", "value": 1}),
    ):
        assert (await lumni.post("/v1/feedback", who, **body)).status_code == 404
    for wrong in ({"value": 11}, {"value": 1.5}, {"value": 1, "weight": 2}, {"value": 1, "more": 1}, {}):
        refused = await lumni.post("/v1/feedback", "ada", request_id=mine, **wrong)
        assert (refused.status_code, "message" in refused.json()["error"]) == (400, True)
    await sent(lumni)
    assert service.feedback == [
        {"trace_id": mine, "value": -3, "weight": 0.5}, {"trace_id": mine, "value": 5, "weight": 0.5},
    ]  # fmt: skip
    [result] = await lumni.services.database.experiments.results("tone", "student")
    assert (result.feedback, result.requests) == (5.0, 1)


async def test_the_report_says_how_variants_did(
    lumni: Stage, provided: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """001-05: by student, with intervals; failures and feedback are in it, requests of clients that left aren't."""
    liked: dict[str, list[int]] = {"one": [], "two": []}
    for number, student in enumerate(STUDENTS):
        answer = await lumni.ask("class", user=student)
        variant = answer.json()["lumni"]["experiment"]["variant"]
        liked[variant].append(number)
        request_id = answer.headers["x-lumni-request-id"]
        await lumni.post("/v1/feedback", "class", request_id=request_id, value=3 if variant == "one" else -2)
    provided.chat = 503
    failed = await lumni.ask("class", user=STUDENTS[0])
    assert failed.status_code == 503
    await lumni.services.writer.flush()
    (tmp_path / "config.json").write_text(json.dumps({"experiments": {"tone": TONE}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    command = ["experiment", "report", "tone"]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    told = {one["variant"]: one for one in json.loads(result.output)}
    assert {name: one["units"] for name, one in told.items()} == {name: len(of) for name, of in liked.items()}
    assert sum(one["requests"] for one in told.values()) == len(STUDENTS) + 1
    assert told["one"]["estimates"]["feedback"]["mean"] == 3.0
    assert told["two"]["differences"]["feedback"]["mean"] == -5.0
    successes = [one["estimates"]["success"]["mean"] for one in told.values()]
    assert max(successes) == 1.0 > min(successes)
    shown = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert (shown.exit_code, "two - one" in shown.output) == (0, True)
    unknown = await asyncio.to_thread(CliRunner().invoke, app, ["experiment", "report", "nothing"])
    assert unknown.exit_code == 1
