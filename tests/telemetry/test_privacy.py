"""What leaves a gateway of a class in its default mode: nobody's name, address, key or words."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.gateway.provider import Provider, provider
from tests.services.gateway import Gateway
from tests.telemetry.collector import Collector, collector
from tests.telemetry.portkey_double import KEY, Portkey, portkey

STUDENTS = {
    "Ada Lovelace": "ada.lovelace@school.example",
    "Évariste Galois": "evariste@school.example",
    "Grace Hopper": "grace+cs1@school.example",
    "O'Neil, Cathy": "cathy.oneil@school.example",
}
QUESTION, SYSTEM, VARIABLE = "why-is-the-sky-blue-{}", "you-are-a-pirate-canary", "my-diary-canary"
ANSWER = "an-answer-canary"
PROVIDER_KEYS = ("key-of-the-good-account", "key-of-the-bad-account")


@dataclass
class School:
    """A gateway with a class, and everything that it tells the world: ``errors`` are its error answers by key."""

    gateway: Gateway
    good: Provider
    bad: Provider
    logs: Portkey
    traces: Collector
    alerts: list[str]
    errors: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    async def ask(self, key: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=120) as client:
            answer = await client.post("/v1/chat/completions", json=body)
        if answer.status_code >= 400:
            told = answer.text + json.dumps(dict(answer.headers))
            self.errors[key] = f"{self.errors.get(key, '')}\n{told}"
        return answer

    async def admin(self, method: str, path: str, **body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.gateway.key}"}
        async with httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=120) as client:
            answer = await client.request(method, path, json=body if method == "POST" else None)
        assert answer.is_success, answer.text
        return answer.json() if "json" in answer.headers["content-type"] else answer.text


def listed(good: str, bad: str) -> str:
    return f"""
model_list:
  - model_name: good
    litellm_params: {{model: openai/one, api_base: "{good}", api_key: {PROVIDER_KEYS[0]}, rpm: 1000}}
  - model_name: bad
    litellm_params: {{model: openai/two, api_base: "{bad}", api_key: {PROVIDER_KEYS[1]}, rpm: 1000}}
lumni_settings: {{portkey_enabled: true, num_retries: 0, breaker_threshold: 100}}
"""


@pytest.fixture
async def school(tmp_path: Path) -> AsyncIterator[School]:
    told: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        told.append(await request.text())
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", hook)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with provider(says=ANSWER) as good, provider(chat=500) as bad, portkey() as logs, collector() as traces:
        logs.prompts = {"tutor": {"messages": [{"role": "system", "content": "You teach {{topic}}"}]}}
        environ = {
            "PORTKEY_API_KEY": KEY, "PORTKEY_BASE_URL": logs.base, "OTEL_EXPORTER_OTLP_ENDPOINT": traces.base,
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{runner.addresses[0][1]}/hook", "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
        }  # fmt: skip
        gateway = Gateway(tmp_path, listed(good.base, bad.base), **environ)
        await asyncio.to_thread(gateway.__enter__)
        try:
            yield School(gateway, good, bad, logs, traces, told)
        finally:
            await asyncio.to_thread(gateway.stop)
            await runner.cleanup()


async def enrol(school: School) -> None:
    """The class, with a key for each."""
    await school.admin("POST", "/admin/courses", id="cs1", name="Computer Science 1")
    for name, email in STUDENTS.items():
        student = await school.admin("POST", "/admin/courses/cs1/students", email=email, name=name)
        key = await school.admin("POST", f"/admin/students/{student['id']}/keys")
        school.keys[email] = key["key"]


async def lesson(school: School) -> list[str]:
    """Everything that students do, well and badly; the ids of their requests."""
    ids = []
    for number, (email, key) in enumerate(school.keys.items()):
        words = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION.format(number)}]
        for body in (
            {"model": "good", "messages": words, "user": email},
            {"model": "auto", "messages": words, "user": email},
            {"model": "good", "messages": words, "prompt": {"id": "tutor", "variables": {"topic": VARIABLE}}},
            {"model": "bad", "messages": words, "user": email},
            {"model": "no-such-model", "messages": words},
            {"model": "good", "messages": words, "temperature": QUESTION.format(number)},
            {"model": "good", "messages": QUESTION.format(number)},
        ):
            answer = await school.ask(key, **body)
            if answer.status_code == 200:
                ids.append(answer.headers["x-lumni-request-id"])
        await school.ask(key[:-1] + "x", model="good", messages=words)
    return ids


async def test_nobody_is_known_by_what_leaves(school: School) -> None:
    """003-06, 001-03: in no log, metric, trace, error, alert or Portkey body is a name, an e-mail address, a key, a
    prompt or an answer of a class; not at LOG_LEVEL=DEBUG, and not where providers fail and quote what they were sent.
    """
    await enrol(school)
    school.bad.quotes = True
    school.bad.message = f"{PROVIDER_KEYS[1]} may not ask"
    ids = await lesson(school)
    assert len(ids) == 3 * len(STUDENTS)
    headers = {"authorization": f"Bearer {next(iter(school.keys.values()))}"}
    async with httpx.AsyncClient(base_url=school.gateway.url, headers=headers) as client:
        assert (await client.post("/v1/feedback", json={"request_id": ids[0], "value": 3})).is_success
    seen = {
        "metrics": await school.admin("GET", "/metrics"),
        "figures": json.dumps(await school.admin("GET", "/v1/metrics/summary")),
    }
    assert await asyncio.to_thread(school.gateway.stop) == 0
    seen |= {
        "log": school.gateway.log(),
        "errors": "\n".join(school.errors.values()),
        "Portkey": "\n".join(school.logs.bodies) + json.dumps([school.logs.rendered, school.logs.feedback]),
        "traces": "\n".join(school.traces.texts),
        "alerts": "\n".join(school.alerts),
    }
    assert holds(seen["Portkey"], "cs1")
    for name, least in (("Portkey", 20), ("traces", 20), ("log", 20), ("errors", 10)):
        assert seen[name].count("\n") + len(school.logs.logs) >= least, name
    persons = [*STUDENTS, *STUDENTS.values(), *(part for name in STUDENTS for part in name.replace(",", "").split())]
    secrets = [*school.keys.values(), *PROVIDER_KEYS, KEY, school.gateway.key]
    words = [*(QUESTION.format(number) for number in range(len(STUDENTS))), SYSTEM, VARIABLE, ANSWER]
    found = {(place, one) for place, text in seen.items() for one in [*persons, *secrets] if holds(text, one)}
    found |= {(place, one) for place, text in seen.items() for one in words if place != "errors" and holds(text, one)}
    assert not found
    # What a provider says of a request is told to the one who sent it, and to nobody else.
    for number, key in enumerate(school.keys.values()):
        others = [QUESTION.format(other) for other in range(len(STUDENTS)) if other != number]
        assert QUESTION.format(number) in school.errors[key]
        assert not [one for one in (*others, VARIABLE, ANSWER, SYSTEM) if holds(school.errors[key], one)]


def holds(text: str, one: str) -> bool:
    """Whether a text has that word, however JSON writes it."""
    forms = {re.escape(one), re.escape(json.dumps(one)[1:-1])}
    return re.search(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", text, re.IGNORECASE) is not None
