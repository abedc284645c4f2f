"""``lumni explain``: which model would answer, why, and what if, drawn in the terminal."""

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from lumni.settings import Settings

# The parts of the score as headings, short enough for a terminal.
HEADINGS = {
    "benchmark_ranking": "ranking",
    "benchmark_score": "figures",
    "rate_limit_availability": "quota",
    "provider_priority": "priority",
    "recent_usage": "unused",
    "cost_efficiency": "cost",
}


def explain(
    question: Annotated[str, typer.Argument(help="What would be asked.")],
    model: Annotated[str, typer.Option(help="auto, fast, powerful, a model group or provider/model.")] = "auto",
    provider: Annotated[str | None, typer.Option(help="The provider to prefer.")] = None,
    task_type: Annotated[str | None, typer.Option(help="fast or powerful: overrides the classification.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="What if this provider or model weren't there?")] = None,
    quota: Annotated[list[str] | None, typer.Option(help="What if: empty, full, 0.2, or groq=empty.")] = None,
    weight: Annotated[list[str] | None, typer.Option(help="What if only these counted: cost_efficiency=1.")] = None,
    if_task_type: Annotated[str | None, typer.Option(help="What if the task were fast, or powerful?")] = None,
    config: Annotated[Path | None, typer.Option(help="A config.json, or a model list in YAML.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask a running gateway, e.g. http://127.0.0.1:8000/v1.")] = None,
    key: Annotated[str | None, typer.Option(envvar="LUMNI_API_KEY", help="Your key there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show who would answer and why; nobody is called. Without --url: from the configuration, with nothing used yet."""
    import asyncio
    import os

    from lumni.cli.failure import explained
    from lumni.gateway.explaining import written
    from lumni.settings import Settings

    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}]}
    with explained():
        levels, weights = written(quota or (), weight or ())
        what_if = {"weights": weights, "without": without, "quota": levels, "task_type": if_task_type}
        body["what_if"] = {name: value for name, value in what_if.items() if value}
        body |= {name: value for name, value in (("provider", provider), ("task_type", task_type)) if value is not None}
        told = (
            _from_server(url, key, body) if url else asyncio.run(_in_process(Settings.load(config, os.environ), body))
        )
    if as_json:
        import json

        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        draw(told, Console(highlight=False))


async def _in_process(settings: "Settings", body: dict[str, Any]) -> dict[str, Any]:
    import asyncio
    import os

    from lumni.api import wire
    from lumni.api.schemas import ExplainRequest
    from lumni.catalogue.load import load_catalogue
    from lumni.catalogue.scores import known_scores
    from lumni.gateway import explaining
    from lumni.gateway.planning import Planner, Switches
    from lumni.gateway.quotas import make_quota
    from lumni.quota.memory import MemoryStore
    from lumni.types import Principal

    wire.validate(body, ExplainRequest)
    catalogue = load_catalogue(settings, os.environ)
    quota = make_quota(settings, catalogue, MemoryStore())
    try:
        now = asyncio.get_running_loop().time()
        envelope = wire.envelope(wire.new_request_id(), "cli", now)
        request = wire.chat_request(body, {}, settings, envelope)
        what_if = explaining.asked(body["what_if"])
        planner = Planner(catalogue, quota, known_scores(), Switches.of(settings))
        return await explaining.explain(planner, request, Principal(key_id="cli", role="admin"), what_if)
    finally:
        await quota.close()


def _from_server(url: str, key: str | None, body: dict[str, Any]) -> dict[str, Any]:
    import httpx

    from lumni.errors import LumniError

    base = url.rstrip("/")
    address = f"{base if base.endswith('/v1') else base + '/v1'}/explain"
    try:
        response = httpx.post(address, json=body, headers={"authorization": f"Bearer {key}"} if key else {}, timeout=30)
        told: dict[str, Any] = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise LumniError(f"No gateway answers at {url}: {error}. Is `lumni serve` running there?") from None
    if response.status_code != 200:
        raise LumniError(told["error"]["message"])
    return told


def draw(told: dict[str, Any], console: "Console") -> None:
    """An explanation as tables."""
    from rich.markup import escape

    console.print(escape(told["reason"] or ""))
    _draw_decision(told, console)
    if told["what_if"] is not None:
        supposed = told["what_if"]
        winner = supposed["winner"]["deployment"] if supposed["winner"] else "nobody"
        verdict = f"[bold]{escape(winner)}[/]" if supposed["changed"] else f"still [bold]{escape(winner)}[/]"
        console.print(f"\nWhat if: {verdict}")
        known = {out["deployment"] for out in told["excluded"]}
        _draw_decision({**supposed, "classification": None}, console, hidden=known)


def _draw_decision(decision: dict[str, Any], console: "Console", hidden: Container[str] = ()) -> None:
    from rich.markup import escape
    from rich.table import Table

    task, chosen = decision["classification"], decision["winner"]
    if task:
        factors = ", ".join(f"{escape(name)} {weight:+.2f}" for name, weight in list(task["factors"].items())[:5])
        console.print(f"[dim]{task['task_type']}, {task['confidence']:.0%} sure; {decision['domain']}: {factors}[/]")
    table = Table("", "deployment", *HEADINGS.values(), "score", "left", box=None, pad_edge=False)
    table.columns[1].overflow = "fold"
    for place, candidate in enumerate(decision["candidates"], 1):
        parts = candidate["parts"]
        points = [f"{100 * parts[name]['points']:.1f}" if parts else "" for name in HEADINGS]
        if parts and candidate["benchmark"] is None:
            points[list(HEADINGS).index("benchmark_score")] += " (unknown)"
        table.add_row(
            str(place),
            escape(candidate["deployment"]),
            *points,
            f"{100 * candidate['score']:.1f}" if parts else "",
            f"{candidate['headroom']:.0%}" if candidate["room"] else "out of quota",
            style="bold" if chosen and candidate["deployment"] == chosen["deployment"] else "",
        )
    console.print(table)
    reasons: dict[str, list[str]] = {}
    for out in (out for out in decision["excluded"] if out["deployment"] not in hidden):
        reasons.setdefault(out["reason"], []).append(out["deployment"])
    for reason, deployments in reasons.items():
        console.print(f"[dim]not {escape(', '.join(deployments))}: {escape(reason)}[/]")
