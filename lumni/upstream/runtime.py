"""LiteLLM, imported once and made safe: every line here guards against something that an experiment showed.

The import costs seconds, so nothing outside this package's functions triggers it.
"""

import logging
import os
from typing import Any


def load_litellm() -> Any:
    """The ``litellm`` module, configured. Idempotent.

    - its price map is read from the package, never fetched from the network at import;
    - no tokenizer is downloaded (a model name with ``llama-3`` in it would block the loop for 20 s offline);
    - its own logging, which prints request contents and errors, stays silent: Lumni writes the log;
    - parameters that a provider doesn't know are dropped for that provider.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.disable_hf_tokenizer_download = True
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = True
    litellm.expose_router_debug_in_errors = False
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _forget_a_parsed_tokenizer(litellm)
    _give_groq_a_service_tier()
    _keep_ollama_from_blocking()
    return litellm


async def close_clients(litellm: Any) -> None:
    """Close every connection of LiteLLM's, in the event loop that they were opened in."""
    # Streams of Gemini and Anthropic use this one, which LiteLLM forgets. It opens another session when it needs one.
    await litellm.module_level_aclient.client._transport.aclose()  # noqa: SLF001
    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()  # else a later start in this process would get closed ones


def _forget_a_parsed_tokenizer(litellm: Any) -> None:
    """LiteLLM keeps Claude's tokenizer as text, which it counts with, and parsed, 8 MiB that nothing asks for."""
    vars(litellm.utils).pop("json_data", None)


def _give_groq_a_service_tier() -> None:
    """LiteLLM's Groq code reads ``service_tier`` unguarded and fails on every answer that has none."""
    from litellm.types.utils import ModelResponse

    if not hasattr(ModelResponse, "service_tier"):
        ModelResponse.service_tier = None


def _keep_ollama_from_blocking() -> None:
    """After each answer LiteLLM's logging asks Ollama about the model, in the event loop, and waits for it.

    Without that it knows no price and no window of the model, which the catalogue does.
    """
    from litellm.llms.ollama.common_utils import OllamaModelInfo

    def unknown(self: Any, model: str, api_base: str | None = None, api_key: str | None = None) -> None:  # noqa: ARG001
        return None

    OllamaModelInfo.get_model_info = unknown
