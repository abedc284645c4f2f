"""``lumni quota``: what is left of every pool, when it comes back, and who waits."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import httpx
    from rich.console import RenderableType
    from rich.table import Table

REFRESH_SECONDS = 1.0
SCARCE = 0.2  # the part of a limit below which what is left is shown as a warning


def quota(
    url: Annotated[str, typer.Option(help="A running gateway.")] = "http://127.0.0.1:8000/v1",
    key: Annotated[str | None, typer.Option(envvar="LUMNI_API_KEY", help="Your key there.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch a line for each look.")] = False,
) -> None:
    """Show what is used, reserved and left of each provider's quota, when it comes back, and who waits."""
    from lumni.cli.failure import explained
    from lumni.cli.remote import connected

    with explained(), connected(url, key) as client:
        first = look(client)
        if watch:
            _watch(client, first, as_json=as_json)
        elif as_json:
            _print_json(first, indent=2)
        else:
            from rich.console import Console

            Console(highlight=False).print(render(first))


def look(client: "httpx.Client") -> dict[str, Any]:
    """The gateway's ``GET /v1/quota``. Raises ``LumniError``, which says what is wrong."""
    from lumni.cli.remote import asked

    return asked(client, "GET", "/quota", "data", "store", "waiting", "queue")


def _watch(client: "httpx.Client", shown: dict[str, Any], *, as_json: bool) -> None:
    """Look again and again. A gateway that doesn't answer is asked again: it may just be starting."""
    import time

    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from lumni.errors import LumniError

    trouble = ""
    try:
        with Live(console=Console(highlight=False, quiet=as_json), auto_refresh=False, screen=not as_json) as live:
            while True:
                if as_json and not trouble:
                    _print_json(shown)
                live.update(Group(render(shown), Text(trouble, style="red")), refresh=True)
                time.sleep(REFRESH_SECONDS)
                try:
                    shown, trouble = look(client), ""
                except LumniError as error:
                    trouble = str(error)
    except KeyboardInterrupt:
        return


def render(shown: dict[str, Any]) -> "RenderableType":
    """The table, where it is counted, and who waits."""
    from rich.console import Group
    from rich.text import Text

    words = [Text(_counted(shown["store"]))]
    if shown["waiting"]:
        words.append(Text(f"{shown['waiting']} waiting{_line(shown['queue'])}", style="yellow"))
    else:
        words.append(Text("Nobody waits."))
    return Group(_table(shown["data"]), *words)


def _table(rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("pool", "window"):
        table.add_column(name, overflow="fold")
    for name in ("used", "reserved", "left", "resets in"):
        table.add_column(name, justify="right")
    table.add_column("where from", overflow="fold")
    previous = ""
    for row in rows:
        pool, previous = ("" if row["pool"] == previous else row["pool"]), row["pool"]
        left = "unknown" if row["left"] is None else f"{row['left']:,}"
        numbers = (f"{row['used']:,}", f"{row['reserved']:,}", left, _reset(row))
        cells = (pool, row["window"], *numbers, _origin(row))
        table.add_row(*(Text(cell) for cell in cells), style=_style(row))
    return table


def _style(row: dict[str, Any]) -> str:
    left = row["left"]
    if left == 0:
        return "red"
    return "yellow" if left is not None and row["limit"] and left < SCARCE * row["limit"] else ""


def _origin(row: dict[str, Any]) -> str:
    source, provenance = str(row["source"]), str(row["provenance"])
    return source if source.startswith(provenance) else f"{provenance}: {source}"


def _reset(row: dict[str, Any]) -> str:
    if row["blocked_in"] > 0:
        return f"closed for {span(row['blocked_in'])}"
    return span(row["reset_in"]) if row["used"] or row["reserved"] else "–"


def span(seconds: float) -> str:
    """A length of time in its two largest units: ``45 s``, ``3 min 20 s``, ``7 h``, ``12 d 4 h``."""
    left = round(seconds)
    if 0 < seconds < 1:
        return "< 1 s"
    parts: list[str] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        amount, left = divmod(left, length)
        if amount or parts:
            parts.append(f"{amount} {unit}" if amount else "")
    return " ".join(part for part in parts[:2] if part) or "0 s"


def _counted(store: dict[str, Any]) -> str:
    import time

    if store["mode"] == "shared":
        return f"Counted in Redis, shared by {_processes(store['processes'])}."
    if store["mode"] == "degraded":
        since = span(max(0.0, time.time() - store["since"]))
        kept = f"keeps to {store['share']:.0%} of each limit; what is shown is its part"
        serves = kept if store["share"] else "serves nobody, since it can't know what is left"
        return f"Redis can't be used for {since} ({store['reason']}): this process {serves}."
    return "Counted in this one process."


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"


def _line(queue: list[dict[str, Any]]) -> str:
    """``: ada (2, 14 s), ben (3 s)``: who, how many requests, and for how long the first of them."""
    waits: dict[str, list[float]] = {}
    for one in queue:
        waits.setdefault(one["student"], []).append(one["waited_s"])
    words = []
    for student, seconds in waits.items():
        number = f"{len(seconds)} requests, " if len(seconds) > 1 else ""
        words.append(f"{student} ({number}{span(max(seconds))})")
    return f": {', '.join(words)}" if words else ""


def _print_json(value: Any, indent: int | None = None) -> None:
    import json

    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))
