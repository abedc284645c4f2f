"""From a client's body to the keyword arguments of ``litellm.acompletion``, for one deployment."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from lumni.types import Json

# OpenAI's chat parameters (their OpenAPI document, CreateChatCompletionRequest) that every provider may be given.
STANDARD = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort",
        "response_format", "seed", "service_tier", "stop", "temperature", "tool_choice", "tools", "top_logprobs",
        "top_p", "verbosity", "web_search_options",
    }
)  # fmt: skip
# The student's identity stays here; the rest only means something at OpenAI's own storage.
WITHHELD = frozenset(
    {
        "messages", "metadata", "model", "prompt_cache_key", "safety_identifier", "store", "stream", "stream_options",
        "user",
    }
)  # fmt: skip
_SPELLINGS = (("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens"))


def for_deployment(body: Mapping[str, Any], supported: Collection[str]) -> Json:
    """Standard parameters as they are; everything else in ``extra_body``, which LiteLLM sends on where it can.

    Only named parameters become arguments: a client's ``api_base`` or ``api_key`` would otherwise redirect the call,
    and with it the account's key. Of the two spellings of the output limit the one in ``supported`` is used.
    """
    arguments: Json = {name: body[name] for name in STANDARD & body.keys() if body[name] is not None}
    for given, other in _SPELLINGS:
        if given in arguments and given not in supported and other in supported:
            arguments.setdefault(other, arguments.pop(given))
    if unknown := {name: value for name, value in body.items() if name not in STANDARD and name not in WITHHELD}:
        arguments["extra_body"] = unknown
    return arguments


_REFUSAL = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|not (supported|permitted|allowed)|extra inputs?|unexpected|does not support",
    re.IGNORECASE,
)
# Without these the request is another one: a provider that refuses them can't serve it.
_ESSENTIAL = frozenset({"messages", "tools", "tool_choice", "functions", "response_format", "modalities", "audio"})


def refused(body: Mapping[str, Any], detail: str) -> set[str]:
    """The optional parameters of ``body`` that a provider's 400 names as unknown or unsupported."""
    if not _REFUSAL.search(detail):
        return set()
    optional = body.keys() - WITHHELD - _ESSENTIAL
    return {name for name in optional if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", detail)}
