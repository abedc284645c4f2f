"""``lumni cache``: what a running gateway's response cache saved, and how to empty it."""

from typing import Annotated

import typer

app = typer.Typer(help="The response cache of a running gateway.", no_args_is_help=True, rich_markup_mode=None)
Url = Annotated[str, typer.Option(help="A running gateway.")]
Key = Annotated[str | None, typer.Option(envvar="LUMNI_API_KEY", help="Your key there.")]
HERE = "http://127.0.0.1:8000/v1"
FIELDS = (
    "enabled", "type", "ttl_seconds", "size", "hit_rate", "hits", "misses", "bypasses", "shared", "faults", "saved",
)  # fmt: skip


@app.command()
def stats(
    url: Url = HERE, key: Key = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show hits, misses, how many answers are kept, and what they saved."""
    import json

    from lumni.cli.failure import explained
    from lumni.cli.remote import asked, connected

    with explained(), connected(url, key) as client:
        told = asked(client, "GET", "/cache/stats", *FIELDS)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    if not told["enabled"]:
        typer.echo("The response cache is off. Switch it on with CACHE_ENABLED=true; docs/cache.md says more.")
        return
    size, saved = told["size"], told["saved"]
    lines = {
        "kept in": f"{told['type']}, for {told['ttl_seconds']:g} s",
        "answers": "not told" if size is None else f"{size:,}",
        "hits": f"{told['hits']:,} ({told['hit_rate']:.1%}), {told['shared']:,} of them waited for another's answer",
        "misses": f"{told['misses']:,}, and {told['bypasses']:,} that did not ask",
        "saved": f"{saved['tokens']:,} tokens, {saved['cost_usd']} USD by list price",
        "faults": f"{told['faults']:,}",
    }
    for name, text in lines.items():
        typer.echo(f"{name:8} {text}")


@app.command()
def clear(
    course: Annotated[str | None, typer.Option(help="Only this course's answers.")] = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Forget the answers that are kept: all, or those of one course."""
    from lumni.cli.failure import explained
    from lumni.cli.remote import asked, connected

    with explained(), connected(url, key) as client:
        parameters = {"course": course} if course else {}
        told = asked(client, "DELETE", "/cache/clear", "cleared", "course", **parameters)
    whose = f" of the course {told['course']}" if told["course"] else ""
    typer.echo(f"Cleared {told['cleared']:,} answers{whose}.")
