"""``lumni experiment``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lumni.cli.people import AsJson, Config

if TYPE_CHECKING:
    from lumni.trials import Estimate, Outcomes

app = typer.Typer(help="Compare models and prompts in class.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The experiment's name in the configuration.")]
WIDTH = 120  # columns, also where the output isn't a terminal
SHOWN = {
    "success": ("answered", "{:.1%}", 1.0),
    "latency_ms": ("seconds", "{:.2f}", 1e-3),
    "list_cost": ("list price, USD", "{:.6f}", 1e-9),
    "tokens": ("tokens", "{:.0f}", 1.0),
    "feedback": ("feedback", "{:+.2f}", 1.0),
}  # measure: title, format, from the stored unit to the shown one


@app.callback()
def group() -> None:
    """Compare models and prompts in class."""


@app.command()
def report(name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """What came of each variant: means over students (or courses) with their 95 % intervals."""
    import asyncio
    import json

    from rich.console import Console

    told = asyncio.run(_read(name, config))
    if as_json:
        typer.echo(json.dumps([_json(one) for one in told]))
        return
    console = Console()
    console.print(_table(told), width=max(console.width, WIDTH))


async def _read(name: str, config: Path | None) -> "list[Outcomes]":
    import os

    from lumni.cli.failure import explained
    from lumni.errors import NotFound
    from lumni.settings import Settings
    from lumni.storage.database import Database
    from lumni.trials import report

    with explained():
        settings = Settings.load(config, os.environ)
        if name not in settings.experiments:
            known = ", ".join(settings.experiments) or "none"
            raise NotFound(f"There is no experiment {name}. The configuration has: {known}.")
        experiment = settings.experiments[name]
        database = await Database.open(settings)
        try:
            return report(experiment, await database.experiments.results(name, experiment.unit))
        finally:
            await database.close()


def _json(one: "Outcomes") -> dict[str, object]:
    return {
        "variant": one.variant,
        "units": one.units,
        "requests": one.requests,
        "estimates": {measure: estimate._asdict() for measure, estimate in one.estimates.items()},
        "differences": {measure: estimate._asdict() for measure, estimate in one.differences.items()},
    }


def _table(told: "list[Outcomes]") -> object:
    from rich.table import Table

    base, *others = told
    table = Table("")
    for title in (*(one.variant for one in told), *(f"{one.variant} - {base.variant}" for one in others)):
        table.add_column(title, no_wrap=True)
    table.add_row("units", *(str(one.units) for one in told))
    table.add_row("requests", *(str(one.requests) for one in told))
    for measure, (title, _, _) in SHOWN.items():
        cells = [_cell(one.estimates.get(measure), measure) for one in told]
        table.add_row(title, *cells, *(_cell(one.differences.get(measure), measure) for one in others))
    return table


def _cell(estimate: "Estimate | None", measure: str) -> str:
    if estimate is None:
        return "-"
    _, form, unit = SHOWN[measure]
    mean = form.format(estimate.mean * unit)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} \\[{form.format(estimate.low * unit)}, {form.format(estimate.high * unit)}]"
