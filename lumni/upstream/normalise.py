"""LiteLLM's objects as the exact shapes of OpenAI's API: whole answers here, streams in ``chunks.py``."""

from collections.abc import Mapping
from typing import Any

from lumni.types import Json, Usage

_OWN = frozenset({"provider_specific_fields", "citations", "moderation"})


def completion(response: Mapping[str, Any]) -> Json:
    """A ``chat.completion`` body: LiteLLM's extras and its nulls go, what OpenAI requires is there."""
    body: Json = {
        "id": response["id"],
        "object": "chat.completion",
        "created": response["created"],
        "model": response.get("model") or "",
        "choices": [_choice(choice) for choice in response["choices"]],
        "usage": usage_body(response.get("usage") or {}),
    }
    for name in ("system_fingerprint", "service_tier"):
        if response.get(name) is not None:
            body[name] = response[name]
    return body


def _choice(choice: Mapping[str, Any]) -> Json:
    return {
        "index": choice.get("index") or 0,
        "message": _message(choice["message"]),
        "logprobs": logprobs(choice.get("logprobs")),
        "finish_reason": choice.get("finish_reason") or "stop",
    }


def _message(message: Mapping[str, Any]) -> Json:
    shown = {name: value for name, value in message.items() if value is not None and name not in _OWN}
    shown.setdefault("role", "assistant")
    shown.setdefault("content", None)
    shown["refusal"] = message.get("refusal")
    if "tool_calls" in shown:
        shown["tool_calls"] = [tool_call(call) for call in shown["tool_calls"]]
    return shown


def tool_call(call: Mapping[str, Any]) -> Json:
    """One whole tool call, without the ``index`` and the nulls that belong to streams."""
    function = call.get("function") or {}
    return {
        "id": call.get("id") or "",
        "type": "function",
        "function": {"name": function.get("name") or "", "arguments": function.get("arguments") or ""},
    }


def logprobs(value: Any) -> Json | None:
    """OpenAI requires both lists, and ``bytes`` and ``top_logprobs`` in each entry."""
    if not value:
        return None
    return {
        part: [_token(token) for token in value[part]] if value.get(part) else None for part in ("content", "refusal")
    }


def _token(token: Mapping[str, Any]) -> Json:
    shown = {"token": token["token"], "logprob": token["logprob"], "bytes": token.get("bytes")}
    if "top_logprobs" in token:
        shown["top_logprobs"] = [
            _token({k: v for k, v in t.items() if k != "top_logprobs"}) for t in token["top_logprobs"]
        ]
    return shown


def usage_body(usage: Mapping[str, Any]) -> Json:
    """OpenAI's ``usage``: the three counts, and the details that the provider really gave."""
    prompt, completed = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    shown: Json = {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        details = {key: value for key, value in (usage.get(name) or {}).items() if value is not None}
        if details:
            shown[name] = details
    return shown


def usage_of(usage: Mapping[str, Any], *, estimated: bool = False) -> Usage:
    """The same as a value."""
    prompt = usage.get("prompt_tokens_details") or {}
    completed = usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=completed.get("reasoning_tokens") or 0,
        estimated=estimated,
    )
