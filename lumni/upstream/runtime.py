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
    _give_groq_a_service_tier()
    return litellm


def _give_groq_a_service_tier() -> None:
    """LiteLLM's Groq code reads ``service_tier`` unguarded and fails on every answer that has none."""
    from litellm.types.utils import ModelResponse

    if not hasattr(ModelResponse, "service_tier"):
        ModelResponse.service_tier = None
