"""``lumni serve``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from socket import socket

    import uvicorn

    from lumni.cli.workers import Post
    from lumni.gateway.drain import Drain
    from lumni.services import Services
    from lumni.settings import Settings


CUT_SECONDS = 3
"""For telling what still runs after ``drain_timeout`` that it is cut."""


def serve(
    config: Annotated[Path | None, typer.Option(help="A config.json, or a model list in YAML.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve together; several need Redis.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Write a flame graph (SVG) of what took the CPU there.")] = None,
) -> None:
    """Start the gateway. Without any provider's key the built-in lab provider answers."""
    import os

    from lumni.cli import loop
    from lumni.cli.failure import explained
    from lumni.cli.profile import profiled
    from lumni.settings import Settings

    def load() -> Settings:
        return Settings.load(config, os.environ, host=host, port=port, workers=workers)

    with explained():
        settings = load()
        if settings.workers == 1:
            with profiled(profile):
                loop.run(run(settings))
            return
        from lumni.cli.workers import supervise

        raise typer.Exit(supervise(load, profile))


async def run(settings: "Settings", post: "Post | None" = None) -> None:
    """Serve in this process until a signal; ``post`` is its place among several, if there are."""
    import asyncio
    import math
    import signal
    from functools import partial

    import uvicorn

    from lumni.api.protocol import BoundedProtocol
    from lumni.app import create_app
    from lumni.cli import loop
    from lumni.services import Services
    from lumni.telemetry import log, scrubber

    worker = post.number if post else None
    own = log.configure(settings, worker)
    services = await Services.start(settings, worker, own.events)
    own.scrub.add(scrubber.secrets_of(services.catalogue))
    try:
        config = uvicorn.Config(
            create_app(services),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the application asks who is behind a proxy where it matters
            lifespan="off",
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout) + CUT_SECONDS,
            timeout_keep_alive=75,
            server_header=False,
            http=BoundedProtocol,
            h11_max_incomplete_event_size=settings.max_header_bytes,
            ws="none",  # no route speaks it: an upgrade is ignored, whatever libraries there are
        )
        # uvicorn raises the signal again once it has drained; by then there are still records to write.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        server = _draining_server(config, services.pipeline.drain, settings.drain_timeout)
        loop.settle()
        serving = asyncio.create_task(server.serve([post.listener] if post else None))
        while not server.started and not serving.done():  # noqa: ASYNC110  (uvicorn has no event for it)
            await asyncio.sleep(0.02)
        if server.started and (post is None or post.first):
            _announce(services, server.servers[0].sockets[0].getsockname()[1])
        if server.started and post:
            post.serving(partial(setattr, server, "should_exit", True))
        await serving
    finally:
        await services.stop()


def _draining_server(config: "uvicorn.Config", drain: "Drain", seconds: float) -> "uvicorn.Server":
    """A server that, once told to stop, gives running requests ``seconds`` and then ends ``drain``."""
    import asyncio

    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: "list[socket] | None" = None) -> None:
            timer = asyncio.get_running_loop().call_later(seconds, drain.end)
            await super().shutdown(sockets)
            timer.cancel()

    return Server(config)


def _announce(services: "Services", port: int) -> None:
    """Where it listens, who answers, and at the very first start the key."""
    from rich.console import Console

    settings, catalogue = services.settings, services.catalogue
    shown_host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  (compared, not bound)
    out = Console(highlight=False, soft_wrap=True)
    out.print(f"[bold]Lumni[/bold] is listening. Base URL: [bold]http://{shown_host}:{port}/v1[/bold]  (docs: /docs)")
    if services.new_key:
        out.print(f"Your key, shown only this once: [bold]{services.new_key}[/bold]")
    providers = sorted({deployment.provider for deployment in catalogue.enabled})
    out.print(
        f"{len(catalogue.enabled)} deployments in {len(catalogue.groups)} model groups, from: {', '.join(providers)}."
    )
    if settings.workers > 1:
        out.print(f"{settings.workers} processes share its limits through Redis.")
    if providers == ["lumni-lab"]:
        out.print("No provider's key is set, so the lab answers: a pretend model, good for trying things out.")
