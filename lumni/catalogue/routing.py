"""``router_settings`` and ``litellm_settings``: what goes to LiteLLM, what Lumni reads itself, what nobody uses."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lumni.config_keys import did_you_mean

# Lumni's own concerns, under LiteLLM's names for them: never passed to its Router.
READ_BY_LUMNI = frozenset({"num_retries", "timeout", "fallbacks", "default_fallbacks", "model_group_alias"})
DONE_BY_LUMNI: Mapping[str, str] = {
    "routing_strategy": "Lumni ranks the deployments itself; use model_info.priority",
    "routing_strategy_args": "Lumni ranks the deployments itself; use model_info.priority",
    "allowed_fails": "Lumni's breaker decides when a deployment rests",
    "allowed_fails_policy": "Lumni's breaker decides when a deployment rests",
    "cooldown_time": "Lumni's breaker decides when a deployment rests",
    "disable_cooldowns": "LiteLLM's cooldowns are always off",
    "enable_pre_call_checks": "Lumni always checks context windows",
    "context_window_fallbacks": "Lumni tries a model with a larger window by itself; write `fallbacks`",
    "content_policy_fallbacks": "write `fallbacks`",
    "stream_timeout": "set first_token_timeout below `lumni_settings`",
    "cache_responses": "write `litellm_settings.cache: true`",
    "cache_kwargs": "write `litellm_settings.cache_params`",
    "caching_groups": "write `litellm_settings.cache_params`",
    "redis_url": "set REDIS_URL",
    "redis_host": "set REDIS_URL",
    "redis_port": "set REDIS_URL",
    "redis_password": "set REDIS_URL",
    "redis_db": "set REDIS_URL",
    "provider_budget_config": "Lumni's quota and budgets do that",
    "model_list": "it belongs to the top of the file",
}
# Arguments of LiteLLM's Router (1.106) that change nothing that Lumni owns.
PASSED = frozenset(
    {
        "alerting_config",
        "assistants_config",
        "client_ttl",
        "debug_level",
        "default_litellm_params",
        "default_max_parallel_requests",
        "default_priority",
        "enable_tag_filtering",
        "guardrail_list",
        "max_fallbacks",
        "model_group_retry_policy",
        "optional_pre_call_checks",
        "plugins",
        "polling_interval",
        "retry_after",
        "retry_policy",
        "search_tools",
        "set_verbose",
        "tag_filtering_match_any",
        "tag_routing_prefix",
    }
)
CALLBACK_LISTS = ("callbacks", "success_callback", "failure_callback")
DEFAULT = "*"


class Routing(NamedTuple):
    """``fallbacks`` by group; those of any other group are under ``*``."""

    passed: dict[str, Any]
    aliases: dict[str, str]
    fallbacks: dict[str, tuple[str, ...]]
    warnings: list[str]


def read_routing(section: Mapping[str, Any], groups: frozenset[str]) -> Routing:
    """``groups`` are all groups of the list, also those that are disabled: an alias to one is no mistake."""
    warnings: list[str] = []
    passed = {}
    for key, value in section.items():
        if key in PASSED:
            passed[key] = value
        elif key in DONE_BY_LUMNI:
            warnings.append(f"router_settings.{key} is not used: {DONE_BY_LUMNI[key]}.")
        elif key not in READ_BY_LUMNI:
            known = (*READ_BY_LUMNI, *PASSED, *DONE_BY_LUMNI)
            warnings.append(f"Unknown key `router_settings.{key}`: {did_you_mean(key, known, 'remove it.')}")
    aliases = _aliases(section.get("model_group_alias") or {}, warnings)
    fallbacks = _fallbacks(section, warnings)
    names = groups | aliases.keys()
    for alias, target in aliases.items():
        if target not in groups:
            warnings.append(f"model_group_alias.{alias}: {_unknown_group(target, names)}")
    mentioned = {name for group, targets in fallbacks.items() for name in (group, *targets)}
    unknown = sorted(mentioned - names - {DEFAULT})
    warnings.extend(f"router_settings.fallbacks: {_unknown_group(name, names)}" for name in unknown)
    return Routing(passed, aliases, fallbacks, list(dict.fromkeys(warnings)))


def _unknown_group(name: str, names: frozenset[str]) -> str:
    return f"`{name}` is no model group. {did_you_mean(name, sorted(names), 'Add it to the list or remove it.')}"


def _aliases(section: Any, warnings: list[str]) -> dict[str, str]:
    aliases = {}
    for alias, target in section.items() if isinstance(section, Mapping) else ():
        name = target.get("model") if isinstance(target, Mapping) else target
        if isinstance(name, str):
            aliases[str(alias)] = name
        else:
            warnings.append(f"model_group_alias.{alias} must name a model group.")
    return aliases


def _fallbacks(section: Mapping[str, Any], warnings: list[str]) -> dict[str, tuple[str, ...]]:
    """LiteLLM's ``[{a: [b, c]}]`` and ``{a: [b]}``, and a plain list ``[a, b, c]``: a, then b, then c."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    written = section.get("fallbacks") or []
    items = [written] if isinstance(written, Mapping) else written if isinstance(written, Sequence) else []
    names = [item for item in items if isinstance(item, str)]
    for index, name in enumerate(names[:-1]):
        fallbacks[name] = tuple(names[index + 1 :])
    for item in items:
        if isinstance(item, Mapping):
            for group, targets in item.items():
                fallbacks[str(group)] = (targets,) if isinstance(targets, str) else tuple(map(str, targets or ()))
        elif not isinstance(item, str):
            warnings.append("router_settings.fallbacks must hold names or `group: [names]`.")
    if default := section.get("default_fallbacks"):
        fallbacks.setdefault(DEFAULT, tuple(map(str, default)))
    return fallbacks


def split_callbacks(section: Mapping[str, Any]) -> tuple[frozenset[str], dict[str, Any]]:
    """The names of all callbacks, and ``litellm_settings`` without them."""
    names: set[str] = set()
    for key in CALLBACK_LISTS:
        listed = section.get(key) or ()
        names.update([listed] if isinstance(listed, str) else map(str, listed))
    return frozenset(names), {key: value for key, value in section.items() if key not in CALLBACK_LISTS}
