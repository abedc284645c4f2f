"""What every route says while PostgreSQL is stopped: an error that tells what to do, never a fault of ours."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cli.test_workers import PATIENCE, until
from tests.services.gateway import Gateway
from tests.services.postgres import Postgres
from tests.services.server import Unavailable

ASK = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
FILLED = {
    "course": "cs1", "student": "s-1", "key": "k-1", "assignment": "hw-1", "exam": "e-1", "budget": "b-1",
    "request_id": "req_1", "user_id": "ada", "user": "ada", "model": "auto", "provider": "groq",
    "pair_id": "pair_1",
}  # fmt: skip
DAY = {"starts_at": "2026-09-01T08:00:00Z", "ends_at": "2026-09-01T10:00:00Z"}
BODIES: dict[str, dict[str, Any]] = {
    "addCourse": {"id": "cs2", "name": "C"},
    "changeCourse": {"name": "D"},
    "addStudent": {"email": "bob@school.example"},
    "putRoster": {"students": [{"email": "bob@school.example"}]},
    "changeStudent": {"name": "Bob"},
    "addKey": {"role": "admin"},
    "addCourseKey": {"role": "teacher"},
    "addStudentKey": {},
    "rotateKey": {},
    "addAssignment": {"id": "hw-2", "name": "H"},
    "changeAssignment": {"name": "I"},
    "addExam": {"name": "E", **DAY},
    "addBudget": {"unit": "usd", "amount": "5", "period": "total", "per": "course"},
    "changeBudget": {"amount": "6"},
    "topUpBudget": {"amount": "1"},
    "resetBudget": {},
    "giveFeedback": {"request_id": "req_1", "value": 1},
    "votePair": {"choice": "a"},
    "changeSettings": {"classify_tasks": True},
    "addCalibration": {},
    "revertCalibration": {"version": 0},
}
NEED_NO_DATABASE = {
    "createChatCompletion", "createCompletion", "listModels", "getModel", "listProviders", "listQuota", "getRateLimit",
    "getCircuitBreaker", "resetCircuitBreaker", "explain", "myBudgets", "receiptKey", "health", "healthReport", "ready",
    "metrics", "metricsSummary", "cacheStats",
}  # fmt: skip


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that has served with its database, which is then killed."""
    try:
        server = Postgres()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with server, Gateway(tmp_path_factory.mktemp("away"), DATABASE_URL=server.url(), LOG_LEVEL="WARNING") as gateway:
        ask(gateway, "POST", "/v1/chat/completions", ASK).raise_for_status()
        server.kill()
        until(lambda: ask(gateway, "GET", "/v1/health").json()["database"]["state"] == "down")
        yield gateway


def ask(gateway: Gateway, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    return httpx.request(method, gateway.url + path, json=body, headers=headers, timeout=PATIENCE)


def operations(gateway: Gateway) -> dict[str, tuple[str, str, bool]]:
    """Method, path and whether there is a body, by operation id."""
    document = ask(gateway, "GET", "/openapi.json").json()
    return {
        one["operationId"]: (
            method.upper(),
            re.sub(r"{(\w+)}", lambda found: FILLED[found[1]], path),
            "requestBody" in one,
        )
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    }


def test_every_route_says_what_is_wrong(away: Gateway) -> None:
    """000-29, 000-54: route by route, a 503 in OpenAI's shape that says what to do; the rest is served."""
    listed = operations(away)
    assert listed.keys() >= NEED_NO_DATABASE | BODIES.keys()
    for name, (method, path, has_body) in listed.items():
        answer = ask(away, method, path, BODIES.get(name, ASK) if has_body else None)
        if name in NEED_NO_DATABASE:
            assert answer.status_code in ({503} if name == "ready" else {200, 404}), (name, answer.text)
            continue
        assert answer.status_code == 503, (name, answer.text)
        error = answer.json()["error"]
        assert (error["code"], error["type"]) == ("database_unavailable", "api_error"), name
        assert "lumni db status" in error["message"]
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("5", "true")
    log = away.log()
    assert "a fault of ours" not in log
    assert "the database is away on GET '/v1/usage/me'" in log


def test_the_claim_page_says_so_in_the_form(away: Gateway) -> None:
    """Issue 5: who claims a key in a browser reads it on the page, and keeps what was typed."""
    form = {"code": "x-abcd", "email": "ada@school.example"}
    page = httpx.post(f"{away.url}/claim", data=form, timeout=PATIENCE)
    assert page.status_code == 503
    assert page.headers["content-type"].startswith("text/html")
    assert "database" in page.text
    assert 'value="ada@school.example"' in page.text
    assert (
        httpx.post(f"{away.url}/claim", json=form, timeout=PATIENCE).json()["error"]["code"] == "database_unavailable"
    )
