"""The pool of free accounts that the class shares, as the lab plays them, as a model list names them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lumni.lab.limits import Limit, parse_limits
from lumni.lab.profiles import Profile, default_profiles

GROUP = "class"


@dataclass(frozen=True)
class Account:
    """One credential at one provider with one quota. ``limits`` are the lab's, by their usual names.

    Several ``models`` share the quota. ``path`` is where LiteLLM reaches the provider, below the lab's address.
    """

    name: str
    profile: str
    prefix: str
    models: tuple[str, ...]
    limits: Mapping[str, int | str]
    path: str = ""
    seconds_to_answer: float = field(default=2.0, repr=False)

    @property
    def plays(self) -> Profile:
        """The lab's profile."""
        return default_profiles()[self.profile]

    def parsed(self) -> tuple[Limit, ...]:
        """What is enforced."""
        return parse_limits(dict(self.limits))

    def amounts(self) -> dict[str, int]:
        """The limits without how their windows move."""
        return {name: amount for name, amount in self.limits.items() if isinstance(amount, int)}


_GROQ: dict[str, int | str] = {"rpm": 30, "tpm": 6_000, "rpd": 14_400, "kind": "refilling"}
_GEMINI: dict[str, int | str] = {"rpm": 15, "tpm": 250_000, "rpd": 500, "kind": "fixed"}
# The published free tiers of July 2026 (lumni/lab/profiles.py names the source); Together's are the lab's own.
ACCOUNTS = (
    Account("groq-a", "groq", "groq", ("llama-3.1-8b-instant",), _GROQ),
    Account("groq-b", "groq", "groq", ("llama-3.1-8b-instant",), _GROQ),
    Account("gemini-a", "gemini", "gemini", ("gemini-3.1-flash-lite",), _GEMINI, path="/gemini/v1beta"),
    Account("gemini-b", "gemini", "gemini", ("gemini-3.1-flash-lite",), _GEMINI, path="/gemini/v1beta"),
    Account(
        "openrouter-a",
        "openrouter",
        "openrouter",
        ("nvidia/nemotron-nano-9b-v2:free", "meta-llama/llama-3.2-3b-instruct:free"),
        {"rpm": 20, "rpd": 50, "kind": "fixed"},
    ),
    Account(
        "mistral-a",
        "mistral",
        "mistral",
        ("mistral-small-latest",),
        {"rps": 1, "rpm": 60, "tpm": 500_000, "kind": "fixed"},
    ),
    Account(
        "cerebras-a",
        "cerebras",
        "cerebras",
        ("llama3.1-8b",),
        {"rpm": 30, "rph": 900, "tpm": 60_000, "kind": "refilling"},
    ),
    Account("together-a", "together", "together_ai", ("openai/gpt-oss-20b",), {"rpm": 40, "tpm": 60_000}),
)
WINDOWS = ("own", "sliding")


def with_windows(accounts: Sequence[Account], windows: str) -> tuple[Account, ...]:
    """The accounts, their limits enforced as each provider does (``own``), or all over any such period (``sliding``).

    Nobody tells a gateway which it is: what keeps within sliding limits keeps within all, but may leave room unused.
    """
    if windows == "own":
        return tuple(accounts)
    return tuple(replace(account, limits={**account.limits, "kind": windows}) for account in accounts)


FLAKY = "together"
FLAKY_SHARE = 0.25


def lab_limits(accounts: Sequence[Account]) -> dict[str, Any]:
    """The file for ``lumni lab serve --limits``: two accounts of one provider have the same limits there."""
    limits: dict[str, Any] = {}
    for account in accounts:
        models = limits.setdefault(account.profile, {})
        names = account.models if len(account.models) == 1 else ("shared",)
        for name in names:
            if models.setdefault(name, dict(account.limits)) != dict(account.limits):
                raise ValueError(f"the lab limits {account.profile}'s {name} alike for all accounts")
    return limits


def flaky_fault() -> str:
    """The option of ``lumni lab serve`` that makes one provider answer 503 now and then."""
    return f"status:status=503,profile={FLAKY},probability={FLAKY_SHARE},times=forever"
