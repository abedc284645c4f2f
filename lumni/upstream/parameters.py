"""From a client's body to the keyword arguments of ``litellm.acompletion``, for one deployment."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from lumni.catalogue.model import Deployment
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


# LiteLLM's names of providers whose format isn't OpenAI's.
_OWN_FORMAT = frozenset(
    {
        "anthropic", "anthropic_text", "bedrock", "cohere", "cohere_chat", "gemini", "ollama", "ollama_chat",
        "replicate", "sagemaker", "vertex_ai", "vertex_ai_beta", "watsonx_text",
    }
)  # fmt: skip
# OpenAI's body hasn't got these, but LiteLLM translates them for such providers.
_TRANSLATED = frozenset({"thinking", "top_k"})


def for_deployment(
    body: Mapping[str, Any],
    supported: Collection[str],
    refused: Collection[str] = frozenset(),
    provider: str = "openai",
) -> Json:
    """Standard parameters as they are; everything else in ``extra_body``, if ``provider`` (LiteLLM's) takes it.

    Where the format is not OpenAI's, unknown fields mean nothing, and LiteLLM may send ``extra_body`` by that name.
    Only named parameters become arguments: a client's ``api_base`` or ``api_key`` would otherwise redirect the call,
    and with it the account's key. Of the two spellings of the output limit the one in ``supported`` is used, or the one
    that isn't ``refused``.
    """
    arguments: Json = {}
    unknown: Json = {}
    for name, value in body.items():
        if name in STANDARD:
            if value is not None:
                arguments[name] = value
        elif name not in WITHHELD and name not in refused:
            unknown[name] = value
    for given, other in _SPELLINGS:
        wrong = given in refused or (given not in supported and other in supported)
        if given in arguments and wrong and other not in refused:
            arguments.setdefault(other, arguments.pop(given))
    if refused:
        arguments = {name: value for name, value in arguments.items() if name not in refused}
    if unknown and provider not in _OWN_FORMAT:
        arguments["extra_body"] = unknown
    elif unknown:
        arguments |= {name: unknown[name] for name in _TRANSLATED & unknown.keys()}
    return arguments


class Supported:
    """What deployments' providers support of OpenAI's parameters, as LiteLLM has it."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm
        self._known: dict[str, frozenset[str]] = {}

    def by(self, deployment: Deployment) -> frozenset[str]:
        if deployment.id not in self._known:
            provider = deployment.model.split("/", 1)[0]
            listed = self._litellm.get_supported_openai_params(model=deployment.model_id, custom_llm_provider=provider)
            self._known[deployment.id] = frozenset(listed or STANDARD)
        return self._known[deployment.id]


_REFUSAL = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|not (supported|permitted|allowed)|extra inputs?|unexpected|does not support",
    re.IGNORECASE,
)
# "Unsupported value: 'temperature' does not support 0.2": another request's value may be fine.
_VALUE = re.compile(r"\bvalues?\b", re.IGNORECASE)
# Without these the request is another one: a provider that refuses them can't serve it.
_ESSENTIAL = frozenset({"messages", "tools", "tool_choice", "functions", "response_format", "modalities", "audio"})


def refused(body: Mapping[str, Any], detail: str) -> set[str]:
    """The optional parameters of ``body`` that a provider's 400 names as unknown or unsupported."""
    if not _REFUSAL.search(detail):
        return set()
    optional = body.keys() - WITHHELD - _ESSENTIAL
    return {name for name in optional if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", detail)}


def is_lasting(detail: str) -> bool:
    """Whether a refusal is of the parameters themselves, not of the values that this request gave them."""
    return not _VALUE.search(detail)
