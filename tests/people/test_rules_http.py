"""Budgets, assignments and exams through a real gateway."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import QUESTION, read_records
from tests.people.conftest import Client
from tests.people.test_http import CHAT, ask, groups, key_of, student
from tests.services.gateway import Gateway

Json = dict[str, Any]
HOUR = timedelta(hours=1)


@pytest.fixture
def ada(admin: httpx.Client, client: Client, course: str) -> httpx.Client:
    return client(key_of(admin, f"students/{student(admin, course)['id']}")["key"])


def post(admin: httpx.Client, path: str, **body: Any) -> Json:
    made = admin.post(f"/admin/{path}", json=body)
    assert made.status_code in (200, 201), made.text
    found: Json = made.json()
    return found


def moment(ago: timedelta) -> str:
    return (datetime.now(UTC) - ago).isoformat()


def balance(admin: httpx.Client, budget: str) -> Json:
    """A budget's only balance, once nothing of it is held any more."""
    for _ in range(200):
        [found] = admin.get(f"/admin/budgets/{budget}").json()["balances"]
        if found["reserved"] == 0:
            break
        threading.Event().wait(0.05)
    return dict(found)


def test_a_budget_ends_with_openais_error(admin: httpx.Client, ada: httpx.Client, course: str) -> None:
    """000-61: with what is spent, the limit and when it is new; a retry is of no use, and a top-up helps at once."""
    made = post(admin, f"courses/{course}/budgets", unit="requests", amount=2, period="day", per="student")
    assert [ask(ada).status_code for _ in range(2)] == [200, 200]
    refused = ask(ada)
    assert refused.status_code == 429
    assert refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert "2 of 2 requests" in error["message"]
    assert (error["budget"]["spent"], error["budget"]["limit"], error["budget"]["left"]) == (2, 2, 0)
    assert datetime.fromisoformat(error["budget"]["resets_at"]) > datetime.now(UTC)
    [mine] = ada.get("/v1/budgets").json()["data"]
    assert mine == error["budget"]
    assert admin.get("/v1/budgets").json()["data"] == []
    post(admin, f"budgets/{made['id']}/top-up", amount=1)
    assert [ask(ada).status_code for _ in range(2)] == [200, 429]
    assert post(admin, f"budgets/{made['id']}/reset")["reset"] == 1
    assert ask(ada).status_code == 200
    assert admin.patch(f"/admin/budgets/{made['id']}", json={"amount": 0}).json()["amount"] == 0
    assert ask(ada).status_code == 429
    assert admin.delete(f"/admin/budgets/{made['id']}").status_code == 204
    assert ask(ada).status_code == 200


def test_a_budget_counts_what_the_records_say(
    lab_gateway: Gateway, admin: httpx.Client, ada: httpx.Client, course: str
) -> None:
    """000-61: tokens of whole answers and of streams, also of one that the client left."""
    made = post(admin, f"courses/{course}/budgets", unit="tokens", amount=200_000)
    names = [f"mine-{uuid4().hex}" for _ in range(3)]
    assert ask(ada, headers={"x-request-id": names[0]}).status_code == 200
    assert ask(ada, stream=True, headers={"x-request-id": names[1]}).status_code == 200
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Tell me a very long story"}]}
    with ada.stream("POST", CHAT, json=body, headers={"x-request-id": names[2]}) as stream:
        next(stream.iter_lines())
    records = [record for name in names for record in read_records(lab_gateway, name)]
    assert len(records) == 3
    used = sum(record["prompt_tokens"] + record["completion_tokens"] for record in records)
    found = balance(admin, made["id"])
    assert (found["spent"], found["reserved"], found["limit"]) == (used, 0, 200_000)


def test_an_answer_is_bounded_to_what_is_left(admin: httpx.Client, ada: httpx.Client, course: str) -> None:
    """000-61: rather a short answer than none, and the header says so."""
    made = post(admin, f"courses/{course}/budgets", unit="tokens", amount=150)
    long: Json = {"messages": [{"role": "user", "content": "Tell me a long story"}]}
    answer = ask(ada, **long)
    assert answer.status_code == 200, answer.text
    most = int(answer.headers["x-lumni-max-tokens"])
    assert answer.json()["usage"]["completion_tokens"] <= most < 150
    assert balance(admin, made["id"])["spent"] <= 150


def test_nobody_is_refused_while_others_may_give_back(admin: httpx.Client, ada: httpx.Client, course: str) -> None:
    """000-61: eight at once under a budget that has room for one at a time: all are served, one after the other."""
    made = post(admin, f"courses/{course}/budgets", unit="tokens", amount=2_000)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask(ada, max_tokens=1_500).status_code, range(8)))
    assert statuses == [200] * 8
    assert balance(admin, made["id"])["reserved"] == 0


def test_groups_and_assignments_have_budgets_of_their_own(admin: httpx.Client, client: Client, course: str) -> None:
    """000-61"""
    rows = [
        {"email": f"{name}@b.c", "section": section} for name, section in (("a", "red"), ("b", "red"), ("c", "blue"))
    ]
    done = admin.put(f"/admin/courses/{course}/roster", json={"students": rows, "make_keys": True}).json()
    red, also_red, blue = (client(key["key"]) for key in sorted(done["keys"], key=lambda key: str(key["email"])))
    post(admin, f"courses/{course}/assignments", id="hw-1")
    post(admin, f"courses/{course}/budgets", unit="requests", amount=2, per="group")
    post(admin, f"courses/{course}/budgets", unit="requests", amount=1, per="student", assignment="hw-1")
    homework: Json = {"headers": {"x-lumni-assignment": "hw-1"}}
    assert [ask(red, **homework).status_code for _ in range(2)] == [200, 429]
    assert [ask(one).status_code for one in (also_red, red, blue, blue, blue)] == [200, 429, 200, 200, 429]
    assert ask(red, headers={"x-lumni-assignment": "hw-2"}).json()["error"]["code"] == "assignment_not_found"
    assert ask(red, headers={"x-lumni-assignment": "HW 2"}).status_code == 400


def test_an_assignment_is_on_record_and_bound_to_its_window(
    lab_gateway: Gateway, admin: httpx.Client, client: Client, course: str
) -> None:
    """Issue 5: by header or by key."""
    allowed = groups(admin)[0]
    who = student(admin, course)["id"]
    post(admin, f"courses/{course}/assignments", id="hw-1", models=[allowed], ends_at=moment(-HOUR))
    post(admin, f"courses/{course}/assignments", id="old", ends_at=moment(HOUR))
    bound = client(key_of(admin, f"students/{who}", assignment="hw-1")["key"])
    free = client(key_of(admin, f"students/{who}")["key"])
    assert admin.post(f"/admin/students/{who}/keys", json={"assignment": "none"}).status_code == 400
    mine = f"mine-{uuid4().hex}"
    assert ask(bound, headers={"x-request-id": mine}).status_code == 200
    [record] = read_records(lab_gateway, mine)
    assert record["assignment"] == "hw-1"
    assert record["deployment"] in {d["id"] for d in bound.get(f"/v1/models/{allowed}").json()["deployments"]}
    closed = ask(free, headers={"x-lumni-assignment": "old"})
    assert (closed.status_code, closed.json()["error"]["code"]) == (403, "assignment_closed")
    mismatch = ask(bound, headers={"x-lumni-assignment": "old"})
    assert mismatch.json()["error"]["code"] == "assignment_mismatch"
    assert admin.patch(f"/admin/courses/{course}/assignments/old", json={"ends_at": None}).status_code == 200
    assert ask(free, headers={"x-lumni-assignment": "old"}).status_code == 200
    assert admin.delete(f"/admin/courses/{course}/assignments/old").status_code == 204
    assert ask(free, headers={"x-lumni-assignment": "old"}).status_code == 404


def test_an_exam_closes_and_a_running_stream_finishes(admin: httpx.Client, ada: httpx.Client, course: str) -> None:
    """Issue 5: new requests are refused from the moment that it begins; when it is over all is as before."""
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Count to twenty"}]}
    with ada.stream("POST", CHAT, json=body) as stream:
        lines = stream.iter_lines()
        next(lines)
        exam = post(admin, f"courses/{course}/exams", starts_at=moment(HOUR), ends_at=moment(-HOUR))
        refused = ask(ada)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "exam_closed")
        assert [line for line in lines if line][-1] == "data: [DONE]"
    overlapping = admin.post(
        f"/admin/courses/{course}/exams", json={"starts_at": moment(timedelta()), "ends_at": moment(-HOUR)}
    )
    assert overlapping.status_code == 409
    assert admin.delete(f"/admin/exams/{exam['id']}").status_code == 204
    assert ask(ada).status_code == 200
    pinned = groups(admin)[-1]
    during = {"starts_at": moment(HOUR), "ends_at": moment(-HOUR), "model": pinned, "seed": 3, "temperature": 0}
    post(admin, f"courses/{course}/exams", **during)
    members = {d["id"] for d in ada.get(f"/v1/models/{pinned}").json()["deployments"]}
    for model in ("auto", groups(admin)[0]):
        answer = ask(ada, model)
        assert answer.json()["lumni"]["selection"]["deployment"] in members
    told = ada.post("/v1/explain", json={"model": "auto", "messages": QUESTION}).json()
    assert told["winner"]["deployment"] in members


def test_the_list_of_models_is_what_may_be_asked_now(admin: httpx.Client, ada: httpx.Client, course: str) -> None:
    """Issue 5: by the assignment's list, in an exam its model only, and nothing while all is closed."""
    every = groups(admin)
    post(admin, f"courses/{course}/assignments", id="hw-1", models=every[:1])
    post(admin, f"courses/{course}/assignments", id="old", ends_at=moment(HOUR))
    listed = {name: ada.get("/v1/models", headers={"x-lumni-assignment": name}) for name in ("hw-1", "old", "none")}
    assert [one["id"] for one in listed["hw-1"].json()["data"]] == ["auto", "fast", "powerful", every[0]]
    assert listed["old"].json() == {"object": "list", "data": []}
    assert listed["none"].json()["error"]["code"] == "assignment_not_found"
    assert groups(ada) == every
    during = {"starts_at": moment(HOUR), "ends_at": moment(-HOUR)}
    exam = post(admin, f"courses/{course}/exams", **during, model=every[-1])
    assert [one["id"] for one in ada.get("/v1/models").json()["data"]] == [every[-1]]
    assert [ada.get(f"/v1/models/{name}").status_code for name in (every[-1], every[0], "auto")] == [200, 404, 404]
    assert groups(admin) == every
    assert admin.delete(f"/admin/exams/{exam['id']}").status_code == 204
    post(admin, f"courses/{course}/exams", **during)
    assert ada.get("/v1/models").json() == {"object": "list", "data": []}
    assert ada.get("/v1/models/auto").status_code == 404


def test_who_may_decide_about_money(admin: httpx.Client, client: Client, course: str) -> None:
    """003-13: a teacher about her students' budgets, only an admin about that of the whole course."""
    teacher = client(key_of(admin, f"courses/{course}", role="teacher")["key"])
    pupil = client(key_of(admin, f"courses/{course}")["key"])
    path = f"/admin/courses/{course}/budgets"
    whole, each = ({"unit": "usd", "amount": "1.5", "per": per} for per in ("course", "student"))
    assert [one.post(path, json=whole).status_code for one in (pupil, teacher, admin)] == [403, 403, 201]
    assert [one.post(path, json=each).status_code for one in (pupil, teacher, admin)] == [403, 201, 201]
    listed = teacher.get("/admin/budgets").json()["data"]
    assert {(one["per"], one["amount"]) for one in listed} == {("course", "1.500000000"), ("student", "1.500000000")}
    mine = next(one["id"] for one in listed if one["per"] == "course")
    assert teacher.post(f"/admin/budgets/{mine}/top-up", json={"amount": "1"}).status_code == 403
    for wrong in (
        {"unit": "usd", "amount": "much"},
        {"unit": "requests", "amount": "1.5"},
        {"unit": "tokens", "amount": -1},
        {"unit": "tokens", "amount": 1, "per": "course", "who": "x"},
        {"unit": "tokens", "amount": 1, "assignment": "none"},
        {"unit": "tokens", "amount": 1, "carry_over": True},
    ):
        assert admin.post(path, json=wrong).status_code == 400, wrong


def test_every_administrative_act_is_in_the_audit_log(admin: httpx.Client, client: Client, course: str) -> None:
    """004-39: by whom, what and when; a teacher sees her course's, and nobody's name or address is in it."""
    teacher_key = key_of(admin, f"courses/{course}", role="teacher")
    teacher = client(teacher_key["key"])
    who = student(teacher, course, "eve@school.example")["id"]
    key = key_of(teacher, f"students/{who}")
    teacher.post(f"/admin/keys/{key['id']}/revoke")
    teacher.patch(f"/admin/students/{who}", json={"name": "Eve Example"})
    teacher.patch(f"/admin/courses/{course}", json={"models": ["auto"]})
    post(teacher, f"courses/{course}/assignments", id="hw-1")
    post(teacher, f"courses/{course}/exams", starts_at=moment(HOUR), ends_at=moment(-HOUR))
    post(teacher, f"courses/{course}/budgets", unit="requests", amount=5, per="student")
    log = teacher.get("/admin/audit").json()["data"]
    assert [(act["action"], act["actor"] == teacher_key["id"]) for act in reversed(log)] == [
        ("course.add", False),
        ("key.add", False),
        ("student.add", True),
        ("key.add", True),
        ("key.revoke", True),
        ("student.change", True),
        ("course.change", True),
        ("assignment.add", True),
        ("exam.add", True),
        ("budget.add", True),
    ]
    assert log[-1]["subject"] == course
    assert "eve" not in str(log).lower().replace("event", "")
    assert log[0]["details"]["amount"] == 5
    older = teacher.get("/admin/audit", params={"before": log[3]["at"], "limit": 2}).json()["data"]
    assert older == log[4:6]
    assert client(key_of(admin, f"courses/{course}")["key"]).get("/admin/audit").status_code == 403
