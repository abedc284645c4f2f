"""What is kept of prompts and answers, what a thief finds, and what is left of somebody who was erased."""

import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from lumni.classroom import Content
from lumni.errors import NotFound
from lumni.people.privacy import Contents
from lumni.people.redaction import redact
from lumni.people.secret import Secret
from lumni.storage.tables import metadata
from lumni.types import ChatRequest, Principal
from tests.people.conftest import ADMIN, START, Client, School
from tests.people.test_http import ask, key_of, student
from tests.services.gateway import Gateway
from tests.storage.samples import record

SECRETS = (
    ("Write to ada.lovelace+x@school.example now", "Write to [email] now"),
    ("export KEY=sk-proj-abcdefghijklmnopqrstuv and go", "export KEY=[key] and go"),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuvw", "[key]"),
    ("lumni-abcdefghijklmnopqrstuvwxyz0123456789abcdefg", "[key]"),
    ("password: hunter2 is bad", "[key] is bad"),
    ("Call +49 30 1234567 or (030) 123 45 67.", "Call [phone] or [phone]."),
    ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [account] please"),
    ("card 4111 1111 1111 1111!", "card [number]!"),
    ("ssh root@10.20.30.40 works", "ssh root@[address] works"),
    ("postgres://ada:pw@db.example/x", "[address]"),
)
HARMLESS = (
    "The answer is 42, or 3.14159265358979, in 2026-11-21 at 10:30:00.",
    "for i in range(10): a[i] = b[i] * 1000000",
    "Adam and Adana are no Ada.",
    "O(n log n) for n = 1,000,000; version 1.106.2",
)


@pytest.mark.parametrize(("text", "left"), SECRETS)
def test_what_is_personal_by_its_shape_is_blacked_out(text: str, left: str) -> None:
    """Issue 5: addresses, keys, numbers."""
    assert redact(text) == left


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert redact(text, ["Smith, Ada"]).replace("[name]", "Ada") == text


def test_names_of_the_roster_are_blacked_out() -> None:
    """Issue 5: whole and in parts, in any case; what is too short to tell from a word stays."""
    names = ["Lovelace, Ada", "Ng Li"]
    assert redact("I am ADA Lovelace, says Ada's friend Ng.", names) == "I am [name] [name], says [name]'s friend Ng."


@pytest.fixture
def course_of(admin: httpx.Client, client: Client) -> Any:
    """Makes a course of a privacy, and gives back its id and a student's client."""

    def make(privacy: str) -> tuple[str, httpx.Client]:
        made = admin.post("/admin/courses", json={"id": f"p-{uuid4().hex[:10]}", "privacy": privacy}).json()["id"]
        who = student(admin, made)["id"]
        return made, client(key_of(admin, f"students/{who}")["key"])

    return make


def kept_by(gateway: Gateway) -> bytes:
    """Everything in the gateway's folder, the log included."""
    return b"".join(path.read_bytes() for path in sorted(gateway.directory.rglob("*")) if path.is_file())


def content_of(admin: httpx.Client, answer: httpx.Response) -> httpx.Response:
    """What is kept of a request, once it is stored."""
    path = f"/admin/requests/{answer.headers['x-lumni-request-id']}/content"
    for _ in range(60):
        found = admin.get(path)
        if found.status_code == 200:
            break
        time.sleep(0.05)
    return found


def test_a_stolen_database_reveals_no_key_and_no_content(
    lab_gateway: Gateway, admin: httpx.Client, client: Client, course: str
) -> None:
    """Issue 5, show 5: in the default mode nothing of prompts and answers lies anywhere, nor any key or claim code."""
    who = student(admin, course)["id"]
    key = key_of(admin, f"students/{who}")["key"]
    ada, marker = client(key), f"marker{uuid4().hex}"
    question: Any = {"messages": [{"role": "user", "content": f"Repeat: {marker}"}]}
    answers = [ask(ada, **question), ask(ada, stream=True, **question), ask(ada, max_tokens=-1, **question)]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert [answer.headers.get_list("x-lumni-privacy") for answer in answers] == [["none"]] * 3
    words = re.findall(r"\w{12,}", answers[0].json()["choices"][0]["message"]["content"])
    code = admin.get(f"/admin/courses/{course}").json()["claim_code"]
    time.sleep(0.5)
    stolen = kept_by(lab_gateway)
    assert who.encode() in stolen
    for secret in (key, lab_gateway.key, marker, code, *words):
        assert secret.encode() not in stolen, secret
    assert content_of(admin, answers[0]).status_code == 404


def test_each_mode_keeps_what_it_says(lab_gateway: Gateway, admin: httpx.Client, course_of: Any) -> None:
    """Issue 5: the student reads it in a header of each answer; equal prompts have equal hashes, within a course."""
    hashes = {}
    for mode in ("hash", "redacted", "full"):
        _, ada = course_of(mode)
        marker = f"marker{uuid4().hex}"
        text = f"I am Ada, {marker}, ada@school.example"
        for stream in (False, True):
            answer = ask(ada, stream=stream, messages=[{"role": "user", "content": text}])
            assert answer.headers.get_list("x-lumni-privacy") == [mode]
            found = content_of(admin, answer).json()
            hashes[mode, stream] = found["prompt_hash"]
            if mode == "hash":
                assert (found["messages"], found["answer"]) == (None, None)
                continue
            assert found["answer"]
            kept = found["messages"][0]["content"]
            assert kept == (text if mode == "full" else f"I am [name], {marker}, [email]")
        refusals = [ask(ada, "no-such-model"), ask(ada, max_tokens=-1), ada.get("/nowhere"), ada.get("/v1/usage/bob")]
        assert [answer.headers.get_list("x-lumni-privacy") for answer in refusals] == [[mode]] * 4
        stolen = kept_by(lab_gateway)
        assert (marker.encode() in stolen) == (mode != "hash")
        assert (text.encode() in stolen) == (mode == "full")
        assert hashes[mode, False] == hashes[mode, True]
    assert len(set(hashes.values())) == 3


def test_each_look_at_content_is_on_record(admin: httpx.Client, client: Client, course_of: Any) -> None:
    """004-39: a teacher sees her own course's only, and the log says that she looked."""
    course, ada = course_of("full")
    answer = ask(ada)
    assert content_of(admin, answer).status_code == 200
    path = f"/admin/requests/{answer.headers['x-lumni-request-id']}/content"
    teacher = key_of(admin, f"courses/{course}", role="teacher")
    assert client(teacher["key"]).get(path).json()["messages"]
    other = course_of("full")[0]
    assert client(key_of(admin, f"courses/{other}", role="teacher")["key"]).get(path).status_code == 404
    assert ada.get(path).status_code == 403
    acts = admin.get("/admin/audit", params={"course": course}).json()["data"]
    assert next(act["actor"] for act in acts if act["action"] == "content.read") == teacher["id"]


async def everything(school: School) -> str:
    """All that the database holds, as text."""
    async with school.database.engine.connect() as connection:
        return str([(await connection.execute(select(table))).all() for table in metadata.sorted_tables])


async def test_nothing_is_left_of_who_was_erased(school: School) -> None:
    """Issue 5: neither name nor address, key, content nor balance; sums of records stay as they were."""
    database, people = school.database, school.people
    await people.courses.add(ADMIN, "cs1", privacy="full")
    ada = await people.students.add(ADMIN, "cs1", "ada@school.example", name="Ada Lovelace")
    ben = await people.students.add(ADMIN, "cs1", "ben@school.example", name="Ben")
    key = await people.keys.add_for(ADMIN, ada.id)
    await people.budgets.add(ADMIN, "cs1", unit="usd", amount=5, per="student", who=ada.id)
    kept = Content("req-1", START, "cs1", ada.id, "full", "h1", "h2", "what Ada asked", "what Ada got")
    bens = replace(kept, request_id="req-2", student=ben.id, prompt="what Ben asked", answer="what Ben got")
    await database.contents.add([kept, bens])
    hers = {"course": "cs1", "student": ada.id, "key_id": key.key.id, "client_request_id": "ada-1", "label": "Ada"}
    records = [record(1, **hers), record(2, course="cs1", student=ben.id), record(3, **hers | {"student": None})]
    await database.records.add(records)
    await people.privacy.erase(ADMIN, ada.id)
    left = await everything(school)
    for trace in ("Lovelace", "ada@school", "what Ada", "ada-1", key.key.hash, key.key.prefix):
        assert trace not in left, trace
    assert "what Ben asked" in left
    found = [await database.records.get(one.request_id) for one in records]
    assert [one and one.student for one in found] == ["erased", ben.id, "erased"]
    assert [one and one.prompt_tokens for one in found] == [one.prompt_tokens for one in records]
    assert await school.who(key.text) is None
    with pytest.raises(NotFound):
        await people.students.get(ADMIN, ada.id)
    assert "student.erase" in {act.action for act in await people.audit.list(ADMIN)}
    # A record that was still in a spool comes later.
    await database.records.add([record(4, **hers | {"created_at": school.clock.now()})])
    await database.contents.expire(school.clock.now())
    late = await database.records.get(record(4).request_id)
    assert late is not None
    assert (late.student, late.key_id) == ("erased", "erased")


async def test_courses_forget_after_their_days(school: School) -> None:
    """Issue 5: content is deleted and records lose whose they were, on time and not before; others keep theirs."""
    database, people = school.database, school.people
    await people.courses.add(ADMIN, "short", retention_days=30)
    await people.courses.add(ADMIN, "long")
    for course in ("short", "long"):
        who = await people.students.add(ADMIN, course, "ada@school.example")
        content = Content(f"req-{course}", START, course, who.id, "full", "h", "h", "asked", "got")
        await database.contents.add([content])
        number = 1 if course == "short" else 2
        await database.records.add([record(number, course=course, student=who.id, created_at=START)])
    assert await database.contents.expire(START + timedelta(days=30)) == 0
    assert await database.contents.expire(START + timedelta(days=30, seconds=1)) == 1
    assert await database.contents.expire(START + timedelta(days=60)) == 0
    assert await database.contents.get("req-short") is None
    assert await database.contents.get("req-long") is not None
    records = [await database.records.get(record(number).request_id) for number in (1, 2)]
    assert [one is not None and one.student == "erased" for one in records] == [True, False]


async def test_only_what_a_course_asks_for_is_kept(school: School) -> None:
    """Issue 5: as far as a database can hold it."""
    database = school.database
    contents = Contents(database.contents, database.people, Secret("s"), school.clock.now)
    asked = ChatRequest("req-9", {"messages": [{"role": "user", "content": "\ud800 x"}]}, "auto", START, 0.0, 1.0)
    contents.keep(asked, Principal("k", course="cs1"), "nothing")
    contents.keep(asked, Principal("k", privacy="full"), "nothing")
    contents.keep(asked, Principal("k", course="cs1", privacy="full"), "an answer\x00")
    await contents.close()
    found = await database.contents.get("req-9")
    assert found is not None
    assert found.answer == "an answer\ufffd"
