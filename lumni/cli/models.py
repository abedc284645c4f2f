"""``lumni models``: what can be called, and why the rest can't."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lumni.catalogue.model import Deployment


def models(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A config.json or a model list.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List model groups and their deployments, with tier, price, known limits and state."""
    from lumni.catalogue.load import load_catalogue
    from lumni.cli.failure import explained
    from lumni.settings import Settings

    with explained():
        catalogue = load_catalogue(Settings.load(config), os.environ)
    rows = [row(deployment) for deployment in catalogue.deployments]
    rows.sort(key=lambda shown: (shown["group"], shown["priority"]))
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)


def row(deployment: "Deployment") -> dict[str, Any]:
    """One deployment as shown; prices in USD per million tokens, ``None`` where unknown."""
    from lumni.money import to_usd

    price = deployment.price
    return {
        "group": deployment.group,
        "deployment": deployment.id,
        "provider": deployment.provider,
        "account": deployment.account,
        "model": deployment.model_id,
        "tier": deployment.tier,
        "priority": deployment.priority,
        "free": deployment.free,
        "prompt_usd_per_million": float(to_usd(price.prompt)) if price else None,
        "completion_usd_per_million": float(to_usd(price.completion)) if price else None,
        "limits": [
            {"pool": pool.name, "limit": limit.name, "amount": limit.amount, "source": limit.origin}
            for pool in deployment.pools
            for limit in pool.limits
        ],
        "context_window": deployment.capabilities.context_window,
        "enabled": deployment.enabled,
        "disabled": deployment.disabled,
    }


def _short(amount: int) -> str:
    """``250k`` for 250,000, ``1M`` for a million; what is no round number in full."""
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if amount >= unit and amount % unit == 0:
            return f"{amount // unit}{letter}"
    return str(amount)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("group", "deployment", "provider", "tier", "USD per M in/out", "context", "limits", "state")
    previous = ""
    for shown in rows:
        group = shown["group"] if shown["group"] != previous else ""
        previous = shown["group"]
        known = shown["prompt_usd_per_million"] is not None
        price = f"{shown['prompt_usd_per_million']:g} / {shown['completion_usd_per_million']:g}" if known else "unknown"
        window = shown["context_window"]
        table.add_row(
            escape(group),
            escape(shown["deployment"]),
            shown["provider"],
            shown["tier"],
            f"{price}{' (free tier)' if shown['free'] else ''}",
            f"{window:,}" if window else "unknown",
            ", ".join(f"{_short(limit['amount'])} {limit['limit']}" for limit in shown["limits"] if limit["amount"]),
            "[green]on[/]" if shown["enabled"] else f"[dim]off: {escape(shown['disabled'])}[/]",
        )
    Console().print(table)
