"""Whatever is raised below, the client gets an error of ours, and one record tells what happened."""

import asyncio
import json
import re
from typing import Any

import pytest

from lumni.errors import AllProvidersFailed, InternalError, LumniError, StreamInterrupted
from lumni.types import Outcome
from tests.upstream.wire import HEAD, STREAM, Line, delta, deployment, events, line, refusal, whole, wire

pytestmark = pytest.mark.usefixtures("lane")


class Panic(BaseException):
    """What a panic in LiteLLM's Rust parts looks like: no ``Exception``."""


def raising(error: BaseException) -> Any:
    async def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


async def outcome_of(here: Line, monkeypatch: pytest.MonkeyPatch, error: BaseException, **body: Any) -> LumniError:
    from lumni.upstream.runtime import load_litellm

    monkeypatch.setattr(load_litellm(), "acompletion", raising(error))
    monkeypatch.setattr("lumni.upstream.connections.Pool.post", raising(error))
    with pytest.raises(LumniError) as caught:
        await here.ask(**body)
    assert len(here.records) == 1
    assert here.records[0].status == caught.value.status
    assert len(here.records[0].attempts) == 1
    assert "secret" not in str(caught.value.body())
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancellation_from_below_is_no_client_that_left(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """A provider's client that cancels itself fails like any other."""
    async with line(deployment("a", "http://127.0.0.1:9/v1")) as here:
        error = await outcome_of(here, monkeypatch, asyncio.CancelledError(), stream=stream)
        assert isinstance(error, AllProvidersFailed)
        assert here.records[0].outcome is Outcome.UNAVAILABLE


@pytest.mark.parametrize("stream", [False, True])
async def test_a_panic_is_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(deployment("a", "http://127.0.0.1:9/v1")) as here:
        error = await outcome_of(here, monkeypatch, Panic("secret"), stream=stream)
        assert isinstance(error, InternalError)
        assert here.records[0].outcome is Outcome.ERROR
        assert "a fault of ours" in caplog.text


@pytest.mark.parametrize("error", [TimeoutError("secret"), ExceptionGroup("secret", [OSError()]), KeyError("secret_")])
async def test_any_exception_is_a_failed_attempt(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async with line(deployment("a", "http://127.0.0.1:9/v1")) as here:
        assert (await outcome_of(here, monkeypatch, error)).status in (503, 504)


async def test_a_fault_in_the_router_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after four rounds of it, and not as LiteLLM's own exception."""
    async with line(deployment("a", "http://127.0.0.1:9/v1"), num_retries=3) as here:
        monkeypatch.setattr(here.upstream._router, "async_get_available_deployment", raising(TimeoutError("secret")))
        with pytest.raises(InternalError):
            await here.ask()
        assert [record.outcome for record in here.records] == [Outcome.ERROR]
        assert [attempt.outcome for attempt in here.records[0].attempts] == [Outcome.ERROR]


async def test_an_attempt_that_was_cut_is_on_the_record_as_cut() -> None:
    """Also when the answer was made whole by asking once more."""
    begun = STREAM + events(delta("one "), delta("two "))
    rest = begun + events(delta("three"), delta(finish="stop"), done=True)
    async with wire([begun], [rest]) as there, line(deployment("a", there.base + "/v1")) as here:
        assert await here.text() == "one two three"
        [record] = here.records
        assert record.outcome is Outcome.OK
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.CUT, Outcome.OK]


async def test_an_answer_that_was_cut_twice_says_so_twice() -> None:
    begun = STREAM + events(delta("one "), delta("two "))
    async with wire([begun]) as there, line(deployment("a", there.base + "/v1")) as here:
        with pytest.raises(StreamInterrupted) as caught:
            await here.text()
        assert len(there.asked) == 2
        [record] = here.records
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.CUT, Outcome.CUT]
        assert [attempt["outcome"] for attempt in caught.value.extra["attempts"]] == ["cut", "cut"]


async def test_asking_once_more_counts_as_an_attempt() -> None:
    begun = STREAM + events(delta("one "), delta("two "))
    async with wire([begun]) as there, line(deployment("a", there.base + "/v1"), max_attempts=1) as here:
        with pytest.raises(StreamInterrupted):
            await here.text()
        assert len(there.asked) == 1


UNREADABLE = {"candidates": [{"content": {"parts": [{"text": "secret"}], "role": "model"}}]}


async def test_an_answer_that_litellm_can_t_read_is_the_provider_s_fault() -> None:
    """LiteLLM calls it a wrong request, and quotes the answer: another deployment may do better."""
    broken = HEAD % (200, b"application/json") + json.dumps(UNREADABLE).encode()
    async with (
        wire([broken]) as one,
        wire() as two,
        line(deployment("a", one.base, "gemini"), deployment("b", two.base + "/v1", priority=1)) as here,
    ):
        reply = await here.ask()
        assert reply.body
        assert reply.body["choices"][0]["message"]["content"] == "hello"
        assert [attempt.outcome for attempt in here.records[0].attempts] == [Outcome.UNAVAILABLE, Outcome.OK]
        assert "secret" not in here.records[0].attempts[0].reason


async def test_a_dead_address_is_not_told() -> None:
    async with line(deployment("a", "http://127.0.0.1:9/v1")) as here:
        with pytest.raises(AllProvidersFailed) as caught:
            await here.ask()
        assert "127.0.0.1" not in str(caught.value.body())


@pytest.mark.parametrize(
    "said",
    [
        "Rate limit reached for model `m` in organization `org_01jabcdefgh2345` on tokens per minute",
        "API not used in project 123456789012 before or it is disabled",
        "Quota exceeded for consumer 'project_number:123456789012'",
    ],
)
async def test_an_account_s_ids_are_not_told(said: str) -> None:
    async with wire([refusal(429, said)]) as there, line(deployment("a", there.base + "/v1")) as here:
        with pytest.raises(LumniError) as caught:
            await here.ask()
        told = str(caught.value.body()) + str(here.records)
        assert "[hidden]" in told
        assert not {"org_01jabcdefgh2345", "123456789012"} & set(re.findall(r"\w+", told))


@pytest.mark.parametrize("provider", ["openai", "groq"])
async def test_an_answer_without_choices_is_none(provider: str) -> None:
    async with wire([whole(choices=[])]) as there, line(deployment("a", there.base + "/v1", provider)) as here:
        with pytest.raises(AllProvidersFailed):
            await here.ask()


@pytest.mark.parametrize("provider", ["openai", "groq"])
async def test_a_stream_of_nothing_is_silence(provider: str) -> None:
    """A provider that only keeps the connection alive says nothing, and the client doesn't wait for ever."""
    nothing = [STREAM, events(delta("one ")), *[events(delta())] * 400, None]
    async with (
        wire(nothing, slowly=0.02) as there,
        line(deployment("a", there.base + "/v1", provider), stream_idle_timeout=0.3) as here,
    ):
        with pytest.raises(StreamInterrupted):
            await here.text()
        assert here.records[0].attempts[0].reason == "the stream fell silent"
        assert there.left >= 1


async def test_a_cancellation_from_below_in_mid_stream_breaks_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from lumni.upstream.relay_stream import RelayStream
    from lumni.upstream.translated import TranslatedStream

    begun = [STREAM, events(delta("one ")), None]
    async with wire(begun) as there, line(deployment("a", there.base + "/v1")) as here:
        reply = await here.ask(stream=True)
        for stream in (RelayStream, TranslatedStream):
            monkeypatch.setattr(stream, "_read", raising(asyncio.CancelledError()))
        assert reply.events
        with pytest.raises(StreamInterrupted):
            async for _ in reply.events:
                pass
        assert here.records[0].outcome is Outcome.CUT
