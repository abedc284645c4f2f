"""Who used what, by HTTP: each caller sees what is theirs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.people.conftest import Client
from tests.people.test_http import ask, key_of, student

Json = dict[str, Any]


def usage(client: httpx.Client, path: str = "/v1/usage/me", status: int = 200, **query: Any) -> Json:
    answer = client.get(path, params=query)
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


def test_the_request_just_made_is_in_the_next_answer(client: Client, admin: httpx.Client, course: str) -> None:
    """000-24, 000-48, 003-04: tokens and costs as the answers told them, at once."""
    ada = client(key_of(admin, f"students/{student(admin, course)['id']}")["key"])
    total, answers = 0, [ask(ada) for _ in range(3)]
    for number, answer in enumerate(answers, 1):
        total += answer.json()["usage"]["total_tokens"]
        assert usage(ada)["total"]["requests"] == 3
        assert number <= 3
    mine = usage(ada)["total"]
    assert (mine["answered"], mine["total_tokens"]) == (3, total)
    assert mine["cost"] == {"list": "0.000000000", "billed": "0.000000000", "currency": "USD", "unpriced_requests": 0}
    assert usage(ada, "/api/v1/usage")["total"] == mine


def test_everyone_sees_what_is_theirs(client: Client, admin: httpx.Client, course: str) -> None:
    """003-13, 003-21: a student herself, a teacher the course, an admin everyone; and nobody anyone else."""
    ada, ben = (student(admin, course, f"{name}@school.example") for name in ("ada", "ben"))
    hers, his = (client(key_of(admin, f"students/{one['id']}")["key"]) for one in (ada, ben))
    teacher = client(key_of(admin, f"courses/{course}", role="teacher")["key"])
    assert ask(hers).status_code == ask(hers).status_code == ask(his).status_code == 200
    assert usage(hers, f"/v1/usage/{ada['id']}")["total"]["requests"] == 2
    assert usage(hers, f"/v1/usage/{ben['id']}", status=403)["error"]["type"] == "permission_error"
    assert usage(teacher, f"/v1/usage/{ben['id']}")["total"]["requests"] == 1
    assert usage(admin, f"/v1/usage/{ada['id']}")["total"]["requests"] == 2
    assert usage(admin, "/v1/usage/nobody-at-all", status=404)["error"]["param"] == "user_id"
    by_student = usage(teacher, "/api/v1/usage", group_by=["student"])
    assert {row["student"]: row["requests"] for row in by_student["groups"]} == {ada["id"]: 2, ben["id"]: 1}
    assert usage(teacher, "/api/v1/usage", status=403, course="another")["error"]["type"] == "permission_error"
    assert usage(admin, "/api/v1/usage", course=course)["total"]["requests"] == 3
    assert usage(hers, "/api/v1/usage", course="another")["total"]["requests"] == 0


def test_a_teacher_sees_nobody_of_another_course(client: Client, admin: httpx.Client, course: str) -> None:
    """003-13: whether she is there or not can't be told apart."""
    other = admin.post("/admin/courses", json={"id": f"{course}-2"}).json()["id"]
    eve = student(admin, other, "eve@school.example")
    assert ask(client(key_of(admin, f"students/{eve['id']}")["key"])).status_code == 200
    teacher = client(key_of(admin, f"courses/{course}", role="teacher")["key"])
    there = usage(teacher, f"/v1/usage/{eve['id']}", status=404)
    assert there == usage(teacher, "/v1/usage/s-nobody", status=404)


def test_a_shared_key_is_told_apart_by_user(client: Client, admin: httpx.Client, course: str) -> None:
    """000-60, 003-21: labels are users to those who may look."""
    shared = client(key_of(admin, f"courses/{course}", role="student")["key"])
    for name in ("ann", "ann", "bob"):
        assert ask(shared, user=f"{course}-{name}").status_code == 200
    assert usage(shared)["total"]["requests"] == 3
    assert usage(admin, f"/v1/usage/{course}-ann")["total"]["requests"] == 2
    assert usage(shared, f"/v1/usage/{course}-ann", status=403)["error"]["type"] == "permission_error"


def test_ranges_and_groups(client: Client, admin: httpx.Client, course: str) -> None:
    """000-54: days of the course's own time zone, assignments, models."""
    changed = admin.patch(f"/admin/courses/{course}", json={"time_zone": "Pacific/Kiritimati"})
    assert changed.status_code == 200, changed.text
    ada = client(key_of(admin, f"students/{student(admin, course)['id']}")["key"])
    assert ask(ada).status_code == 200
    today = (datetime.now(UTC) + timedelta(hours=14)).date()
    found = usage(ada, group_by=["day", "model", "assignment", "day"])
    assert found["time_zone"] == "Pacific/Kiritimati"
    [row] = found["groups"]
    assert (row["day"], row["assignment"], row["requests"]) == (today.isoformat(), None, 1)
    assert usage(ada, since=today.isoformat(), until=today.isoformat())["total"]["requests"] == 1
    assert usage(ada, since=(today + timedelta(days=1)).isoformat())["total"]["requests"] == 0
    assert usage(ada, model=row["model"])["total"]["requests"] == 1
    assert usage(ada, provider="nobody")["total"]["requests"] == 0
    for wrong in ({"since": "soon"}, {"until": "0000-01-01"}, {"group_by": "weather"}):
        assert usage(ada, status=400, **wrong)["error"]["param"]
    assert usage(ada, status=400, since="2026-02-01", until="2026-01-01")["error"]["param"] == "until"


def test_the_summary_has_everything(client: Client, admin: httpx.Client, course: str) -> None:
    """003-25, 003-48: by provider and model, costs, people, what waits; for admins and monitors only."""
    monitor = client(admin.post("/admin/keys", json={"role": "monitor"}).json()["key"])
    before = usage(monitor, "/v1/admin/summary")
    ada = client(key_of(admin, f"students/{student(admin, course)['id']}")["key"])
    answer = ask(ada).json()
    after = usage(admin, "/v1/admin/summary")
    for span in ("today", "last_7_days", "all_time"):
        assert after["usage"][span]["requests"] == before["usage"][span]["requests"] + 1
        assert (
            after["usage"][span]["total_tokens"]
            == before["usage"][span]["total_tokens"] + answer["usage"]["total_tokens"]
        )
    assert [row["provider"] for row in after["providers"]] == ["lumni-lab"]
    assert after["people"]["students"] == before["people"]["students"] + 1
    assert after["records"] == {"waiting": 0, "lost": 0}
    assert usage(ada, "/v1/admin/summary", status=403)["error"]["type"] == "permission_error"


def test_report_cards(client: Client, admin: httpx.Client, course: str) -> None:
    """A student's own, and a teacher's whole course; another course's is nobody's."""
    ada = student(admin, course)
    hers = client(key_of(admin, f"students/{ada['id']}")["key"])
    teacher = client(key_of(admin, f"courses/{course}", role="teacher")["key"])
    assert ask(hers).status_code == 200
    [mine] = usage(hers, "/v1/usage/me/report")["students"]
    assert (mine["student"], mine["requests"]) == (ada["id"], 1)
    whole = usage(teacher, f"/admin/courses/{course}/report")
    assert whole["students"] == [mine]
    assert whole["class_median"]["requests"] == 1
    assert usage(teacher, "/admin/courses/another/report", status=403)
    assert usage(hers, f"/admin/courses/{course}/report", status=403)
    assert usage(admin, "/admin/courses/no-such-course/report", status=404)
