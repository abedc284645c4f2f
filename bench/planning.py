"""What a plan costs, by the number of deployments: ``uv run python -m bench.planning``. One process, no network.

Microseconds of CPU: of the plan, and of what is then kept of it for the record. Questions are cut from the classroom
prompts. Each is asked twice: what the classifier has not read before takes it longer.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import orjson

from bench.classify import prose
from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import known_scores
from lumni.gateway.planning import Planner
from lumni.gateway.quotas import make_quota
from lumni.intelligence import Decision, archive, classify
from lumni.quota.memory import MemoryStore
from lumni.settings import Settings
from lumni.types import ChatRequest, Principal

MODELS = (
    "groq/llama-3.3-70b-versatile", "gemini/gemini-2.5-flash", "openrouter/openai/gpt-oss-120b:free",
    "mistral/mistral-small-latest", "cerebras/gpt-oss-120b",
)  # fmt: skip
CALLS, ROUNDS = 100, 7
CHARACTERS = 400


class Times(NamedTuple):
    """Microseconds of CPU for one request."""

    new: float
    again: float
    kept: float


def main() -> None:
    classify({})  # the weights are read at the start of a gateway
    print(f"{'deployments':>12}{'plan':>8}{'again':>8}{'kept':>8}   µs")
    asked = questions()
    for number in (2, 20, 50):
        times = asyncio.run(measure(catalogue(number), asked))
        print(f"{number:>12}{times.new:>8.0f}{times.again:>8.0f}{times.kept:>8.0f}")


def catalogue(number: int) -> Catalogue:
    """So many deployments of five providers' free tiers, each with an account of its own."""
    entry = "  - {{model_name: class, litellm_params: {{model: {}, api_key: key-{}}}, model_info: {{id: d{}}}}}\n"
    listed = "".join(entry.format(MODELS[one % len(MODELS)], one, one) for one in range(number))
    with TemporaryDirectory() as name:
        path = Path(name) / "litellm_config.yaml"
        path.write_text(f"model_list:\n{listed}", encoding="utf-8")
        return load_catalogue(Settings(litellm_config=path, enable_lab="off"), {})


def questions() -> Iterator[ChatRequest]:
    text = prose() * 20
    for start in range(0, len(text), CHARACTERS):
        messages = [{"role": "user", "content": text[start : start + CHARACTERS]}]
        body = {"model": "auto", "messages": messages, "max_tokens": 200}
        yield ChatRequest(
            f"req_{start}", body, "auto", datetime.now(UTC), time.monotonic(), time.monotonic() + 60, stream=True
        )


async def measure(known: Catalogue, asked: Iterator[ChatRequest]) -> Times:
    """Medians over the rounds."""
    quota = make_quota(Settings(), known, MemoryStore())
    planner, principal = Planner(known, quota, known_scores()), Principal("key", student="ada")
    gc.collect()
    gc.freeze()
    rounds = [await _round(planner, asked, principal) for _ in range(ROUNDS + 1)][1:]
    await quota.close()
    return Times(*(statistics.median(column) for column in zip(*rounds, strict=True)))


async def _round(planner: Planner, asked: Iterator[ChatRequest], principal: Principal) -> Times:
    requests = [next(asked) for _ in range(CALLS)]
    moments = [time.process_time()]
    for _ in range(2):
        plans = [await planner.plan(request, principal) for request in requests]
        moments.append(time.process_time())
    for plan in plans:
        orjson.dumps(archive.dump(Decision.of(plan)))
    moments.append(time.process_time())
    return Times(*((later - earlier) / CALLS * 1e6 for earlier, later in pairwise(moments)))


if __name__ == "__main__":
    main()
