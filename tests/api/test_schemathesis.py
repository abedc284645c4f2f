"""Generated requests, right and wrong ones, against what /openapi.json promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.services.gateway import Gateway

CONFIG = Path(__file__).with_name("schemathesis.toml")
LONGEST_SECONDS = 600
# What begins must end later, models and assignments must be there, what is removed is there once, and a course that
# taught the classifier nothing has no correction.
SELDOM_RIGHT = {
    "POST /admin/students/{student}/keys",
    "POST /admin/courses/{course}/assignments", "POST /admin/courses/{course}/exams", "DELETE /admin/exams/{exam}",
    "POST /admin/students/{student}/erase", "POST /v1/pairs/{pair_id}/vote", "GET /admin/courses/{course}/lesson",
    "POST /admin/courses/{course}/calibrations", "POST /admin/courses/{course}/calibrations/revert",
}  # fmt: skip


def things(gateway: Gateway) -> dict[str, str]:
    """A course, a student, two keys, a budget and a request that are there, for routes whose paths name them."""
    headers = {"authorization": f"Bearer {gateway.key}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=120) as client:
        client.post("/admin/courses", json={"id": "generated", "privacy": "full"})
        student = client.post("/admin/courses/generated/students", json={"email": "generated@school.example"})
        keys = [client.post("/admin/courses/generated/keys", json={"name": name}) for name in ("rotated", "revoked")]
        client.post("/admin/courses/generated/assignments", json={"id": "hw-1"})
        budget = client.post("/admin/courses/generated/budgets", json={"unit": "usd", "amount": "5"})
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hi!"}]}
        hers = {"x-api-key": client.post("/admin/courses/generated/keys", json={}).json()["key"]}
        asked = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=hers, timeout=120)
        pair = httpx.post(f"{gateway.url}/v1/pairs", json=body, headers=hers, timeout=120)
    rotated, revoked = [key.json()["id"] for key in keys]
    made = {
        "STUDENT": student.json()["id"],
        "BUDGET": budget.json()["id"],
        "PAIR": pair.json()["id"],
        "REQUEST_ID": asked.headers["x-lumni-request-id"],
    }
    return {**made, "ROTATED": rotated, "REVOKED": revoked}


def test_the_document_is_kept(lab_gateway: Gateway, tmp_path: Path) -> None:
    """003-07, 003-37: no 5xx, no undocumented status or shape, wrong data refused, keys demanded, on every route."""
    report = tmp_path / "report.json"
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "--no-color",
            "run", f"{lab_gateway.url}/openapi.json", "--header", f"Authorization: Bearer {lab_gateway.key}",
            "--report-json-path", report,
        ],
        cwd=tmp_path, env={**os.environ, **things(lab_gateway), "PYTHONUTF8": "1"}, capture_output=True, text=True,
        encoding="utf-8", timeout=LONGEST_SECONDS, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    outcome = json.loads(report.read_text(encoding="utf-8"))
    assert outcome["complete"]
    assert outcome["operations"]["tested"] == outcome["operations"]["total"] > 0
    assert {phase["status"] for phase in outcome["phases"].values()} == {"success"}
    for operation, rates in outcome["valid_rates"].items():
        if operation in SELDOM_RIGHT:
            continue
        assert sum(rate["accepted"] for rate in rates.values()) > sum(rate["rejected"] for rate in rates.values())
