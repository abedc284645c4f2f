"""Courses, students and keys through a real gateway."""

import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.api.conftest import QUESTION, read_records
from tests.people.conftest import Client
from tests.services.gateway import Gateway

CHAT = "/v1/chat/completions"
Json = dict[str, Any]


def student(admin: httpx.Client, course: str, email: str = "ada@school.example") -> Json:
    made = admin.post(f"/admin/courses/{course}/students", json={"email": email, "name": "Ada"})
    assert made.status_code == 201, made.text
    found: Json = made.json()
    return found


def key_of(admin: httpx.Client, path: str, **terms: Any) -> Json:
    made = admin.post(f"/admin/{path}/keys", json=terms)
    assert made.status_code == 201, made.text
    found: Json = made.json()
    return found


def ask(client: httpx.Client, model: str = "auto", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return client.post(CHAT, json={"model": model, "messages": QUESTION, **more}, headers=headers)


def groups(client: httpx.Client) -> list[str]:
    names = [model["id"] for model in client.get("/v1/models").json()["data"]]
    return [name for name in names if name not in ("auto", "fast", "powerful")]


def test_what_a_student_does_is_hers_on_record(
    lab_gateway: Gateway, client: Client, admin: httpx.Client, course: str
) -> None:
    """000-60: under her pseudonym and in her course; neither her address nor the key is there or in the log."""
    ada = student(admin, course)
    key = key_of(admin, f"students/{ada['id']}")
    mine = f"mine-{uuid4().hex}"
    assert ask(client(key["key"]), headers={"x-request-id": mine}).status_code == 200
    [record] = read_records(lab_gateway, mine)
    assert (record["student"], record["course"], record["key_id"]) == (ada["id"], course, key["id"])
    assert "ada" not in ada["id"]
    assert "school.example" not in str(record)
    secret = key["key"]
    assert secret not in lab_gateway.log()
    for table in (Path(lab_gateway.database), Path(f"{lab_gateway.database}-wal")):
        assert secret.encode() not in table.read_bytes()
    for path in ("/admin/keys", f"/admin/keys/{key['id']}", f"/admin/keys?student={ada['id']}"):
        shown = admin.get(path).text
        assert key["prefix"] in shown
        assert secret not in shown
        assert "hash" not in shown


def test_a_course_allows_its_models_only(client: Client, admin: httpx.Client, course: str) -> None:
    """000-60: others can't be called or listed, the refusal names what is allowed, and `auto` keeps to it too."""
    allowed, forbidden, *_ = groups(admin)
    assert admin.patch(f"/admin/courses/{course}", json={"models": [allowed]}).json()["models"] == [allowed]
    ada = client(key_of(admin, f"courses/{course}")["key"])
    assert groups(ada) == [allowed]
    assert ada.get(f"/v1/models/{forbidden}").status_code == 404
    assert ada.get(f"/v1/models/{allowed}").status_code == 200
    refused = ask(ada, forbidden)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert allowed in refused.json()["error"]["message"]
    members = {deployment["id"] for deployment in ada.get(f"/v1/models/{allowed}").json()["deployments"]}
    for model in ("auto", "fast", "powerful", allowed):
        answer = ask(ada, model)
        assert answer.status_code == 200, answer.text
        assert answer.json()["lumni"]["selection"]["deployment"] in members
    assert admin.patch(f"/admin/courses/{course}", json={"models": None}).json()["models"] is None
    assert ask(ada, forbidden).status_code == 200


def test_a_shared_key_tells_its_users_apart(
    lab_gateway: Gateway, client: Client, admin: httpx.Client, course: str
) -> None:
    """000-60, 003-28: each `user` has limits of her own, within this key; records have the name."""
    one, other = (client(key_of(admin, f"courses/{course}", name="lab")["key"]) for _ in range(2))
    statuses = [ask(one, user="ada").status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    mine = f"mine-{uuid4().hex}"
    assert ask(one, user="ben", headers={"x-request-id": mine}).status_code == 200
    assert ask(other, user="ada").status_code == 200
    [record] = read_records(lab_gateway, mine)
    assert (record["label"], record["student"], record["course"]) == ("ben", None, course)


def test_revocation_reaches_every_process(lab_gateway: Gateway, client: Client, admin: httpx.Client) -> None:
    """004-24: at the next request here; another process that has just used the key hears of it within half a second."""
    with Gateway(lab_gateway.directory) as second:
        key = admin.post("/admin/keys", json={"role": "monitor"}).json()
        headers = {"authorization": f"Bearer {key['key']}"}
        there = httpx.Client(base_url=second.url, headers=headers, timeout=120)
        here = client(key["key"])
        assert [one.get("/v1/models").status_code for one in (here, there)] == [200, 200]
        assert admin.post(f"/admin/keys/{key['id']}/revoke").status_code == 200
        refused = here.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "key_revoked")
        time.sleep(0.6)
        assert there.get("/v1/models").status_code == 401
        there.close()


def test_every_role_has_its_rights(client: Client, admin: httpx.Client, course: str) -> None:
    """003-13: who may ask, look and manage."""
    other = admin.post("/admin/courses", json={"id": f"o-{uuid4().hex[:12]}"}).json()["id"]
    stranger = student(admin, other, "eve@school.example")
    people = {
        "student": client(key_of(admin, f"courses/{course}")["key"]),
        "teacher": client(key_of(admin, f"courses/{course}", role="teacher")["key"]),
        "monitor": client(admin.post("/admin/keys", json={"role": "monitor"}).json()["key"]),
        "admin": client(admin.post("/admin/keys", json={"role": "admin"}).json()["key"]),
    }
    expected = {
        ("GET", "/v1/models"): (200, 200, 200, 200),
        ("GET", "/v1/quota"): (200, 200, 200, 200),
        ("POST", CHAT): (200, 200, 403, 200),
        ("GET", "/admin/courses"): (403, 200, 403, 200),
        ("GET", f"/admin/courses/{course}"): (403, 200, 403, 200),
        ("GET", f"/admin/courses/{other}"): (403, 403, 403, 200),
        ("GET", "/admin/courses/none"): (403, 403, 403, 404),
        ("GET", f"/admin/students/{stranger['id']}"): (403, 404, 403, 200),
        ("GET", f"/admin/keys?course={other}"): (403, 403, 403, 200),
        ("POST", f"/admin/courses/{course}/keys"): (403, 201, 403, 201),
        ("POST", f"/admin/courses/{other}/keys"): (403, 403, 403, 201),
        ("POST", f"/admin/students/{stranger['id']}/keys"): (403, 404, 403, 201),
        ("PATCH", f"/admin/courses/{course}"): (403, 200, 403, 200),
        ("PUT", f"/admin/courses/{other}/roster"): (403, 403, 403, 200),
    }
    bodies: dict[str, Json] = {
        CHAT: {"model": "auto", "messages": QUESTION},
        f"/admin/courses/{other}/roster": {"students": [{"email": "eve@school.example"}]},
    }
    for (method, path), statuses in expected.items():
        body = None if method == "GET" else bodies.get(path, {})
        found = tuple(one.request(method, path, json=body).status_code for one in people.values())
        assert found == statuses, (method, path)


def test_a_roster_comes_as_rows_or_as_a_file(admin: httpx.Client, course: str) -> None:
    """000-60: the same in both ways; faults are in the answer, line by line."""
    rows = {"students": [{"email": "Ada@b.c", "name": "Ada"}, {"email": "ben@b.c"}], "make_keys": True}
    done = admin.put(f"/admin/courses/{course}/roster", json=rows).json()
    assert [(one["email"], one["name"]) for one in done["added"]] == [("ada@b.c", "Ada"), ("ben@b.c", None)]
    assert {one["email"] for one in done["keys"]} == {"ada@b.c", "ben@b.c"}
    path = f"/admin/courses/{course}/roster.csv"
    again = admin.put(path, content=b"Name,Email\nAda,ada@b.c\nBen,ben@b.c\n", params={"dry_run": True}).json()
    assert (again["dry_run"], again["unchanged"], [one["name"] for one in again["changed"]]) == (True, 1, ["Ben"])
    faulty = admin.put(path, content=b"Email\nx\n")
    assert (faulty.status_code, faulty.json()["error"]["code"]) == (400, "invalid_roster")
    assert [fault["line"] for fault in faulty.json()["error"]["faults"]] == [2]
    twice = admin.put(f"/admin/courses/{course}/roster", json={"students": [{"email": "a@b.c"}, {"email": "A@b.c"}]})
    assert twice.status_code == 400


def test_the_claim_page_gives_a_key_once(client: Client, admin: httpx.Client, course: str) -> None:
    """000-60: without a key, without scripts or other hosts, and safe against markup in what was typed."""
    student(admin, course)
    code = admin.get(f"/admin/courses/{course}").json()["claim_code"]
    anonymous = client("")
    form = anonymous.get("/claim", params={"code": f'"><script>{code}'})
    assert form.status_code == 200
    assert "<script" not in form.text
    assert "//" not in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    wrong = anonymous.post("/claim", data={"code": code, "email": "<b>@school.example"})
    assert wrong.status_code == 403
    assert "&lt;b&gt;@school.example" in wrong.text
    assert "<b>" not in wrong.text
    given = anonymous.post("/claim", data={"code": code.lower(), "email": "ADA@school.example"})
    assert given.status_code == 200
    assert given.headers["cache-control"] == "no-store"
    assert "Algo &amp; &lt;Data&gt;" in given.text
    assert "are not stored" in given.text
    [key] = re.findall(r"lumni-[\w-]{43}", given.text)
    assert ask(client(key)).status_code == 200
    for again in (
        anonymous.post("/claim", data={"code": code, "email": "ada@school.example"}),
        anonymous.post("/claim", json={"code": code, "email": "ada@school.example"}),
    ):
        assert again.status_code == 403
        assert "lumni-" not in again.text


def test_a_claim_may_be_json(client: Client, admin: httpx.Client, course: str) -> None:
    """000-60: for scripts; what is no claim is a clear 400 or 413 in either form."""
    student(admin, course)
    code = admin.get(f"/admin/courses/{course}").json()["claim_code"]
    anonymous = client("")
    given = anonymous.post("/claim", json={"code": code, "email": "ada@school.example"}).json()
    assert ask(client(given["key"])).status_code == 200
    assert given["privacy"] == "none"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for answer, status in (
        (anonymous.post("/claim", json={"code": 1, "email": []}), 400),
        (anonymous.post("/claim", json={}), 400),
        (anonymous.post("/claim", content=b"\xff", headers=form), 400),
        (anonymous.post("/claim", content=b"&a=1" * 20, headers=form), 400),
        (anonymous.post("/claim", data={"code": code, "email": "no address"}), 400),
        (anonymous.post("/claim", content=b"x" * 5000, headers=form), 413),
    ):
        assert answer.status_code == status


def test_methods_of_a_path_are_told(admin: httpx.Client) -> None:
    """RFC 9110, 15.5.6: all of them, though each has a route of its own."""
    answer = admin.put("/admin/courses/x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, PATCH"
