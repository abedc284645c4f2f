"""Which answers are kept for others, and as what."""

import logging

from lumni import sse
from lumni.gateway import metadata, replay
from lumni.gateway.cache import Ask, Kept
from lumni.gateway.case import Case
from lumni.intelligence import Plan
from lumni.types import Json
from lumni.upstream.answer import StreamedAnswer, WholeAnswer

logger = logging.getLogger(__name__)

WHOLE = frozenset({"stop", "length", "tool_calls", "function_call"})


class Recording:
    """The answer to one request, heard event by event if it comes so, for whoever asks the same."""

    def __init__(self, case: Case) -> None:
        self._case = case
        # An answer that was bounded to what is left of one student's budget is no answer for others.
        self._wanted = case.ask is not None and case.ask.keeps and (case.purse is None or case.purse.tokens is None)
        self._events: list[bytes] = []

    def hear(self, events: bytes) -> None:
        """Events of a stream, as the client gets them."""
        if self._wanted:
            self._events.append(events)

    def end(self, answer: WholeAnswer | StreamedAnswer, plan: Plan) -> None:
        """All was said: keep it if it is worth it."""
        ask = self._case.ask
        if not self._wanted or ask is None or not self._is_meant(ask, answer):
            return
        try:
            body = answer.body if isinstance(answer, WholeAnswer) else self._heard(answer)
            if is_whole(body):
                ask.cache.keep(ask, _kept(body, answer, plan, ask.cache.now()))
        except replay.Unusual:
            return
        except Exception:
            logger.exception("the answer to %s can't be kept", self._case.request.request_id)

    def _heard(self, answer: StreamedAnswer) -> Json:
        chunks = [*sse.chunks_in(b"".join(self._events)), *answer.closing]
        return replay.assemble(chunks, answer.usage_body)

    def _is_meant(self, ask: Ask, answer: WholeAnswer | StreamedAnswer) -> bool:
        """Whether it is what was asked for, and nobody's own.

        Left out are answers of a stand-in for the model or provider that was asked for, of personal accounts, and of
        streams that broke off and were asked for again: what was pieced together is likely right, but not surely.
        """
        request, deployment = self._case.request, answer.deployment
        if deployment.terms.kind == "personal" or deployment.info.get("personal"):
            return False
        if request.provider is not None and deployment.provider != request.provider:
            return False
        meant = ask.cache.resolve(request.model)  # nothing where the choice is Lumni's
        if meant and all(deployment.id != one.id for one in meant):
            return False
        return isinstance(answer, WholeAnswer) or not answer.resumed


def is_whole(body: Json) -> bool:
    """Whether every choice ended as it should and says something."""
    return bool(body["choices"]) and all(
        choice["finish_reason"] in WHOLE and any(value for name, value in choice["message"].items() if name != "role")
        for choice in body["choices"]
    )


def _kept(body: Json, answer: WholeAnswer | StreamedAnswer, plan: Plan, at: float) -> Kept:
    deployment = answer.deployment
    return Kept(
        at=at,
        body=body,
        deployment=deployment.id,
        provider=deployment.provider,
        model=deployment.model,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        list_cost=deployment.price.of(answer.usage) if deployment.price else None,
        classification=metadata.classification_of(plan),
        benchmark=metadata.benchmark_of(deployment.id, plan),
    )
