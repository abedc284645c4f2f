"""One request from its arrival to its record: usage, cost, outcome."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from lumni.catalogue.model import Deployment
from lumni.errors import AllProvidersFailed, ContextLengthExceeded, LumniError
from lumni.gateway.accounts import Account
from lumni.gateway.admission import Admission
from lumni.gateway.budgets import Purse
from lumni.gateway.cache import Ask, Kept
from lumni.gateway.turn import Turn
from lumni.intelligence import Decision, Plan, archive
from lumni.telemetry import log
from lumni.types import Attempt, ChatRequest, Json, Outcome, Principal, RequestRecord
from lumni.upstream.answer import StreamedAnswer, WholeAnswer

logger = logging.getLogger(__name__)

# How a request ended by the status of its error, where that is not the last attempt's doing.
_REFUSED = {
    400: Outcome.BAD_REQUEST,
    403: Outcome.AUTH,
    404: Outcome.NOT_FOUND,
    413: Outcome.BAD_REQUEST,
    429: Outcome.RATE_LIMITED,
    499: Outcome.DISCONNECTED,
    503: Outcome.UNAVAILABLE,
    504: Outcome.TIMEOUT,
}


class Sink(Protocol):
    """Takes records without making the request wait."""

    def write(self, record: RequestRecord) -> None: ...


class Journal(Protocol):
    """Keeps what to record of a request in case that this process dies before its end."""

    def begin(self, record: RequestRecord) -> None: ...


class Case:
    """One request from its arrival to its record. Exactly one record leaves it, whichever way it ends.

    ``asked`` is the request as it came; ``request`` and ``principal`` are as the line has made them so far. The rest is
    ``None`` until its step is over.
    """

    def __init__(
        self, request: ChatRequest, principal: Principal, sinks: Sequence[Sink], journal: Journal | None = None
    ) -> None:
        self.asked = self.request = request
        self.principal = principal
        self.attempts: list[Attempt] = []
        self.admission: Admission | None = None
        self.plan: Plan | None = None
        self.accounts: Sequence[Account] = ()
        self.purse: Purse | None = None
        self.turn: Turn | None = None
        self.ask: Ask | None = None
        self.first_content: float | None = None
        self._sinks = sinks
        self._steps: list[tuple[str, float]] = []
        log.received(request)
        self._record: RequestRecord | None = None
        self.done("read")
        if journal is not None:
            journal.begin(self._unended())

    def done(self, step: str) -> None:
        """Note that a step of the line is over, for traces."""
        if self.asked.trace:
            self._steps.append((step, self._since(self._now())))

    def answered(
        self, answer: WholeAnswer | StreamedAnswer, outcome: Outcome = Outcome.OK, status: int = 200
    ) -> RequestRecord:
        """Close with an answer, or with the part of one that was given."""
        deployment, usage = answer.deployment, answer.usage
        if self.turn and outcome is Outcome.OK:
            began = self.first_content or self._now()
            self.turn.answered(deployment, usage, answer.headers, self._now() - began)
        list_cost = deployment.price.of(usage) if deployment.price else None
        return self._close(
            RequestRecord(
                **self._common() | {"reason": reason_of(self.plan, deployment, self.attempts)},
                outcome=outcome,
                status=status,
                error_code=None if outcome is Outcome.OK else f"stream_{outcome}",
                deployment=deployment.id,
                provider=deployment.provider,
                model=deployment.model,
                finish_reason=answer.finish_reason,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cached_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                usage_estimated=usage.estimated,
                list_cost=list_cost,
                billed_cost=0 if deployment.free else list_cost,
            )
        )

    def replayed(self, kept: Kept) -> RequestRecord:
        """Close with an answer that was kept. It has that answer's tokens and list price, and nobody is billed."""
        self.done("cache")
        if self.asked.stream:
            self.first_content = self._now()
        common = self._common() | {"reason": "the same was asked before, and its answer was kept"}
        if kept.classification:
            task = kept.classification
            common |= {"task_type": task["task_type"], "confidence": task["confidence"], "factors": task["factors"]}
        return self._close(
            RequestRecord(
                **common,
                outcome=Outcome.CACHED,
                status=200,
                deployment=kept.deployment,
                provider=kept.provider,
                model=kept.model,
                cached=True,
                finish_reason=kept.finish_reason,
                prompt_tokens=kept.usage.prompt_tokens,
                completion_tokens=kept.usage.completion_tokens,
                cached_tokens=kept.usage.cached_tokens,
                reasoning_tokens=kept.usage.reasoning_tokens,
                usage_estimated=kept.usage.estimated,
                list_cost=kept.list_cost,
                billed_cost=None if kept.list_cost is None else 0,
            )
        )

    def failed(self, error: BaseException) -> RequestRecord:
        """Close without an answer."""
        if isinstance(error, LumniError):
            outcome, status, code = _REFUSED.get(error.status, Outcome.ERROR), error.status, error.code
            if self.attempts and isinstance(error, AllProvidersFailed | ContextLengthExceeded):
                outcome = self.attempts[-1].outcome
        else:
            outcome, status, code = Outcome.ERROR, 500, "internal_error"
        return self._close(RequestRecord(**self._common(), outcome=outcome, status=status, error_code=code))

    def _unended(self) -> RequestRecord:
        """What is true if no other record follows: the process died, and nobody knows what the provider counted."""
        died = {"outcome": Outcome.CUT, "status": 500, "error_code": "process_died", "usage_estimated": True}
        return RequestRecord(**self._common() | died)

    def _common(self) -> Json:
        request, plan, treatment = self.asked, self.plan, self.request.treatment
        common: Json = {
            "request_id": request.request_id,
            "created_at": request.created_at,
            "client_request_id": request.client_request_id,
            "surface": request.surface,
            "key_id": self.principal.key_id,
            "student": self.principal.student,
            "course": self.principal.course,
            "label": request.label,
            "assignment": request.assignment or self.principal.assignment,
            "requested_model": request.model,
            "stream": request.stream,
            "latency_ms": self._since(self._now()),
            "queued_ms": self.turn.waited * 1000 if self.turn else 0.0,
            "ttft_ms": None if self.first_content is None else self._since(self.first_content),
            "attempts": tuple(self.attempts),
            "prompt": self.request.prompt.name if self.request.prompt else None,
            "experiment": treatment.experiment if treatment else None,
            "variant": treatment.variant if treatment else None,
            "trace": request.trace,
            "steps": tuple(self._steps),
        }
        if plan is not None:
            common |= {"reason": plan.reason, "decision": archive.dump(Decision.of(plan))}
            if plan.classified:
                task = plan.classification
                common |= {"task_type": task.task_type, "confidence": task.confidence}
                common["factors"] = {factor.name: factor.weight for factor in task.factors}
            benchmark = plan.candidates[0].benchmark
            common["benchmark_score"] = None if benchmark is None else round(100 * benchmark.value, 2)
        return common

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _since(self, moment: float) -> float:
        return (moment - self.asked.received) * 1000

    def _close(self, record: RequestRecord) -> RequestRecord:
        if self.ask:
            self.ask.cache.leave(self.ask)
        if self.turn:
            self.turn.close()
        if self._record is None:
            self._record = record
            if self.purse:
                self.purse.settle(record)
            for sink in self._sinks:
                try:
                    sink.write(record)
                except Exception:
                    logger.exception("a sink refused the record of %s", record.request_id)
        return self._record


def reason_of(plan: Plan | None, answered: Deployment, attempts: Sequence[Attempt]) -> str | None:
    """Why the deployment that answered was chosen: as planned, or in place of the one that was."""
    if plan is None or answered.id == plan.winner.id:
        return plan.reason if plan else None
    failed = next((attempt.outcome for attempt in attempts if attempt.deployment == plan.winner.id), None)
    cause = "had no quota left for it" if failed in (None, Outcome.SKIPPED) else f"failed ({failed})"
    return f"{plan.reason}. {plan.winner.id} {cause}, so {answered.id} answered"
