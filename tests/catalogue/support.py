"""Loads a catalogue from what a test writes down."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue
from lumni.catalogue.price_map import PriceMap
from lumni.settings import Settings

TODAY = date(2026, 11, 21)

PRICES = PriceMap(
    {
        "groq/big-70b": {
            "litellm_provider": "groq",
            "mode": "chat",
            "input_cost_per_token": 5.9e-07,
            "output_cost_per_token": 7.9e-07,
            "max_input_tokens": 131072,
            "max_output_tokens": 32768,
            "supports_function_calling": True,
        },
        "groq/old-8b": {"litellm_provider": "groq", "mode": "chat", "deprecation_date": "2026-01-01"},
        "gpt-4o": {
            "litellm_provider": "openai",
            "mode": "chat",
            "input_cost_per_token": 2.5e-06,
            "output_cost_per_token": 1e-05,
            "max_input_tokens": 128000,
            "supports_vision": True,
            "supports_response_schema": True,
        },
        "gemini/embed": {"litellm_provider": "gemini", "mode": "embedding", "input_cost_per_token": 1e-07},
        "fireworks_ai/accounts/fireworks/models/tiny": {"litellm_provider": "fireworks_ai", "mode": "chat"},
        "ollama/llama3.1": {"litellm_provider": "ollama", "mode": "chat", "max_input_tokens": 8192},
    },
    frozenset({"groq", "openai", "gemini", "fireworks_ai", "ollama", "ollama_chat", "cerebras", "hosted_vllm"}),
)


def write(directory: Path, content: Mapping[str, Any] | str) -> Path:
    path = directory / "models.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def load(
    directory: Path, content: Mapping[str, Any] | str, environ: Mapping[str, str] | None = None, **settings: Any
) -> Catalogue:
    """The catalogue of ``content``, with the price map above and a fixed date; the lab is off unless asked for."""
    given = {"enable_lab": "off", **settings, "litellm_config": write(directory, content)}
    return load_catalogue(Settings(**given), environ or {}, today=TODAY, prices=PRICES)


def entry(group: str, model: str, info: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"model_name": group, "litellm_params": {"model": model, **params}, "model_info": dict(info or {})}
