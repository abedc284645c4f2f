"""``lumni alerts``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Tell people what is wrong.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Tell people what is wrong."""


@app.command("test")
def send_test(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A config.json or a model list.")] = None,
) -> None:
    """Send a test by every channel that the settings name. Exits with 1 if one fails, or if there is none."""
    import asyncio
    import os

    from lumni.cli.failure import explained
    from lumni.settings import Settings
    from lumni.telemetry.alerts.channels import make_channels, try_each

    with explained():
        settings = Settings.load(config, os.environ)
    channels = make_channels(settings)
    if not channels:
        typer.echo("No channel: set ALERT_WEBHOOK_URL, ALERT_SLACK_URL, or ALERT_SMTP_URL and ALERT_EMAIL_TO.")
        raise typer.Exit(1)
    failed = asyncio.run(try_each(channels))
    for name in channels:
        typer.echo(f"{name}: {failed.get(name, 'sent')}")
    if failed:
        raise typer.Exit(1)
