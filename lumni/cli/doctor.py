"""``lumni doctor``: is the configuration right, and if not, what to do."""

from pathlib import Path
from typing import Annotated

import typer

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[red]error[/]"}


def doctor(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A config.json or a model list.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check settings, keys and models. Exits with 1 if there is an error."""
    from lumni.catalogue.doctor import check, worst

    findings = check(config)
    if as_json:
        import json

        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table("", "what", "how to mend it", show_lines=False)
        for finding in findings:
            table.add_row(MARKS[finding.level], escape(finding.what), escape(finding.mend))
        Console().print(table)
    if worst(findings) == "error":
        raise typer.Exit(1)
