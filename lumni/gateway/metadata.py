"""What a client is told of its request: the ``lumni`` object, headers, receipts."""

from urllib.parse import quote

from lumni.gateway.cache import Kept
from lumni.gateway.case import Case
from lumni.intelligence import Plan
from lumni.money import to_usd
from lumni.receipt import hash_of
from lumni.types import ChatRequest, Json, RequestRecord
from lumni.upstream.answer import StreamedAnswer, WholeAnswer

_VISIBLE = "".join(map(chr, range(0x20, 0x7F)))  # what a header may hold unencoded


def metadata(record: RequestRecord, plan: Plan) -> Json:
    """The ``lumni`` object: what was chosen, why, what it cost. Costs are US dollars as decimal strings."""
    return _told(record, classification_of(plan), benchmark_of(record.deployment, plan))


def kept_metadata(record: RequestRecord, kept: Kept, age: int) -> Json:
    """The ``lumni`` object of an answer that was kept ``age`` seconds ago: what was thought then is as it was."""
    return _told(record, kept.classification, kept.benchmark) | {"age": age}


def _told(record: RequestRecord, classification: Json | None, benchmark: Json | None) -> Json:
    cost = None
    if record.list_cost is not None and record.billed_cost is not None:
        cost = {"list": f"{to_usd(record.list_cost):f}", "billed": f"{to_usd(record.billed_cost):f}", "currency": "USD"}
    return {
        "request_id": record.request_id,
        "trace_id": record.trace.trace_id if record.trace else record.request_id,
        "classification": classification,
        "selection": {
            "deployment": record.deployment,
            "provider": record.provider,
            "model": record.model,
            "reason": record.reason,
        },
        "benchmark": benchmark,
        "cost": cost,
        "latency_ms": round(record.latency_ms, 1),
        "queued_ms": round(record.queued_ms, 1),
        "ttft_ms": None if record.ttft_ms is None else round(record.ttft_ms, 1),
        "attempts": [attempt.public() for attempt in record.attempts],
        "cached": record.cached,
        "experiment": {"name": record.experiment, "variant": record.variant} if record.experiment else None,
        "prompt": record.prompt,
    }


def receipt(request: ChatRequest, record: RequestRecord, said: str) -> Json:
    """What a receipt states: hashes of what the client sent and got, never the texts themselves."""
    return {
        "request_id": record.request_id,
        "time": record.created_at.isoformat(),
        "model": record.model,
        "prompt_sha256": hash_of(request.messages),
        "answer_sha256": hash_of(said),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
    }


def classification_of(plan: Plan) -> Json | None:
    """How hard the task is; ``None`` where nothing was classified."""
    return plan.classification.public if plan.classified else None


def benchmark_of(answered: str | None, plan: Plan) -> Json | None:
    """How good the model that answered is in the task's domain, with provenance; ``None`` where that is unknown.

    ``score`` is in percent, as are MMLU and the other classic benchmarks, which are there as far as published.
    """
    known = next((c.benchmark for c in plan.candidates if c.deployment.id == answered), None)
    if known is None:
        return None
    return {
        "model": known.model,
        "domain": known.domain,
        "score": round(100 * known.value, 2),
        "column": known.column,
        "source": known.source,
        "date": known.date.isoformat(),
        "confidence": known.confidence,
        **{name: figure.percent for name, figure in known.classics.items()},
    }


def headers(answer: WholeAnswer | StreamedAnswer, plan: Plan, case: Case) -> dict[str, str]:
    """``x-lumni-*``: the same in short, known before the first byte of a stream; only ASCII, else percent-encoded."""
    deployment = answer.deployment
    values = {
        "x-lumni-deployment": deployment.id,
        "x-lumni-provider": deployment.provider,
        "x-lumni-model": deployment.model,
        "x-lumni-task-type": plan.classification.task_type if plan.classified else "disabled",
        "x-lumni-lane": answer.lane,
        "x-lumni-attempts": str(len(case.attempts)),
    }
    if case.ask:
        values["x-lumni-cache"] = case.ask.answer
    if case.purse and case.purse.tokens is not None:
        values["x-lumni-max-tokens"] = str(case.purse.tokens)
    if plan.classified:
        values["x-lumni-confidence"] = f"{plan.classification.confidence:.2f}"
    if treatment := case.request.treatment:
        values["x-lumni-variant"] = f"{treatment.experiment}/{treatment.variant}"
    limits = case.admission.headers if case.admission else {}
    return _spelled(values) | limits


def kept_headers(kept: Kept, age: int) -> dict[str, str]:
    """The same for an answer that was kept, and ``age``."""
    values = {
        "age": str(age),
        "x-lumni-cache": "hit",
        "x-lumni-deployment": kept.deployment,
        "x-lumni-provider": kept.provider,
        "x-lumni-model": kept.model,
        "x-lumni-task-type": kept.classification["task_type"] if kept.classification else "disabled",
        "x-lumni-attempts": "0",
    }
    if kept.classification:
        values["x-lumni-confidence"] = f"{kept.classification['confidence']:.2f}"
    return _spelled(values)


def _spelled(values: dict[str, str]) -> dict[str, str]:
    if (together := "".join(values.values())).isascii() and together.isprintable():
        return values
    return {
        name: value if value.isascii() and value.isprintable() else quote(value, safe=_VISIBLE)
        for name, value in values.items()
    }
