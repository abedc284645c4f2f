"""The record and the answer say how good the chosen model is, or that nobody knows."""

import asyncio
from datetime import UTC, datetime

from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import known_scores
from lumni.gateway.case import Case
from lumni.gateway.metadata import metadata
from lumni.intelligence import plan
from lumni.types import ChatRequest, Json, Principal, RequestRecord, Usage
from lumni.upstream.answer import WholeAnswer
from tests.intelligence.catalogues import PROOF, chat, deployment


class Kept:
    def __init__(self) -> None:
        self.records: list[RequestRecord] = []

    def write(self, record: RequestRecord) -> None:
        self.records.append(record)


def settle(chosen: Deployment) -> tuple[RequestRecord, Json]:
    """The record and the ``lumni`` object of a request that ``chosen`` answered."""
    now = asyncio.get_running_loop().time()
    request = ChatRequest("r", chat(PROOF), "auto", datetime.now(UTC), received=now, deadline=now + 60)
    sink = Kept()
    case = Case(request, Principal("k"), [sink])
    case.plan = plan(
        requested="auto",
        body=request.body,
        hint=None,
        provider=None,
        fallback=True,
        catalogue=Catalogue((chosen,)),
        availability={},
        scores=known_scores(),
    )
    body = {"choices": [{"finish_reason": "stop"}]}
    record = case.answered(WholeAnswer(chosen, body, Usage(1, 1)))
    assert sink.records == [record]
    return record, metadata(record, case.plan)


async def test_a_known_model_s_score_is_recorded_and_shown_with_its_source() -> None:
    """001-36, 001-55: in percent, with source and date, and with the classic benchmarks that are published."""
    score = known_scores().score("llama-3.3-70b", "maths")
    assert score is not None
    record, shown = settle(deployment("groq-a", tier="powerful", model="groq/llama-3.3-70b-versatile"))
    assert record.benchmark_score == round(100 * score.value, 2)
    benchmark = shown["benchmark"]
    assert benchmark["model"] == "llama-3.3-70b"
    assert benchmark["score"] == record.benchmark_score
    assert (benchmark["source"], benchmark["date"]) == (score.source, score.date.isoformat())
    assert benchmark["mmlu"] == 86.0
    assert "hellaswag" not in benchmark


async def test_an_unknown_model_s_score_is_nothing() -> None:
    """001-09, 001-55: no figure is neither 0 nor an average, in the record and in the answer."""
    record, shown = settle(deployment("openai-a", tier="powerful", model="openai/gpt-5.6"))
    assert record.benchmark_score is None
    assert shown["benchmark"] is None
