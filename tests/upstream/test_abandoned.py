"""A client that leaves: the provider is hung up on, and one record says so, whatever the request was doing."""

import asyncio
from typing import Any

import pytest

from lumni.errors import DeadlineExceeded
from lumni.types import Outcome
from tests.upstream.wire import STREAM, chunks_of, delta, deployment, events, line, refusal, wire

pytestmark = pytest.mark.usefixtures("lane")
BASES = {"openai": "/v1", "groq": "/v1", "mistral": "/v1", "gemini": "", "anthropic": "", "cohere": ""}


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("silence", [[None], [STREAM, None]], ids=["before the head", "after the head"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", BASES)
async def test_who_leaves_before_the_first_content_hangs_up(provider: str, stream: bool, silence: list[Any]) -> None:
    """003-34"""
    async with wire(silence) as there, line(deployment("a", there.base + BASES[provider], provider)) as here:
        task = asyncio.create_task(here.ask(stream=stream))
        await there.until_asked()
        await asyncio.sleep(0.05)
        await cancelled(task)
        await there.until_left()
        [record] = here.records
        assert (record.outcome, record.status) == (Outcome.DISCONNECTED, 499)
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.DISCONNECTED]


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_between_two_rounds_is_recorded_as_gone(stream: bool) -> None:
    """003-34"""
    async with (
        wire([refusal(503, "busy")]) as there,
        line(deployment("a", there.base + "/v1"), num_retries=3) as here,
    ):
        task = asyncio.create_task(here.ask(stream=stream))
        await there.until_asked()
        await asyncio.sleep(0.2)
        await cancelled(task)
        [record] = here.records
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.UNAVAILABLE]
        assert (record.outcome, record.status) == (Outcome.DISCONNECTED, 499)


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral"])
async def test_who_leaves_in_mid_answer_hangs_up(provider: str) -> None:
    """003-34"""
    begun = [STREAM, events(delta("one "), delta("two ")), None]
    async with wire(begun) as there, line(deployment("a", there.base + "/v1", provider)) as here:
        reply = await here.ask(stream=True)
        assert reply.events
        async for chunk in chunks_of(reply):
            if chunk["choices"][0]["delta"].get("content"):
                break
        await reply.events.aclose()
        await there.until_left()
        [record] = here.records
        assert (record.outcome, record.status) == (Outcome.DISCONNECTED, 499)
        assert record.usage_estimated


async def test_who_waits_in_vain_between_two_rounds_is_recorded_as_timed_out() -> None:
    async with (
        wire([refusal(503, "busy")]) as there,
        line(deployment("a", there.base + "/v1"), num_retries=9, request_timeout=0.4) as here,
    ):
        with pytest.raises(DeadlineExceeded):
            await here.ask()
        [record] = here.records
        assert (record.outcome, record.status) == (Outcome.TIMEOUT, 504)
