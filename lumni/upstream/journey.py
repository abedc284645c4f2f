"""One request's way through the candidates, driven by LiteLLM's Router.

The Router retries *rounds* (exponential back-off with jitter, a provider's retry-after obeyed), and inside a round it
falls back from candidate to candidate; :meth:`Journey.attempt` is the function that it calls each time. So one attempt
budget, one time budget and one list of what happened hold for the whole request, whichever lane carries an attempt.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from lumni.catalogue.model import Deployment
from lumni.errors import (
    AllProvidersFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    LumniError,
    RateLimited,
)
from lumni.types import Attempt, ChatRequest, Lane, Outcome
from lumni.upstream.failures import AttemptFailed, Failure, is_cancelled

T = TypeVar("T")
logger = logging.getLogger(__name__)

FAIR_SECONDS = 10.0  # a provider that was given less, because the request's time was nearly over, hasn't failed
_OK = Failure(Outcome.OK, 200)
# A round that fails for these reasons fails the same way next time.
_FINAL = frozenset({Outcome.AUTH, Outcome.NOT_FOUND, Outcome.CONTEXT})


class Gate(Protocol):
    """Who decides when a deployment may be called, and learns from what came of it."""

    async def lease(self, candidates: Sequence[Deployment], deadline: float) -> Deployment:
        """Wait for the request's turn at one of ``candidates``. Raises :class:`LumniError` if none comes in time."""
        ...

    async def enter(self, deployment: Deployment) -> float:
        """Seconds until it may be called; 0 when the call begins now."""
        ...

    async def failed(self, deployment: Deployment, failure: Failure) -> bool:
        """Whether it is now held back until a known time, so that :meth:`lease` waits for it."""
        ...

    def lost(self, deployment: Deployment, outcome: Outcome) -> None:
        """The call was cancelled."""
        ...


class Stop(BaseException):
    """Ends the journey at once. Not an ``Exception``, so that the Router's fallbacks don't try the rest in vain."""

    def __init__(self, error: LumniError) -> None:
        super().__init__(str(error))
        self.error = error


class RoundFailed(Exception):
    """Every candidate of a round failed; the Router waits and starts the next one.

    ``litellm_response_headers`` is where the Router looks for how long the provider asked to wait.
    """

    status_code = 503

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("every candidate failed")
        # The Router reads whole seconds only, and takes anything else for no answer.
        self.litellm_response_headers = None if retry_after is None else {"retry-after": str(math.ceil(retry_after))}


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may spend: rounds over the candidates, upstream calls in all, seconds for one of them."""

    rounds: int
    attempts: int
    seconds: float


class Journey(Generic[T]):
    """State of one request on its way. ``call`` makes one attempt at one deployment within the seconds it is given.

    ``trail`` collects the attempts, for the record and for the error; ``lanes`` holds who carried each deployment's.
    """

    _answer: T

    def __init__(
        self,
        router: Any,
        request: ChatRequest,
        candidates: Sequence[Deployment],
        gate: Gate,
        call: Callable[[Deployment, float], Awaitable[T]],
        trail: list[Attempt],
        budget: Budget,
        lanes: Mapping[str, Lane] = MappingProxyType({}),
    ) -> None:
        self._router = router
        self._request = request
        self._candidates = {deployment.id: deployment for deployment in candidates}
        self._gate = gate
        self._call = call
        self._trail = trail
        self._budget = budget
        self._lanes = lanes
        self._rounds = 0
        self._all_held_back = True
        self._last: dict[str, Failure] = {}

    async def run(self, deadline: float) -> T:
        """The first answer that a candidate gives before ``deadline`` (loop time). Raises :class:`LumniError`."""
        self._deadline = deadline
        try:
            async with asyncio.timeout_at(deadline) as clock:
                try:
                    await self._round()
                except RoundFailed as failed:
                    await self._further_rounds(failed)
            return self._answer
        except Stop as stop:
            raise stop.error from stop.__cause__
        except TimeoutError:
            if not clock.expired():
                raise  # a fault of ours, whatever timed out there
            raise self._verdict(in_time=False) from None

    async def _further_rounds(self, failed: RoundFailed) -> None:
        """The Router's retries after a first round that ``failed``: it is told of that as if it had begun it."""
        from litellm.types.router import RetryPolicy

        told: list[RoundFailed] = [failed]

        async def next_round(**_: Any) -> None:
            if told:
                raise told.pop()
            await self._round()

        await self._router.async_function_with_retries(
            original_function=next_round,
            model="lumni",
            model_group_retry_policy={"lumni": RetryPolicy(DefaultRetries=self._budget.rounds - 1)},
            metadata={},
        )

    async def _round(self) -> None:
        """One pass over the candidates that may still answer, by the Router's fallbacks.

        A pass that only met used-up quota doesn't count: the gate knows until when, and the request waits its turn.
        """
        self._rounds += 1
        while True:
            first = await self._turn()
            ids = [first.id, *(id_ for id_ in self._able() if id_ != first.id)]
            self._all_held_back = True
            try:
                await self._router.async_function_with_fallbacks(
                    original_function=self._attempt,
                    model=ids[0],
                    fallbacks=ids[1:],
                    max_fallbacks=len(ids),
                    num_retries=0,
                    metadata={},
                )
                return
            except AttemptFailed:
                if self._all_held_back:
                    continue
                if self._rounds >= self._budget.rounds:
                    # The Router would sleep once more before it gives up.
                    raise Stop(self._verdict()) from None
                raise RoundFailed(self._asked_to_wait()) from None

    async def _turn(self) -> Deployment:
        """The candidate to call first in this pass."""
        if len(self._trail) >= self._budget.attempts:
            raise Stop(self._verdict())
        try:
            return await self._gate.lease([self._candidates[id_] for id_ in self._able()], self._deadline)
        except LumniError as error:
            raise Stop(self._verdict(error)) from error

    async def _attempt(self, model: str, **_: Any) -> None:
        """One call. Its answer is kept here, and the Router gets none: it would put headers of its own on it."""
        deployment = self._candidates[model]
        if len(self._trail) >= self._budget.attempts:
            raise Stop(self._verdict())
        if (wait := await self._gate.enter(deployment)) > 0:
            failure = Failure(Outcome.SKIPPED, retry_after=wait, detail=f"not to be called for {wait:.0f} s")
            self._last.setdefault(model, failure)
            raise AttemptFailed(failure)
        loop = asyncio.get_running_loop()
        started = loop.time()
        seconds = min(self._budget.seconds, self._deadline - started)
        try:
            self._answer = await self._call(deployment, seconds)
        except AttemptFailed as failed:
            await self._fell(deployment, started, failed.failure, hurried=self._hurried(seconds))
            raise
        except asyncio.CancelledError:
            if not is_cancelled():
                failure = Failure(Outcome.UNAVAILABLE, detail="the provider's client gave up")
                await self._fell(deployment, started, failure)
                raise AttemptFailed(failure) from None
            outcome = Outcome.TIMEOUT if self._out_of_time() else Outcome.DISCONNECTED
            self._note(deployment, started, Failure(outcome))
            self._gate.lost(deployment, Outcome.DISCONNECTED if self._hurried(seconds) else outcome)
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic in one of LiteLLM's Rust parts is no Exception
            logger.exception("a fault of ours in %s, in an attempt at %s", self._request.request_id, deployment.id)
            self._note(deployment, started, Failure(Outcome.ERROR))
            raise Stop(InternalError("Lumni made a mistake. The log says which, under this request's id.")) from error
        self._note(deployment, started, _OK)

    def _hurried(self, seconds: float) -> bool:
        return seconds < min(self._budget.seconds, FAIR_SECONDS)

    async def _fell(self, deployment: Deployment, started: float, failure: Failure, *, hurried: bool = False) -> None:
        self._note(deployment, started, failure)
        if hurried and failure.outcome is Outcome.TIMEOUT:
            given_up = replace(failure, outcome=Outcome.DISCONNECTED)
            held_back = await self._gate.failed(deployment, given_up)
        else:
            held_back = await self._gate.failed(deployment, failure)
        self._all_held_back = self._all_held_back and held_back
        self._last[deployment.id] = failure
        if failure.outcome is Outcome.BAD_REQUEST:
            raise Stop(
                InvalidRequest(f"{deployment.provider} refused the request: {failure.detail}", code="bad_request")
            )
        if not self._able():
            raise Stop(self._verdict())

    def _note(self, deployment: Deployment, started: float, failure: Failure) -> None:
        now = asyncio.get_running_loop().time()
        self._trail.append(
            Attempt(
                deployment=deployment.id,
                provider=deployment.provider,
                model=deployment.model,
                outcome=failure.outcome,
                started_ms=(started - self._request.received) * 1000,
                duration_ms=(now - started) * 1000,
                status=failure.status,
                reason=failure.detail,
                lane=self._lanes.get(deployment.id),
            )
        )

    def _able(self) -> list[str]:
        """The candidates that may still answer."""
        final = {id_ for id_, failure in self._last.items() if failure.outcome in _FINAL}
        return [id_ for id_ in self._candidates if id_ not in final]

    def _asked_to_wait(self) -> float | None:
        """How long the candidate that comes back first asked to be left alone; ``None`` when one of them didn't."""
        asked = [failure.retry_after for failure in self._last.values() if failure.outcome not in _FINAL]
        return None if None in asked else min((wait for wait in asked if wait), default=None)

    def _out_of_time(self) -> bool:
        return asyncio.get_running_loop().time() >= self._deadline

    def _verdict(self, refused: LumniError | None = None, *, in_time: bool = True) -> LumniError:
        """The error that the client sees, from what the attempts have in common, and how the gate ``refused`` more."""
        outcomes = {failure.outcome for failure in self._last.values()}
        shown = [attempt.public() for attempt in self._trail]
        wait = refused.retry_after if refused else self._asked_to_wait()
        if outcomes and outcomes <= {Outcome.CONTEXT}:
            return ContextLengthExceeded(
                "The prompt is longer than the context window of every model tried. Shorten it."
            )
        if outcomes <= {Outcome.RATE_LIMITED, Outcome.SKIPPED} and (outcomes or refused):
            out = refused or RateLimited(
                f"All {len(self._candidates)} deployments that could answer are out of quota. Try again later.",
                code="providers_exhausted",
                retry_after=wait or 1.0,
            )
            out.extra["attempts"] = shown
            return out
        if not in_time:
            return DeadlineExceeded("No provider answered within the time for one request.", extra={"attempts": shown})
        if outcomes and outcomes <= {Outcome.AUTH}:
            refusing = ", ".join(sorted({self._candidates[id_].provider for id_ in self._last}))
            return AllProvidersFailed(
                f"{refusing} refused the key of this gateway's account. Yours is fine: tell who runs the gateway.",
                extra={"attempts": shown},
                retryable=False,
            )
        last = self._trail[-1].reason if self._trail else ""
        return AllProvidersFailed(
            f"All {len(self._candidates)} deployments that could answer failed"
            + (f"; the last one said: {last}" if last else "")
            + ".",
            extra={"attempts": shown},
            retry_after=wait,
            retryable=not outcomes <= {Outcome.AUTH, Outcome.NOT_FOUND},
        )
