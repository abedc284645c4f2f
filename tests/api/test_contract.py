"""Answers against OpenAI's own OpenAPI document, and through OpenAI's own client."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.api.conftest import QUESTION

DOCUMENT = Path(__file__).parents[3] / "shared" / "contracts" / "openai-openapi.yaml"
CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="OpenAI's document is not here")


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {
        "type": "function",
        "function": {"name": name, "description": f"The {name} of a city", "parameters": parameters},
    }


CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CALLED = [{"role": "user", "content": "What are the weather and the time in Rome?"}]
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "two choices": {"n": 2},
    "tool": {"messages": CALLED, "tools": [tool("weather")], "tool_choice": "required"},
    "parallel tools": {"messages": CALLED, "tools": [tool("weather"), tool("time")], "tool_choice": "required"},
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": CITY, "strict": True}}
    },
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "length": {"max_tokens": 3},
    "stop": {"stop": [" "]},
}
FINISH = {"tool": "tool_calls", "parallel tools": "tool_calls", "length": "length"}


@cache
def validator(name: str) -> Any:
    """Validates against one of OpenAI's schemas (OpenAPI 3.1, so JSON Schema 2020-12)."""
    return jsonschema_rs.Draft202012Validator({**document(), "$ref": f"#/components/schemas/{name}"})


@cache
def document() -> dict[str, Any]:
    whole = yaml.load(DOCUMENT.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    schemas = whole["components"]["schemas"]
    wanted, found = ["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "ListModelsResponse",
                     "ErrorResponse"], {}  # fmt: skip
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = schemas[name]
            text = json.dumps(schemas[name], default=str)
            wanted += [part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]]
    return {"components": {"schemas": {name: plain(schema) for name, schema in found.items()}}}


def plain(node: Any) -> Any:
    """Without the remains of OpenAPI 3.0: ``nullable`` becomes a type."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    mended = {key: plain(value) for key, value in node.items() if key not in ("nullable", "x-oaiMeta", "example")}
    return {"anyOf": [mended, {"type": "null"}]} if node.get("nullable") is True else mended


def check(name: str, value: Any) -> None:
    faults = [f"{fault.instance_path}: {fault.message}" for fault in validator(name).iter_errors(value)]
    assert not faults, f"{faults[:3]} in {value}"


@pytest.mark.parametrize("kind", KINDS)
def test_whole_answers_are_openais(http: httpx.Client, kind: str) -> None:
    """000-03, 004-07: every kind of answer, with the `lumni` object on it, fits OpenAI's schema and its client."""
    answer = http.post(CHAT, json={"model": "fast", "messages": QUESTION, **KINDS[kind]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert "lumni" in body
    check("CreateChatCompletionResponse", body)
    parsed = ChatCompletion.model_validate(body, strict=False)
    assert len(parsed.choices) == KINDS[kind].get("n", 1)
    assert {choice.finish_reason for choice in parsed.choices} == {FINISH.get(kind, "stop")}
    assert parsed.usage is not None
    assert bool(parsed.choices[0].message.tool_calls) == ("tool" in kind)
    assert bool(parsed.choices[0].logprobs) == (kind == "logprobs")
    if kind == "schema":
        assert isinstance(json.loads(parsed.choices[0].message.content or "")["city"], str)


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_chunk_is_openais(http: httpx.Client, kind: str, usage: bool) -> None:
    """000-03, 002-07: and put together the chunks say what the whole answer says."""
    asked = {"model": "fast", "messages": QUESTION, **KINDS[kind]}
    answer = http.post(CHAT, json={**asked, "stream": True, "stream_options": {"include_usage": usage}})
    *lines, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert done == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
        ChatCompletionChunk.model_validate(chunk, strict=False)
    whole = http.post(CHAT, json=asked).json()
    for choice in whole["choices"]:
        parts = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert parts[0]["delta"]["role"] == "assistant"
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == [choice["finish_reason"]]
        text = "".join(part["delta"].get("content") or "" for part in parts)
        assert text == (choice["message"]["content"] or "")
        calls = [call for part in parts for call in part["delta"].get("tool_calls", ())]
        for number, call in enumerate(choice["message"].get("tool_calls", ())):
            spoken = "".join(one["function"]["arguments"] for one in calls if one["index"] == number)
            assert spoken == call["function"]["arguments"]
    if usage:
        assert chunks[-1]["usage"] == whole["usage"]


def test_models_are_openais(http: httpx.Client) -> None:
    """004-10."""
    listed = http.get("/v1/models").json()
    check("ListModelsResponse", listed)
    for model in listed["data"]:
        check("Model", http.get(f"/v1/models/{model['id']}").json())
        Model.model_validate(model)


def test_errors_are_openais(http: httpx.Client) -> None:
    """004-12, 003-09: every status that a client can cause."""
    large = "x" * (21 * 2**20)
    answers = {
        400: http.post(CHAT, json={"model": "auto"}),
        401: http.get("/v1/models", headers={"authorization": "Bearer wrong"}),
        404: http.get("/v1/models/none"),
        405: http.delete(CHAT),
        413: http.post(CHAT, json={"model": "auto", "messages": [{"role": "user", "content": large}]}),
        431: http.get("/v1/models", headers={"x-padding": "x" * 40_000}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        check("ErrorResponse", answer.json())
