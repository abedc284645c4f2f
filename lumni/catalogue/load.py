"""A model list -> the frozen Catalogue."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from lumni import files
from lumni.catalogue.caching import read_caching
from lumni.catalogue.deployments import Builder, lab_deployments
from lumni.catalogue.forms import normalise
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.price_map import PriceMap, installed_price_map
from lumni.catalogue.providers import KNOWN
from lumni.catalogue.quotas import Quotas
from lumni.catalogue.retirement import known_retirements
from lumni.catalogue.routing import read_routing, split_callbacks
from lumni.settings import AccountSettings, Settings
from lumni.sources import default_model_list

# Of LiteLLM's proxy: Lumni reads the key and leaves the rest of the section alone.
GENERAL_SETTINGS = frozenset({"master_key"})


def load_catalogue(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    today: date | None = None,
    prices: PriceMap | None = None,
) -> Catalogue:
    """The catalogue of ``settings.litellm_config``, or of the list that comes with Lumni.

    ``environ`` holds the providers' keys; the working directory's ``.env`` and the list's ``environment_variables``
    come below it. What is odd is in ``warnings``, what can't be called says why in ``disabled``. Raises
    ``ConfigurationError`` with a finding for each entry that can't be understood.
    """
    path = settings.litellm_config or default_model_list()
    content = files.read_with_includes(path)
    given = files.with_dotenv(environ)
    listed = files.substitute(content.get("environment_variables") or {}, given).value
    variables = {str(name): str(value) for name, value in listed.items() if value is not None}
    environ = {**variables, **given}

    model_list = normalise(content)
    said = files.substitute(model_list.accounts, environ).value
    short_form = {name: AccountSettings.read(account, f"providers.{name}") for name, account in said.items()}
    quotas = Quotas({**short_form, **settings.accounts})
    builder = Builder(
        settings,
        environ,
        installed_price_map() if prices is None else prices,
        known_retirements(),
        today or datetime.now(UTC).date(),
        quotas,
    )
    # Explicit ids first, so that a derived one never takes what someone wrote down.
    order = sorted(range(len(model_list.entries)), key=lambda index: "id" not in model_list.entries[index].info)
    built = {index: builder.build(model_list.entries[index]) for index in order}
    if quotas.faults:
        raise files.ConfigurationError(quotas.faults)
    deployments, moved = _unpooled([built[index] for index in sorted(built)])
    warnings = [*model_list.warnings, *builder.warnings, *quotas.unused(), *moved]
    return _assemble(path, content, environ, settings, deployments, warnings, variables)


def _assemble(
    path: Path,
    content: Mapping[str, Any],
    environ: Mapping[str, str],
    settings: Settings,
    deployments: list[Deployment],
    warnings: list[str],
    variables: Mapping[str, str],
) -> Catalogue:
    deployments = _with_lab(deployments, settings.enable_lab)
    groups = frozenset(deployment.group for deployment in deployments)
    routing = read_routing(files.substitute(content.get("router_settings") or {}, environ).value, groups)
    section = files.substitute(content.get("litellm_settings") or {}, environ, "litellm_settings")
    callbacks, litellm_settings = split_callbacks(section.value)
    cache_params, odd = read_caching(litellm_settings)
    unused = sorted(set(content.get("general_settings") or {}) - GENERAL_SETTINGS)
    warnings = [*warnings, *routing.warnings, *odd, *(str(finding) for finding in files.not_set(path, section.missing))]
    if unused:
        warnings.append(f"general_settings belong to LiteLLM's proxy: Lumni does not use {', '.join(unused)}.")
    if not any(deployment.enabled for deployment in deployments):
        warnings.append(nothing_enabled(deployments))
    return Catalogue(
        deployments=tuple(deployments),
        aliases=routing.aliases,
        fallbacks=routing.fallbacks,
        router_settings=routing.passed,
        litellm_settings=litellm_settings,
        cache_params=cache_params,
        callbacks=callbacks,
        environment=variables,
        warnings=tuple(warnings),
    )


def _unpooled(deployments: Iterable[Deployment]) -> tuple[list[Deployment], list[str]]:
    """Personal subscriptions never share a group with others: there they would serve everybody."""
    listed = list(deployments)
    shared = {deployment.group for deployment in listed if not deployment.info.get("personal")}
    pooled = [deployment for deployment in listed if deployment.info.get("personal") and deployment.group in shared]
    warnings = [
        f"{deployment.id}: a personal subscription is never pooled: it is in `{deployment.model}`, not in"
        f" `{deployment.group}`."
        for deployment in pooled
    ]
    own = {id(deployment): dataclasses.replace(deployment, group=deployment.model) for deployment in pooled}
    return [own.get(id(deployment), deployment) for deployment in listed], warnings


def _with_lab(deployments: list[Deployment], enable_lab: str) -> list[Deployment]:
    alone = enable_lab == "auto" and not any(deployment.enabled for deployment in deployments)
    if enable_lab != "on" and not alone:
        return deployments
    taken = {deployment.id for deployment in deployments}
    return [*deployments, *(lab for lab in lab_deployments() if lab.id not in taken)]


def nothing_enabled(deployments: Iterable[Deployment]) -> str:
    """What to do where no deployment can be called: the keys that would enable one."""
    listed = {deployment.provider for deployment in deployments}
    keys = [p.keys[0] for p in KNOWN if p.name in listed and p.keys and p.free_tier and p.name != "github"]
    names = " or ".join(keys[:3]) or "a provider's key"
    return f"No model can be called. Set {names} in .env, or ENABLE_LAB=on for the keyless lab provider."
