"""Strategies reorder only what stands for the same wish, and say so."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lumni.catalogue.model import Catalogue, Deployment
from lumni.gateway.ordering import reorder
from lumni.gateway.planning import Planner
from lumni.gateway.quotas import make_quota
from lumni.intelligence import Candidate, Classification, Facts, Plan, Rank
from lumni.quota.memory import MemoryStore
from lumni.quota.service import Quota
from lumni.quota.strategies import Strategy
from lumni.settings import Settings
from lumni.types import ChatRequest, Principal
from tests.gateway.provider import Clock
from tests.upstream.wire import deployment

MEMBERS = tuple(deployment("abcd"[n], "http://localhost", priority=3 - n) for n in range(4))


@pytest.fixture
def quota() -> Quota:
    return make_quota(Settings(), Catalogue(MEMBERS), MemoryStore(), Clock())


def plan_of(*ranks: tuple[bool, int], members: tuple[Deployment, ...] = MEMBERS) -> Plan:
    candidates = tuple(
        Candidate(member, 0.5, {}, Facts(member.tier), rank=Rank(0.0, unpreferred, stage))
        for member, (unpreferred, stage) in zip(members, ranks, strict=True)
    )
    return Plan(Classification("fast", 0.9), candidates, "a was best", excluded=(), domain="reasoning")


def ids(plan: Plan) -> str:
    return "".join(candidate.deployment.id for candidate in plan.candidates)


SAME, OTHER_STAGE, NOT_PREFERRED = (False, 0), (False, 1), (True, 0)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ((SAME, SAME, SAME, SAME), "dcba"),
        ((SAME, SAME, OTHER_STAGE, OTHER_STAGE), "badc"),
        ((SAME, NOT_PREFERRED, NOT_PREFERRED, NOT_PREFERRED), "adcb"),
        ((SAME, SAME, OTHER_STAGE, SAME), "dbac"),
    ],
)
def test_what_the_client_asked_for_stays_first(quota: Quota, ranks: Any, expected: str) -> None:
    """002-34, 000-11: a preferred provider and a named group come before their fallbacks, whatever the strategy."""
    assert ids(reorder(plan_of(*ranks), "priority", quota, {})) == expected


def test_the_reason_names_the_strategy_and_keeps_the_plan_s_own(quota: Quota) -> None:
    """001-32"""
    plan = reorder(plan_of(SAME, SAME, SAME, SAME), "priority", quota, {})
    assert plan.reason.startswith("d is first by the strategy priority")
    assert plan.reason.endswith("a was best")


@pytest.mark.parametrize("first", range(4))
def test_round_robin_takes_turns_whatever_order_the_plan_comes_in(quota: Quota, first: int) -> None:
    """000-12: a plan that follows the quota's headroom comes in another order each time."""
    winners = []
    for number in range(4):
        shift = (first + number) % 4
        members = MEMBERS[shift:] + MEMBERS[:shift]
        winners.append(ids(reorder(plan_of(SAME, SAME, SAME, SAME, members=members), "round_robin", quota, {}))[0])
    assert sorted(winners) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("strategy", Strategy.__args__)  # type: ignore[attr-defined]
def test_no_strategy_loses_or_invents_a_candidate(quota: Quota, strategy: Strategy) -> None:
    """002-32"""
    plan = plan_of(SAME, SAME, OTHER_STAGE, NOT_PREFERRED)
    for _ in range(5):
        reordered = reorder(plan, strategy, quota, {})
        assert sorted(ids(reordered)) == ["a", "b", "c", "d"]
        assert set(ids(reordered)[:2]) == {"a", "b"}


async def test_without_fallback_the_strategy_s_first_is_the_one_that_is_kept() -> None:
    """002-32, 002-35: the others are dropped after they were put in order, not before."""
    members = tuple(deployment(member.id, "http://localhost", group="class") for member in MEMBERS)
    planner = Planner(Catalogue(members), make_quota(Settings(), Catalogue(members), MemoryStore(), Clock()))
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    moment = datetime.now(UTC)
    request = ChatRequest("r", body, "class", moment, 0.0, 60.0, fallback=False, strategy="round_robin")
    plans = [await planner.plan(request, Principal("key")) for _ in members]
    assert [ids(plan) for plan in plans] == ["a", "b", "c", "d"]
    assert {exclusion.deployment.id for exclusion in plans[0].excluded} == {"b", "c", "d"}
