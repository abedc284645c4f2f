"""A student's own limits, exact in one process and in several."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from lumni.quota.limits import StudentLimits, Tier
from lumni.quota.memory import MemoryStore
from lumni.quota.redis import RedisStore
from lumni.quota.store import Store

_names = count()


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with Redis.from_url(request.getfixturevalue("valkey_url")) as client:
        yield RedisStore(client, prefix=f"limits-{next(_names)}", server_time=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_the_eleventh_request_of_a_minute_is_refused(store: Store, clock: Clock) -> None:
    """003-28, 003-03: the window slides; each student has her own."""
    limits = StudentLimits(store, clock)
    for n in range(10):
        allowance = await limits.enter("ada")
        assert allowance.allowed
        assert allowance.headers()["x-ratelimit-remaining-requests"] == str(9 - n)
        clock.now += 1
    refused = await limits.enter("ada")
    assert not refused.allowed
    assert refused.retry_after == 50
    assert refused.headers() == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "50s",
    }
    assert (await limits.enter("grace")).allowed
    clock.now += 49.999
    assert not (await limits.enter("ada")).allowed
    clock.now += 0.001
    assert (await limits.enter("ada")).allowed
    assert not (await limits.enter("ada")).allowed


async def test_the_hundred_and_first_request_of_an_hour_is_refused(store: Store, clock: Clock) -> None:
    """003-29"""
    limits = StudentLimits(store, clock)
    for _ in range(100):
        assert (await limits.enter("ada")).allowed
        clock.now += 7
    refused = await limits.enter("ada")
    assert refused.window == "r3600000"
    assert refused.retry_after == pytest.approx(3600 - 700)


async def test_a_burst_of_100_refills_by_one_a_second(store: Store, clock: Clock) -> None:
    """002-08, 002-22"""
    limits = StudentLimits(store, clock)
    assert all([(await limits.burst("key")).allowed for _ in range(100)])
    refused = await limits.burst("key")
    assert refused.retry_after == 1
    clock.now += 3
    assert [(await limits.burst("key")).allowed for _ in range(4)] == [True, True, True, False]


async def test_tiers_override_and_none_means_no_limit(store: Store, clock: Clock) -> None:
    """002-08, 002-39: tiers by name; a limiter of 100 a minute."""
    limits = StudentLimits(
        store, clock, tiers={"large": Tier(per_minute=100, per_hour=None), "free": Tier(None, 1, None, None)}
    )
    allowed = [(await limits.enter("ada", "large")).allowed for _ in range(101)]
    assert allowed == [True] * 100 + [False]
    free = await limits.enter("bob", "free")
    assert free.allowed
    assert free.headers() == {}
    assert (await limits.burst("bob", "free")).allowed
    assert not (await limits.state("bob", "free"))


async def test_looking_counts_nothing(store: Store, clock: Clock) -> None:
    """003-22"""
    limits = StudentLimits(store, clock)
    await limits.enter("ada")
    for _ in range(3):
        minute, hour = await limits.state("ada")
    assert (minute.used, minute.left, minute.limit, minute.reset_in) == (1, 9, 10, 60)
    assert (hour.used, hour.left) == (1, 99)


async def test_two_instances_share_one_limit_to_the_request(valkey_url: str) -> None:
    """003-11, 001-61, 003-15: 40 concurrent requests through two stores, exactly ten let in."""
    prefix = f"limits-{next(_names)}"
    clock: Any = Clock()
    async with Redis.from_url(valkey_url) as one, Redis.from_url(valkey_url) as two:
        instances = [StudentLimits(RedisStore(client, prefix=prefix), clock) for client in (one, two)]
        answers = await asyncio.gather(*(instances[n % 2].enter("ada") for n in range(40)))
    assert sum(answer.allowed for answer in answers) == 10
    assert sorted(answer.remaining or 0 for answer in answers if answer.allowed) == list(range(10))
