"""One entry of a model list -> one Deployment, enabled or with a sentence why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, get_args
from urllib.parse import urlsplit

from lumni.catalogue.accounts import Accounts, Key, find_key
from lumni.catalogue.capabilities import capabilities_of, price_of, set_price
from lumni.catalogue.forms import Entry
from lumni.catalogue.limits import SPELLINGS, STYLE, limits_in
from lumni.catalogue.model import Capabilities, Deployment, LaneChoice, Price
from lumni.catalogue.price_map import PriceMap
from lumni.catalogue.providers import LAB, Provider, provider_at, provider_named
from lumni.catalogue.quotas import Quotas
from lumni.catalogue.retirement import Retirement, find_retirement
from lumni.catalogue.tier import tier_of
from lumni.files import substitute
from lumni.money import NanoUSD
from lumni.settings import ProviderSettings, Settings

# Kept away from LiteLLM: it would turn an rpm into a max_parallel_requests, and count by itself. See `limits`.
LIMITS = frozenset(SPELLINGS)
ROUTING = frozenset({"order", "weight"})
LANES: tuple[LaneChoice, ...] = get_args(LaneChoice)
FALSE = frozenset({"false", "0", "no", "off"})
TRUE = frozenset({"true", "1", "yes", "on"})


@dataclass
class Builder:
    """Builds the deployments of one catalogue; it remembers the ids and the accounts that it gave away."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    prices: PriceMap
    retirements: tuple[Retirement, ...]
    today: date
    quotas: Quotas = field(default_factory=Quotas)
    accounts: Accounts = field(default_factory=Accounts)
    ids: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def build(self, entry: Entry) -> Deployment:
        written = substitute(entry.params, self.environ)
        params = {name: value for name, value in written.value.items() if value is not None}
        provider, model_id = self._provider(params)
        configured = self._configured(provider)
        base = self._base(params, provider, configured)
        key = self._key(entry, params, provider, configured)
        listed = self._listed(entry, params, provider, model_id)
        info = self._info(entry, params, provider, listed)
        price = set_price(self.settings, model_id) or price_of(info, listed)
        account = self.accounts.label(key, provider, str(info.get("account") or ""))
        missing = [item.name for item in written.missing if item.where != "api_key"]
        deployment = Deployment(
            id=self._id(entry, account),
            group=entry.group,
            provider=str(info.get("provider") or provider.name),
            account=account,
            model=f"{provider.name}/{model_id}",
            params=_params(params, provider, model_id, base, key),
            priority=_priority(info, params, configured),
            tier=tier_of(model_id, price.completion if price else None, info),
            capabilities=capabilities_of(info, listed),
            price=price,
            free=_is_free(provider, model_id, info),
            disabled=self._switched_off(entry, provider, model_id, info, base)
            or _unusable(entry, provider, key, missing),
            owned_by=str(info.get("owned_by") or provider.name),
            created=int(info.get("created") or 0),
            info=info,
            lane=self._lane(entry, info),
        )
        limits = limits_in(params) | limits_in(about := substitute(entry.info, self.environ).value)
        if about.get(STYLE):
            limits[STYLE] = about[STYLE]
        own_server = _is_own_server(params, provider)
        return self.quotas.attach(deployment, entry.where, provider, limits, configured, own_server=own_server)

    def _provider(self, params: Mapping[str, Any]) -> tuple[Provider, str]:
        """The provider and its own name of the model, from LiteLLM's ``provider/model`` or a bare well-known name."""
        model = str(params["model"])
        if custom := params.get("custom_llm_provider"):
            return provider_named(str(custom)), model.removeprefix(f"{custom}/")
        prefix, _, rest = model.partition("/")
        if not rest:
            listed = self.prices.named(model) or {}
            return provider_named(str(listed.get("litellm_provider") or "openai")), model
        at = provider_at(str(params.get("api_base") or "")) if prefix == "openai" else None
        return at or provider_named(prefix), rest

    def _configured(self, provider: Provider) -> ProviderSettings:
        by_name = self.settings.providers
        names = (provider.name, *provider.also)
        return next((by_name[name] for name in names if name in by_name), ProviderSettings())

    def _base(self, params: Mapping[str, Any], provider: Provider, configured: ProviderSettings) -> str:
        """Where the provider is reached, if not at LiteLLM's default for it."""
        given = params.get("api_base") or params.get("base_url") or configured.base_url
        moved = next((self.environ[name] for name in provider.base_variables if self.environ.get(name)), "")
        return str(given or moved or provider.api_base)

    def _key(self, entry: Entry, params: Mapping[str, Any], provider: Provider, configured: ProviderSettings) -> Key:
        raw = entry.params.get("api_key")
        if raw is None and _is_own_server(params, provider):
            return Key("none")  # LiteLLM would send OPENAI_API_KEY to a server that isn't OpenAI's
        secret = configured.api_key.get_secret_value() if configured.api_key else ""
        return find_key(raw, provider, secret, self.environ)

    def _listed(self, entry: Entry, params: Mapping[str, Any], provider: Provider, model_id: str) -> Mapping[str, Any]:
        """The price map's entry; empty if it has none, or none that would be true of one's own server."""
        if base_model := entry.info.get("base_model"):
            return self.prices.named(str(base_model)) or {}
        if _is_own_server(params, provider):
            return {}
        costs_nothing = provider.default_base or model_id.endswith(":free")
        free = {"input_cost_per_token": 0, "output_cost_per_token": 0} if costs_nothing else {}
        return self.prices.find(provider.name, model_id) or free

    def _info(
        self, entry: Entry, params: Mapping[str, Any], provider: Provider, listed: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The entry's ``model_info`` without limits, its parameters' ``order``, and what kind of model it is."""
        written = {name: value for name, value in entry.info.items() if name not in LIMITS and name != STYLE}
        routing = {name: value for name, value in params.items() if name in ROUTING}
        mode = {"mode": listed["mode"]} if listed.get("mode") else {}
        personal = {"personal": True} if provider.personal else {}
        return {**mode, **routing, **substitute(written, self.environ).value, **personal}

    def _switched_off(self, entry: Entry, provider: Provider, model_id: str, info: Mapping[str, Any], base: str) -> str:
        """A sentence why someone wants this deployment off; empty if nobody does."""
        switch = {name: self.environ[name].strip().lower() for name in provider.switches if self.environ.get(name)}
        off = next((name for name, value in switch.items() if value in FALSE), "")
        retirement = find_retirement(self.retirements, provider.name, model_id)
        moved = base and base != provider.api_base
        if retirement and retirement.date <= self.today and info.get("retired") is not False and not moved:
            return retirement.sentence(self.today)
        if off:
            return f"{off} is {self.environ[off].strip()}"
        if self._configured(provider).enabled is False:
            return f"config.json switches {provider.label} off (providers.{provider.name}.enabled)"
        if info.get("enabled") is False:
            return "The model list switches it off (enabled: false)"
        if "*" in model_id or "*" in entry.group:
            return "A wildcard can't be ranked: name each model"
        wanted = any(value in TRUE for value in switch.values()) or self._configured(provider).enabled is True
        return provider.opt_in if provider.opt_in and not wanted and not (base and not provider.personal) else ""

    def _lane(self, entry: Entry, info: Mapping[str, Any]) -> LaneChoice:
        """As the entry says; else, with a warning if it says anything, ``auto``."""
        wish = info.get("lane", "auto")
        if wish in LANES:
            choice: LaneChoice = wish
            return choice
        self.warnings.append(f"{entry.where}: the lane `{wish}` is none of {', '.join(LANES)}, so it is `auto` here.")
        return "auto"

    def _id(self, entry: Entry, account: str) -> str:
        """The entry's own id, else ``group@account``; made unique with a number, for explicit ones with a warning."""
        wish = str(entry.info.get("id") or f"{entry.group}@{account}")
        unique = next(
            name for name in (wish, *(f"{wish}-{n}" for n in range(2, len(self.ids) + 3))) if name not in self.ids
        )
        if unique != wish and entry.info.get("id"):
            self.warnings.append(
                f"{entry.where}: the id `{wish}` is taken, so it is `{unique}` here. Give it its own id."
            )
        self.ids.add(unique)
        return unique


def _is_own_server(params: Mapping[str, Any], provider: Provider) -> bool:
    """Whether an ``openai/`` entry names an address that isn't OpenAI's: somebody's server that speaks its language."""
    base = str(params.get("api_base") or params.get("base_url") or "")
    return provider.name == "openai" and bool(base) and urlsplit(base).hostname != "api.openai.com"


def _params(params: Mapping[str, Any], provider: Provider, model_id: str, base: str, key: Key) -> Mapping[str, Any]:
    """``litellm_params`` as LiteLLM should see them."""
    left_out = LIMITS | ROUTING | {"base_url", "api_key"}
    kept = {name: value for name, value in params.items() if name not in left_out}
    kept["model"] = f"openai/{model_id}" if provider.api_base else f"{provider.name}/{model_id}"
    if key.value:
        kept["api_key"] = key.value
    if base or provider.default_base:
        kept["api_base"] = base or provider.default_base
    return kept


def _unusable(entry: Entry, provider: Provider, key: Key, missing: list[str]) -> str:
    """A sentence why this deployment could not be called; empty if it could."""
    if not key.value and (not provider.keyless or entry.params.get("api_key") is not None):
        return f"{key.wanted} is not set" if key.wanted else "Its api_key is empty"
    return f"{missing[0]} is not set" if missing else ""


def _priority(info: Mapping[str, Any], params: Mapping[str, Any], configured: ProviderSettings) -> int:
    given = next((value for value in (info.get("priority"), params.get("order")) if value is not None), None)
    return int(given if given is not None else configured.priority or 0)


def _is_free(provider: Provider, model_id: str, info: Mapping[str, Any]) -> bool:
    """The entry's word, else whether the provider has a free tier; OpenRouter's is its models that end in ``:free``."""
    if isinstance(info.get("free"), bool):
        return bool(info["free"])
    return provider.free_tier or (provider.name == "openrouter" and model_id.endswith(":free"))


def lab_deployments() -> tuple[Deployment, Deployment]:
    """The keyless lab provider's two models, one a tier."""
    can_all = Capabilities(128_000, 16_384, tools=True, vision=True, json_schema=True, streaming=True)

    def lab(tier: str) -> Deployment:
        return Deployment(
            id=f"lab-{tier}",
            group=f"lab-{tier}",
            provider=LAB,
            account=LAB,
            model=f"{LAB}/{tier}",
            params={"model": f"{LAB}/{tier}"},
            tier="powerful" if tier == "powerful" else "fast",
            capabilities=can_all,
            price=Price(NanoUSD(0), NanoUSD(0)),
            owned_by=LAB,
            info={"mode": "chat"},
        )

    return lab("fast"), lab("powerful")
