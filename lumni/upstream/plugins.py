"""Providers that LiteLLM doesn't know, written as one class of three methods.

A model list names them the way LiteLLM's does::

    litellm_settings:
      custom_provider_map:
        - provider: campus                      # models are then called campus/<model>
          custom_handler: campus_provider.Campus  # campus_provider.py, beside the list or importable

The handler may also be one of LiteLLM's own ``CustomLLM`` instances.
"""

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from lumni.files import ConfigurationError, Finding
from lumni.types import Json


class ProviderPlugin(ABC):
    """A provider. Raise ``PluginError`` with an HTTP status for what the provider refuses; anything else is a 500.

    Streams are made from the whole answer, in one piece.
    """

    @abstractmethod
    def translate_request(self, model: str, body: Json) -> Any:
        """The provider's request for an OpenAI chat ``body`` and the provider's own name of the ``model``."""

    @abstractmethod
    async def make_request(
        self,
        request: Any,
        *,
        api_key: str | None,
        api_base: str | None,
        timeout: float | None,  # noqa: ASYNC109  (HTTP clients want it as a number)
    ) -> Any:
        """Send it, within ``timeout`` seconds, and return the provider's response."""

    @abstractmethod
    def translate_response(self, model: str, response: Any) -> Json:
        """The provider's response as an OpenAI ``chat.completion``: ``choices`` at least, ``usage`` if it is known."""


class PluginError(Exception):
    """``status`` is an HTTP status: 429, 401, 503 and so on are treated as any provider's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.message = message


def register_plugins(litellm: Any, entries: Iterable[Mapping[str, Any]], beside: Path) -> None:
    """Make the listed providers known to LiteLLM. ``beside`` is the model list's folder.

    Raises :class:`lumni.files.ConfigurationError` for a handler that can't be found or isn't one.
    """
    for entry in entries:
        name, handler = str(entry["provider"]), entry["custom_handler"]
        found = _import(handler, beside) if isinstance(handler, str) else handler
        if isinstance(found, type) and issubclass(found, ProviderPlugin):
            found = found()
        if isinstance(found, ProviderPlugin):
            found = _adapter(litellm, name, found)
        others = [item for item in litellm.custom_provider_map if item["provider"] != name]
        litellm.custom_provider_map = [*others, {"provider": name, "custom_handler": found}]
    litellm.utils.custom_llm_setup()


def _import(dotted: str, beside: Path) -> Any:
    module_name, _, attribute = dotted.rpartition(".")
    try:
        path = beside / Path(*module_name.split(".")).with_suffix(".py")
        if path.is_file():
            spec = importlib.util.spec_from_file_location(module_name, path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{path} is no Python module")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(module_name)
        return getattr(module, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        finding = Finding(
            "error",
            f"custom_provider_map: {dotted} can't be loaded: {error}",
            "Name a class as module.Class; the module lies beside the model list or is installed",
        )
        raise ConfigurationError([finding]) from error


def _adapter(litellm: Any, provider: str, plugin: ProviderPlugin) -> Any:
    """The plugin behind LiteLLM's interface for custom providers."""
    from litellm.llms.custom_llm import CustomLLM
    from litellm.types.utils import ModelResponse, ModelResponseStream

    class PluginAdapter(CustomLLM):  # type: ignore[misc]  # litellm is untyped here
        async def acompletion(self, *, model: str, messages: list[Json], optional_params: Json, **given: Any) -> Any:
            options = {k: v for k, v in optional_params.items() if k not in ("stream", "stream_options", "max_retries")}
            body = {**options.pop("extra_body", {}), **options, "model": model, "messages": messages}
            try:
                response = await plugin.make_request(
                    plugin.translate_request(model, body),
                    api_key=given.get("api_key"),
                    api_base=given.get("api_base"),
                    timeout=given.get("timeout"),
                )
            except PluginError as error:
                raise _as_litellm(litellm, error, model, provider) from error
            return ModelResponse(**{"model": model, **plugin.translate_response(model, response)})

        async def astreaming(self, **given: Any) -> AsyncIterator[Any]:
            whole = (await self.acompletion(**given)).model_dump()
            for choice in whole["choices"]:
                message = {name: value for name, value in choice["message"].items() if value is not None}
                for index, call in enumerate(message.get("tool_calls") or ()):
                    call.setdefault("index", index)
                shown = {"index": choice["index"], "delta": message, "finish_reason": None}
                yield ModelResponseStream(id=whole["id"], model=whole["model"], choices=[shown])
            ends = [{"index": c["index"], "delta": {}, "finish_reason": c["finish_reason"]} for c in whole["choices"]]
            # LiteLLM looks at a chunk's first choice only; the others' finish reasons ride along with it.
            yield ModelResponseStream(id=whole["id"], model=whole["model"], choices=ends, usage=whole.get("usage"))

    return PluginAdapter()


def _as_litellm(litellm: Any, error: PluginError, model: str, provider: str) -> Exception:
    """The exception that LiteLLM itself would raise for this status."""
    kinds = {
        400: litellm.BadRequestError,
        401: litellm.AuthenticationError,
        404: litellm.NotFoundError,
        429: litellm.RateLimitError,
        503: litellm.ServiceUnavailableError,
    }
    kind = kinds.get(error.status_code, litellm.InternalServerError)
    raised: Exception = kind(message=error.message, model=model, llm_provider=provider)
    return raised
