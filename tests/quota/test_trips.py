"""Commands of one tick share a round trip, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from lumni.quota.model import Amounts, Draw, Granted, Pool, Window
from lumni.quota.redis import RedisStore
from lumni.quota.trips import RoundTrips

_names = count()
PATIENCE = 60.0


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def borrowed(client: Redis, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The connections that were taken from the pool, one for each round trip."""
    taken: list[object] = []
    take: Callable[..., Awaitable[object]] = client.connection_pool.get_connection

    async def noted(*args: object) -> object:
        taken.append(connection := await take(*args))
        return connection

    monkeypatch.setattr(client.connection_pool, "get_connection", noted)
    return taken


@pytest.fixture
async def trips(client: Redis) -> AsyncIterator[RoundTrips]:
    trips = RoundTrips(client.connection_pool, ResponseError)
    yield trips
    await trips.close()


async def test_requests_of_one_moment_reserve_in_one_round_trip(client: Redis, borrowed: list[object]) -> None:
    """001-12: and each of them exactly: five of eight fit."""
    store = RedisStore(client, prefix=f"trips-{next(_names)}")
    draw = Draw("d", (Pool("p", (Window("requests", 60, 5),)),), Amounts())
    await store.snapshot(draw.pools, time.time())  # the script is there now
    borrowed.clear()
    answers = await asyncio.gather(*(store.reserve([draw], time.time(), lease=60) for _ in range(8)))
    assert sum(isinstance(answer, Granted) for answer in answers) == 5
    assert len(borrowed) == 1
    await store.close()


async def test_an_error_is_for_the_one_whose_command_it_was(trips: RoundTrips, borrowed: list[object]) -> None:
    """001-12: the others have their answers, each his own."""
    commands = (("ECHO", "before"), ("NONSENSE",), ("ECHO", "after"))
    answers = await asyncio.gather(*(trips.send(*command) for command in commands), return_exceptions=True)
    assert answers[::2] == [b"before", b"after"]
    assert isinstance(answers[1], ResponseError)
    assert len(borrowed) == 1


async def test_who_leaves_takes_nobody_along(trips: RoundTrips) -> None:
    """001-12: her answer is read all the same, and not taken for another's."""
    leaving, staying = (asyncio.ensure_future(trips.send("ECHO", name)) for name in ("hers", "his"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await asyncio.wait_for(staying, PATIENCE) == b"his"
    assert leaving.cancelled()
    assert await trips.send("ECHO", "next") == b"next"


async def test_a_trip_that_nobody_waits_for_is_given_up_with_its_connection(
    trips: RoundTrips, borrowed: list[object]
) -> None:
    """001-12: a late answer can't meet the next command."""
    waiting = [asyncio.ensure_future(trips.send("BLPOP", f"nothing-{number}", 0)) for number in range(2)]
    while not borrowed:
        await asyncio.sleep(0.01)
    for one in waiting:
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one
    await asyncio.wait_for(trips.close(), PATIENCE)
    assert await trips.send("ECHO", "next") == b"next"
