"""``lumni setting``: what admins may change while the gateway runs."""

from typing import Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_table, with_people

app = typer.Typer(help="Settings that hold at once, while the gateway runs.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Its name, such as routing_strategy.")]


@app.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """What was changed, when and by which key."""
    from lumni.people.service import LOCAL_ADMIN

    changed = with_people(config, lambda people: people.settings.list(LOCAL_ADMIN))
    rows = [
        {"name": one.name, "value": one.value, "at": one.changed_at.isoformat(), "by": one.changed_by}
        for one in changed
    ]
    show_table(rows, {"name": "name", "value": "value", "at": "changed", "by": "by"}, as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="""JSON, or a word: round_robin, 20, '{"groq/*": "the key leaked"}'.""")],
    config: Config = None,
) -> None:
    """Change a setting. Running gateways follow within a second or two."""
    import json

    try:
        given: Any = json.loads(value)
    except ValueError:
        given = value
    _change(name, given, config)


@app.command()
def reset(name: Name, config: Config = None) -> None:
    """Give a setting back to the configuration."""
    _change(name, None, config)


def _change(name: str, value: Any, config: Any) -> None:
    from lumni.people.service import LOCAL_ADMIN

    with_people(config, lambda people: people.settings.change(LOCAL_ADMIN, {name: value}))
