"""A class teaches the classifier: blind pairs by HTTP, a correction by hand, and a gateway that obeys it at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import ASGITransport, Response
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from lumni.__main__ import app as commands
from lumni.app import create_app
from lumni.people import keyring
from lumni.people.service import LOCAL_ADMIN
from lumni.storage.tables import metadata
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, stage

WEAK, STRONG = "the weak one's words", "the strong one's words"
WAIT = 60.0  # seconds for what happens at once on a machine that isn't busy


@dataclass
class Class:
    """A gateway over a real database, with a course whose students have keys of their own."""

    stage: Stage
    client: httpx.AsyncClient
    weak: Provider
    strong: Provider
    keys: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, who: str, **body: Any) -> Response:
        return await self.client.post(path, headers={"x-api-key": self.keys[who]}, json=body)

    async def pair(self, who: str, text: str = "What is a list?", **more: Any) -> Response:
        return await self.post("/v1/pairs", who, messages=[{"role": "user", "content": text}], **more)

    async def vote(self, who: str, pair: Response, wanted: str) -> Response:
        """For the answer that says ``wanted``, or ``tie`` or ``neither``."""
        told = pair.json()
        labels = {answer["message"]["content"]: answer["label"] for answer in told["answers"]}
        return await self.post(f"/v1/pairs/{told['id']}/vote", who, choice=labels.get(wanted, wanted))

    async def explained(self, who: str, text: str) -> dict[str, Any]:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        told: dict[str, Any] = (await self.post("/v1/explain", who, **body)).json()
        return told


def tiered(name: str, base: str, tier: str) -> str:
    return (
        f"\n  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{base}', api_key: k,"
        f" rpm: 1000}}\n    model_info: {{id: {name}-id, tier: {tier}}}"
    )


@pytest.fixture
async def cs1(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Class]:
    monkeypatch.setattr(keyring, "PATIENCE", WAIT)  # a busy machine is no database that is away
    async with provider() as weak, provider() as strong:
        weak.says, strong.says = WEAK, STRONG
        listed = "model_list:" + tiered("little", weak.base, "fast") + tiered("large", strong.base, "powerful") + "\n"
        async with stage(tmp_path, listed, database_url=SecretStr(database_url), max_requests_per_minute=0) as made:
            async with made.services.database.engine.begin() as connection:
                for table in reversed(metadata.sorted_tables):
                    await connection.execute(table.delete())
            transport = ASGITransport(create_app(made.services))
            async with httpx.AsyncClient(transport=transport, base_url="http://lumni") as client:
                klass = Class(made, client, weak, strong)
                people = made.services.people
                await people.courses.add(LOCAL_ADMIN, "cs1")
                for number in range(6):
                    name = f"s{number}"
                    student = await people.students.add(LOCAL_ADMIN, "cs1", f"{name}@school.example")
                    klass.keys[name] = (await people.keys.add_for(LOCAL_ADMIN, student.id)).text
                yield klass


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, commands, ["calibration", *words])

    return run


async def test_a_pair_is_blind_until_the_vote(cs1: Class) -> None:
    """Issue 4: one answer of each tier, in either order, with nothing that says whose; the vote tells, once."""
    orders = set()
    for _ in range(40):
        pair = await cs1.pair("s0")
        assert pair.status_code == 200, pair.text
        assert {
            name for name in ("x-lumni-model", "x-lumni-deployment", "x-lumni-provider") if name in pair.headers
        } == set()
        assert not {"little", "large", "fast", "powerful"} & set(pair.text.replace('"', " ").split())
        assert sorted(answer["message"]["content"] for answer in pair.json()["answers"]) == sorted((WEAK, STRONG))
        orders.add(pair.json()["answers"][0]["message"]["content"])
        if len(orders) == 2:
            break
    assert orders == {WEAK, STRONG}
    voted = await cs1.vote("s0", pair, STRONG)
    assert voted.status_code == 200, voted.text
    shown = {answer["label"]: answer["message"]["content"] for answer in pair.json()["answers"]}
    told = {shown[answer["label"]]: (answer["tier"], answer["model"]) for answer in voted.json()["answers"]}
    assert told == {WEAK: ("fast", "openai/little"), STRONG: ("powerful", "openai/large")}
    again = await cs1.vote("s0", pair, WEAK)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_voted")


async def test_nobody_votes_on_anothers_pair(cs1: Class) -> None:
    """Issue 4, 004-24: it looks as if there were none; a wrong choice is refused."""
    pair = await cs1.pair("s0")
    assert (await cs1.vote("s1", pair, STRONG)).status_code == 404
    assert (await cs1.post("/v1/pairs/pair_none/vote", "s0", choice="a")).status_code == 404
    assert (await cs1.vote("s0", pair, "best")).status_code == 400


async def test_a_pair_needs_both_tiers_and_no_stream(cs1: Class) -> None:
    """Issue 4: with one tier away there is nothing to compare, and a stream's pace would tell who writes."""
    refused = await cs1.pair("s0", stream=True)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")
    assert cs1.weak.calls["chat"] + cs1.strong.calls["chat"] == 0
    cs1.strong.chat = 503
    failed = await cs1.pair("s0")
    assert failed.status_code == 503
    assert "answers" not in failed.json()


async def test_both_answers_are_on_record_as_any_other(cs1: Class) -> None:
    """Issue 4, 000-33: a pair is two requests of the one who asked, counted and recorded."""
    await cs1.pair("s0")
    await cs1.stage.services.writer.flush()
    records = await cs1.stage.services.database.records.recent()
    assert [record.surface for record in records] == ["pairs", "pairs"]
    assert {record.model for record in records} == {"openai/little", "openai/large"}
    assert {record.course for record in records} == {"cs1"}


async def a_lesson(cs1: Class) -> None:
    """Each of six students votes on five pairs: for this class, weak models mostly fail."""
    for number in range(30):
        who = f"s{number % 6}"
        pair = await cs1.pair(who, f"What is the {number}th letter of the alphabet?")
        voted = await cs1.vote(who, pair, "tie" if number % 5 == 0 else STRONG)
        assert voted.status_code == 200, voted.text


async def test_a_class_teaches_and_the_gateway_obeys_at_once(cs1: Class, run: Any) -> None:
    """Issue 4: figures before and after; nothing changes unless told to; audited, recorded, explained, and undone."""
    question = "What is the 31st letter of the alphabet?"
    before = (await cs1.explained("s0", question))["classification"]
    assert before["calibration"] is None

    few = await run("learn", "cs1", "--apply")
    assert (few.exit_code, "at least 20 votes" in few.output) == (1, True)
    await a_lesson(cs1)
    shown = await run("learn", "cs1", "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["applied"], told["lesson"]["votes"], told["lesson"]["people"]) == (None, 30, 6)
    assert told["lesson"]["heard"]["blind pair"] == {"rows": 30, "failed": 0.8, "weight": 30.0}
    assert told["lesson"]["after"]["log_loss"]["value"] < told["lesson"]["before"]["log_loss"]["value"]
    assert (await run("list", "cs1", "--json")).stdout.strip() == "[]"
    assert (await cs1.explained("s0", question))["classification"] == before

    applied = await run("learn", "cs1", "--apply")
    assert applied.exit_code == 0, applied.output
    assert "In force as version 1" in applied.output
    taught = await until(cs1, question, 1)
    assert taught["weak_fails"] > before["weak_fails"]
    assert taught["calibration"]["weak_fails"] == before["weak_fails"]
    assert taught["factors"]["what your class taught"] > 0

    answer = await cs1.post(
        "/v1/chat/completions", "s0", model="auto", messages=[{"role": "user", "content": question}]
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["lumni"]["classification"]["calibration"] == "cs1/1"
    await cs1.stage.services.writer.flush()
    record = await cs1.stage.services.database.records.get(answer.headers["x-lumni-request-id"])
    assert record is not None
    assert record.decision is not None
    assert record.decision["classification"]["calibration"]["version"] == 1
    again = json.loads((await run("learn", "cs1", "--json")).stdout)["lesson"]
    assert again["line"]["shift"] == pytest.approx(told["lesson"]["line"]["shift"], abs=0.1)  # not corrected twice

    reverted = await run("revert", "cs1", "0")
    assert reverted.exit_code == 0, reverted.output
    plain = await until(cs1, question, 2)
    assert plain["weak_fails"] == before["weak_fails"]
    acts = await cs1.stage.services.people.audit.list(LOCAL_ADMIN, "cs1")
    done = [(act.action, act.actor, act.details["version"]) for act in acts if act.action.startswith("calibration")]
    assert done == [("calibration.revert", "local", 2), ("calibration.apply", "local", 1)]
    assert (await run("revert", "cs1", "7")).exit_code == 1


async def test_a_teacher_does_it_by_http(cs1: Class) -> None:
    """Issue 4: for her course alone; shown, put in force, listed, taken back. Nobody else sees anything."""
    people = cs1.stage.services.people
    await people.courses.add(LOCAL_ADMIN, "cs2")
    for name, course in (("teacher", "cs1"), ("stranger", "cs2")):
        cs1.keys[name] = (await people.keys.add(LOCAL_ADMIN, role="teacher", course=course)).text
    question, path = "What is the 31st letter of the alphabet?", "/admin/courses/cs1/calibrations"

    async def lesson(who: str, days: int = 30) -> Response:
        headers = {"x-api-key": cs1.keys[who]}
        return await cs1.client.get("/admin/courses/cs1/lesson", headers=headers, params={"days": days})

    few = await lesson("teacher")
    assert (few.status_code, "at least 20 votes" in few.json()["error"]["message"]) == (409, True)
    await a_lesson(cs1)
    shown = await lesson("teacher")
    assert shown.status_code == 200, shown.text
    assert (shown.json()["votes"], shown.json()["people"], shown.json()["object"]) == (30, 6, "lesson")
    assert (await lesson("teacher", days=0)).status_code == 400
    for who in ("s0", "stranger"):
        assert (await lesson(who)).status_code in (403, 404)
        assert (await cs1.post(path, who)).status_code in (403, 404)
    assert (await cs1.explained("s0", question))["classification"]["calibration"] is None

    made = await cs1.post(path, "teacher", days=30)
    assert made.status_code == 201, made.text
    assert made.json()["figures"]["after"] == shown.json()["after"]
    assert (await until(cs1, question, 1))["factors"]["what your class taught"] > 0
    reverted = await cs1.post(f"{path}/revert", "teacher", version=0)
    assert (reverted.status_code, reverted.json()["shift"]) == (201, 0.0)
    await until(cs1, question, 2)
    listed = await cs1.client.get(path, headers={"x-api-key": cs1.keys["teacher"]})
    assert [one["version"] for one in listed.json()["data"]] == [1, 2]
    assert (await cs1.post(f"{path}/revert", "teacher", version=9)).status_code == 400


async def until(cs1: Class, question: str, version: int) -> dict[str, Any]:
    """The classification of a question once the course's calibration of that version judges it."""
    async with asyncio.timeout(WAIT):
        while True:
            told: dict[str, Any] = (await cs1.explained("s0", question))["classification"]
            if told["calibration"] and told["calibration"]["version"] == version:
                return told
            await asyncio.sleep(0.05)


async def test_a_course_ranks_by_its_own_weights(cs1: Class) -> None:
    """001-50: relative weights, scaled to 1, for that course alone; shown where the choice is explained."""
    people = cs1.stage.services.people
    usual = (await cs1.explained("s0", "Hi!"))["weights"]
    await people.courses.change(LOCAL_ADMIN, "cs1", selection_weights={"benchmarkRanking": 1, "cost_efficiency": 3})
    own = (await cs1.explained("s0", "Hi!"))["weights"]
    assert (own["cost_efficiency"], own["benchmark_ranking"], sum(own.values())) == (0.75, 0.25, 1.0)
    await people.courses.change(LOCAL_ADMIN, "cs1", selection_weights=None)
    assert (await cs1.explained("s0", "Hi!"))["weights"] == usual


async def test_a_pair_in_an_exam_is_refused(cs1: Class) -> None:
    """Issue 4: one model answers all then; nobody is called."""
    people, now = cs1.stage.services.people, cs1.stage.services.started_at
    ends = now.replace(year=now.year + 1)
    await people.exams.add(LOCAL_ADMIN, "cs1", starts_at=now, ends_at=ends, model="little")
    refused = await cs1.pair("s0")
    assert refused.status_code == 403
    assert cs1.weak.calls["chat"] == 0
