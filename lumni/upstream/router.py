"""LiteLLM's Router, built from the catalogue."""

import os
from pathlib import Path
from typing import Any

from lumni.catalogue.model import Catalogue
from lumni.settings import Settings
from lumni.upstream.plugins import register_plugins

# Lumni decides these itself, in one place: order, health, limits, caching, retries and their budgets.
_OURS = frozenset(
    {
        "allowed_fails", "cache_responses", "context_window_fallbacks", "cooldown_time", "default_fallbacks",
        "disable_cooldowns", "enable_pre_call_checks", "fallbacks", "max_fallbacks", "model_group_alias", "model_list",
        "num_retries", "redis_db", "redis_host", "redis_password", "redis_port", "redis_url", "retry_policy",
        "routing_strategy", "routing_strategy_args", "stream_timeout", "timeout",
    }
)  # fmt: skip


def build_router(litellm: Any, catalogue: Catalogue, settings: Settings) -> Any:
    """A Router over the enabled deployments, addressed by their ``model_info.id``. Its cooldowns and cache are off."""
    from litellm.router import Router
    from litellm.types.router import RouterGeneralSettings

    from lumni.upstream.lab_provider import register_lab  # imports litellm, which must have been made safe before

    for name, value in catalogue.environment.items():
        os.environ.setdefault(name, value)
    register_lab(settings.lab_seed)
    beside = (settings.litellm_config or Path()).parent
    register_plugins(litellm, catalogue.litellm_settings.get("custom_provider_map") or (), beside)
    if catalogue.litellm_settings.get("drop_params") is False:
        litellm.drop_params = False
    known = set(Router.get_valid_args()) - _OURS
    return Router(
        model_list=[
            {
                # Its own group: under a shared name the Router takes any member, and for others it looks for patterns.
                "model_name": deployment.id,
                "litellm_params": dict(deployment.params),
                "model_info": {
                    # To LiteLLM a tier is `free` or `paid`, and anything else an error.
                    **{name: value for name, value in deployment.info.items() if name != "tier"},
                    "id": deployment.id,
                },
            }
            for deployment in catalogue.enabled
        ],
        num_retries=0,
        disable_cooldowns=True,
        cache_responses=False,
        ignore_invalid_deployments=False,
        router_general_settings=RouterGeneralSettings(async_only_mode=True),
        **{name: value for name, value in catalogue.router_settings.items() if name in known},
    )
