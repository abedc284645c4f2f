"""Blind pairs: a question answered by a fast and by a powerful model, and a vote without knowing which is which."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple
from urllib.parse import unquote
from uuid import uuid4

from lumni.calibration import BlindPair, Choice
from lumni.catalogue.model import Catalogue
from lumni.errors import Conflict, InvalidRequest, NotFound, PairUnavailable, PermissionDenied
from lumni.gateway import timetable
from lumni.gateway.explaining import may_see
from lumni.gateway.pipeline import Pipeline
from lumni.gateway.reply import Reply
from lumni.storage.learning import PAIRS, LearningRepository
from lumni.storage.records import RecordRepository
from lumni.types import CacheControl, ChatRequest, Json, Principal, RequestRecord, TaskType

TIERS: tuple[TaskType, TaskType] = ("fast", "powerful")
LABELS: tuple[Literal["a", "b"], Literal["a", "b"]] = ("a", "b")
NEW = CacheControl(no_cache=True, no_store=True)  # a pair compares what both would say now
STREAMED = ("stream", "stream_options", "n")


class _Answer(NamedTuple):
    """``tier`` is ``None`` for a kept answer of a deployment that is no longer there."""

    request_id: str
    tier: TaskType | None
    message: Json


class Pairs:
    """Asks for pairs through the pipeline, so that each answer is reserved, counted and recorded like any other."""

    def __init__(
        self,
        pipeline: Pipeline,
        catalogue: Catalogue,
        store: LearningRepository,
        records: RecordRepository,
        now: Callable[[], datetime],
    ) -> None:
        self._pipeline = pipeline
        self._catalogue = catalogue
        self._store = store
        self._records = records
        self._now = now

    async def ask(self, request: ChatRequest, principal: Principal) -> Json:
        """Both answers, in an order that a coin decides. Nothing says who gave them until there is a vote.

        Raises :class:`PermissionDenied` in an exam, :class:`PairUnavailable` when both tiers can't answer now, and
        whatever the pipeline raises.
        """
        if request.stream:
            raise InvalidRequest("stream: a blind pair comes whole, or its speed would give it away.", param="stream")
        rules = self._pipeline.budgets.rules_of(principal.course)
        if timetable.apply(request, principal, rules)[0].pinned:
            raise PermissionDenied("There is an exam: one model answers all.", code="exam_closed")
        found = await asyncio.gather(*(self._one(request, principal, tier) for tier in TIERS), return_exceptions=True)
        answers = []
        for one in found:
            if isinstance(one, BaseException):
                raise one
            answers.append(one)
        fast, powerful = answers
        if (fast.tier, powerful.tier) != TIERS:
            raise PairUnavailable("Only models of one tier can answer now. Ask again later.")
        first = secrets.choice(TIERS)
        pair = BlindPair(f"pair_{uuid4().hex}", self._now(), fast.request_id, powerful.request_id, first)
        await self._store.add_pair(pair)
        by_tier = {"fast": fast, "powerful": powerful}
        shown = [{"label": label, "message": by_tier[pair.tier_of(label)].message} for label in LABELS]
        return {"object": "pair", "id": pair.id, "answers": shown}

    async def vote(self, principal: Principal, pair_id: str, choice: Choice) -> Json:
        """Keep a vote and say which was which. Raises :class:`NotFound`, and :class:`Conflict` for a second vote."""
        pair = await self._store.pair(pair_id)
        made = {}
        if pair is not None:
            made = {"fast": await self._records.get(pair.fast_request)}
            made["powerful"] = await self._records.get(pair.powerful_request)
        if pair is None or not all(record and may_see(record, principal) for record in made.values()):
            raise NotFound("There is no such pair of yours.")
        if not await self._store.vote(pair_id, choice, self._now()):
            raise Conflict("You have voted on this pair: you know by now which was which.", code="already_voted")
        shown = [{"label": label, **_revealed(pair.tier_of(label), made[pair.tier_of(label)])} for label in LABELS]
        return {"object": "vote", "id": pair_id, "choice": choice, "answers": shown}

    async def _one(self, request: ChatRequest, principal: Principal, tier: TaskType) -> _Answer:
        body = {name: value for name, value in request.body.items() if name not in STREAMED}
        asked = replace(
            request,
            request_id=f"req_{uuid4().hex}",
            surface=PAIRS,
            model=tier,
            body={**body, "model": tier},
            task_type=None,
            provider=None,
            strategy=None,
            fallback=False,
            experiment=None,
            pinned=True,  # no experiment may put another model in its place
            receipt=False,
            cache_control=NEW,
            metadata_in_body=False,
        )
        reply = await self._pipeline.complete(asked, principal)
        answered = self._catalogue.by_id.get(unquote(reply.headers["x-lumni-deployment"]))
        return _Answer(asked.request_id, answered.tier if answered else None, _message(reply))


def _message(reply: Reply) -> Json:
    """What was said, and no more: other fields differ from provider to provider."""
    message = (reply.body or {})["choices"][0]["message"]
    shown = {"role": "assistant", "content": message.get("content")}
    return {**shown, "tool_calls": message["tool_calls"]} if message.get("tool_calls") else shown


def _revealed(tier: TaskType, record: RequestRecord | None) -> Json:
    told: Json = {"tier": tier}
    if record is not None:
        told |= {"provider": record.provider, "model": record.model, "request_id": record.request_id}
    return told
