"""Show 4: what is explained is what happens, and what is supposed is what would."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumni.catalogue.limits import Limit, PoolLimits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import known_scores
from lumni.errors import LumniError
from lumni.gateway import explaining
from lumni.gateway.planning import Planner, Switches
from lumni.gateway.quotas import make_quota
from lumni.gateway.turn import Turn
from lumni.intelligence import WEIGHTS, Decision, WhatIf, archive
from lumni.quota.memory import MemoryStore
from lumni.quota.model import Amounts, Draw
from lumni.quota.service import Quota
from lumni.quota.strategies import scarcity
from lumni.quota.ticket import Ticket
from lumni.settings import Settings
from lumni.types import ChatRequest, Json, Outcome, Principal, TaskType
from tests.intelligence.catalogues import PROOF, PROVIDERS, chat, deployment

MODELS = ("openai/gpt-oss-120b", "llama-3.3-70b-versatile", "openai/gpt-oss-20b", "nobody-knows-it")
TEXTS = ("Hi!", PROOF, "Write a function that merges two sorted lists.", "What does HTTP stand for?")
ADMIN = Principal("k", "admin")


class State:
    """A frozen moment: deployments, what was used of their quota, who was called of late, whose breaker is open."""

    def __init__(self, deployments: tuple[Deployment, ...], strategy: str = "auto") -> None:
        self.now = 1_800_000_000.0
        self.catalogue = Catalogue(deployments)
        self.quota: Quota = make_quota(Settings(), self.catalogue, MemoryStore(), lambda: self.now)
        self.planner = Planner(
            self.catalogue,
            self.quota,
            known_scores(),
            Switches(strategy=strategy),  # type: ignore[arg-type]
        )

    async def use(self, id_: str, requests: int) -> None:
        """Take ``requests`` from the quota of a deployment, as far as there are any."""
        for _ in range(requests):
            draw = Draw(id_, self.quota.pools.of(id_), Amounts(1, 10, 10))
            await self.quota.store.reserve([draw], self.now, lease=3600.0)
            self.quota.traffic.called(id_, self.now)

    def break_(self, id_: str) -> None:
        for _ in range(5):
            self.quota.breakers.record(id_, Outcome.UNAVAILABLE, "it fell over")

    def request(self, **fields: Any) -> ChatRequest:
        now = asyncio.get_running_loop().time()
        body = chat(fields.pop("text", PROOF))
        whole: dict[str, Any] = {"request_id": "r", "body": body, "model": "auto", "created_at": datetime.now(UTC)}
        return ChatRequest(**{**whole, "received": now, "deadline": now + 0.05, **fields})

    async def really(self, request: ChatRequest) -> str | None:
        """Whom a request is really sent to, planned and reserved as the pipeline does; ``None`` if nobody has room."""
        plan = await self.planner.plan(request, ADMIN)
        turn = Turn(self.quota, Ticket("s", request.deadline), self.quota.estimator.demand(request.body))
        try:
            chosen = await turn.lease([candidate.deployment for candidate in plan.candidates], request.deadline)
        except LumniError:
            return None
        turn.close()
        return chosen.id

    async def explained(self, request: ChatRequest, what_if: WhatIf | None = None) -> Json:
        return await explaining.explain(self.planner, request, ADMIN, what_if)


def limited(id_: str, minute: int | None, **fields: Any) -> Deployment:
    limits = () if minute is None else (Limit("requests", 60, minute),)
    return deployment(id_, pools=(PoolLimits(id_, limits),), **fields)


@st.composite
def moments(draw: st.DrawFn) -> tuple[tuple[Deployment, ...], dict[str, int], set[str]]:
    deployments = tuple(
        limited(
            f"{draw(st.sampled_from(PROVIDERS))}-{number}",
            draw(st.integers(1, 8)),
            group=draw(st.sampled_from("ab")),
            model=f"x/{draw(st.sampled_from(MODELS))}",
            tier=draw(st.sampled_from(("fast", "powerful"))),
            priority=draw(st.integers(0, 3)),
            free=draw(st.booleans()),
        )
        for number in range(draw(st.integers(2, 6)))
    )
    used = {d.id: draw(st.integers(0, 9)) for d in deployments}
    return deployments, used, set(draw(st.lists(st.sampled_from([d.id for d in deployments]), max_size=2)))


asks = st.fixed_dictionaries(
    {"text": st.sampled_from(TEXTS), "model": st.sampled_from(["auto", "auto", "fast", "powerful", "a"])},
    optional={
        "provider": st.sampled_from(PROVIDERS),
        "task_type": st.sampled_from(["fast", "powerful"]),
        "fallback": st.just(value=False),
        "strategy": st.sampled_from(["priority", "round_robin", "adaptive", "lowest_cost"]),
    },
)


@settings(max_examples=60)
@given(moment=moments(), ask=asks)
async def test_the_explained_winner_is_the_real_one(
    moment: tuple[tuple[Deployment, ...], dict[str, int], set[str]], ask: dict[str, Any]
) -> None:
    """Show 4: under the same state, whatever is used up or broken; and explaining it leaves no trace."""
    deployments, used, broken = moment
    state = State(deployments)
    for id_, requests in used.items():
        await state.use(id_, requests)
    for id_ in broken:
        state.break_(id_)
    request = state.request(**ask)
    try:
        told = await state.explained(request)
    except LumniError as refused:
        with pytest.raises(type(refused)):
            await state.planner.plan(request, ADMIN)
        return
    assert await state.explained(request) == told
    really = await state.really(request)
    if really is not None:
        assert told["winner"]["deployment"] == really
    shown = [entry["deployment"] for entry in (*told["candidates"], *told["excluded"])]
    assert len(shown) == len(set(shown))
    assert ask["model"] == "a" or set(shown) == {d.id for d in deployments}


@settings(max_examples=60)
@given(moment=moments(), ask=asks, data=st.data())
async def test_what_is_supposed_is_what_would_happen(
    moment: tuple[tuple[Deployment, ...], dict[str, int], set[str]], ask: dict[str, Any], data: st.DataObject
) -> None:
    """Show 4: without the winner, the runner-up wins; with another task type, who that task's request would get."""
    deployments, used, _ = moment
    state = State(deployments)
    for id_, requests in used.items():
        await state.use(id_, requests)
    request = state.request(**ask)
    try:
        told = Decision.of(await state.planner.plan(request, ADMIN, dry=True))
    except LumniError:
        return
    assert archive.load(orjson.loads(orjson.dumps(archive.dump(told)))) == told
    names = [option.deployment for option in told.options]
    without = told.suppose(WhatIf(without=frozenset({names[0]})))
    assert [option.deployment for option in without.options] == names[1:]
    task_type: TaskType = data.draw(st.sampled_from(("fast", "powerful")))
    if request.strategy is None and request.fallback:
        other = Decision.of(await state.planner.plan(replace(request, task_type=task_type), ADMIN, dry=True))
        supposed = told.suppose(WhatIf(task_type=task_type))
        assert [option.deployment for option in supposed.options] == [option.deployment for option in other.options]
    assert told.suppose(WhatIf(weights=told.weights)) == told


@given(
    weights=st.fixed_dictionaries({name: st.integers(1, 100) for name in WEIGHTS}),
    text=st.sampled_from(TEXTS),
)
async def test_supposed_weights_are_those_of_a_gateway_that_is_configured_so(
    weights: Mapping[str, int], text: str
) -> None:
    """Show 4, 001-50: the same order as with these weights in config.json."""
    deployments = (
        deployment("groq-1", tier="powerful", model="groq/openai/gpt-oss-120b", priority=3),
        deployment("groq-2", model="groq/openai/gpt-oss-20b", free=False),
        deployment("gemini-3", tier="powerful", priority=1),
        deployment("gemini-4", model="x/llama-3.1-8b-instant", priority=2),
    )
    what_if = explaining.suppose(weights=weights)
    assert what_if is not None
    state = State(deployments)
    configured = Planner(state.catalogue, state.quota, known_scores(), Switches(weights=what_if.weights))
    supposed = Decision.of(await state.planner.plan(state.request(text=text), ADMIN)).suppose(what_if)
    real = Decision.of(await configured.plan(state.request(text=text), ADMIN))
    assert supposed == replace(real, reason=supposed.reason)


async def test_a_supposition_by_hand() -> None:
    """Show 4: two models, two suppositions, calculated on paper."""
    strong = limited("groq-1", 10, tier="powerful", model="groq/openai/gpt-oss-120b", priority=1)
    weak = deployment("gemini-2", tier="fast", model="gemini/gemma-4-31b")
    state = State((strong, weak))
    request = state.request(task_type="powerful")
    value = known_scores().score("gpt-oss-120b", "maths")
    assert value is not None
    figures = value.value / 0.2
    told = await state.explained(request, explaining.suppose(weights={"providerPriority": 3, "benchmark_score": 1}))
    first = told["candidates"][0]
    assert (first["deployment"], told["winner"]["deployment"]) == ("groq-1", "groq-1")
    real = 0.3 * (0.75 + 0.25 * figures) + 0.2 * figures + 0.2 + 0.1 / 2 + 0.1 + 0.1
    assert first["score"] == pytest.approx(real, abs=1e-6)
    assert told["what_if"]["winner"]["deployment"] == "gemini-2"
    assert told["what_if"]["changed"]
    scores = {c["deployment"]: c["score"] for c in told["what_if"]["candidates"]}
    assert scores == pytest.approx({"groq-1": 0.75 / 2 + 0.25 * figures, "gemini-2": 0.75 + 0.25}, abs=1e-6)
    half = await state.explained(request, explaining.suppose(quota={"groq": 0.5}))
    shown = next(c for c in half["what_if"]["candidates"] if c["deployment"] == "groq-1")
    assert shown["parts"]["rate_limit_availability"]["points"] == pytest.approx(0.2 * (1 - scarcity(0.5) / 2), abs=1e-6)
    assert shown["shadow_price"] == pytest.approx((20**0.5 - 1) / 19, abs=1e-4)


async def test_an_empty_quota_gives_the_turn_to_the_next() -> None:
    """Show 4: what if groq's quota were empty?"""
    state = State((limited("groq-1", 10, tier="powerful"), deployment("gemini-2")))
    told = await state.explained(state.request(), explaining.suppose(quota={"groq": "empty"}))
    assert (told["winner"]["deployment"], told["what_if"]["winner"]["deployment"]) == ("groq-1", "gemini-2")
    everything = await state.explained(state.request(), explaining.suppose(quota={"*": "empty"}))
    assert not any(candidate["room"] for candidate in everything["what_if"]["candidates"])


async def test_of_requests_of_one_minute_those_that_gain_most_get_the_strong_model() -> None:
    """001-23: a hard task is served strongly from a pool of which an easier one keeps its hands off."""
    state = State((limited("groq-1", 10, tier="powerful"), deployment("gemini-2", tier="fast")))
    await state.use("groq-1", 9)
    asked = await state.explained(state.request(task_type="powerful"))
    assert asked["winner"]["deployment"] == "groq-1"
    detected = await state.explained(state.request(text=PROOF))
    assert detected["task_type"] == "powerful"
    assert detected["winner"]["deployment"] == "gemini-2"
    assert "kept for tasks that gain more" in detected["reason"]


async def test_a_request_that_no_window_can_hold_is_excluded_with_the_reason() -> None:
    """000-13: larger than a minute's tokens, it could never be served there."""
    small = deployment("groq-1", pools=(PoolLimits("p", (Limit("tokens", 60, 300),)),))
    state = State((small, deployment("gemini-2")))
    told = await state.explained(state.request(text="long " * 400))
    reasons = {out["deployment"]: out["reason"] for out in told["excluded"]}
    assert reasons.keys() == {"groq-1"}
    assert "300 tokens a minute" in reasons["groq-1"]


async def test_faults_are_counted_and_the_request_is_planned_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """001-21: the model list's order serves, and metrics can tell."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["lumni.intelligence.plan"], "judge", fail)
    state = State((deployment("groq-1", priority=1), deployment("gemini-2")))
    plan = await state.planner.plan(state.request(), ADMIN)
    assert plan.winner.id == "gemini-2"
    assert state.planner.faults == {"classification": 1}
    await state.explained(state.request())
    assert state.planner.faults == {"classification": 1}, "a dry run isn't counted"
