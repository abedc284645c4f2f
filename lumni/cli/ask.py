"""``lumni ask``: one question, its answer as it comes, and what was chosen and why."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lumni.settings import Settings


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="auto, fast, powerful, a model group or provider/model.")] = "auto",
    provider: Annotated[str | None, typer.Option(help="The provider to prefer.")] = None,
    task_type: Annotated[str | None, typer.Option(help="fast or powerful: overrides the classification.")] = None,
    system: Annotated[str | None, typer.Option(help="Instructions to the model.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config.json, or a model list in YAML.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask a running gateway, e.g. http://127.0.0.1:8000/v1.")] = None,
    key: Annotated[str | None, typer.Option(envvar="LUMNI_API_KEY", help="Your key there.")] = None,
) -> None:
    """Ask a question. Without --url the answer comes straight from this process: no server is needed."""
    import asyncio
    import os

    from lumni.cli.failure import explained
    from lumni.settings import Settings

    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {
        "model": model,
        "messages": [*messages, {"role": "user", "content": question}],
        "stream": True,
    }
    body |= {name: value for name, value in (("provider", provider), ("task_type", task_type)) if value is not None}
    with explained():
        if url:
            asyncio.run(_show(_from_server(url, key, body)))
        else:
            quiet = Settings.load(config, os.environ, log_level="ERROR")
            asyncio.run(_show(_in_process(quiet, body)))


async def _in_process(settings: "Settings", body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    import asyncio
    import logging

    from lumni import sse
    from lumni.api import wire
    from lumni.services import Services
    from lumni.types import Principal

    logging.basicConfig(level=settings.log_level)
    services = await Services.start(settings)
    try:
        now = asyncio.get_running_loop().time()
        envelope = wire.envelope(wire.new_request_id(), "cli", now)
        request = wire.chat_request(body, {}, settings, envelope)
        reply = await services.pipeline.complete(request, Principal(key_id="cli", role="admin"))
        if reply.events is not None:
            async for events in reply.events:
                for chunk in sse.chunks_in(events):
                    yield chunk
    finally:
        await services.stop()


async def _from_server(url: str, key: str | None, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    import httpx
    import orjson

    from lumni.errors import LumniError

    headers = {"authorization": f"Bearer {key}"} if key else {}
    base = url.rstrip("/")
    address = f"{base if base.endswith('/v1') else base + '/v1'}/chat/completions"
    try:
        async with (
            httpx.AsyncClient(timeout=120) as client,
            client.stream("POST", address, json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise LumniError(orjson.loads(await response.aread())["error"]["message"])
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    chunk = orjson.loads(line[6:])
                    if "error" in chunk:
                        raise LumniError(chunk["error"]["message"])
                    yield chunk
    except httpx.HTTPError as error:
        raise LumniError(f"No gateway answers at {url}: {error}. Is `lumni serve` running there?") from None


async def _show(chunks: AsyncIterator[dict[str, Any]]) -> None:
    from rich.console import Console

    out, told = Console(highlight=False, soft_wrap=True), None
    async for chunk in chunks:
        told = chunk.get("lumni", told)
        for choice in chunk["choices"]:
            out.print(choice["delta"].get("content") or "", end="", markup=False)
    out.print()
    if told:
        chosen = told["selection"]
        out.print(f"[dim]{chosen['reason']}[/dim]")
        cost = told["cost"]
        price = f"list price ${cost['list']}, billed ${cost['billed']}" if cost else "price unknown"
        out.print(f"[dim]{chosen['model']} at {chosen['provider']}, {told['latency_ms']:.0f} ms, {price}[/dim]")
