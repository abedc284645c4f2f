"""A student's program: sends its requests when the trace says, and asks again as OpenAI's SDK does."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import orjson

from bench.classroom.trace import Ask

# OpenAI's Python SDK 2 by default: two more tries, half a second doubling up to eight, less up to a quarter of it.
RETRIES = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_LONGEST_RETRY_AFTER = 120.0
_AGAIN = (408, 409, 429)
LEFT = 0  # the "status" of a student who gave up waiting
BROKEN = -1  # of one whose connection or stream broke


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. ``wait`` is in seconds, to the whole answer; ``statuses`` are of all tries."""

    number: int
    student: str
    status: int
    wait: float
    statuses: tuple[int, ...]
    detail: str = ""

    @property
    def served(self) -> bool:
        return self.status == 200

    def public(self) -> dict[str, Any]:
        return asdict(self)


async def attend(asks: Sequence[Ask], url: str, key: str, model: str, start: float) -> list[Outcome]:
    """Live through the class, which begins at ``start`` (Unix seconds); returns when the last request is over."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=None, trust_env=False) as client:
        return await asyncio.gather(*(_ask(ask, client, url, model, start) for ask in asks))


async def _ask(ask: Ask, client: httpx.AsyncClient, url: str, model: str, start: float) -> Outcome:
    await asyncio.sleep(max(0.0, start + ask.at - time.time()))
    rng, began, statuses, detail = random.Random(ask.number), time.monotonic(), [], ""
    body = orjson.dumps(ask.body(model))
    try:
        async with asyncio.timeout(ask.patience):
            for tries in range(RETRIES + 1):
                status, headers, detail = await _once(client, url, body, stream=ask.stream)
                statuses.append(status)
                pause = pause_before(tries, status, headers, rng)
                if pause is None:
                    break
                await asyncio.sleep(pause)
        status = statuses[-1]
    except TimeoutError:
        status = LEFT
    return Outcome(ask.number, ask.student, status, time.monotonic() - began, tuple(statuses), detail)


async def _once(
    client: httpx.AsyncClient, url: str, body: bytes, *, stream: bool
) -> tuple[int, Mapping[str, str], str]:
    try:
        response = await client.post(url, content=body)
    except httpx.HTTPError as error:
        return BROKEN, {}, repr(error)
    if response.status_code != 200:
        return response.status_code, response.headers, response.text[:500]
    if is_whole(response.text, stream=stream):
        return 200, response.headers, ""
    return BROKEN, {"x-should-retry": "false"}, response.text[-500:]


def is_whole(text: str, *, stream: bool) -> bool:
    """Whether an answer with status 200 is one: JSON with content, or a stream with content, finish and ``[DONE]``."""
    if stream:
        return '"content":' in text and '"finish_reason":"' in text.replace(": ", ":") and "[DONE]" in text
    try:
        return bool(orjson.loads(text)["choices"][0]["message"]["content"])
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def pause_before(tries: int, status: int, headers: Mapping[str, str], rng: random.Random) -> float | None:
    """Seconds until the next try, or ``None`` when there is none: served, refused for good, or tried often enough."""
    told, asked = headers.get("x-should-retry"), _retry_after(headers)
    again = status in _AGAIN or status >= 500 or status == BROKEN
    if told in ("true", "false"):
        again = told == "true"
    if status == 200 or not again or tries >= RETRIES or asked > _LONGEST_RETRY_AFTER:
        return None
    if asked > 0:
        return asked
    return min(_FIRST_PAUSE * 2.0**tries, _LONGEST_PAUSE) * (1 - 0.25 * rng.random())


def _retry_after(headers: Mapping[str, str]) -> float:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
    return 0.0
