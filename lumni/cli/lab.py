"""``lumni lab``: the stand-in providers as a server, and a look into a running one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import uvicorn

    from lumni.lab.faults import Fault
    from lumni.lab.server import LabApp
    from lumni.lab.state import LimitsMode

app = typer.Typer(no_args_is_help=True, help="Stand-in providers: offline, without keys, with real limits and faults.")
_SERVER = typer.Option("--server", help="Where the lab runs.")
_DEFAULT_SERVER = "http://127.0.0.1:9000"


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 9000,
    profile: Annotated[list[str] | None, typer.Option(help="Serve only this provider; may be repeated.")] = None,
    latency: Annotated[float, typer.Option(help="Seconds before the first token.", min=0)] = 0.0,
    pace: Annotated[float, typer.Option(help="Seconds between tokens.", min=0)] = 0.0,
    jitter: Annotated[float, typer.Option(help="Share of both that chance may add, e.g. 0.2.", min=0)] = 0.0,
    limits: Annotated[str, typer.Option(help="off, default, or a JSON file of limits.")] = "default",
    seed: Annotated[int, typer.Option(help="Seed of texts, jitter and fault chances.")] = 0,
    fault: Annotated[
        list[str] | None, typer.Option(help="A scripted fault, e.g. status:status=503,profile=groq,times=3.")
    ] = None,
    any_model: Annotated[bool, typer.Option("--any-model", help="Serve models that a provider doesn't list.")] = False,
) -> None:
    """Serve the providers of the lab over HTTP, each under its own path."""
    import uvicorn

    from lumni.lab.server import create_lab_app
    from lumni.lab.state import Timing

    try:
        lab_app = create_lab_app(
            seed=seed,
            timing=Timing(latency, pace, jitter),
            limits=_read_limits(limits),
            any_model=any_model,
            profiles=profile,
            faults=_read_faults(fault or ()),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    # Scripted cuts leave answers unfinished, which uvicorn would report as errors of the app.
    config = uvicorn.Config(
        lab_app, host=host, port=port, log_level="critical", access_log=False, server_header=False, lifespan="off"
    )
    _run(uvicorn.Server(config), lab_app, host)


@app.command()
def state(server: Annotated[str, _SERVER] = _DEFAULT_SERVER) -> None:
    """Print what a running lab counted: calls, refusals, tokens, windows."""
    _print_json(_ask(server, "GET", "/_lab/state"))


@app.command()
def faults(
    add: Annotated[
        list[str] | None, typer.Argument(help="Faults to add, e.g. cut:after=5 or status:status=503.")
    ] = None,
    server: Annotated[str, _SERVER] = _DEFAULT_SERVER,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all faults first.")] = False,
) -> None:
    """Add faults to a running lab, and list them."""
    try:
        given = [one.shown() for one in _read_faults(add or ())]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if clear:
        _ask(server, "DELETE", "/_lab/faults")
    if given:
        for one in given:
            del one["hits"]
        _ask(server, "POST", "/_lab/faults", given)
    _print_json(_ask(server, "GET", "/_lab/faults"))


def _read_limits(given: str) -> "LimitsMode":
    if given in ("off", "default"):
        return given  # type: ignore[return-value]  # the two words of the type
    import orjson

    path = Path(given)
    if not path.is_file():
        raise ValueError(f"limits must be off, default or a file; there is no file {given!r}")
    try:
        limits: LimitsMode = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{given} is not JSON: {error}") from None
    return limits


def _read_faults(given: Sequence[str]) -> "list[Fault]":
    from lumni.lab.faults import parse_fault_option

    return [parse_fault_option(text) for text in given]


def _run(server: "uvicorn.Server", lab_app: "LabApp", host: str) -> None:
    import asyncio

    from lumni.cli import loop

    async def serve_and_announce() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110  (no event to wait for)
            await asyncio.sleep(0.02)
        if server.started:
            _announce(lab_app, host, server.servers[0].sockets[0].getsockname()[1])
        await serving

    try:
        loop.run(serve_and_announce())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except SystemExit:  # uvicorn's way to say that it could not listen
        raise typer.BadParameter(f"cannot listen on {host}: the port is taken or the address is not ours") from None


def _announce(lab_app: "LabApp", host: str, port: int) -> None:
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    for profile in lab_app.lab.profiles.values():
        typer.echo(f"{profile.name:<11} {base}{profile.base_path}")
        if profile.native_path:
            typer.echo(f"{'':<11} {base}{profile.native_path} (native)")
    typer.echo(f"{'admin':<11} {base}/_lab/state")
    typer.echo(f"Lab ready on {base}. Any key works, except one that begins with “dead”.")


def _ask(server: str, method: str, path: str, body: Any = None) -> Any:
    import urllib.error
    import urllib.request

    import orjson

    if not server.startswith(("http://", "https://")):
        raise typer.BadParameter("the server must be an http:// address")
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(server.rstrip("/") + path, data=data, method=method)  # noqa: S310  (checked above)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        typer.echo(error.read().decode(errors="replace"), err=True)
        raise typer.Exit(1) from None
    except urllib.error.URLError as error:
        typer.echo(f"No lab answers at {server} ({error.reason}). Start one with `lumni lab serve`.", err=True)
        raise typer.Exit(1) from None


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    app()
