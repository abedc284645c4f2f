"""How providers count, and what their free tiers allow, from ``data/free_tiers.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files as resources
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import yaml

from lumni.catalogue.limits import PLAIN, Counting, Stated, read_limits
from lumni.files import ConfigurationError, Finding

Scope = Literal["model", "account"]


class Match(NamedTuple):
    """The line of a free tier that a model falls under."""

    pattern: str
    limits: Stated


@dataclass(frozen=True)
class FreeTier:
    """One provider. ``scope``, narrowest first, is whose quota a limit is; ``holder`` what counts as one account there.

    ``training`` says when what is sent may be used for training, ``phone`` that the account is bound to a person's
    telephone number.
    """

    hosts: tuple[str, ...] = ()
    scope: tuple[Scope, ...] = ("model",)
    holder: Literal["account", "project", "organization"] = "account"
    counting: Counting = PLAIN
    counts_max_tokens: bool = False
    training: str = ""
    phone: bool = False
    source: str = ""
    as_of: date | None = None
    models: Mapping[str, Stated] = field(default_factory=dict)

    def find(self, model_id: str) -> Match | None:
        """The line for a model: its own name, else the longest pattern that fits."""
        fitting = [pattern for pattern in self.models if pattern == model_id or fnmatchcase(model_id, pattern)]
        best = max(fitting, key=lambda pattern: (pattern == model_id, len(pattern)), default=None)
        return None if best is None else Match(best, self.models[best])

    def is_at(self, base: str) -> bool:
        """Whether all this holds at ``base``: the provider's own address, or empty for LiteLLM's default."""
        return not base or urlsplit(base).hostname in self.hosts

    def elsewhere(self) -> "FreeTier":
        """What still holds at an address that isn't the provider's: how it counts, and by whose account; no amounts."""
        shared = self.models if "account" in self.scope else {}
        unknown = {
            pattern: {name: replace(limit, amount=None) for name, limit in known.items()}
            for pattern, known in shared.items()
        }
        return replace(self, hosts=(), models=unknown, training="", phone=False)

    @property
    def needs_consent(self) -> str:
        """Why its owner should agree before an account serves others; empty where nothing speaks for it."""
        if self.training:
            return f"what is sent may be used for training ({self.training})"
        return "such accounts are bound to a person's telephone number" if self.phone else ""


UNKNOWN = FreeTier()
"""A provider of which nothing is known: each model of an account is taken to have its own quota."""


@cache
def known_free_tiers() -> Mapping[str, FreeTier]:
    """The bundled catalogue by provider (LiteLLM's prefix)."""
    text = (resources("lumni.catalogue") / "data" / "free_tiers.yaml").read_text(encoding="utf-8")
    return {name: _tier(written) for name, written in yaml.safe_load(text)["providers"].items()}


def _tier(written: Mapping[str, Any]) -> FreeTier:
    faults: list[Finding] = []
    counting = Counting(written.get("day", ""), written.get("tokens") == "input", written.get("style", "sliding"))
    models = {
        pattern: read_limits(
            amounts, written["source"], faults, counting=counting, provenance="catalogue", as_of=written["as_of"]
        )
        for pattern, amounts in written["models"].items()
    }
    if faults:
        raise ConfigurationError(faults)
    return FreeTier(
        hosts=tuple(written["hosts"]),
        scope=tuple(written["scope"]),
        holder=written["holder"],
        counting=counting,
        counts_max_tokens=written.get("counts_max_tokens", False),
        training=written.get("training", ""),
        phone=written.get("phone", False),
        source=written["source"],
        as_of=written["as_of"],
        models=models,
    )
