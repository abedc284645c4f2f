"""``lumni portkey``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Send records to Portkey.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Send records to Portkey."""


@app.command()
def check(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A config.json or a model list.")] = None,
) -> None:
    """Send one log with your key and say what came back. Exits with 1 if it wasn't taken."""
    import asyncio
    import os

    from lumni.catalogue.load import load_catalogue
    from lumni.cli.failure import explained
    from lumni.settings import Settings
    from lumni.telemetry.portkey_check import send_one

    with explained():
        settings = Settings.load(config, os.environ)
        catalogue = load_catalogue(settings, os.environ)
    report = asyncio.run(send_one(settings, catalogue))
    for line in report.lines:
        typer.echo(line)
    if not report.taken:
        raise typer.Exit(1)
