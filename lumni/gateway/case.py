"""One request from its arrival to its record: usage, cost, outcome."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from lumni.catalogue.model import Deployment
from lumni.errors import AllProvidersFailed, ContextLengthExceeded, LumniError
from lumni.gateway.accounts import Account
from lumni.gateway.admission import Admission
from lumni.gateway.budgets import Purse
from lumni.gateway.cache import Ask, Kept
from lumni.gateway.turn import Turn
from lumni.intelligence import Decision, Plan, archive
from lumni.types import Attempt, ChatRequest, Json, Outcome, Principal, RequestRecord, Usage
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
    """Hears of requests that begin. ``unended`` says what to record if this process doesn't live to see the end."""

    def begin(self, request: ChatRequest, unended: Callable[[], RequestRecord]) -> None: ...


class Case:
    """One request from its arrival to its record. Exactly one record leaves it, whichever way it ends.

    ``asked`` is the request as it came; ``request`` and ``principal`` are as the line has made them so far. The rest is
    ``None`` until its step is over.
    """

    def __init__(
        self,
        request: ChatRequest,
        principal: Principal,
        sinks: Sequence[Sink],
        journals: Sequence[Journal] = (),
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
        self.now = asyncio.get_running_loop().time
        self._sinks = sinks
        self._steps: list[tuple[str, float]] = []
        self._record: RequestRecord | None = None
        self.done("read")
        for journal in journals:
            journal.begin(request, self._unended)

    def done(self, step: str) -> None:
        """Note that a step of the line is over, for traces."""
        if self.asked.trace:
            self._steps.append((step, self._since(self.now())))

    def answered(
        self, answer: WholeAnswer | StreamedAnswer, outcome: Outcome = Outcome.OK, status: int = 200
    ) -> RequestRecord:
        """Close with an answer, or with the part of one that was given."""
        deployment, usage = answer.deployment, answer.usage
        if self.turn and outcome is Outcome.OK:
            now = self.now()
            self.turn.answered(deployment, usage, answer.headers, now - (self.first_content or now))
        list_cost = deployment.price.of(usage) if deployment.price else None
        ended = self._planned() | {
            "deployment": deployment.id,
            "provider": deployment.provider,
            "model": deployment.model,
            "reason": reason_of(self.plan, deployment, self.attempts),
            "finish_reason": answer.finish_reason,
            "list_cost": list_cost,
            "billed_cost": 0 if deployment.free else list_cost,
        }
        return self._close(outcome, status, None if outcome is Outcome.OK else f"stream_{outcome}", usage, ended)

    def replayed(self, kept: Kept) -> RequestRecord:
        """Close with an answer that was kept. It has that answer's tokens and list price, and nobody is billed."""
        self.done("cache")
        if self.asked.stream:
            self.first_content = self.now()
        ended: Json = {
            "deployment": kept.deployment,
            "provider": kept.provider,
            "model": kept.model,
            "reason": "the same was asked before, and its answer was kept",
            "cached": True,
            "finish_reason": kept.finish_reason,
            "list_cost": kept.list_cost,
            "billed_cost": None if kept.list_cost is None else 0,
        }
        if task := kept.classification:
            ended |= {"task_type": task["task_type"], "confidence": task["confidence"], "factors": task["factors"]}
        return self._close(Outcome.CACHED, 200, None, kept.usage, ended)

    def failed(self, error: BaseException) -> RequestRecord:
        """Close without an answer."""
        if isinstance(error, LumniError):
            outcome, status, code = _REFUSED.get(error.status, Outcome.ERROR), error.status, error.code
            if self.attempts and isinstance(error, AllProvidersFailed | ContextLengthExceeded):
                outcome = self.attempts[-1].outcome
        else:
            outcome, status, code = Outcome.ERROR, 500, "internal_error"
        return self._close(outcome, status, code, Usage(), self._planned())

    def _close(
        self, outcome: Outcome, status: int, code: str | None, usage: Usage, ended: Mapping[str, Any]
    ) -> RequestRecord:
        """Give back what is held and tell the sinks, once. ``ended`` are more fields of the record."""
        if self.ask:
            self.ask.cache.leave(self.ask)
        if self.turn:
            self.turn.close()
        if self._record is None:
            self._record = record = self._made(outcome, status, code, usage, ended)
            if self.purse:
                self.purse.settle(record)
            for sink in self._sinks:
                try:
                    sink.write(record)
                except Exception:
                    logger.exception("a sink refused the record of %s", record.request_id)
        return self._record

    def _unended(self) -> RequestRecord:
        """What is true if no other record follows: the process died, and nobody knows what the provider counted."""
        return self._made(Outcome.CUT, 500, "process_died", Usage(estimated=True), {})

    def _made(
        self, outcome: Outcome, status: int, code: str | None, usage: Usage, more: Mapping[str, Any]
    ) -> RequestRecord:
        asked, principal, now = self.asked, self.principal, self.request
        return RequestRecord(
            request_id=asked.request_id,
            created_at=asked.created_at,
            client_request_id=asked.client_request_id,
            surface=asked.surface,
            key_id=principal.key_id,
            student=principal.student,
            course=principal.course,
            label=asked.label,
            assignment=asked.assignment or principal.assignment,
            requested_model=asked.model,
            stream=asked.stream,
            outcome=outcome,
            status=status,
            error_code=code,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            usage_estimated=usage.estimated,
            latency_ms=self._since(self.now()),
            queued_ms=self.turn.waited * 1000 if self.turn else 0.0,
            ttft_ms=None if self.first_content is None else self._since(self.first_content),
            attempts=tuple(self.attempts),
            prompt=now.prompt.name if now.prompt else None,
            experiment=now.treatment.experiment if now.treatment else None,
            variant=now.treatment.variant if now.treatment else None,
            trace=asked.trace,
            steps=tuple(self._steps),
            **more,
        )

    def _planned(self) -> Json:
        """The fields of the record that tell of the plan."""
        if (plan := self.plan) is None:
            return {}
        task, benchmark = plan.classification, plan.candidates[0].benchmark
        fields: Json = {
            "reason": plan.reason,
            "decision": archive.dump(Decision.of(plan)),
            "benchmark_score": None if benchmark is None else round(100 * benchmark.value, 2),
        }
        if plan.classified:
            fields |= {"task_type": task.task_type, "confidence": task.confidence, "factors": task.by_name}
        return fields

    def _since(self, moment: float) -> float:
        return (moment - self.asked.received) * 1000


def reason_of(plan: Plan | None, answered: Deployment, attempts: Sequence[Attempt]) -> str | None:
    """Why the deployment that answered was chosen: as planned, or in place of the one that was."""
    if plan is None or answered.id == plan.winner.id:
        return plan.reason if plan else None
    failed = next((attempt.outcome for attempt in attempts if attempt.deployment == plan.winner.id), None)
    cause = "had no quota left for it" if failed in (None, Outcome.SKIPPED) else f"failed ({failed})"
    return f"{plan.reason}. {plan.winner.id} {cause}, so {answered.id} answered"
