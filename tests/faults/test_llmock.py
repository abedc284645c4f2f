"""What a client of the gateway sees when a provider misbehaves: a whole answer or a clear error, never half of one."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from llmock.pytest_plugin import LLMock

from tests.faults.conftest import PROVIDERS, Stage

QUESTION: Any = [{"role": "user", "content": "Explain what a list is, in a few words."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


def ask(stage: Stage, model: str, stream: bool, messages: Any = QUESTION, **more: Any) -> str:
    """The answer's text and tool calls as one string. The stream must say how it ended."""
    asked = {"model": model, "messages": messages, **more}
    if not stream:
        choice = stage.client.chat.completions.create(**asked).choices[0]
        assert choice.finish_reason
        calls = [[c.function.name, c.function.arguments] for c in choice.message.tool_calls or ()]
        return json.dumps([choice.message.content or "", calls])
    text, finishes = "", []
    tools: dict[int, list[str]] = {}
    for chunk in stage.client.chat.completions.create(stream=True, **asked):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                known = tools.setdefault(call.index, ["", ""])
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
            finishes += [choice.finish_reason] if choice.finish_reason else []
    assert len(finishes) == 1, "a stream that ends without error has one finish reason"
    return json.dumps([text, list(tools.values())])


def whole(stage: Stage, provider: str, messages: Any = QUESTION, **more: Any) -> str:
    """The answer without any fault."""
    answer = ask(stage, provider, False, messages, **more)
    stage.first.reset()
    return answer


def assert_judged_well(*mocks: LLMock) -> None:
    for mock in mocks:
        verdict = mock.verdict()
        assert verdict.errors == (), verdict.render()


def refused(stage: Stage, model: str, stream: bool, **more: Any) -> openai.APIError:
    """The error that the client gets, which must be one it can show."""
    with pytest.raises(openai.APIError) as caught:
        ask(stage, model, stream, **more)
    error = caught.value
    assert not isinstance(error, openai.APIConnectionError)
    assert error.message
    assert error.code
    assert "sk-stand-in-secret" not in str(error.body)
    assert "127.0.0.1" not in str(error.body)
    return error


TRANSIENT: dict[str, Callable[[LLMock], object]] = {
    "rate limit": lambda mock: mock.rate_limit(retry_after=0.4),
    "503": lambda mock: mock.fail(503),
    "500 twice": lambda mock: mock.fail(500, times=2),
    "slow first token": lambda mock: mock.slow_first_token(3),
    "no answer": lambda mock: mock.delay(3),
    "disconnect before content": lambda mock: mock.disconnect(after_chunks=0),
    "disconnect": lambda mock: mock.disconnect(after_chunks=2),
    "truncate before content": lambda mock: mock.truncate(after_chunks=0),
    "truncate at once": lambda mock: mock.truncate(after_chunks=1),
    "truncate": lambda mock: mock.truncate(after_chunks=3),
    "malformed chunk": lambda mock: mock.corrupt(after_chunks=2),
    "stall": lambda mock: mock.stall(after_chunks=2, seconds=3),
}
IN_THE_STREAM = ("slow first token", "disconnect", "truncate", "malformed chunk", "stall")


def cases() -> Iterator[Any]:
    """Every fault of a stream with every provider; the others once each way, since each costs a back-off."""
    for fault in TRANSIENT:
        if fault.startswith(IN_THE_STREAM):
            pairs = [(provider, True) for provider in PROVIDERS]
        else:
            pairs = [("openai", False), ("gemini", False), ("groq", True), ("mistral", True)]
        for provider, stream in pairs:
            name = f"{fault}-{provider}-{'stream' if stream else 'whole'}".replace(" ", "-")
            yield pytest.param(fault, provider, stream, id=name)


@pytest.mark.parametrize(("fault", "provider", "stream"), list(cases()))
def test_a_passing_fault_is_not_seen(stage: Stage, fault: str, provider: str, stream: bool) -> None:
    """000-14, 003-02: a transient failure is retried as the provider asks, and the answer is whole."""
    answer = whole(stage, provider)
    TRANSIENT[fault](stage.first)
    assert ask(stage, provider, stream) == answer
    assert stage.first.last_request.seq > 1, "the fault never happened"
    assert_judged_well(stage.first)


@both
@every_provider
def test_the_second_deployment_answers_while_the_first_is_down(stage: Stage, provider: str, stream: bool) -> None:
    """004-02: automatic failover."""
    answer = whole(stage, provider)
    stage.first.outage()
    assert ask(stage, f"{provider}-pair", stream) == answer
    assert len(stage.second.requests) == 1
    assert_judged_well(stage.first, stage.second)


@both
@every_provider
@pytest.mark.parametrize(("status", "expected"), [(400, 400), (401, 503), (404, 503)])
def test_a_lasting_refusal_is_told_and_not_repeated(
    stage: Stage, provider: str, stream: bool, status: int, expected: int
) -> None:
    """003-02: what no retry can mend is told at once."""
    stage.first.fail(status, times=None)
    error = refused(stage, provider, stream)
    assert isinstance(error, openai.APIStatusError)
    assert error.status_code == expected
    assert len(stage.first.requests) == 1
    assert_judged_well(stage.first)


@both
@every_provider
def test_a_prompt_too_long_for_one_goes_to_the_next(stage: Stage, provider: str, stream: bool) -> None:
    answer = whole(stage, provider)
    stage.first.context_overflow(times=None)
    assert ask(stage, f"{provider}-pair", stream) == answer
    assert_judged_well(stage.first, stage.second)
    stage.first.reset().context_overflow(times=None)
    stage.second.reset().context_overflow(times=None)
    assert refused(stage, f"{provider}-pair", stream).code == "context_length_exceeded"
    assert_judged_well(stage.first, stage.second)


@both
def test_an_outage_without_a_way_out_ends_with_503(stage: Stage, stream: bool) -> None:
    """004-13: every provider failed: the last failure and the attempts are told."""
    stage.first.outage()
    error = refused(stage, "openai", stream)
    assert isinstance(error, openai.APIStatusError)
    assert error.status_code == 503
    assert isinstance(error.body, dict)
    assert len(error.body["attempts"]) == len(stage.first.requests) > 1
    assert_judged_well(stage.first)


@both
@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
@pytest.mark.parametrize("provider", ["openai", "groq", "mistral"])
def test_a_broken_tool_call_is_asked_for_again(stage: Stage, provider: str, kind: str, stream: bool) -> None:
    """A tool call that no program could carry out never counts as an answer."""
    asked: Any = {"tools": TOOLS, "tool_choice": "required"}
    answer = whole(stage, provider, WEATHER, **asked)
    assert "get_weather" in answer
    stage.first.break_tool_call(kind)
    if stream and kind == "unknown_tool":
        error = refused(stage, provider, stream, messages=WEATHER, **asked)
        assert error.code == "stream_interrupted", "a name that went out can't be taken back"
    else:
        assert ask(stage, provider, stream, WEATHER, **asked) == answer
    assert_judged_well(stage.first)


@pytest.mark.parametrize("fault", ["truncate", "disconnect", "corrupt", "stall"])
@pytest.mark.parametrize("provider", ["openai", "groq", "mistral"])
def test_a_stream_cut_inside_a_tool_call_is_joined(stage: Stage, provider: str, fault: str) -> None:
    asked: Any = {"tools": TOOLS, "tool_choice": "required"}
    answer = whole(stage, provider, WEATHER, **asked)
    more = {"seconds": 3} if fault == "stall" else {}
    getattr(stage.first, fault)(after_chunks=2, **more)
    assert ask(stage, provider, True, WEATHER, **asked) == answer
    assert_judged_well(stage.first)


@every_provider
def test_a_stream_whose_repetition_differs_ends_in_an_error(stage: Stage, provider: str) -> None:
    """Two halves of two answers are never joined."""
    stage.first.reply("One answer of many words, told at length.").reply("Quite another answer, also told at length.")
    stage.first.truncate(after_chunks=3)
    assert refused(stage, provider, True).code == "stream_interrupted"
    assert len(stage.first.requests) == 2
    assert_judged_well(stage.first)


@every_provider
def test_a_provider_that_always_truncates_ends_in_an_error(stage: Stage, provider: str) -> None:
    stage.first.truncate(after_chunks=3, times=None)
    refused(stage, provider, True)
    assert len(stage.first.requests) <= 10


def test_the_log_holds_no_key(stage: Stage) -> None:
    stage.first.fail(401, message="Incorrect API key provided: sk-stand-in-secret", times=None)
    refused(stage, "openai", False)
    assert "sk-stand-in-secret" not in stage.gateway.log()
