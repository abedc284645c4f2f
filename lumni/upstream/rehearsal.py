"""Whether LiteLLM would change anything about a request: it is asked to write it, and nothing is sent.

Most providers take OpenAI's format with exceptions: Mistral spells ``seed`` otherwise, Groq has no ``null`` function
call, Fireworks another ``response_format``. LiteLLM knows them, so its own words decide, not a list of ours that its
next version would make wrong. A rehearsal takes some milliseconds and is made once for each *shape* of a request.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json
from lumni.upstream import parameters
from lumni.upstream.parameters import Supported
from lumni.upstream.shape import Shape, sample, shape_of

logger = logging.getLogger(__name__)

# Whose answers are OpenAI's too, or differ only in what ``lumni.upstream.relay`` reads (LiteLLM's names).
SPEAKERS = frozenset(
    {
        "cerebras", "codestral", "deepseek", "fireworks_ai", "github", "groq", "hosted_vllm", "llamafile", "lm_studio",
        "mistral", "openai", "openrouter", "together_ai", "xai",
    }
)  # fmt: skip
# What a deployment may have in its ``litellm_params``; anything else means something to LiteLLM alone.
_UNDERSTOOD = frozenset({"api_base", "api_key", "custom_llm_provider", "extra_headers", "model"})
_GUARDS: Json = {"max_retries": 0, "num_retries": 0, "_skip_mcp_handler": True}
_MASKED = "****"
_SENT_HEADERS = frozenset({"authorization", "content-type"})
_PLAIN: Json = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
SHAPES = 4096
"""So many shapes are remembered of all deployments together; clients choose them."""


@dataclass(frozen=True)
class Script:
    """How a deployment is called in OpenAI's format: where, with which headers besides those that its entry adds, and
    what is always in the body.

    ``counts_streams``: it takes ``stream_options``, without which most providers say nothing of a stream's usage.
    """

    url: str
    model: str
    headers: Mapping[str, str] = field(repr=False)
    always: Mapping[str, Any]
    counts_streams: bool


class Rehearsals:
    """Remembers what came of them: a script by deployment, and of each shape of a request whether it is plain."""

    def __init__(self, litellm: Any, supported: Supported) -> None:
        self._litellm = litellm
        self._supported = supported
        self._scripts: dict[str, Script | None] = {}
        self._plain: dict[tuple[str, Shape], bool] = {}

    def script(self, deployment: Deployment, *, forced: bool = False) -> Script | None:
        """``None`` for a deployment that only LiteLLM can call. ``forced``: somebody says that it speaks OpenAI's."""
        if deployment.id not in self._scripts:
            self._scripts[deployment.id] = self._written(deployment, forced=forced)
        return self._scripts[deployment.id]

    def is_plain(self, deployment: Deployment, request: ChatRequest) -> bool:
        """Whether LiteLLM would send this request to this deployment as it is."""
        script, shape = self.script(deployment), shape_of(request)
        if script is None or shape is None:
            return False
        key = deployment.id, shape
        if key not in self._plain:
            if len(self._plain) >= SHAPES:
                self._plain.clear()
            self._plain[key] = self._rehearse_shape(deployment, script, request)
        return self._plain[key]

    def _written(self, deployment: Deployment, *, forced: bool) -> Script | None:
        provider, params = deployment.params["model"].split("/", 1)[0], deployment.params
        speakers = SPEAKERS.union(self._litellm.openai_compatible_providers) if forced else SPEAKERS
        if provider not in speakers or (params.keys() - _UNDERSTOOD and not forced):
            if forced:
                logger.warning("%s can't be relayed: only LiteLLM knows %s's format", deployment.id, provider)
            return None
        told = self._rehearse(deployment, _PLAIN, stream=True)
        if told is None:
            return None
        headers = {str(k).lower(): str(v) for k, v in told["headers"].items() if str(k).lower() not in _SENT_HEADERS}
        if any(_MASKED in value for value in headers.values()):
            return None  # a credential of another kind, which LiteLLM doesn't show
        if key := params.get("api_key"):
            headers["authorization"] = f"Bearer {key}"
        expected = {"model", "messages", "max_tokens", "stream", "stream_options"}
        url = told["url"].rstrip("/")
        return Script(
            url=url if url.endswith("/chat/completions") else f"{url}/chat/completions",
            model=told["body"]["model"],
            headers={**headers, "content-type": "application/json"},
            always={name: value for name, value in told["body"].items() if name not in expected},
            counts_streams="stream_options" in told["body"],
        )

    def _rehearse_shape(self, deployment: Deployment, script: Script, request: ChatRequest) -> bool:
        body = sample(request.body)
        told = self._rehearse(deployment, body, stream=request.stream)
        if told is None:
            return False
        ours = payload(script, deployment, body, self._supported.by(deployment), stream=request.stream)
        return _without_nulls(ours) == _without_nulls(told["body"])

    def _rehearse(self, deployment: Deployment, body: Json, *, stream: bool) -> Json | None:
        """What LiteLLM would send: ``url``, ``headers``, ``body``; ``None`` if it would not, or can't be asked."""
        from litellm.types.utils import CallTypes
        from litellm.utils import return_raw_request

        provider = deployment.model.split("/", 1)[0]
        arguments = parameters.for_deployment(body, self._supported.by(deployment), provider=provider)
        options: Json = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        params = {name: value for name, value in deployment.params.items() if name != "api_key"}
        asked = orjson.loads(orjson.dumps({**params, **arguments, **options, "messages": body["messages"]}))
        try:
            told = return_raw_request(CallTypes.completion, {**asked, **_GUARDS})
            written = told["raw_request_body"]
            if told.get("error") or not written:
                raise ValueError(told.get("error"))
            extra = written.pop("extra_body", None) or {}
            url, headers = str(told["raw_request_api_base"]), dict(told["raw_request_headers"] or {})
        except Exception:
            logger.debug("LiteLLM writes no request for %s", deployment.id, exc_info=True)
            return None
        return {"url": url, "headers": headers, "body": {**written, **extra}}


def payload(
    script: Script,
    deployment: Deployment,
    body: Mapping[str, Any],
    supported: frozenset[str],
    refused: frozenset[str] = frozenset(),
    *,
    stream: bool,
) -> Json:
    """The provider's request for a client's ``body``, in OpenAI's format."""
    provider = deployment.model.split("/", 1)[0]
    arguments = parameters.for_deployment(body, supported, refused, provider)
    extra = arguments.pop("extra_body", {})
    sent = {"model": script.model, "messages": body["messages"], **arguments, **extra, **script.always}
    if stream:
        sent["stream"] = True
        if script.counts_streams:
            sent["stream_options"] = {"include_usage": True}
    return sent


def _without_nulls(body: Json) -> Json:
    """What is ``null`` in a message is as good as not there."""
    messages = [{name: value for name, value in one.items() if value is not None} for one in body.get("messages") or ()]
    return {**body, "messages": messages}
