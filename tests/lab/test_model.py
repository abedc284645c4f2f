"""The lab model keeps OpenAI's contract, and says the same for the same seed and body."""

import base64
import math
import struct
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.errors import InvalidRequest
from lumni.lab.model import LabModel
from lumni.lab.tokens import count_tokens, split_tokens

Json = dict[str, Any]


def _ask(text: Any = "What is photosynthesis?", model: str = "fast", **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def _tool(name: str, **properties: Any) -> Json:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


_TOOLS = [
    _tool("get_time", city={"type": "string"}),
    _tool("get_weather", city={"type": "string"}, days={"type": "integer"}),
]


def _text(body: Json, seed: int = 0) -> str:
    content: str = LabModel(seed).complete(body)["choices"][0]["message"]["content"]
    return content


def test_same_seed_and_body_give_the_same_answer() -> None:
    """003-42: tests and demos that ask the lab twice read the same twice, streamed or not."""
    body = _ask(n=3, temperature=1)
    first, second = (LabModel(7, clock=lambda: 0).complete(body) for _ in range(2))
    assert first == second
    streamed = list(LabModel(7, clock=lambda: 0).stream({**body, "stream": True}))
    for index, choice in enumerate(first["choices"]):
        deltas = [chunk["choices"][0] for chunk in streamed if chunk["choices"][0]["index"] == index]
        assert "".join(delta["delta"].get("content") or "" for delta in deltas) == choice["message"]["content"]


def test_both_seeds_and_the_prompt_change_the_answer() -> None:
    """003-42: neither the constructor's seed nor the body's is ignored."""
    assert len({_text(_ask(seed=seed), 0) for seed in range(20)}) > 3
    assert len({_text(_ask(), seed) for seed in range(20)}) > 3
    assert _text(_ask("Why is the sky blue?")) != _text(_ask("Who wrote Faust?"))


def test_the_answer_is_open_about_being_no_model() -> None:
    """003-42: nobody mistakes the lab for a real model, and the question comes back."""
    for model in ("fast", "powerful"):
        said = _text(_ask(model=model))
        assert "lab model" in said
        assert "o real model was asked" in said
        assert "What is photosynthesis?" in said
    assert count_tokens(_text(_ask(model="powerful"))) > 2 * count_tokens(_text(_ask(model="fast")))


def test_echo_returns_the_last_user_text() -> None:
    """003-42: a test can choose the answer."""
    assert _text(_ask("one\n two ", model="lumni-lab/echo")) == "one\n two "


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    """000-25: no character is lost or counted twice."""
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) == len(split_tokens(text))


@given(limit=st.integers(0, 40), spelling=st.sampled_from(["max_tokens", "max_completion_tokens"]))
def test_the_length_limit_holds_and_is_told(limit: int, spelling: str) -> None:
    """004-09: both spellings bound the answer; ``length`` says that it was cut."""
    answer = LabModel().complete(_ask("ab cd ef gh ij kl mn op qr st", model="echo", **{spelling: limit}))
    assert answer["usage"]["completion_tokens"] == min(limit, 10)
    assert answer["choices"][0]["finish_reason"] == ("length" if limit < 10 else "stop")


def test_stop_ends_the_text_before_the_sequence() -> None:
    """004-09: ``stop`` as text and as list; the earliest one wins."""
    assert _text(_ask("one two three", model="echo", stop="two")) == "one "
    assert _text(_ask("one two three", model="echo", stop=["three", "e"])) == "on"


def test_usage_adds_up_over_choices() -> None:
    """000-25: prompt, completion and total tokens are counted."""
    one, three = (LabModel().complete(_ask("a b c", model="echo", n=n))["usage"] for n in (1, 3))
    assert three["completion_tokens"] == 3 * one["completion_tokens"] == 9
    assert three["total_tokens"] == three["prompt_tokens"] + 9
    assert three["prompt_tokens"] == one["prompt_tokens"] > 0


def test_stream_has_role_deltas_one_finish_a_choice_and_usage_only_if_asked() -> None:
    """003-42: the order that OpenAI streams in."""
    chunks = list(LabModel().stream(_ask(n=2)))
    for index in (0, 1):
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
        assert choices[-1]["delta"] == {}
    assert all("usage" not in chunk for chunk in chunks)
    chunks = list(LabModel().stream(_ask(stream_options={"include_usage": True})))
    assert [bool(chunk["choices"]) for chunk in chunks].count(False) == 1
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_logprobs_have_one_entry_a_token_with_the_asked_number_of_others() -> None:
    """003-42: log probabilities are sorted and below zero, and their bytes are the token's."""
    choice = LabModel().complete(_ask(logprobs=True, top_logprobs=20))["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    for entry in entries:
        values = [top["logprob"] for top in entry["top_logprobs"]]
        assert len(values) == 20
        assert values == sorted(values, reverse=True)
        assert sum(map(math.exp, values)) <= 1.0001
        assert bytes(entry["bytes"]).decode() == entry["token"]


def _calls(**more: Any) -> list[Json]:
    message = LabModel().complete(_ask("Use get_weather and get_time for Paris", tools=_TOOLS, **more))["choices"][0][
        "message"
    ]
    calls: list[Json] = message.get("tool_calls") or []
    return calls


def test_tools_named_in_the_prompt_are_called_with_valid_arguments() -> None:
    """003-42: several at once, in the prompt's order, each valid under its schema."""
    calls = _calls()
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    for call, tool in zip(calls, reversed(_TOOLS), strict=True):
        arguments = orjson.loads(call["function"]["arguments"])
        assert jsonschema_rs.validator_for(tool["function"]["parameters"]).is_valid(arguments)
        assert arguments["city"] == "Paris"


def test_tool_choice_and_parallel_calls_are_obeyed() -> None:
    """003-42: none, required, a named tool, one at a time."""
    assert _calls(tool_choice="none") == []
    assert len(_calls(parallel_tool_calls=False)) == 1
    named = _calls(tool_choice={"type": "function", "function": {"name": "get_time"}})
    assert [call["function"]["name"] for call in named] == ["get_time"]
    with pytest.raises(InvalidRequest):
        _calls(tool_choice={"type": "function", "function": {"name": "fly"}})


def test_a_tool_result_is_answered_in_words() -> None:
    """003-42: an agent's loop ends; ``required`` still calls."""
    call = _calls()[0]
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"},
    ]
    body = {"model": "fast", "messages": messages, "tools": _TOOLS}
    choice = LabModel().complete(body)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "`get_weather` returned: 18 degrees" in choice["message"]["content"]
    assert LabModel().complete({**body, "tool_choice": "required"})["choices"][0]["finish_reason"] == "tool_calls"


def test_streamed_calls_have_their_own_index_and_fragments_that_join() -> None:
    """003-42: parallel calls don't mix, and the arguments are the whole answer's."""
    body = _ask("get_weather and get_time for Paris", tools=_TOOLS)
    joined: dict[int, str] = {}
    fragments = 0
    for chunk in LabModel().stream(body):
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            joined[call["index"]] = joined.get(call["index"], "") + call["function"]["arguments"]
            fragments += 1
    whole = LabModel().complete(body)["choices"][0]["message"]["tool_calls"]
    assert list(joined.values()) == [call["function"]["arguments"] for call in whole]
    assert fragments > 2 * len(whole)


def test_response_formats_are_kept() -> None:
    """003-42: ``json_object`` is an object, ``json_schema`` fits its schema."""
    assert isinstance(orjson.loads(_text(_ask(response_format={"type": "json_object"}))), dict)
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert jsonschema_rs.validator_for(schema).is_valid(orjson.loads(_text(_ask(response_format=wanted))))


def test_images_are_counted_and_mentioned() -> None:
    """000-25: vision parts are accepted, cost tokens, and the answer knows of them."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}},
    ]
    answer = LabModel().complete(_ask(parts))
    assert "1 image" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] - LabModel().complete(_ask("What is this?"))["usage"]["prompt_tokens"] == 85


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (_ask(n=0), "n"),
        (_ask(max_tokens=-1), "max_tokens"),
        (_ask(top_logprobs=2), "top_logprobs"),
    ],
)
def test_wrong_bodies_are_refused_by_name(body: Json, param: str) -> None:
    """004-14: what OpenAI refuses, the lab refuses, and says which parameter."""
    with pytest.raises(InvalidRequest) as caught:
        LabModel().complete(body)
    assert caught.value.param == param


def test_embeddings_are_unit_vectors_that_know_likeness() -> None:
    """003-42: the same text gives the same vector; texts that share words are closer than others."""

    def vectors(*texts: str, **more: Any) -> list[list[float]]:
        return [
            item["embedding"] for item in LabModel().embed({"model": "embed", "input": list(texts), **more})["data"]
        ]

    cat, cats, tax = vectors("the cat sat", "the cats sat", "tax law reform", dimensions=512)
    assert vectors("the cat sat", dimensions=512) == [cat]
    assert math.isclose(math.hypot(*cat), 1)
    assert len(cat) == 512
    assert _dot(cat, cats) > _dot(cat, tax)
    encoded = LabModel().embed({"input": "the cat sat", "dimensions": 512, "encoding_format": "base64"})["data"][0]
    assert struct.unpack("<512f", base64.b64decode(encoded["embedding"])) == pytest.approx(cat, abs=1e-6)
    assert LabModel().embed({"input": [1, 2, 3]})["usage"]["prompt_tokens"] == 3
    with pytest.raises(InvalidRequest):
        LabModel().embed({"input": ""})


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
