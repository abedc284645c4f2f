"""A real Prometheus beside a real gateway under load: what it shows is what the database holds."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.deploy.files import RULE_TESTS, RULES, expressions, statements
from tests.gateway.provider import provider
from tests.services.databases import PostgresDatabases
from tests.services.gateway import Gateway
from tests.services.prometheus import Prometheus, find_program
from tests.services.server import Unavailable
from tests.telemetry.portkey_double import KEY as PORTKEY_KEY
from tests.telemetry.portkey_double import portkey

ROUNDS = 4


def program(name: str) -> Path:
    try:
        return find_program(name)
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_every_alert_does_what_its_unit_tests_say() -> None:
    """003-49: by Prometheus' own tool."""
    done = subprocess.run(
        [program("promtool"), "test", "rules", RULE_TESTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def listed(good: str, bad: str, shut: str, busy: str) -> str:
    """Deployments that answer, fail, refuse their key, and are spent after one call; one queues what comes
    at once, one has no quota left for us."""
    price = "input_cost_per_token: 0.000002, output_cost_per_token: 0.000004"
    return f"""
model_list:
  - model_name: all
    litellm_params: {{model: groq/one, api_base: "{good}", api_key: key-one, rpm: 1000}}
    model_info: {{id: one, priority: 3, rpd: 5000, free: false, {price}}}
  - model_name: all
    litellm_params: {{model: mistral/two, api_base: "{bad}", api_key: key-two, rpm: 1000}}
    model_info: {{id: two, priority: 1}}
  - model_name: all
    litellm_params: {{model: cerebras/three, api_base: "{shut}", api_key: key-three, rpm: 1000}}
    model_info: {{id: three, priority: 0}}
  - model_name: spent
    litellm_params: {{model: groq/four, api_base: "{good}", api_key: key-four, rpm: 1}}
    model_info: {{id: four}}
  - model_name: narrow
    litellm_params: {{model: openai/five, api_base: "{good}", api_key: key-five}}
    model_info: {{id: five}}
  - model_name: refused
    litellm_params: {{model: openrouter/six, api_base: "{busy}", api_key: key-six, rpm: 1000}}
    model_info: {{id: six}}
lumni_settings:
  portkey_enabled: true
  num_retries: 0
  breaker_recovery: 1
  max_requests_per_minute: 0
  max_requests_per_hour: 0
  request_timeout: 5
"""


async def course_key(url: str, key: str) -> str:
    """A key of a course that has a budget."""
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120) as client:
        for path, body in (
            ("/admin/courses", {"id": "cs1"}),
            ("/admin/courses/cs1/budgets", {"unit": "tokens", "amount": 1_000_000}),
            ("/admin/courses/cs1/keys", {"name": "class"}),
        ):
            answer = await client.post(path, json=body)
            assert answer.is_success, answer.text
        made: str = answer.json()["key"]
        return made


async def load(url: str, key: str, shared: str) -> None:
    """Some rounds of what a class does, a second and more apart, so that each is seen in several scrapes."""
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120) as client:

        async def ask(model: str, key: str = key, **more: Any) -> None:
            body = {"model": model, "messages": [{"role": "user", "content": "What is 6 times 7?"}], **more}
            headers = {"authorization": f"Bearer {key}"}
            await client.post("/v1/chat/completions", json=body, headers=headers)

        for _ in range(ROUNDS):
            asked = [ask("all", user=f"student-{n}", routing_strategy="priority") for n in range(4)]
            asked += [ask("lab-fast", stream=True), ask("auto"), ask("no-such-model"), ask("spent"), ask("refused")]
            asked += [ask("lab-fast", shared, max_tokens=100)]
            asked += [ask("narrow") for _ in range(8)]
            await asyncio.gather(*asked)
            await asyncio.sleep(1.2)


@pytest.fixture
async def lumni(tmp_path: Path, postgres_databases: PostgresDatabases) -> AsyncIterator[tuple[Gateway, str]]:
    """With PostgreSQL, Portkey, the lab and providers of every mood."""
    program("prometheus")
    database = postgres_databases.create()
    async with (
        provider() as good,
        provider(chat=503) as bad,
        provider(chat=401) as shut,
        portkey() as logs,
        provider(chat=429, headers={"retry-after": "1"}) as busy,
    ):
        models = listed(good.base, bad.base, shut.base, busy.base)
        environ = {"PORTKEY_API_KEY": PORTKEY_KEY, "PORTKEY_BASE_URL": logs.base, "ENABLE_LAB": "on"}
        gateway = Gateway(tmp_path, models, DATABASE_URL=database, **environ)
        await asyncio.to_thread(gateway.__enter__)
        try:
            yield gateway, database
        finally:
            await asyncio.to_thread(gateway.stop)
            postgres_databases.drop(database)


async def test_dashboards_and_database_agree(lumni: tuple[Gateway, str]) -> None:
    """001-13, 001-14, 003-36: every expression of every dashboard and rule has data, every statement too, and the
    sums of the metrics are those of the database."""
    gateway, database = lumni
    with await asyncio.to_thread(Prometheus, gateway.url.removeprefix("http://"), gateway.key, RULES) as prometheus:
        await load(gateway.url, gateway.key, await course_key(gateway.url, gateway.key))
        await records_written(gateway)
        await until_scraped(prometheus)
        empty = [asked for asked in expressions() if not await prometheus.query(asked.text)]
        assert not [where for where, _ in empty]
        connection = await asyncpg.connect(database)
        try:
            await sums_agree(prometheus, connection)
            silent = [asked for asked in statements() if not await connection.fetch(asked.text)]
            assert not silent
        finally:
            await connection.close()
        assert not await prometheus.query('ALERTS{alertname="LumniQuotaOverrun"}')
    text = httpx.get(f"{gateway.url}/metrics", headers={"x-api-key": gateway.key}, timeout=120).text
    lint = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")


async def records_written(gateway: Gateway) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient(headers={"x-api-key": gateway.key}, timeout=120) as client:
        while (await client.get(f"{gateway.url}/v1/metrics/summary")).json()["resources"]["unwritten_records"]:
            await asyncio.sleep(0.05)


async def until_scraped(prometheus: Prometheus) -> None:
    """Until two scrapes after now have found that every record is written."""
    began = time.time()
    seen: set[float] = set()
    async with asyncio.timeout(120):
        while len(seen) < 2:
            await asyncio.sleep(0.2)
            scraped = [float(one["value"][1]) for one in await prometheus.query("timestamp(lumni_records_pending)")]
            if scraped and scraped[0] > began and await prometheus.query("lumni_records_pending == 0"):
                seen.add(scraped[0])


async def sums_agree(prometheus: Prometheus, connection: "asyncpg.Connection[Any]") -> None:
    async def metric(expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        found = await prometheus.query(expression)
        return {tuple(one["metric"][name] for name in labels): float(one["value"][1]) for one in found}

    async def stored(statement: str, made: Callable[[Any], float] = float) -> dict[tuple[str, ...], float]:
        return {tuple(map(str, row[:-1])): made(row[-1]) for row in map(tuple, await connection.fetch(statement))}

    outcomes = await stored("SELECT outcome, count(*) FROM requests GROUP BY 1")
    assert {outcome for (outcome,) in outcomes} >= {"ok", "not_found", "rate_limited"}
    assert await metric("sum by (outcome) (lumni_client_responses_total)", "outcome") == outcomes
    calls = await stored(
        "SELECT one->>'deployment', one->>'outcome', count(*) FROM requests, jsonb_array_elements(attempts) AS one "
        "GROUP BY 1, 2"
    )
    assert {outcome for _, outcome in calls} >= {"ok", "auth", "unavailable"}
    by = "sum by (deployment, outcome) (lumni_upstream_attempts_total)"
    assert await metric(by, "deployment", "outcome") == calls
    for kind in ("prompt", "completion"):
        tokens = await stored(f"SELECT provider, sum({kind}_tokens) FROM requests WHERE {kind}_tokens > 0 GROUP BY 1")
        assert await metric(f'sum by (provider) (lumni_tokens_total{{type="{kind}"}})', "provider") == tokens
    cost = await stored("SELECT sum(list_cost) FROM requests", lambda nano: float(Decimal(nano) / 10**9))
    shown = await metric('sum(lumni_cost_usd_total{price="list"})')
    assert shown[()] == pytest.approx(cost[()], rel=1e-9)
    assert cost[()] > 0
    courses = await stored(
        "SELECT course, sum(prompt_tokens + completion_tokens) FROM requests WHERE course IS NOT NULL GROUP BY 1"
    )
    assert await metric('sum by (course) (lumni_course_tokens_total{course!="none"})', "course") == courses
    budget = {("cs1",): courses["cs1",]}
    assert await metric("max by (course) (lumni_course_budget_used)", "course") == budget
    latency = await stored("SELECT sum(latency_ms) / 1000 FROM requests")
    assert await metric("sum(gen_ai_server_request_duration_seconds_sum)") == pytest.approx(latency)
