"""The way through the candidates: LiteLLM's real Router, with attempts that answer as a script says."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lumni.catalogue.model import Catalogue, Deployment
from lumni.errors import (
    AllProvidersFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    LumniError,
    RateLimited,
)
from lumni.settings import Settings
from lumni.types import Attempt, ChatRequest, Outcome
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.journey import Budget, Journey
from lumni.upstream.router import build_router

TRANSIENT = [Outcome.RATE_LIMITED, Outcome.UNAVAILABLE, Outcome.TIMEOUT]


def deployment(id_: str) -> Deployment:
    params = {"model": f"openai/{id_}-model", "api_key": "k", "api_base": "http://127.0.0.1:9/v1"}
    return Deployment(id=id_, group="all", provider=id_, account="a", model=params["model"], params=params)


DEPLOYMENTS = {id_: deployment(id_) for id_ in "abc"}


@pytest.fixture(scope="module")
def router(litellm: Any) -> Any:
    return build_router(litellm, Catalogue(tuple(DEPLOYMENTS.values())), Settings())


class Sleeps:
    """Stands in for ``asyncio.sleep`` in the Router: notes how long it would wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch, litellm: Any) -> Sleeps:
    from litellm import router as module

    noted = Sleeps()

    class Clockless:
        sleep = noted

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    monkeypatch.setattr(module, "asyncio", Clockless())
    return noted


class Doorkeeper:
    """A gate that holds back whoever was told to wait, until then, by a clock that only moves when somebody waits."""

    def __init__(self, sleeps: Sleeps) -> None:
        self.until: dict[str, float] = {}
        self.waits: list[float] = []
        self.lost_: list[Outcome] = []
        self._sleeps = sleeps

    async def lease(self, candidates: Sequence[Deployment], deadline: float) -> Deployment:
        first = min(candidates, key=self._wait)
        if (wait := self._wait(first)) > 0:
            if asyncio.get_running_loop().time() + wait > deadline:
                raise RateLimited("out of quota", retry_after=wait)
            self.waits.append(wait)
            self.until.clear()
        return first

    async def enter(self, deployment: Deployment) -> float:
        return self._wait(deployment)

    async def failed(self, deployment: Deployment, failure: Failure) -> bool:
        if failure.retry_after:
            self.until[deployment.id] = self._now() + failure.retry_after
        return bool(failure.retry_after)

    def lost(self, deployment: Deployment, outcome: Outcome) -> None:
        self.lost_.append(outcome)

    def _wait(self, deployment: Deployment) -> float:
        return max(0.0, self.until.get(deployment.id, 0.0) - self._now())

    def _now(self) -> float:
        return sum(self._sleeps.seconds)


class Trip:
    """One request's journey. ``script`` says by deployment what its attempts come to; the last one goes on for ever."""

    def __init__(
        self, router: Any, sleeps: Sleeps, script: Mapping[str, list[Any]], *, seconds: float = 60.0, **budget: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        self.script = {id_: list(outcomes) for id_, outcomes in script.items()}
        self.trail: list[Attempt] = []
        self.granted: list[float] = []
        self.gate = Doorkeeper(sleeps)
        self.deadline = loop.time() + seconds
        now = datetime.now(UTC)
        request = ChatRequest("r", {"messages": []}, "auto", now, received=loop.time(), deadline=self.deadline)
        self.journey: Journey[str] = Journey(
            router,
            request,
            [DEPLOYMENTS[id_] for id_ in script],
            self.gate,
            self._attempt,
            self.trail,
            Budget(**{"rounds": 4, "attempts": 12, "seconds": 60.0, **budget}),
        )

    async def _attempt(self, deployment: Deployment, seconds: float) -> str:
        self.granted.append(seconds)
        script = self.script[deployment.id]
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Outcome):
            step = Failure(step, detail=f"{deployment.id} said {step}")
        if isinstance(step, Failure):
            raise AttemptFailed(step)
        if isinstance(step, Exception):
            raise step
        if step == "hang":
            await asyncio.sleep(3600)
        return str(step)

    async def run(self) -> str:
        return await self.journey.run(self.deadline)

    async def error(self) -> LumniError:
        with pytest.raises(LumniError) as caught:
            await self.run()
        return caught.value

    @property
    def called(self) -> str:
        return "".join(attempt.deployment for attempt in self.trail)


async def test_the_gaps_between_rounds_grow(router: Any, sleeps: Sleeps) -> None:
    """000-14: exponential back-off with jitter, and no wait after the last round."""
    trip = Trip(router, sleeps, {"a": [Outcome.UNAVAILABLE]})
    assert isinstance(await trip.error(), AllProvidersFailed)
    assert trip.called == "aaaa"
    assert len(sleeps.seconds) == 3
    # LiteLLM: 0.5 s doubled each time, and up to 0.75 s of jitter.
    for number, seconds in enumerate(sleeps.seconds):
        assert 0.5 * 2**number <= seconds <= 0.5 * 2**number + 0.75


@pytest.mark.parametrize("outcome", TRANSIENT)
async def test_a_transient_failure_is_retried(router: Any, sleeps: Sleeps, outcome: Outcome) -> None:
    """003-02: rate limits, outages and time-outs pass."""
    trip = Trip(router, sleeps, {"a": [outcome, "hello"]})
    assert await trip.run() == "hello"
    assert [attempt.outcome for attempt in trip.trail] == [outcome, Outcome.OK]


@pytest.mark.parametrize("outcome", [Outcome.AUTH, Outcome.NOT_FOUND, Outcome.CONTEXT, Outcome.BAD_REQUEST])
async def test_a_lasting_failure_is_not_retried(router: Any, sleeps: Sleeps, outcome: Outcome) -> None:
    """003-02: what fails the same way next time is not asked again."""
    trip = Trip(router, sleeps, {"a": [outcome]})
    await trip.error()
    assert trip.called == "a"
    assert sleeps.seconds == []


async def test_candidates_are_tried_in_their_order(router: Any, sleeps: Sleeps) -> None:
    """004-02, 004-06: the plan's order is the order of the attempts, round after round."""
    trip = Trip(router, sleeps, {id_: [Outcome.UNAVAILABLE] for id_ in "bca"}, rounds=2)
    await trip.error()
    assert trip.called == "bcabca"


async def test_the_next_candidate_answers_without_a_wait(router: Any, sleeps: Sleeps) -> None:
    """004-02: automatic failover."""
    trip = Trip(router, sleeps, {"a": [Outcome.UNAVAILABLE], "b": ["hello"]})
    assert await trip.run() == "hello"
    assert trip.called == "ab"
    assert sleeps.seconds == []


async def test_when_all_fail_the_error_tells_how(router: Any, sleeps: Sleeps) -> None:
    """004-13: 503 with every attempt and the last failure's words."""
    error = await Trip(router, sleeps, {"a": [Outcome.TIMEOUT], "b": [Outcome.UNAVAILABLE]}, rounds=2).error()
    assert error.status == 503
    assert "b said unavailable" in error.message
    assert [attempt["outcome"] for attempt in error.extra["attempts"]] == ["timeout", "unavailable"] * 2


async def test_a_wrong_request_stops_at_once(router: Any, sleeps: Sleeps) -> None:
    trip = Trip(router, sleeps, {"a": [Outcome.BAD_REQUEST], "b": ["hello"]})
    error = await trip.error()
    assert isinstance(error, InvalidRequest)
    assert trip.called == "a"


async def test_a_prompt_too_long_for_one_goes_on_to_the_next(router: Any, sleeps: Sleeps) -> None:
    assert await Trip(router, sleeps, {"a": [Outcome.CONTEXT], "b": ["hello"]}).run() == "hello"
    both = Trip(router, sleeps, {"a": [Outcome.CONTEXT], "b": [Outcome.CONTEXT]})
    assert isinstance(await both.error(), ContextLengthExceeded)
    assert both.called == "ab"


async def test_a_dead_key_is_out_for_the_rest_of_the_request(router: Any, sleeps: Sleeps) -> None:
    trip = Trip(router, sleeps, {"a": [Outcome.AUTH], "b": [Outcome.UNAVAILABLE, Outcome.UNAVAILABLE, "hello"]})
    assert await trip.run() == "hello"
    assert trip.called == "abbb"


async def test_a_refused_account_is_told_as_the_gateway_s(router: Any, sleeps: Sleeps) -> None:
    """000-35: a 401 of ours would send students looking for the fault in their own key."""
    error = await Trip(router, sleeps, {"a": [Outcome.AUTH], "b": [Outcome.AUTH]}).error()
    assert isinstance(error, AllProvidersFailed)
    assert error.message.startswith("a, b refused the key of this gateway's account.")
    assert not error.retryable
    assert [attempt["outcome"] for attempt in error.extra["attempts"]] == ["auth", "auth"]


async def test_the_attempt_budget_holds(router: Any, sleeps: Sleeps) -> None:
    trip = Trip(router, sleeps, {id_: [Outcome.UNAVAILABLE] for id_ in "abc"}, attempts=4)
    assert isinstance(await trip.error(), AllProvidersFailed)
    assert trip.called == "abca"


async def test_the_time_budget_holds(router: Any, sleeps: Sleeps) -> None:
    """An attempt that hangs ends with the request's time, and is on the record as timed out."""
    trip = Trip(router, sleeps, {"a": ["hang"]}, seconds=0.05)
    error = await trip.error()
    assert isinstance(error, DeadlineExceeded)
    assert [attempt.outcome for attempt in trip.trail] == [Outcome.TIMEOUT]
    assert len(error.extra["attempts"]) == 1


async def test_an_attempt_gets_its_own_time_but_never_more_than_is_left(router: Any, sleeps: Sleeps) -> None:
    bounded = Trip(router, sleeps, {"a": ["hello"]}, seconds=1000)
    await bounded.run()
    assert bounded.granted == [60.0]
    little = Trip(router, sleeps, {"a": ["hello"]}, seconds=5)
    await little.run()
    assert little.granted[0] <= 5


async def test_retry_after_is_obeyed_between_rounds(router: Any, sleeps: Sleeps) -> None:
    """000-14: the provider's own time comes before ours."""
    refusal = Failure(Outcome.RATE_LIMITED, 429, retry_after=7.0)
    trip = Trip(router, sleeps, {"a": [refusal] * 6 + ["hello"]}, rounds=1)
    assert await trip.run() == "hello"
    assert trip.gate.waits == [7.0] * 6, "the gate waits, for as many turns as it takes"
    assert sleeps.seconds == []


async def test_a_refusal_that_names_no_time_is_a_failed_round(router: Any, sleeps: Sleeps) -> None:
    """000-14: then the back-off decides, and the number of rounds bounds it."""
    trip = Trip(router, sleeps, {"a": [Outcome.RATE_LIMITED]}, rounds=3)
    assert isinstance(await trip.error(), RateLimited)
    assert trip.called == "aaa"
    assert len(sleeps.seconds) == 2


async def test_a_paused_candidate_is_skipped_by_the_next_request(router: Any, sleeps: Sleeps) -> None:
    """A retry-after holds for every request, not only for the one that heard it."""
    trip = Trip(router, sleeps, {"a": ["hello"], "b": ["from b"]})
    trip.gate.until["a"] = 30.0
    assert await trip.run() == "from b"
    assert trip.called == "b"


async def test_without_quota_before_the_deadline_the_answer_comes_at_once(router: Any, sleeps: Sleeps) -> None:
    trip = Trip(router, sleeps, {"a": [Failure(Outcome.RATE_LIMITED, 429, retry_after=500.0)]})
    error = await trip.error()
    assert isinstance(error, RateLimited)
    assert error.retry_after == 500.0
    assert sleeps.seconds == []


async def test_a_client_that_leaves_is_recorded_as_disconnected(router: Any, sleeps: Sleeps) -> None:
    trip = Trip(router, sleeps, {"a": ["hang"]})
    task = asyncio.create_task(trip.run())
    while not trip.granted:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [attempt.outcome for attempt in trip.trail] == [Outcome.DISCONNECTED]


async def test_a_fault_of_ours_is_told_once_and_not_repeated(
    router: Any, sleeps: Sleeps, caplog: pytest.LogCaptureFixture
) -> None:
    trip = Trip(router, sleeps, {"a": [ZeroDivisionError("secret")], "b": ["hello"]})
    error = await trip.error()
    assert isinstance(error, InternalError)
    assert "secret" not in error.message
    assert trip.called == "a"
    assert "a fault of ours in r, " in caplog.text
