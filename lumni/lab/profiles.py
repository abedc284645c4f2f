"""The providers that the lab can play: where they answer, which models they have, what they limit.

Amounts are the free tiers as listed in cheahjs/free-llm-api-resources on 2026-07-18 (Groq, Gemini, OpenRouter,
Mistral, Cerebras; Groq's 30 requests a minute from its own page), OpenAI's first paid tier, and for Together and
Fireworks the lab's own round numbers. Limits change often: the mechanism is what the lab is for, and ``--limits FILE``
the way to other numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from . import dialects
from .dialects import Dialect
from .limits import Limit, parse_limits

# Every profile also answers to the lab's own names.
LAB_MODELS = ("fast", "powerful", "echo", "embed")
_SMALL = (
    "8b",
    "7b",
    "3b",
    "4b",
    "1b",
    "20b",
    "mini",
    "nano",
    "small",
    "flash",
    "lite",
    "instant",
    "haiku",
    "nemo",
    "chat",
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider. ``models`` maps a model to its limits; ``shared`` limits hold for all its models together."""

    name: str
    base_path: str
    dialect: Dialect
    models: Mapping[str, tuple[Limit, ...]]
    shared: tuple[Limit, ...] = ()
    counts_max_tokens: bool = False
    counts_prompt_only: bool = False
    native_dialect: Dialect | None = None
    native_path: str | None = None

    def knows(self, model: str) -> bool:
        return model in self.models or model in LAB_MODELS


def behaviour_for(model: str) -> str:
    """How a provider's model answers: the small ones briefly, the others at length."""
    if model in ("fast", "powerful", "echo"):
        return model
    words = model.lower().replace("/", "-").replace(":", "-").split("-")
    return "fast" if any(word in _SMALL for word in words) else "powerful"


def default_profiles() -> dict[str, Profile]:
    """The profiles by name, in the order in which ``lumni lab serve`` lists them."""
    profiles = (
        _groq(),
        _gemini(),
        _openai(),
        _openrouter(),
        _mistral(),
        _cerebras(),
        Profile("deepseek", "/deepseek", dialects.DeepSeekDialect(), {"deepseek-chat": (), "deepseek-reasoner": ()}),
        _together(),
        _fireworks(),
    )
    return {profile.name: profile for profile in profiles}


def _same(models: tuple[str, ...], **limits: int | str) -> dict[str, tuple[Limit, ...]]:
    return dict.fromkeys(models, parse_limits(dict(limits)))


def _groq() -> Profile:
    tokens = {
        "llama-3.1-8b-instant": (14_400, 6_000),
        "llama-3.3-70b-versatile": (1_000, 12_000),
        "openai/gpt-oss-120b": (1_000, 8_000),
        "openai/gpt-oss-20b": (1_000, 8_000),
        "qwen/qwen3.6-27b": (1_000, 8_000),
        "groq/compound": (250, 70_000),
        "groq/compound-mini": (250, 70_000),
        "allam-2-7b": (7_000, 6_000),
    }
    models = {
        model: parse_limits({"rpm": 30, "rpd": rpd, "tpm": tpm, "kind": "refilling"})
        for model, (rpd, tpm) in tokens.items()
    }
    return Profile("groq", "/groq/openai/v1", dialects.GroqDialect(), models, counts_max_tokens=True)


def _gemini() -> Profile:
    requests = {
        "gemini-3.5-flash": (5, 20, 250_000),
        "gemini-3-flash-preview": (5, 20, 250_000),
        "gemini-3.1-flash-lite": (15, 500, 250_000),
        "gemini-2.5-flash": (5, 20, 250_000),
        "gemini-2.5-flash-lite": (10, 20, 250_000),
        "gemma-3-27b-it": (30, 14_400, 15_000),
        "gemini-embedding-001": (100, 1_000, 30_000),
    }
    models = {
        model: parse_limits({"rpm": rpm, "rpd": rpd, "tpm": tpm, "kind": "fixed"})
        for model, (rpm, rpd, tpm) in requests.items()
    }
    return Profile(
        "gemini",
        "/gemini/v1beta/openai",
        dialects.GeminiDialect(),
        models,
        counts_prompt_only=True,
        native_dialect=dialects.GeminiDialect(native=True),
        native_path="/gemini/v1beta",
    )


def _openai() -> Profile:
    models = _same(("gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini"), rpm=500, rpd=10_000, tpm=200_000, kind="refilling")
    models |= _same(("gpt-4o", "gpt-4.1", "gpt-5"), rpm=500, tpm=30_000, kind="refilling")
    models |= _same(("text-embedding-3-small", "text-embedding-3-large"), rpm=3_000, tpm=1_000_000, kind="refilling")
    return Profile("openai", "/openai/v1", dialects.Dialect(), models, counts_max_tokens=True)


def _openrouter() -> Profile:
    free = (
        "meta-llama/llama-3.3-70b-instruct:free",
        "meta-llama/llama-3.2-3b-instruct:free",
        "nousresearch/hermes-3-llama-3.1-405b:free",
        "google/gemma-4-31b-it:free",
        "google/gemma-4-26b-a4b-it:free",
        "nvidia/nemotron-3-super-120b-a12b:free",
        "nvidia/nemotron-nano-9b-v2:free",
    )
    shared = parse_limits({"rpm": 20, "rpd": 50, "kind": "fixed"})
    return Profile("openrouter", "/openrouter/api/v1", dialects.OpenRouterDialect(), dict.fromkeys(free, ()), shared)


def _mistral() -> Profile:
    names = (
        "mistral-small-latest",
        "mistral-medium-latest",
        "mistral-large-latest",
        "ministral-8b-latest",
        "open-mistral-nemo",
        "magistral-small-latest",
        "devstral-small-latest",
        "codestral-latest",
        "mistral-embed",
    )
    models = _same(names, rps=1, rpm=60, tpm=500_000, tpmonth=1_000_000_000, kind="fixed")
    return Profile("mistral", "/mistral/v1", dialects.MistralDialect(), models)


def _cerebras() -> Profile:
    limits = {"rpm": 30, "rph": 900, "rpd": 14_400, "tpm": 60_000, "tph": 1_000_000, "tpd": 1_000_000}
    models = _same(("gpt-oss-120b", "llama3.1-8b", "zai-glm-4.7"), **limits, kind="refilling")
    return Profile("cerebras", "/cerebras/v1", dialects.CerebrasDialect(), models, counts_max_tokens=True)


def _together() -> Profile:
    names = (
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
        "Qwen/Qwen3-235B-A22B-Instruct-2507-tput",
    )
    return Profile("together", "/together/v1", dialects.TogetherDialect(), _same(names, rpm=60, tpm=60_000))


def _fireworks() -> Profile:
    names = ("gpt-oss-120b", "gpt-oss-20b", "llama-v3p3-70b-instruct", "deepseek-v3p1")
    models = _same(tuple(f"accounts/fireworks/models/{name}" for name in names), rpm=10)
    return Profile("fireworks", "/fireworks/inference/v1", dialects.FireworksDialect(), models)
