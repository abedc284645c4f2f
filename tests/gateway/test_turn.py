"""What a turn gives back, and in which order a class is served when its accounts are in demand."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import pytest

from lumni.catalogue.limits import Limit, PoolLimits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.errors import AllProvidersFailed
from lumni.gateway.ordering import relieve
from lumni.gateway.quotas import make_quota
from lumni.gateway.turn import Turn
from lumni.intelligence import Candidate, Classification, Facts, Plan, Rank
from lumni.quota.memory import MemoryStore
from lumni.quota.model import HOUR, MINUTE, Correction
from lumni.quota.service import Quota
from lumni.quota.ticket import Ticket
from lumni.settings import Settings
from lumni.types import Json, Outcome, Usage
from lumni.upstream.failures import Failure
from tests.gateway.provider import Clock

BODY: Json = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 300}
TROUBLE = Failure(Outcome.UNAVAILABLE, 503)


def deployment(id_: str, *limits: Limit, counts_max_tokens: bool = False) -> Deployment:
    return Deployment(
        id_, "all", id_, id_, f"{id_}/m", {}, pools=(PoolLimits(id_, limits),), counts_max_tokens=counts_max_tokens
    )


def quota_of(*deployments: Deployment) -> Quota:
    quota = make_quota(Settings(), Catalogue(deployments), MemoryStore())
    quota.clock = Clock()
    return quota


async def begin(quota: Quota, one: Deployment) -> Turn:
    turn = Turn(quota, Ticket("ada", deadline=0.0), quota.estimator.demand(BODY))
    await turn.lease([one], asyncio.get_running_loop().time() + 5)
    assert await turn.enter(one) == 0
    return turn


async def used(quota: Quota) -> dict[str, int]:
    return {row.window: row.used + row.reserved for row in await quota.rows()}


TOLD = {"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "5690", "x-ratelimit-reset-tokens": "4s"}


@pytest.mark.parametrize(("headers", "counted"), [({}, 310), (TOLD, 15)])
async def test_unused_max_tokens_are_given_back_where_the_provider_corrects_us(
    headers: Mapping[str, str], counted: int
) -> None:
    """000-21, 000-22: had it kept them, the next answer's headers would say so; who says nothing may have."""
    one = deployment("groq", Limit("tokens", MINUTE, 6000), counts_max_tokens=True)
    quota = quota_of(one)
    turn = await begin(quota, one)
    turn.answered(one, Usage(prompt_tokens=10, completion_tokens=5), headers, 0.0)
    await quota.close()
    assert (await used(quota))["t60000"] == counted


async def test_max_tokens_that_are_not_given_back_are_seen_with_the_next_answer() -> None:
    """000-21: the provider has taken 310 for a first call that used 15, and says so when the second is answered."""
    one = deployment("groq", Limit("tokens", MINUTE, 6000), counts_max_tokens=True)
    quota = quota_of(one)
    first = await begin(quota, one)
    first.answered(one, Usage(prompt_tokens=10, completion_tokens=5), TOLD, 0.0)
    second = await begin(quota, one)
    headers = {**TOLD, "x-ratelimit-remaining-tokens": str(6000 - 310 - 310)}
    second.answered(one, Usage(prompt_tokens=10, completion_tokens=5), headers, 0.0)
    await quota.close()
    assert (await used(quota))["t60000"] >= 310


@pytest.mark.parametrize("telling", [True, False])
async def test_a_call_to_a_provider_in_trouble_counts_unless_it_would_tell(*, telling: bool) -> None:
    """000-21, 000-22: OpenAI counts failed requests; who says what remains of the minute corrects us."""
    one = deployment("together", Limit("requests", MINUTE, 40))
    quota = quota_of(one)
    headers = {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "39", "x-ratelimit-reset": "60"}
    (await begin(quota, one)).answered(one, Usage(1, 1), headers if telling else {}, 0.0)
    await quota.close()
    turn = await begin(quota, one)
    await turn.failed(one, TROUBLE)
    assert (await used(quota))["r60000"] == (1 if telling else 2)


async def test_while_a_class_asks_what_would_be_lost_is_used_first() -> None:
    """000-22: else the best is, whatever it has left; what the client asked for stays first."""
    best, rest, other = (deployment(name, Limit("requests", MINUTE, 4), Limit("requests", HOUR, 100)) for name in "abc")
    quota = quota_of(best, rest, other)
    for _ in range(2):
        await begin(quota, best)
    await begin(quota, other)
    standings = await quota.standings()
    candidates = tuple(
        Candidate(d, 1.0, {}, Facts(d.tier), rank=Rank(unpreferred=d is other)) for d in (best, rest, other)
    )
    plan = Plan(Classification("fast", 1.0), candidates, "Because.")
    assert relieve(plan, quota, standings) is plan
    for _ in range(10):
        quota.traffic.asked(quota.clock())
    relieved = relieve(plan, quota, standings)
    assert [candidate.deployment.id for candidate in relieved.candidates] == ["b", "a", "c"]
    assert relieved.reason.startswith("b has most quota left to lose")
    assert isinstance(quota.clock, Clock)
    quota.clock.now += 120
    assert relieve(plan, quota, standings) is plan


async def test_a_named_group_keeps_its_priorities_while_a_class_asks() -> None:
    """000-22, 002-34: what would be lost is used first only among deployments of one priority."""
    members = tuple(
        replace(deployment(name, Limit("requests", MINUTE, 4), Limit("requests", HOUR, 100)), priority=priority)
        for name, priority in (("a", 0), ("b", 1), ("c", 1))
    )
    quota = quota_of(*members)
    for spent in members[:2]:
        await begin(quota, spent)
    standings = await quota.standings()
    candidates = tuple(
        Candidate(d, 1.0, {}, Facts(d.tier, priority=d.priority), strict=True, place=n) for n, d in enumerate(members)
    )
    for _ in range(10):
        quota.traffic.asked(quota.clock())
    relieved = relieve(Plan(Classification("fast", 1.0), candidates, "Because."), quota, standings)
    assert [candidate.deployment.id for candidate in relieved.candidates] == ["a", "c", "b"]


async def test_a_refusal_that_names_no_time_closes_the_pool_for_a_second_then_for_longer() -> None:
    """000-20: until a call succeeds."""
    one = deployment("mistral", Limit("requests", MINUTE, 60))
    quota = quota_of(one)
    quota.clock = time.time
    closed = []
    for refused in (True, True, True, False, True):
        turn = await begin(quota, one)
        if refused:
            assert await turn.failed(one, Failure(Outcome.RATE_LIMITED, 429))
            closed.append(max(row.blocked_in for row in await quota.rows()))
            await quota.store.learn(quota.pools.all[0], [Correction(reset_in=0)], time.time())
        else:
            turn.answered(one, Usage(1, 1), {}, 0.0)
            await asyncio.sleep(0)
    await quota.close()
    assert [ceil(seconds) for seconds in closed] == [1, 2, 4, 1]


async def test_who_waits_is_told_when_the_last_that_could_serve_is_out_of_order() -> None:
    """000-53: the same as if she had come afterwards, and at once; nothing stays behind in the queue."""
    one = deployment("together", Limit("requests", MINUTE, 1))
    quota = quota_of(one)
    first = await begin(quota, one)
    turn = Turn(quota, Ticket("ben", deadline=0.0), quota.estimator.demand(BODY))
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(turn.lease([one], loop.time() + 100))
    while not quota.queue.waiting:
        await asyncio.sleep(0)
    for _ in range(3):
        quota.failed(one, Outcome.UNAVAILABLE, "trouble", 503)
    quota.queue.notify()
    with pytest.raises(AllProvidersFailed, match="out of order"):
        await waiting
    assert quota.queue.waiting == 0
    first.close()
    await quota.close()
