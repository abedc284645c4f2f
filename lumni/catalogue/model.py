"""What may be called: deployments, frozen once loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from lumni.catalogue.limits import Limit, PoolLimits
from lumni.money import NanoUSD, cost
from lumni.types import TaskType, Usage

LaneChoice = Literal["auto", "relay", "translated"]


@dataclass(frozen=True, slots=True)
class Price:
    """List price in nano-USD per million tokens."""

    prompt: NanoUSD
    completion: NanoUSD

    def of(self, usage: Usage) -> NanoUSD:
        return NanoUSD(cost(usage.prompt_tokens, self.prompt) + cost(usage.completion_tokens, self.completion))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do. ``None`` means that no source says: it is then not held against the model.

    Windows are in tokens.
    """

    context_window: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    streaming: bool | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Whom an account may serve: only its ``owner`` if ``personal``. ``consent`` says who agreed to more, and when."""

    kind: Literal["", "personal", "class", "organization"] = ""
    owner: str = ""
    consent: str = ""


@dataclass(frozen=True)
class Deployment:
    """Provider + model + account + base: one entry of ``model_list``.

    ``model`` is LiteLLM's name (``groq/llama-3.3-70b-versatile``), ``params`` its ``litellm_params`` with secrets
    resolved (never shown: it is left out of ``repr``). ``priority`` 0 is the highest. ``disabled`` says in a sentence
    why it can't be called, and is empty when it can. ``free`` means that nobody is billed for it. ``pools`` are the
    quotas that it draws on, the narrowest first; none for a model on one's own machine. ``lane`` says who carries
    requests to it: LiteLLM translates them, or they are relayed as they are; ``auto`` leaves that to each request.
    """

    id: str
    group: str
    provider: str
    account: str
    model: str
    params: Mapping[str, Any] = field(repr=False)
    priority: int = 0
    tier: TaskType = "fast"
    capabilities: Capabilities = Capabilities()
    price: Price | None = None
    free: bool = True
    disabled: str = ""
    owned_by: str = ""
    created: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)
    pools: tuple[PoolLimits, ...] = ()
    counts_max_tokens: bool = False
    terms: Terms = Terms()
    lane: LaneChoice = "auto"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All that is known to limit it, the narrowest first."""
        return tuple(limit for pool in self.pools for limit in pool.limits)

    @property
    def enabled(self) -> bool:
        return not self.disabled

    @property
    def model_id(self) -> str:
        """The provider's own name of the model."""
        return self.model.split("/", 1)[1] if "/" in self.model else self.model


@dataclass(frozen=True)
class Catalogue:
    """All deployments in the file's order, and the Router's settings that LiteLLM understands.

    ``cache_params`` say where the response cache's store is, in LiteLLM's words. ``environment`` are the list's
    ``environment_variables``, weaker than the process's own.
    """

    deployments: tuple[Deployment, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    router_settings: Mapping[str, Any] = field(default_factory=dict)
    litellm_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cache_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    callbacks: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Deployment]:
        return MappingProxyType({deployment.id: deployment for deployment in self.deployments})

    @cached_property
    def enabled(self) -> tuple[Deployment, ...]:
        return tuple(deployment for deployment in self.deployments if deployment.enabled)

    @cached_property
    def groups(self) -> Mapping[str, tuple[Deployment, ...]]:
        """Enabled deployments by model group, each group in priority order (stable in the file's order)."""
        groups: dict[str, list[Deployment]] = {}
        for deployment in self.enabled:
            groups.setdefault(deployment.group, []).append(deployment)
        return MappingProxyType(
            {name: tuple(sorted(members, key=lambda d: d.priority)) for name, members in groups.items()}
        )

    @cached_property
    def owners(self) -> frozenset[str]:
        """Those whose own accounts are among them."""
        return frozenset(deployment.terms.owner for deployment in self.deployments if deployment.terms.owner)

    def resolve(self, name: str) -> tuple[Deployment, ...]:
        """The enabled deployments that a client's model name means, best priority first; empty if none.

        A name is a model group, an alias of one, a deployment's id, LiteLLM's ``provider/model`` or a provider's own
        model name.
        """
        name = self.aliases.get(name, name)
        if members := self.groups.get(name):
            return members
        matches = [d for d in self.enabled if name in (d.id, d.model, d.model_id, f"{d.provider}/{d.model_id}")]
        return tuple(sorted(matches, key=lambda d: d.priority))
