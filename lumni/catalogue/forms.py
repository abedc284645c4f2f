"""The forms of a model list, normalised to one: LiteLLM's ``model_list``, and ``providers`` with ``models``.

Values keep their references to the environment: which variable a key came from is needed later.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lumni.catalogue.limits import SPELLINGS, STYLE
from lumni.catalogue.providers import provider_named
from lumni.config_keys import did_you_mean
from lumni.files import ConfigurationError, Finding

Json = dict[str, Any]

SECTIONS = (
    "model_list",
    "router_settings",
    "litellm_settings",
    "general_settings",
    "environment_variables",
    "lumni_settings",
    "providers",
    "models",
)
ACCOUNT_KEYS = ("limits", "terms", "owner", "consent", "shared")
PROVIDER_KEYS = ("type", "api_key", "base_url", "api_base", "enabled", *ACCOUNT_KEYS)
INSTANCE_KEYS = ("priority", "model_id", "enabled", "tier", "lane", "shared", STYLE, *SPELLINGS)
ENTRY_KEYS = ("model_name", "litellm_params", "model_info")


class Entry(NamedTuple):
    """One deployment as written: ``where`` names the place for messages."""

    group: str
    params: Json
    info: Json
    where: str


class ModelList(NamedTuple):
    """``accounts`` is what the short form's ``providers`` say of them as accounts, by name."""

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]
    accounts: Mapping[str, Json]


def normalise(content: Mapping[str, Any]) -> ModelList:
    """All deployments of a model list, whatever its form; both forms may stand in one file.

    Raises ``ConfigurationError`` with one finding for each entry that can't be understood.
    """
    faults: list[Finding] = []
    warnings: list[str] = []
    _unknown(content, SECTIONS, "", warnings)
    entries = [*_litellm_form(content, faults, warnings), *_providers_form(content, faults, warnings)]
    if faults:
        raise ConfigurationError(faults)
    accounts = {name: _only(account, ACCOUNT_KEYS) for name, account in (content.get("providers") or {}).items()}
    return ModelList(tuple(entries), tuple(warnings), {name: said for name, said in accounts.items() if said})


def _litellm_form(content: Mapping[str, Any], faults: list[Finding], warnings: list[str]) -> list[Entry]:
    listed = content.get("model_list") or []
    if not isinstance(listed, list):
        faults.append(Finding("error", "`model_list` must be a list", "Start each model with `- model_name:`"))
        return []
    entries = []
    for index, item in enumerate(listed):
        where = f"model_list[{index}]"
        name = item.get("model_name") if isinstance(item, Mapping) else None
        params = item.get("litellm_params") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
            mend = "Write `model_name:` and, below `litellm_params:`, `model: provider/model`"
            faults.append(Finding("error", f"{where} is no model: it lacks model_name or litellm_params.model", mend))
            continue
        _unknown(item, ENTRY_KEYS, where, warnings)
        entries.append(Entry(name, dict(params), dict(item.get("model_info") or {}), f"{where} ({name})"))
    return entries


def _providers_form(content: Mapping[str, Any], faults: list[Finding], warnings: list[str]) -> list[Entry]:
    accounts = _mapping(content, "providers", faults)
    for name, account in accounts.items():
        if not isinstance(account, Mapping):
            faults.append(Finding("error", f"providers.{name} is empty", "Give it `type:` and `api_key:`"))
            continue
        _unknown(account, PROVIDER_KEYS, f"providers.{name}", warnings)
    entries = []
    for group, model in _mapping(content, "models", faults).items():
        instances = model.get("providers") if isinstance(model, Mapping) else None
        if not isinstance(instances, Mapping) or not instances:
            mend = "List them as `providers: {groq: {priority: 0, model_id: …}}`"
            faults.append(Finding("error", f"models.{group} names no providers", mend))
            continue
        for account_name, instance in instances.items():
            where = f"models.{group}.providers.{account_name}"
            if account_name not in accounts:
                mend = did_you_mean(account_name, accounts, f"Add `{account_name}:` below `providers:`")
                faults.append(Finding("error", f"{where} is not among `providers`", mend))
            elif isinstance(accounts[account_name], Mapping):
                _unknown(instance or {}, INSTANCE_KEYS, where, warnings)
                entries.append(_entry(group, model, account_name, accounts[account_name], instance or {}, where))
    return entries


def _entry(
    group: str, model: Mapping[str, Any], name: str, account: Mapping[str, Any], instance: Mapping[str, Any], where: str
) -> Entry:
    provider = provider_named(str(account.get("type") or name))
    base = account.get("base_url") or account.get("api_base")
    params: Json = {"model": f"{provider.name}/{instance.get('model_id') or group}"}
    if "api_key" in account:
        params["api_key"] = account["api_key"]
    if base:
        params["api_base"] = base
    info: Json = {"id": f"{group}@{name}", "account": name, "priority": instance.get("priority", 0)}
    info |= _only(model, ("created", "owned_by", "tier"))
    info |= _only(instance, ("tier", "lane", "shared", STYLE, *SPELLINGS))
    if instance.get("enabled") is False or account.get("enabled") is False or model.get("enabled") is False:
        info["enabled"] = False
    return Entry(group, params, info, where)


def _only(mapping: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: mapping[key] for key in keys if key in mapping}


def _mapping(content: Mapping[str, Any], key: str, faults: list[Finding]) -> Mapping[str, Any]:
    value = content.get(key) or {}
    if isinstance(value, Mapping):
        return value
    faults.append(Finding("error", f"`{key}` must hold names, not a list", f"Write it as `{key}: {{name: {{…}}}}`"))
    return {}


def _unknown(item: Mapping[str, Any], known: tuple[str, ...], where: str, warnings: list[str]) -> None:
    prefix = f"{where}.{{}}" if where else "{}"
    warnings.extend(
        f"Unknown key `{prefix.format(key)}`. {did_you_mean(str(key), known, 'Lumni does not use it.')}"
        for key in item
        if key not in known
    )
