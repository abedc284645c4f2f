"""However a request ends, it gives back what it held: reservations, its place in line, a breaker's probe."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from math import ceil
from typing import Any

import pytest

from lumni.catalogue.limits import Limit
from lumni.errors import AllProvidersFailed, RateLimited, RequestTooLarge
from lumni.gateway.turn import Turn
from lumni.quota.ticket import Ticket
from lumni.types import Outcome, Principal, Usage
from lumni.upstream.failures import Failure
from tests.gateway.provider import Clock, Provider, limited, provider
from tests.upstream.wire import QUESTION, Line, deployment, line

MINUTE = 60


def rpm(amount: int, pool: str = "p") -> Any:
    return limited(pool, Limit("requests", MINUTE, amount))


@pytest.fixture
async def one() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


def turn_of(lane: Line, **body: Any) -> Turn:
    deadline = asyncio.get_running_loop().time() + 20
    return Turn(lane.quota, Ticket("s", deadline), lane.quota.estimator.demand({"messages": QUESTION, **body}))


async def lease(turn: Turn, lane: Line) -> None:
    await turn.lease(lane.catalogue.enabled, asyncio.get_running_loop().time() + 20)


async def nothing_is_held(lane: Line) -> bool:
    """No reservation, nobody in line, nobody counted as running. Ends what is being given back first."""
    await asyncio.gather(*lane.quota._tasks)
    rows = await lane.quota.rows()
    return not (any(row.reserved for row in rows) or lane.quota.queue.waiting or lane.quota.queue.running)


async def used(lane: Line) -> list[int]:
    return [row.used for row in await lane.quota.rows() if row.kind == "requests"]


async def test_a_reservation_whose_call_was_never_sent_is_given_back(one: Provider) -> None:
    """000-21: a client that leaves between its turn and its call costs nobody quota."""
    async with line(deployment("d", one.base, pools=rpm(5))) as lane:
        turn = turn_of(lane)
        await lease(turn, lane)
        assert not await nothing_is_held(lane)
        turn.close()
        turn.close()
        assert await nothing_is_held(lane)
        assert await used(lane) == [0]


async def test_a_call_that_was_sent_counts_once_however_often_it_is_closed(one: Provider) -> None:
    """000-20: settled with the answer; to close the request afterwards changes nothing."""
    async with line(deployment("d", one.base, pools=rpm(5))) as lane:
        turn = turn_of(lane)
        await lease(turn, lane)
        d = lane.catalogue.enabled[0]
        assert await turn.enter(d) == 0
        turn.answered(d, Usage(10, 5), {}, 0.0)
        turn.answered(d, Usage(10, 5), {}, 0.0)
        turn.close()
        assert await nothing_is_held(lane)
        assert await used(lane) == [1]


async def test_a_call_whose_end_nobody_saw_counts_as_estimated(one: Provider) -> None:
    """000-20: it was most likely sent."""
    async with line(deployment("d", one.base, pools=rpm(5))) as lane:
        turn = turn_of(lane)
        await lease(turn, lane)
        await turn.enter(lane.catalogue.enabled[0])
        turn.lost(lane.catalogue.enabled[0], Outcome.DISCONNECTED)
        turn.close()
        assert await nothing_is_held(lane)
        assert await used(lane) == [1]


async def test_a_client_that_leaves_while_a_failure_is_taken_in_leaks_nothing(one: Provider) -> None:
    """000-20: what the provider said is learned all the same."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(5)), clock=clock) as lane:
        settle, gone = lane.quota.store.settle, asyncio.Event()

        async def slowly(*args: Any, **more: Any) -> bool:
            gone.set()
            await asyncio.sleep(0.05)
            return await settle(*args, **more)

        lane.quota.store.settle = slowly  # type: ignore[method-assign]
        turn = turn_of(lane)
        await lease(turn, lane)
        d = lane.catalogue.enabled[0]
        await turn.enter(d)
        failure = Failure(Outcome.RATE_LIMITED, 429, headers={"retry-after": "30"})
        telling = asyncio.create_task(turn.failed(d, failure))
        await gone.wait()
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
        turn.close()
        assert await nothing_is_held(lane)
        assert [row.blocked_in for row in await lane.quota.rows()] == [30]


async def test_a_store_that_fails_is_no_failure_of_the_request(one: Provider) -> None:
    """002-09: that a failed call can't be settled doesn't hide how it failed."""
    async with line(deployment("d", one.base, pools=rpm(5))) as lane:

        async def broken(*_: Any, **__: Any) -> bool:
            raise OSError("the store is away")

        turn = turn_of(lane)
        await lease(turn, lane)
        lane.quota.store.settle = broken  # type: ignore[method-assign]
        d = lane.catalogue.enabled[0]
        await turn.enter(d)
        assert await turn.failed(d, Failure(Outcome.UNAVAILABLE, 503)) is False
        assert lane.quota.queue.running == 0


async def half_open(lane: Line, clock: Clock) -> None:
    for _ in range(3):
        lane.quota.breakers.record("d", Outcome.UNAVAILABLE)
    clock.now += 600
    assert lane.quota.breakers.state("d") == "half_open"


async def test_a_probe_that_was_never_sent_is_another_s(one: Provider) -> None:
    """004-04, 002-09: else its deployment would be out for two minutes more."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(50)), clock=clock) as lane:
        await half_open(lane, clock)
        first = turn_of(lane)
        await lease(first, lane)
        assert lane.quota.breakers.blocked("d") is not None
        first.close()
        assert lane.quota.breakers.blocked("d") is None


async def test_a_probe_whose_reader_left_is_another_s(one: Provider) -> None:
    """004-04: a stream that was left in the middle says neither that the deployment is well nor that it isn't."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(50)), clock=clock) as lane:
        await half_open(lane, clock)
        first = turn_of(lane)
        await lease(first, lane)
        await first.enter(lane.catalogue.enabled[0])
        first.close()
        assert lane.quota.breakers.blocked("d") is None


async def test_the_end_of_another_request_takes_no_probe_away(one: Provider) -> None:
    """002-09: one probe at a time."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(50)), clock=clock) as lane:
        early = turn_of(lane)
        await lease(early, lane)
        await early.enter(lane.catalogue.enabled[0])
        await half_open(lane, clock)
        probe = turn_of(lane)
        await lease(probe, lane)
        early.close()
        assert lane.quota.breakers.blocked("d") is not None
        probe.close()


async def test_only_one_of_many_is_the_probe(one: Provider) -> None:
    """004-04: 20 at once; the others wait for what it finds, and are served after it."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(500)), clock=clock, student_concurrency=50) as lane:
        await half_open(lane, clock)
        one.hold.clear()
        asked = [asyncio.create_task(lane.ask()) for _ in range(20)]
        await one.until_asked(1)
        await asyncio.sleep(0.3)
        assert one.calls["chat"] == 1
        one.hold.set()
        assert all(reply.body for reply in await asyncio.gather(*asked))
        assert lane.quota.breakers.state("d") == "closed"


async def test_a_refused_key_takes_out_its_account_and_no_other(one: Provider) -> None:
    """000-15, 002-09: all deployments of the account; a 403 only the model, which may be what isn't allowed."""
    mine = [deployment("a1", one.base), deployment("a2", one.base)]
    others = [deployment("b1", one.base, account="b"), deployment("c1", one.base, "groq")]
    async with line(*mine, *others) as lane:
        turn = turn_of(lane)
        await turn.failed(mine[0], Failure(Outcome.AUTH, 403))
        assert [lane.quota.breakers.cause(d.id) for d in (*mine, *others)] == ["auth", "", "", ""]
        await turn.failed(mine[1], Failure(Outcome.AUTH, 401))
        assert [lane.quota.breakers.cause(d.id) for d in (*mine, *others)] == ["auth", "auth", "", ""]


async def test_a_stream_that_was_asked_for_again_is_measured_from_its_last_call(one: Provider) -> None:
    """002-03: no negative latency that would put it first, and its request counts when it was sent."""
    async with line(deployment("d", one.base, pools=rpm(5))) as lane:
        turn = turn_of(lane)
        await lease(turn, lane)
        d = lane.catalogue.enabled[0]
        await turn.enter(d)
        turn.answered(d, Usage(1, 1), {}, counted_ago=30.0)
        assert lane.quota.traffic.latency("d") is None
        assert await nothing_is_held(lane)
        assert await used(lane) == [1]


# LiteLLM makes a coroutine that it never awaits when it is cancelled just then.
@pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning")
async def test_a_cancelled_request_leaves_nothing_behind_at_any_moment(one: Provider) -> None:
    """000-20, 003-34: cancelled at fifty moments of its way, each leaves one record and holds nothing."""
    async with line(deployment("d", one.base, pools=rpm(1000))) as lane:
        await lane.ask()
        for steps in range(50):
            asked = asyncio.create_task(lane.ask())
            for _ in range(steps):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            assert await nothing_is_held(lane), steps
            assert len(lane.records) == 1 + steps  # of the first, which never began, there is none
        assert {record.outcome for record in lane.records} <= {Outcome.OK, Outcome.DISCONNECTED}


async def test_the_end_of_the_time_budget_releases_everything(one: Provider) -> None:
    """000-20: in line as well as under way, and the record says which."""
    one.hold.clear()
    async with line(deployment("d", one.base, pools=rpm(1)), request_timeout=0.4) as lane:
        late = [asyncio.create_task(lane.ask()) for _ in range(2)]
        await asyncio.wait(late)
        errors = sorted(type(task.exception()).__name__ for task in late)
        assert errors == ["DeadlineExceeded", "RateLimited"]
        assert await nothing_is_held(lane)
        assert sorted(record.outcome for record in lane.records) == [Outcome.RATE_LIMITED, Outcome.TIMEOUT]


async def test_a_provider_that_was_given_too_little_time_has_not_failed(one: Provider) -> None:
    """004-03: a request whose own time was nearly over says nothing of its health."""
    one.hold.clear()
    async with line(deployment("d", one.base), request_timeout=0.2) as lane:
        for _ in range(3):
            with pytest.raises(Exception, match="within the time"):
                await lane.ask()
        assert lane.quota.breakers.state("d") == "closed"
        assert lane.quota.breakers.view("d")["failures"] == 0


async def test_a_provider_that_had_its_time_and_was_silent_has_failed(one: Provider) -> None:
    """004-03"""
    one.hold.clear()
    async with line(deployment("d", one.base), attempt_timeout=0.1) as lane:
        for _ in range(3):
            with pytest.raises(AllProvidersFailed):
                await lane.ask()
        assert lane.quota.breakers.state("d") == "open"


async def test_a_request_larger_than_every_window_is_told_so(one: Provider) -> None:
    """002-15: a 413 that nobody should send again, and no call."""
    pools = limited("p", Limit("tokens", MINUTE, 1000))
    async with line(deployment("d", one.base, pools=pools, counts_max_tokens=True)) as lane:
        with pytest.raises(RequestTooLarge) as caught:
            await lane.ask(max_tokens=5000)
        error = caught.value
        assert (error.status, error.code, error.retryable) == (413, "larger_than_quota", False)
        assert one.calls == {}
        assert [record.error_code for record in lane.records] == ["larger_than_quota"]


async def test_who_is_refused_for_lack_of_quota_is_told_place_share_and_an_honest_wait(one: Provider) -> None:
    """000-21, 003-15: the wait is until the oldest call leaves the window; after it the request is served."""
    clock = Clock()
    async with line(deployment("d", one.base, pools=rpm(1)), clock=clock) as lane:
        await lane.ask_as(Principal("ada-key", student="ada"))
        assert await nothing_is_held(lane)
        clock.now += 10
        with pytest.raises(RateLimited) as caught:
            await lane.pipeline.complete(
                replace(lane.request(), deadline=asyncio.get_running_loop().time() + 1), Principal("b", student="ben")
            )
        error = caught.value
        assert error.code == "providers_exhausted"
        assert error.retry_after is not None
        assert error.retry_after == pytest.approx(50, abs=0.2)
        assert error.headers()["retry-after"] == str(ceil(error.retry_after))
        assert error.headers()["x-should-retry"] == "true"
        assert error.extra["queue"] == {"position": 1, "waiting": 1}
        assert error.extra["share"] == 0.0
        assert [(pool["deployment"], pool["reason"]) for pool in error.extra["pools"]] == [("d", "full")]
        clock.now += error.retry_after
        assert (await lane.ask()).body


async def test_a_day_that_is_gone_is_nothing_to_wait_for(one: Provider) -> None:
    """000-21: clients that retry by themselves are told not to."""
    clock = Clock()
    pools = limited("p", Limit("requests", 86_400, 1))
    async with line(deployment("d", one.base, pools=pools), clock=clock) as lane:
        await lane.ask()
        clock.now += 3600
        with pytest.raises(RateLimited) as caught:
            await lane.ask()
        assert caught.value.retry_after == pytest.approx(82_800, rel=0.01)
        assert caught.value.headers()["x-should-retry"] == "false"


async def test_a_client_that_leaves_the_line_frees_its_place(one: Provider) -> None:
    """003-34: the next one moves up, and one record is left of it."""
    async with line(deployment("d", one.base, pools=rpm(1)), request_timeout=70) as lane:
        await lane.ask()
        waiting = [asyncio.create_task(lane.ask_as(Principal(name, student=name))) for name in ("ada", "ben")]
        async with asyncio.timeout(60):
            while lane.quota.queue.waiting < 2:
                await asyncio.sleep(0.005)
        place = lane.quota.queue.place("ben")
        assert place is not None
        assert (place.position, place.waiting) == (2, 2)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        place = lane.quota.queue.place("ben")
        assert place is not None
        assert (place.position, place.waiting) == (1, 1)
        left = [record for record in lane.records if record.student == "ada"]
        assert [(record.outcome, record.status, record.attempts) for record in left] == [
            (Outcome.DISCONNECTED, 499, ())
        ]
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert await nothing_is_held(lane)


async def test_a_request_in_line_is_cut_when_the_gateway_stops(one: Provider) -> None:
    """002-45: its record says so, and it takes no quota."""
    async with line(deployment("d", one.base, pools=rpm(1)), request_timeout=70) as lane:
        await lane.ask()
        waiting = asyncio.create_task(lane.ask())
        async with asyncio.timeout(60):
            while not lane.quota.queue.waiting:
                await asyncio.sleep(0.005)
        lane.pipeline.drain.end()
        waiting.cancel()
        await asyncio.wait([waiting])
        last = lane.records[-1]
        assert (last.outcome, last.status, last.error_code) == (Outcome.UNAVAILABLE, 503, "shutting_down")
        assert await nothing_is_held(lane)
        assert await used(lane) == [1]
