"""A class goes on when Redis is killed, restarted and emptied: nobody is refused for it, and every limit holds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from redis.asyncio import Redis

from bench.classroom.accounts import GROUP, Account
from bench.classroom.entrants import LumniEntrant
from bench.classroom.lab import Lab, start_lab
from tests.services.gateway import Gateway
from tests.services.valkey import Valkey

# Long windows: what was called stays in them to the end, whatever the machine is doing meanwhile.
ACCOUNTS = (
    Account("day", "mistral", "mistral", ("mistral-small-latest",), {"rpd": 60, "kind": "fixed"}),
    Account(
        "shared",
        "openrouter",
        "openrouter",
        ("nvidia/nemotron-nano-9b-v2:free", "meta-llama/llama-3.2-3b-instruct:free"),
        {"rpd": 40, "kind": "fixed"},
    ),
)
CAPACITY = 100
STUDENTS = 10
PER_HOUR = 12  # requests that a student may send; of eight she sends four while each gateway knows only its own part
PATIENCE = 60.0


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """One of our own: it is going to be killed."""
    with Valkey() as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = start_lab(ACCOUNTS, tmp_path / "lab", flaky=False)
    yield lab
    lab.process.stop()


@pytest.fixture
def gateways(lab: Lab, valkey: Valkey, tmp_path: Path) -> Iterator[list[Gateway]]:
    models = yaml.safe_dump(LumniEntrant().configuration(ACCOUNTS, lab))
    limits = {"MAX_REQUESTS_PER_MINUTE": "0", "MAX_REQUESTS_PER_HOUR": str(PER_HOUR)}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            made.append(Gateway(tmp_path / name, models, REDIS_URL=valkey.url(), **limits))
        yield list(pool.map(stack.enter_context, made))


class Class:
    """Students who take turns at the gateways."""

    def __init__(self, gateways: list[Gateway], client: httpx.AsyncClient) -> None:
        self._gateways = gateways
        self._client = client
        self._numbers = count()

    def wave(self, size: int) -> "asyncio.Task[list[httpx.Response]]":
        """So many requests at once."""
        return asyncio.ensure_future(self._all(size))

    async def _all(self, size: int) -> list[httpx.Response]:
        return await asyncio.gather(*(self._ask(next(self._numbers)) for _ in range(size)))

    async def _ask(self, number: int) -> httpx.Response:
        gateway = self._gateways[number % len(self._gateways)]
        message = {"role": "user", "content": f"Exercise {number}: what is a list?"}
        body = {"model": GROUP, "messages": [message], "max_tokens": 20, "user": f"student {number % STUDENTS}"}
        return await self._client.post(f"{gateway.base_url}/chat/completions", json=body)

    async def health(self) -> list[dict[str, Any]]:
        return [(await self._client.get(f"{gateway.base_url}/health")).json() for gateway in self._gateways]

    async def until_all_say(self, status: str) -> list[dict[str, Any]]:
        while True:
            told = await self.health()
            if all(one["status"] == status for one in told):
                return told
            await asyncio.sleep(0.05)


@pytest.fixture
async def school(gateways: list[Gateway]) -> AsyncIterator[Class]:
    headers = {"authorization": f"Bearer {gateways[0].key}"}
    # No connection is kept: httpx may close one that it has just taken for the next request.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE, limits=limits, trust_env=False) as client:
        yield Class(gateways, client)


async def until(reached: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(reached):
        await asyncio.sleep(0.02)


async def test_nobody_is_refused_and_no_limit_is_passed(school: Class, lab: Lab, valkey: Valkey) -> None:
    """Show 4, 000-13: it hangs, is killed, comes back, and is emptied, each time under a wave of requests."""

    def calls() -> int:
        return int(lab.state()["totals"]["calls"])

    async with asyncio.timeout(2 * PATIENCE):
        told = await school.until_all_say("ok")
        assert [one["quota"]["processes"] for one in told] == [2, 2]
        async with Redis.from_url(valkey.url()) as client:
            await client.client_pause(3000)  # milliseconds for which it answers nobody
        waves = [school.wave(10)]
        await school.until_all_say("degraded")
        await school.until_all_say("ok")
        await waves[0]
        before = calls()
        waves.append(school.wave(10))
        await until(lambda: calls() > before)
        await asyncio.to_thread(valkey.kill)
        waves.append(school.wave(40))
        told = await school.until_all_say("degraded")
        assert {one["redis"]["state"] for one in told} == {"down"}
        assert {one["quota"]["share"] for one in told} == {0.5}
        await asyncio.to_thread(valkey.start)
        await school.until_all_say("ok")
        await asyncio.gather(*waves)
        before = calls()
        waves.append(school.wave(10))
        await until(lambda: calls() > before)
        async with Redis.from_url(valkey.url()) as client:
            await client.flushall()
        waves.append(school.wave(10))
        answers = [answer for wave in waves for answer in await wave]
        assert [answer.text for answer in answers if answer.status_code != 200] == []
        await school.until_all_say("ok")

        late = await school.wave(2 * (CAPACITY - len(answers)))
    state = lab.state()["totals"]
    assert state["over_limit"] == 0
    served = [answer for answer in late if answer.status_code == 200]
    assert len(answers) + len(served) == CAPACITY
    assert {answer.status_code for answer in late} == {200, 429}


async def test_without_redis_from_the_start_it_says_so_and_waits(valkey: Valkey, tmp_path: Path) -> None:
    """000-13: nobody knows what is left, so nothing is called until Redis is there; then all goes on by itself."""
    valkey.kill()
    environ = {"REDIS_URL": valkey.url(3), "REQUEST_TIMEOUT": "1"}
    with Gateway(tmp_path, **environ) as gateway:
        headers = {"authorization": f"Bearer {gateway.key}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as client:
            school = Class([gateway], client)
            assert "can't be used (unreachable" in gateway.log()
            assert (await client.get(f"{gateway.url}/health/ready")).status_code == 503
            assert (await school.health())[0]["status"] == "degraded"
            [refused] = await school.wave(1)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "limits_unavailable")
            assert refused.headers["x-should-retry"] == "true"
            valkey.start()
            await school.until_all_say("ok")
            assert (await client.get(f"{gateway.url}/health/ready")).status_code == 200
            body = {"model": "lab-fast", "messages": [{"role": "user", "content": "What is a list?"}]}
            assert (await client.post(f"{gateway.base_url}/chat/completions", json=body)).status_code == 200
