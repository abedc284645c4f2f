"""The providers that Lumni knows more about than LiteLLM says: their keys, free tiers and peculiarities.

Any other of LiteLLM's providers works too: it is assumed to take its key from ``<NAME>_API_KEY``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Provider:
    """``name`` is LiteLLM's prefix, ``also`` are other names that people use, ``keys`` the variables of its API key.

    ``api_base`` marks a provider that is addressed as ``openai/`` there, because LiteLLM's own adapter for it ignores
    ``max_retries``. ``default_base`` is where a provider on one's own machine is looked for; it costs
    nothing. ``opt_in`` is why it stays off until someone switches it on. ``personal`` subscriptions are never pooled.
    """

    name: str
    label: str
    keys: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    free_tier: bool = False
    keyless: bool = False
    api_base: str = ""
    default_base: str = ""
    opt_in: str = ""
    personal: bool = False

    @property
    def switches(self) -> tuple[str, ...]:
        """The variables that switch it on and off, such as ``ENABLE_GROQ``."""
        return tuple(f"ENABLE_{_variable(name)}" for name in (self.name, *self.also))

    @property
    def base_variables(self) -> tuple[str, ...]:
        """The variables that send its requests elsewhere, as LiteLLM names them: ``GROQ_API_BASE``."""
        return tuple(f"{_variable(name)}_API_BASE" for name in (self.name, *self.also))


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


LAB = "lumni-lab"
COPILOT_OPT_IN = "GitHub Copilot is a personal subscription: set ENABLE_GITHUB_COPILOT=true if it is yours alone"
OLLAMA_OPT_IN = "Ollama runs on your own machine: set OLLAMA_API_BASE=http://localhost:11434 or ENABLE_OLLAMA=true"

# Free tiers as of 2026-07-18 (cheahjs/free-llm-api-resources).
KNOWN: tuple[Provider, ...] = (
    Provider("groq", "Groq", ("GROQ_API_KEY",), free_tier=True),
    Provider("gemini", "Google Gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("google",), free_tier=True),
    Provider("cerebras", "Cerebras", ("CEREBRAS_API_KEY",), free_tier=True),
    Provider("mistral", "Mistral", ("MISTRAL_API_KEY",), free_tier=True),
    Provider("codestral", "Mistral Codestral", ("CODESTRAL_API_KEY",), free_tier=True),
    Provider("openrouter", "OpenRouter", ("OPENROUTER_API_KEY", "OR_API_KEY")),
    Provider("cohere_chat", "Cohere", ("COHERE_API_KEY", "CO_API_KEY"), ("cohere",), free_tier=True),
    Provider("deepseek", "DeepSeek", ("DEEPSEEK_API_KEY",)),
    Provider(
        "together_ai",
        "Together AI",
        ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_AI_TOKEN"),
        ("together", "togetherai"),
    ),
    Provider(
        "fireworks_ai",
        "Fireworks AI",
        ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY"),
        ("fireworks", "fireworksai"),
    ),
    Provider("openai", "OpenAI", ("OPENAI_API_KEY",), ("openai_compatible",)),
    Provider("anthropic", "Anthropic", ("ANTHROPIC_API_KEY",), ("claude",)),
    Provider("huggingface", "Hugging Face", ("HUGGINGFACE_API_KEY", "HF_TOKEN")),
    Provider("github", "GitHub Models", ("GITHUB_API_KEY", "GITHUB_TOKEN"), ("github_models",), free_tier=True),
    Provider("github_copilot", "GitHub Copilot", also=("copilot",), keyless=True, opt_in=COPILOT_OPT_IN, personal=True),
    Provider(
        "ollama_chat",
        "Ollama",
        also=("ollama",),
        free_tier=True,
        keyless=True,
        default_base="http://localhost:11434",
        opt_in=OLLAMA_OPT_IN,
    ),
    Provider(
        "ollama", "Ollama", free_tier=True, keyless=True, default_base="http://localhost:11434", opt_in=OLLAMA_OPT_IN
    ),
    Provider(
        "nvidia_nim",
        "NVIDIA NIM",
        ("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY"),
        ("nvidia",),
        free_tier=True,
        api_base="https://integrate.api.nvidia.com/v1",
    ),
    Provider("sambanova", "SambaNova", ("SAMBANOVA_API_KEY",), api_base="https://api.sambanova.ai/v1"),
    Provider("hyperbolic", "Hyperbolic", ("HYPERBOLIC_API_KEY",), api_base="https://api.hyperbolic.xyz/v1"),
    Provider("zai", "Z.ai", ("ZAI_API_KEY",), api_base="https://api.z.ai/api/paas/v4"),
    Provider("deepinfra", "DeepInfra", ("DEEPINFRA_API_KEY",), api_base="https://api.deepinfra.com/v1/openai"),
    Provider(LAB, "Lumni's lab", also=("lab",), free_tier=True, keyless=True),
    # Their credentials come from a cloud's own tools, or they are servers of one's own that need none.
    Provider("vertex_ai", "Google Vertex AI", keyless=True),
    Provider("bedrock", "AWS Bedrock", keyless=True),
    Provider("sagemaker", "AWS SageMaker", keyless=True),
    Provider("hosted_vllm", "vLLM", ("HOSTED_VLLM_API_KEY",), keyless=True),
    Provider("lm_studio", "LM Studio", ("LM_STUDIO_API_KEY",), keyless=True),
    Provider("llamafile", "llamafile", ("LLAMAFILE_API_KEY",), keyless=True),
)

BY_NAME: Mapping[str, Provider] = {name: provider for provider in KNOWN for name in (*provider.also, provider.name)}


def provider_named(name: str) -> Provider:
    """The provider of a prefix or of another name for it (``together``); an unknown one with LiteLLM's conventions."""
    known = BY_NAME.get(name) or BY_NAME.get(name.lower().replace("-", "_"))
    return known or Provider(name, name, (f"{_variable(name)}_API_KEY",))


def provider_at(api_base: str) -> Provider | None:
    """The provider whose own address ``api_base`` is, for entries that name it as ``openai/`` plus an address."""
    host = urlsplit(api_base).hostname
    return next((p for p in KNOWN if p.api_base and urlsplit(p.api_base).hostname == host), None)
