"""How each provider writes its errors, its limits and its extra fields."""

from .base import Dialect, Refused
from .cerebras import CerebrasDialect
from .gemini import GeminiDialect
from .groq import GroqDialect
from .hosts import DeepSeekDialect, FireworksDialect, TogetherDialect
from .mistral import MistralDialect
from .openrouter import OpenRouterDialect

__all__ = [
    "CerebrasDialect",
    "DeepSeekDialect",
    "Dialect",
    "FireworksDialect",
    "GeminiDialect",
    "GroqDialect",
    "MistralDialect",
    "OpenRouterDialect",
    "Refused",
    "TogetherDialect",
]
