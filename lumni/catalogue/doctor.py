"""Checks the whole configuration and says how to mend what is wrong. Nothing is called, nothing is written."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

from lumni import files
from lumni.catalogue.load import load_catalogue, nothing_enabled
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.price_map import PriceMap, installed_price_map
from lumni.catalogue.providers import BY_NAME, LAB, provider_named
from lumni.catalogue.quota_findings import quota_findings
from lumni.catalogue.retirement import find_retirement, known_retirements
from lumni.config_keys import did_you_mean
from lumni.files import ConfigurationError, Finding
from lumni.settings import Settings

SHORTEST_KEY = 16  # characters; a key that opens everything should not be guessable


def check(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    today: date | None = None,
    prices: PriceMap | None = None,
) -> list[Finding]:
    """Findings on the settings and the model list that ``lumni serve --config CONFIG`` would use, in reading order.

    ``environ`` defaults to the process's; ``today`` (UTC) and ``prices`` exist for tests.
    """
    environ = os.environ if environ is None else environ
    today = today or datetime.now(UTC).date()
    prices = installed_price_map() if prices is None else prices
    try:
        settings, odd = Settings.read(config, environ)
        findings = [*odd, *_settings(settings)]
        catalogue = load_catalogue(settings, environ, today=today, prices=prices)
    except ConfigurationError as error:
        return list(error.findings)
    environ = {**catalogue.environment, **files.with_dotenv(environ)}
    findings.extend(_summary(settings, catalogue))
    findings.extend(_secrets(catalogue, environ, today))
    findings.extend(quota_findings(catalogue))
    for deployment in catalogue.deployments:
        findings.extend(_deployment(deployment, prices, today))
    return findings


def worst(findings: list[Finding]) -> str:
    """The gravest level among ``findings``: ``error``, ``warning`` or ``ok``."""
    levels = {finding.level for finding in findings}
    return next((level for level in ("error", "warning") if level in levels), "ok")


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", f"Settings: listens on {settings.host}:{settings.port}, models from {settings.litellm_config}")
    key = settings.unified_api_key
    if key and len(key.get_secret_value()) < SHORTEST_KEY:
        what = f"unified_api_key is shorter than {SHORTEST_KEY} characters"
        yield Finding("warning", what, "Make one with `openssl rand -hex 24`, or leave it out and Lumni makes one")
    if fault := _unwritable(settings.data_dir):
        yield Finding("error", f"data_dir: {fault}", "Set DATA_DIR to a directory that Lumni may write to")
    for name in settings.providers:
        if name not in BY_NAME:
            yield Finding("warning", f"providers.{name} is no known provider", did_you_mean(name, BY_NAME, "Remove it"))


def _unwritable(directory: Path) -> str:
    """Why nothing could be written there; empty if something could. The directory itself need not exist yet."""
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"{existing} is not a directory"
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} is not writable"


def _summary(settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    nothing = nothing_enabled(catalogue.deployments)
    for warning in catalogue.warnings:
        if warning != nothing:
            yield Finding("warning", warning.rstrip("."))
    enabled = [deployment for deployment in catalogue.enabled if deployment.provider != LAB]
    if not catalogue.enabled:
        yield Finding("error", *nothing.removesuffix(".").split(". ", 1))
    elif not enabled:
        mend = nothing.removesuffix(".").split(". ", 1)[1].split(",")[0]
        yield Finding(
            "ok", f"Only the lab provider answers (enable_lab: {settings.enable_lab})", f"{mend} for real models"
        )
    else:
        providers = len({deployment.provider for deployment in enabled})
        yield Finding("ok", f"{len(enabled)} deployments of {providers} providers in {len(catalogue.groups)} groups")


def _secrets(catalogue: Catalogue, environ: Mapping[str, str], today: date) -> Iterator[Finding]:
    """Every reason why something is off, once; a warning if somebody asked for it by name."""
    reasons: dict[str, list[Deployment]] = {}
    for deployment in catalogue.deployments:
        if deployment.disabled and not _is_retired(deployment, today):
            reasons.setdefault(deployment.disabled, []).append(deployment)
    for reason, members in reasons.items():
        provider = provider_named(members[0].model.split("/")[0])
        wanted = next((name for name in provider.switches if environ.get(name, "").lower() in ("true", "1", "on")), "")
        named = reason.removesuffix(" is not set")
        mend = f"Set {named} in .env" if named != reason else ""
        off = f"Off: {', '.join(member.id for member in members)}"
        if wanted and mend:
            yield Finding("warning", f"{wanted} is on, but {reason}", mend)
        else:
            yield Finding("ok", f"{off} ({reason})", mend)
    if "portkey" in catalogue.callbacks and not environ.get("PORTKEY_API_KEY"):
        yield Finding("warning", "The callback portkey needs PORTKEY_API_KEY", "Set it in .env, or remove the callback")


def _deployment(deployment: Deployment, prices: PriceMap, today: date) -> Iterator[Finding]:
    name, _, model_id = deployment.model.partition("/")
    provider = provider_named(name)
    base = str(deployment.params.get("api_base") or "")
    if base and not _is_url(base):
        yield Finding("error", f"{deployment.id}: its api_base is no URL", "Write it as https://host/path")
    retirement = find_retirement(known_retirements(), name, model_id)
    if retirement and (deployment.enabled or _is_retired(deployment, today)):
        # Whoever still has its key set believes that it works.
        concerned = deployment.enabled or deployment.params.get("api_key") or not provider.keys
        level: files.Level = "warning" if concerned else "ok"
        yield Finding(level, f"{deployment.id}: {retirement.sentence(today)}", retirement.mend)
        return
    if deployment.provider == LAB or "*" in deployment.model:
        return
    yield from _standing(deployment, prices, today, elsewhere=bool(base) and base != provider.api_base)


def _standing(deployment: Deployment, prices: PriceMap, today: date, *, elsewhere: bool) -> Iterator[Finding]:
    """What LiteLLM's price map says of the model. ``elsewhere``: at an address that is not the provider's own."""
    name, _, model_id = deployment.model.partition("/")
    listed = prices.named(str(deployment.info.get("base_model") or "")) or prices.find(name, model_id) or {}
    if prices.providers and name not in prices.providers and name not in BY_NAME:
        mend = did_you_mean(
            name, prices.providers, "Check the part before the first slash, unless it is a plugin of yours"
        )
        yield Finding("warning", f"{deployment.id}: LiteLLM has no provider `{name}`", mend)
    elif not listed and prices.covers(name) and not elsewhere and deployment.price is None:
        near = prices.nearest(name, model_id)
        mend = f"Did you mean `{near}`?" if near else "Check the name at the provider; state its price in model_info"
        yield Finding("warning", f"{deployment.id}: LiteLLM does not know the model `{deployment.model}`", mend)
    elif deployment.price is None and not deployment.info.get("personal"):
        mend = "Set input_cost_per_token and output_cost_per_token (USD) in its model_info, 0 if it costs nothing"
        yield Finding("warning", f"{deployment.id}: no price is known, so its costs can't be counted", mend)
    ends = str(listed.get("deprecation_date") or "")
    if ends and ends <= today.isoformat() and not elsewhere:
        mend = "Check it at the provider, and replace it"
        yield Finding("warning", f"{deployment.id}: by LiteLLM's price map it ended on {ends}", mend)


def _is_retired(deployment: Deployment, today: date) -> bool:
    """Whether retirement is why it is off."""
    retirement = find_retirement(known_retirements(), *deployment.model.split("/", 1))
    return retirement is not None and deployment.disabled == retirement.sentence(today)


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
