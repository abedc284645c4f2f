"""The native Gemini API: its bodies to and from OpenAI's, so that one model serves both."""

from collections.abc import Iterator
from typing import Any

import orjson

from .model import Answer

Json = dict[str, Any]
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_ROLES = {"model": "assistant", "user": "user", "function": "user"}
_CONFIG = {
    "max_tokens": ("maxOutputTokens", "max_output_tokens"),
    "stop": ("stopSequences", "stop_sequences"),
    "n": ("candidateCount", "candidate_count"),
    "seed": ("seed",),
    "temperature": ("temperature",),
    "top_p": ("topP", "top_p"),
}


def to_openai(body: Json, model: str) -> Json:
    """An OpenAI chat body for a ``generateContent`` body."""
    config = _either(body, "generationConfig", "generation_config") or {}
    chat: Json = {"model": model, "messages": []}
    system = _either(body, "systemInstruction", "system_instruction")
    if system:
        chat["messages"].append({"role": "system", "content": _text(system)})
    for content in body.get("contents") or ():
        chat["messages"] += _messages(content)
    for ours, spellings in _CONFIG.items():
        if (value := _either(config, *spellings)) is not None:
            chat[ours] = value
    _add_format(chat, config)
    _add_tools(chat, body)
    return chat


def whole(answer: Answer) -> Json:
    """The answer as ``generateContent`` gives it."""
    candidates = []
    for index, choice in enumerate(answer.choices):
        parts = [_call_part(call) for call in choice.calls] or [{"text": "".join(choice.tokens)}]
        candidates.append(_candidate(index, parts, choice.finish_reason))
    return _frame(answer, candidates, final=True)


def chunks(answer: Answer) -> Iterator[Json]:
    """The answer as ``streamGenerateContent`` gives it: a few tokens a chunk, usage on each, no closing marker."""
    for index, choice in enumerate(answer.choices):
        pieces = [[_call_part(call)] for call in choice.calls]
        pieces += [[{"text": "".join(choice.tokens[at : at + 4])}] for at in range(0, len(choice.tokens), 4)]
        pieces = pieces or [[{"text": ""}]]
        for position, parts in enumerate(pieces):
            last = position == len(pieces) - 1
            candidate = _candidate(index, parts, choice.finish_reason if last else None)
            yield _frame(answer, [candidate], final=last and index == len(answer.choices) - 1)


def model_card(model: str) -> Json:
    """One entry of the native model list."""
    methods = ["embedContent", "batchEmbedContents"] if "embed" in model else ["generateContent", "countTokens"]
    return {"name": f"models/{model}", "displayName": model, "version": "lab", "supportedGenerationMethods": methods}


def _frame(answer: Answer, candidates: list[Json], *, final: bool) -> Json:
    usage = {"promptTokenCount": answer.prompt_tokens, "totalTokenCount": answer.prompt_tokens}
    if final:
        usage["candidatesTokenCount"] = answer.completion_tokens
        usage["totalTokenCount"] += answer.completion_tokens
    return {"candidates": candidates, "usageMetadata": usage, "modelVersion": answer.model, "responseId": answer.id}


def _candidate(index: int, parts: list[Json], finish: str | None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = _FINISH[finish]
    return candidate


def _call_part(call: Json) -> Json:
    function = call["function"]
    return {"functionCall": {"name": function["name"], "args": orjson.loads(function["arguments"])}}


def _messages(content: Json) -> list[Json]:
    """Messages for one entry of ``contents``: function responses are tool messages of their own."""
    role = _ROLES.get(content.get("role", "user"), "user")
    parts = content.get("parts") or []
    answers = [response for part in parts if (response := _either(part, "functionResponse", "function_response"))]
    if answers:
        return [_tool_message(response) for response in answers]
    calls = [call for part in parts if (call := _either(part, "functionCall", "function_call"))]
    made = [
        _part(part)
        for part in parts
        if "text" in part or _either(part, "inlineData", "inline_data", "fileData", "file_data")
    ]
    message: Json = {"role": role, "content": made}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{at}", "type": "function", "function": {"name": call["name"], "arguments": "{}"}}
            for at, call in enumerate(calls)
        ]
    return [message]


def _tool_message(response: Json) -> Json:
    said = orjson.dumps(response.get("response") or {}).decode()
    return {"role": "tool", "name": response.get("name"), "content": said}


def _part(part: Json) -> Json:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": "data:"}}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content.get("parts") or ())


def _add_format(chat: Json, config: Json) -> None:
    if _either(config, "responseMimeType", "response_mime_type") != "application/json":
        return
    schema = _either(config, "responseJsonSchema", "responseSchema", "response_json_schema", "response_schema")
    chat["response_format"] = {"type": "json_object"}
    if schema:
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": _lower_types(schema)},
        }


def _add_tools(chat: Json, body: Json) -> None:
    tools = []
    for group in body.get("tools") or ():
        for function in _either(group, "functionDeclarations", "function_declarations") or ():
            parameters = _lower_types(_either(function, "parametersJsonSchema", "parameters") or {})
            tools.append({"type": "function", "function": {"name": function["name"], "parameters": parameters}})
    if tools:
        chat["tools"] = tools
        config = _either(body, "toolConfig", "tool_config") or {}
        calling = _either(config, "functionCallingConfig", "function_calling_config") or {}
        chat["tool_choice"] = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")


def _lower_types(schema: Any) -> Any:
    """Gemini writes ``STRING`` where JSON Schema writes ``string``."""
    if isinstance(schema, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower_types(value)
            for key, value in schema.items()
        }
    return [_lower_types(item) for item in schema] if isinstance(schema, list) else schema


def _either(source: Json, *names: str) -> Any:
    """The first of several spellings that is there; Gemini takes camelCase and snake_case."""
    return next((source[name] for name in names if source.get(name) is not None), None)
