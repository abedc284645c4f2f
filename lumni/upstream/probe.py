"""Calls that cost no quota: a provider's list of models, asked with an account's key.

They tell whether the provider answers, whether it still takes the key, and which models it has. Where they are, by the
providers' own API references: OpenAI, Groq, Cerebras, Mistral, DeepSeek, Together AI, Fireworks AI ``GET /models``;
Gemini ``GET /v1beta/models``; Anthropic and Cohere ``GET /v1/models``; Ollama ``GET /api/tags``. OpenRouter shows its
models to anyone, but a key's own data (``GET /key``) only to that key.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import orjson

from lumni.catalogue.model import Deployment
from lumni.types import Outcome
from lumni.upstream.failures import clean, secrets_in

SECONDS = 10.0  # for the whole call
LARGEST = 4 * 2**20  # bytes of an answer that are read

# LiteLLM's prefix -> where the provider's free call is below its usual address.
_HOMES = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "together_ai": "https://api.together.xyz/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "anthropic": "https://api.anthropic.com",
    "cohere_chat": "https://api.cohere.com/v1",
}
# Servers that one addresses by their own address; they show ``/models`` as OpenAI does.
_SERVERS = frozenset({"hosted_vllm", "lm_studio", "llamafile"})
_OLLAMA = frozenset({"ollama", "ollama_chat"})
_PATHS = {
    "openrouter": "/key",
    "gemini": "/models?pageSize=1000",
    "anthropic": "/v1/models?limit=1000",
    "cohere_chat": "/models?page_size=1000",
}
# What a provider says of a key that may chat but not list: it proves nothing against the key.
_MAY_NOT_LIST = ("scope", "permission", "restricted")


@dataclass(frozen=True, slots=True)
class FreeCall:
    """A ``GET`` that costs nothing. ``proves_key``: its 200 means that the key was taken, as far as we know before."""

    url: str = field(repr=False)  # may hold a password
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    proves_key: bool = False


class Finding(NamedTuple):
    """What a free call showed. ``detail`` is fit for a log; ``models`` are the names listed, if any.

    ``outcome`` is ``AUTH`` only if the key itself was refused, and ``SKIPPED`` where there is no such call after all.
    """

    outcome: Outcome
    detail: str = ""
    models: frozenset[str] = frozenset()


def free_call(deployment: Deployment) -> FreeCall | None:
    """The free call for a deployment's account; ``None`` where we know of none."""
    params = deployment.params
    prefix = str(params.get("model", deployment.model)).split("/", 1)[0]
    home, base = _HOMES.get(prefix, ""), str(params.get("api_base") or "").rstrip("/")
    if prefix == "anthropic":  # LiteLLM takes its address with or without the path
        base = base.removesuffix("/v1/messages").removesuffix("/v1")
    if not (home or (base and prefix in _SERVERS | _OLLAMA)):
        return None
    path = "/api/tags" if prefix in _OLLAMA else _PATHS.get(prefix, "/models")
    key = str(params.get("api_key") or "")
    headers = {**_credentials(prefix, key), **(params.get("extra_headers") or {})}
    return FreeCall(
        f"{base or home}{path}",
        tuple(sorted((str(name), str(value)) for name, value in headers.items())),
        (*secrets_in(params), *map(str, headers.values())),
        proves_key=base in ("", home),
    )


def _credentials(prefix: str, key: str) -> dict[str, str]:
    if not key:
        return {}
    if prefix == "gemini":
        return {"x-goog-api-key": key}
    if prefix == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


class Prober:
    """Makes free calls. Redirects aren't followed: the key is for nobody else."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=SECONDS, follow_redirects=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, call: FreeCall) -> Finding:
        """Never raises but for its own cancellation."""
        try:
            async with asyncio.timeout(SECONDS), self._client.stream("GET", call.url, headers=call.headers) as answer:
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST:
                        return Finding(Outcome.UNAVAILABLE, "its list of models is too long to be read")
        except (TimeoutError, httpx.TimeoutException):
            return Finding(Outcome.TIMEOUT, "no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return Finding(Outcome.UNAVAILABLE, "no connection")
        return _read(answer.status_code, body, call.secrets)


def _read(status: int, body: bytes, secrets: Iterable[str]) -> Finding:
    if status == 200:
        return Finding(Outcome.OK, models=_names(body))
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    detail = f"HTTP {status}: {clean(text)}" if text else f"HTTP {status}"
    if status in (401, 403) or (status == 400 and "API_KEY_INVALID" in text):
        unclear = any(word in text.lower() for word in _MAY_NOT_LIST)
        return Finding(Outcome.SKIPPED if unclear else Outcome.AUTH, detail)
    if status in (404, 405):
        return Finding(Outcome.SKIPPED, detail)
    return Finding(Outcome.RATE_LIMITED if status == 429 else Outcome.UNAVAILABLE, detail)


def _names(body: bytes) -> frozenset[str]:
    """The models in a list of OpenAI's, Gemini's, Cohere's or Ollama's form."""
    try:
        listed: Any = orjson.loads(body)
        rows = listed.get("data") or listed.get("models") or ()
        names = [row.get("id") or row.get("name") for row in rows]
    except (AttributeError, TypeError, ValueError):
        return frozenset()
    return frozenset(str(name).removeprefix("models/") for name in names if name)
