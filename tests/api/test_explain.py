"""Why a model was chosen, over HTTP: before the request, and after it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lumni.errors import NotFound
from lumni.gateway import explaining
from lumni.types import Principal
from tests.api.conftest import QUESTION, Row
from tests.storage.samples import record

BODY = {"model": "auto", "messages": QUESTION}
HARD: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Prove that √2 is irrational."}]}


def test_a_dry_run_says_who_would_answer_and_leaves_nothing(
    http: httpx.Client, records_of: Callable[[str], list[Row]]
) -> None:
    """001-23, Show 4: every candidate with its weighted parts, every exclusion with its reason; then it comes true."""
    before = http.get("/v1/rate-limit/me").json()
    answer = http.post("/v1/explain", json=HARD)
    assert answer.status_code == 200
    told = answer.json()
    assert told["classification"]["task_type"] == "powerful"
    for candidate in told["candidates"]:
        points = sum(part["points"] for part in candidate["parts"].values())
        assert candidate["score"] == pytest.approx(points, abs=1e-5)
        assert all(
            part["points"] == pytest.approx(part["weight"] * part["value"], abs=1e-5)
            for part in candidate["parts"].values()
        )
    assert all(out["reason"] for out in told["excluded"])
    assert http.get("/v1/rate-limit/me").json() == before
    real = http.post("/v1/chat/completions", json=HARD, headers={"x-request-id": "after-explain"})
    assert real.headers["x-lumni-deployment"] == told["winner"]["deployment"]
    assert len(records_of("after-explain")) == 1


def test_a_what_if_stands_beside_the_real_choice(http: httpx.Client) -> None:
    """Show 4: without the winner, with empty quota, as another task, with other weights."""
    told = http.post("/v1/explain", json={**HARD, "what_if": {"without": ["lab-powerful"]}}).json()
    assert (told["winner"]["deployment"], told["what_if"]["winner"]["deployment"]) == ("lab-powerful", "lab-fast")
    assert told["what_if"]["changed"]
    told = http.post("/v1/explain", json={**HARD, "what_if": {"task_type": "fast"}}).json()
    assert told["what_if"]["winner"]["deployment"] == "lab-fast"
    told = http.post("/v1/explain", json={**HARD, "what_if": {"quota": {"lab-powerful": "empty"}}}).json()
    assert told["what_if"]["winner"]["deployment"] == "lab-fast"
    told = http.post("/v1/explain", json={**HARD, "what_if": {"weights": {"costEfficiency": 2}}}).json()
    assert told["what_if"]["weights"]["cost_efficiency"] == 1.0
    assert {candidate["score"] for candidate in told["what_if"]["candidates"]} == {1.0}


@pytest.mark.parametrize(
    "what_if",
    [
        {"quota": "some"},
        {"weights": {"beauty": 1}},
        {"weights": {"cost_efficiency": 0}},
        {"with": "groq"},
        "nothing",
    ],
)
def test_a_supposition_that_cannot_be_meant_is_refused(http: httpx.Client, what_if: object) -> None:
    """003-09."""
    answer = http.post("/v1/explain", json={**BODY, "what_if": what_if})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


def test_the_recorded_decision_can_be_asked_later(http: httpx.Client) -> None:
    """001-32: of an answer just given, with the same suppositions."""
    answer = http.post("/v1/chat/completions", json=HARD)
    path = f"/v1/requests/{answer.headers['x-lumni-request-id']}/why"
    told = http.get(path).json()
    assert told["deployment"] == told["winner"]["deployment"] == answer.headers["x-lumni-deployment"]
    assert told["reason"] == answer.json()["lumni"]["selection"]["reason"]
    assert "irrational" not in http.get(path).text
    told = http.get(path, params={"without": "lab-powerful", "quota": "lab-fast=0.5", "weights": "cost_efficiency=1"})
    supposed = told.json()["what_if"]
    assert supposed["winner"]["deployment"] == "lab-fast"
    assert supposed["candidates"][0]["headroom"] == 0.5
    assert http.get(path, params={"task_type": "fast"}).json()["what_if"]["changed"]


def test_an_unknown_request_is_a_404(http: httpx.Client) -> None:
    assert http.get("/v1/requests/req_0/why").status_code == 404


def test_everybody_sees_their_own_requests_and_an_admin_all() -> None:
    """Of others' requests, a key learns nothing."""
    mine = record(student="ada", key_id="key-7")
    assert explaining.may_see(mine, Principal("key-8", student="ada"))
    assert not explaining.may_see(mine, Principal("key-7", student="ben"))
    assert explaining.may_see(record(student=None, key_id="key-7"), Principal("key-7"))
    assert not explaining.may_see(record(student=None, key_id="key-7"), Principal("key-8", role="teacher"))
    assert explaining.may_see(mine, Principal("root", role="admin"))


def test_a_request_without_a_decision_has_nothing_to_tell() -> None:
    with pytest.raises(NotFound, match="Nothing was chosen"):
        explaining.why(record(decision=None))
