"""The lab inside LiteLLM: what a client asks arrives at the lab, what the lab answers arrives at the client."""

from collections.abc import Iterator
from typing import Any

import pytest

from lumni.upstream.runtime import load_litellm

_ASK = [{"role": "user", "content": "call alpha and beta for Rome"}]
_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOLS = [{"type": "function", "function": {"name": name, "parameters": _PARAMETERS}} for name in ("alpha", "beta")]


@pytest.fixture
def litellm() -> Iterator[Any]:
    module = load_litellm()
    from lumni.upstream.lab_provider import register_lab

    before = list(module.custom_provider_map)
    register_lab(3)
    yield module
    module.custom_provider_map = before


async def _stream(litellm: Any, **request: Any) -> list[dict[str, Any]]:
    # With tools, LiteLLM imports the `mcp` package, which a plain install lacks, unless told to skip that.
    stream = await litellm.acompletion(stream=True, _skip_mcp_handler=True, **request)
    return [chunk.model_dump(exclude_none=True) async for chunk in stream]


def test_registering_twice_leaves_one_provider(litellm: Any) -> None:
    """003-42: a restarted Router finds one lab, with the newest seed."""
    from lumni.upstream.lab_provider import register_lab

    register_lab(4)
    ours = [item for item in litellm.custom_provider_map if item["provider"] == "lumni-lab"]
    assert len(ours) == 1


def test_the_parameters_that_matter_are_supported(litellm: Any) -> None:
    """004-09: nothing that the lab understands is dropped on the way."""
    supported = set(litellm.get_supported_openai_params("fast", "lumni-lab"))
    wanted = {"tools", "tool_choice", "parallel_tool_calls", "response_format", "n", "seed", "stop", "logprobs"}
    assert wanted | {"top_logprobs", "max_tokens", "max_completion_tokens", "stream_options"} <= supported


async def test_every_parameter_arrives(litellm: Any) -> None:
    """004-09: their effects are seen in the answer."""
    answer = await litellm.acompletion(
        model="lumni-lab/echo",
        messages=[{"role": "user", "content": "one two three four"}],
        n=2,
        logprobs=True,
        top_logprobs=3,
        stop=["four"],
        max_completion_tokens=2,
        seed=5,
    )
    assert [choice.message.content for choice in answer.choices] == ["one two", "one two"]
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert len(answer.choices[1].logprobs.content[0].top_logprobs) == 3
    assert answer.usage.completion_tokens == 4


async def test_seeds_decide_the_text(litellm: Any) -> None:
    """003-42: the same seed says the same, through LiteLLM too."""
    texts = []
    for seed in [1, 1, *range(2, 12)]:
        answer = await litellm.acompletion(model="lumni-lab/fast", messages=_ASK, seed=seed)
        texts.append(answer.choices[0].message.content)
    assert texts[0] == texts[1]
    assert len(set(texts)) > 2


async def test_structured_output_arrives(litellm: Any) -> None:
    """003-42: ``json_schema`` isn't lost."""
    schema = {"type": "object", "properties": {"ok": {"const": True}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = await litellm.acompletion(model="lumni-lab/fast", messages=_ASK, response_format=wanted)
    assert answer.choices[0].message.content == '{"ok":true}'


async def test_streams_keep_choices_finishes_logprobs_and_usage(litellm: Any) -> None:
    """000-25: with n=3 each choice has role, text, log probabilities and its own finish; the usage comes last."""
    request = {"model": "lumni-lab/fast", "messages": _ASK, "n": 3, "max_tokens": 4, "logprobs": True}
    chunks = await _stream(litellm, stream_options={"include_usage": True}, **request)
    whole = await litellm.acompletion(**request)
    for index in range(3):
        choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        said = "".join(choice["delta"].get("content", "") for choice in choices)
        assert said == whole.choices[index].message.content
        assert choices[0]["delta"]["role"] == "assistant"
        assert [choice["finish_reason"] for choice in choices if "finish_reason" in choice] == ["length"]
        assert sum(len(choice["logprobs"]["content"]) for choice in choices if "logprobs" in choice) == 4
    assert chunks[-1]["usage"]["total_tokens"] == whole.usage.total_tokens
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_streamed_calls_keep_their_index(litellm: Any) -> None:
    """003-42: two parallel calls, each with its own arguments."""
    chunks = await _stream(litellm, model="lumni-lab/fast", messages=_ASK, tools=_TOOLS)
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in chunks:
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            names[call["index"]] = names.get(call["index"], "") + call["function"].get("name", "")
            arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
    assert names == {0: "alpha", 1: "beta"}
    assert set(arguments.values()) == {'{"city":"Rome"}'}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_embeddings_arrive(litellm: Any) -> None:
    """003-42: one vector a text; ``dimensions`` through ``extra_body``, since LiteLLM drops it for custom providers."""
    answer = await litellm.aembedding(model="lumni-lab/embed", input=["a", "b"], extra_body={"dimensions": 16})
    assert [len(item["embedding"]) for item in answer.data] == [16, 16]
    assert answer.usage.prompt_tokens == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_wrong_body_is_a_bad_request(litellm: Any, stream: bool) -> None:
    """004-14: the lab refuses with a 400, which no fallback tries again."""
    with pytest.raises(litellm.BadRequestError):
        await _consume(litellm, stream)


async def _consume(litellm: Any, stream: bool) -> None:
    answer = await litellm.acompletion(
        model="lumni-lab/fast", messages=[{"role": "wizard", "content": "x"}], stream=stream
    )
    async for _ in answer:
        pass
