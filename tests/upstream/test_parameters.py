"""What a provider is sent of a client's body, and what it is spared once it has refused it."""

import json
from typing import Any

import pytest

from lumni.errors import InvalidRequest
from lumni.upstream import parameters
from lumni.upstream.refusals import LENGTH, NAMES, SECONDS, Refusals
from tests.upstream.wire import HEAD, deployment, line, refusal, whole, wire

pytestmark = pytest.mark.usefixtures("lane")
ANTHROPIC = {
    "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4},
}
OLLAMA = {"model": "m", "message": {"role": "assistant", "content": "hi"}, "done": True, "done_reason": "stop"}
UNKNOWN = {"foo": {"bar": 1}, "api_base": "http://evil"}


def as_http(body: Any) -> bytes:
    return HEAD % (200, b"application/json") + json.dumps(body).encode()


@pytest.mark.parametrize(
    ("provider", "answer"), [("anthropic", ANTHROPIC), ("gemini", GEMINI), ("ollama_chat", OLLAMA)]
)
async def test_unknown_fields_don_t_break_another_format(provider: str, answer: Any) -> None:
    """Anthropic refuses a body with a field that it doesn't know, ``extra_body`` for one."""
    async with wire([as_http(answer)]) as there, line(deployment("a", there.base, provider)) as here:
        reply = await here.ask(**UNKNOWN)
        assert reply.body
        assert reply.body["choices"][0]["message"]["content"] == "hi"
        [sent] = there.asked
        assert not {"foo", "extra_body", "api_base"} & sent.keys()


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral", "deepseek", "cerebras", "openrouter"])
async def test_unknown_fields_reach_who_speaks_openai_s_format(provider: str) -> None:
    async with wire() as there, line(deployment("a", there.base + "/v1", provider)) as here:
        await here.ask(foo={"bar": 1}, top_k=5)
        [sent] = there.asked
        assert (sent["foo"], sent["top_k"]) == ({"bar": 1}, 5)


async def test_what_anthropic_knows_beyond_openai_reaches_it() -> None:
    async with wire([as_http(ANTHROPIC)]) as there, line(deployment("a", there.base, "anthropic")) as here:
        await here.ask(top_k=5)
        assert there.asked[0]["top_k"] == 5


async def test_a_refused_parameter_is_spared_the_next_request() -> None:
    async with (
        wire([refusal(400, "property 'foo' is unsupported")], [whole()]) as there,
        line(deployment("a", there.base + "/v1")) as here,
    ):
        await here.ask(foo=1)
        await here.ask(foo=1)
        assert ["foo" in sent for sent in there.asked] == [True, False, False]


async def test_one_request_s_value_takes_no_parameter_from_others() -> None:
    """A refused value is dropped for the request that sent it, and for no other."""
    said = "Unsupported value: 'temperature' does not support 5 with this model."
    async with wire([refusal(400, said)], [whole()]) as there, line(deployment("a", there.base + "/v1")) as here:
        await here.ask(temperature=5)
        await here.ask(temperature=1)
        assert [sent.get("temperature") for sent in there.asked] == [5, None, 1]


async def test_what_one_deployment_refuses_another_still_gets() -> None:
    said = "property 'foo' is unsupported"
    async with (
        wire([refusal(400, said)], [whole()]) as one,
        wire() as two,
        line(deployment("a", one.base + "/v1", group="a"), deployment("b", two.base + "/v1", group="b")) as here,
    ):
        await here.ask(model="a", foo=1)
        await here.ask(model="b", foo=1)
        assert two.asked[0]["foo"] == 1


async def test_a_refused_spelling_of_the_output_limit_gives_way_to_the_other() -> None:
    """A limit that a student set is never dropped while there is another way to say it."""
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    async with wire([refusal(400, said)], [whole()]) as there, line(deployment("a", there.base + "/v1")) as here:
        await here.ask(max_tokens=7)
        assert there.asked[-1]["max_completion_tokens"] == 7
        assert "max_tokens" not in there.asked[-1]


async def test_what_can_t_be_left_out_is_refused_to_the_client() -> None:
    said = "response_format is not supported"
    async with wire([refusal(400, said)]) as there, line(deployment("a", there.base + "/v1")) as here:
        with pytest.raises(InvalidRequest):
            await here.ask(response_format={"type": "json_object"})


def test_refusals_are_forgotten_and_never_many() -> None:
    """Clients choose the names: what is remembered of them is bounded."""
    now = 0.0
    refusals = Refusals(lambda: now)
    refusals.learn("a", [*(f"field{number}" for number in range(1000)), "x" * (LENGTH + 1)])
    assert refusals.of("a") == {f"field{number}" for number in range(1000 - NAMES, 1000)}
    assert refusals.of("b") == frozenset()
    now = SECONDS
    assert refusals.of("a") == frozenset()


def test_refusals_of_values_don_t_last() -> None:
    assert parameters.is_lasting("Unrecognized request argument supplied: foo")
    assert not parameters.is_lasting("Unsupported value: 'temperature' does not support 0.2 with this model.")
