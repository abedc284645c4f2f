"""The response cache of real gateways: processes of their own, a real Valkey between them, and then none."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from lumni.__main__ import app
from tests.services.gateway import Gateway
from tests.services.valkey import Valkey

QUESTION = [{"role": "user", "content": "What is a generator?"}]
ENVIRON = {
    "CACHE_TYPE": "redis",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "REQUEST_TIMEOUT": "600",
    "MAX_REQUESTS_PER_MINUTE": "0",
    "MAX_REQUESTS_PER_HOUR": "0",
    "DEFAULT_RATE_LIMIT_CAPACITY": "0",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One of our own: it is going to be killed."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def gateways(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        made = [Gateway(tmp_path_factory.mktemp(name), REDIS_URL=server.url(), **ENVIRON) for name in ("one", "two")]
        yield list(pool.map(stack.enter_context, made))


def ask(gateway: Gateway, control: str = "", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}", **({"cache-control": control} if control else {})}
    sent = {"model": "auto", "messages": QUESTION, **body}
    return httpx.post(f"{gateway.base_url}/chat/completions", json=sent, headers=headers, timeout=120)


def state(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers["x-lumni-cache"]


def kept(gateway: Gateway, **body: Any) -> None:
    """Ask until the answer is kept: a busy machine's Valkey may take longer than a request waits for it."""
    for _ in range(100):
        if state(ask(gateway, **body)) == (200, "hit"):
            return
    raise AssertionError("the answer is never kept")


def test_a_hit_in_redis_works_from_another_process(gateways: list[Gateway]) -> None:
    """003-05, 003-39: what one process was told, the other gives; to OpenAI's client too, as a stream."""
    one, two = gateways
    kept(one, seed=1)
    for _ in range(100):
        if state(found := ask(two, "only-if-cached", seed=1)) == (200, "hit"):
            break
    assert found.json()["choices"] == ask(one, seed=1).json()["choices"]
    client: Any = OpenAI(base_url=two.base_url, api_key=two.key)
    chunks = client.chat.completions.create(model="auto", messages=QUESTION, seed=1, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == found.json()["choices"][0]["message"]["content"]


async def test_a_hundred_at_once_over_http(gateways: list[Gateway]) -> None:
    """003-14: plain requests and streams together share one answer, whoever leads.

    That it is exactly one call is shown where Valkey can't be slow (test_cache).
    """
    gateway = gateways[0]
    headers = {"authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=120) as client:

        async def one(number: int) -> tuple[int, str]:
            body = {"model": "auto", "messages": QUESTION, "seed": 2, "stream": number % 2 == 0}
            return state(await client.post("/chat/completions", json=body))

        found = await asyncio.gather(*(one(number) for number in range(100)))
    assert {status for status, _ in found} == {200}
    assert 1 <= sum(result == "miss" for _, result in found) < 10


def test_the_command_line_tells_and_clears(gateways: list[Gateway]) -> None:
    """003-23, 003-24: ``lumni cache stats`` and ``clear``; the other process has nothing any more either."""
    one, two = gateways
    kept(two, seed=3)
    runner, at = CliRunner(), ["--url", one.url, "--key", one.key]
    told = runner.invoke(app, ["cache", "stats", *at]).stdout
    assert "redis, for 3600 s" in told
    assert "tokens" in told
    cleared = runner.invoke(app, ["cache", "clear", *at])
    assert cleared.exit_code == 0
    assert "Cleared" in cleared.stdout
    assert ask(two, "only-if-cached", seed=3).status_code == 504
    wrong = runner.invoke(app, ["cache", "clear", "--url", one.url, "--key", "wrong"])
    assert (wrong.exit_code, "not known" in wrong.stderr) == (1, True)


def test_without_redis_requests_go_on(gateways: list[Gateway], server: Valkey) -> None:
    """003-05: its failures are counted, and each request is a miss. The last test here: the server is gone then."""
    server.__exit__(None, None, None)
    answers = [ask(gateways[0], seed=4) for _ in range(6)]
    assert {state(answer) for answer in answers} == {(200, "miss")}
    headers = {"authorization": f"Bearer {gateways[0].key}"}
    told = httpx.get(f"{gateways[0].base_url}/cache/stats", headers=headers, timeout=120).json()
    assert told["faults"] > 0
    assert told["size"] is None
