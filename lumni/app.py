"""The ASGI application."""

import os

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lumni import __version__
from lumni.api import (
    cache,
    calibrations,
    chat,
    claim,
    completion,
    docs,
    documents,
    errors,
    explain,
    feedback,
    health,
    keys,
    metrics,
    models,
    pairs,
    people,
    quota,
    receipts,
    rules,
    settings,
    usage,
)
from lumni.api.gate import Gate
from lumni.services import Services

DESCRIPTION = """
An OpenAI-compatible gateway for teaching. Use any OpenAI client: base URL `/v1`, your key as the API key, model `auto`.
Each answer says in `lumni` what was chosen, why, and what it cost.
"""


def create_app(services: Services) -> Gate:
    """The application over running services. Whoever started them stops them."""
    app = FastAPI(
        title="Lumni", version=__version__, summary="One base URL, one key a student.", description=DESCRIPTION,
        docs_url=None, redoc_url=None,  # FastAPI's own load their scripts from another host; see lumni.api.docs
        redirect_slashes=False,  # behind a proxy that ends TLS, a redirect would send the key over plain HTTP
    )  # fmt: skip
    for surface in (
        chat, completion, models, quota, explain, feedback, pairs, people, keys, rules, calibrations, settings, claim,
        usage, receipts, cache, health, metrics, docs,
    ):  # fmt: skip
        app.include_router(surface.router)
    errors.install(app)
    documents.install(app)
    app.add_middleware(errors.Faults)
    # Only routes that FastAPI serves ask for a client's address. The variable is uvicorn's.
    proxied = ProxyHeadersMiddleware(app, os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))  # type: ignore[arg-type]
    direct = {chat.PATH: chat.chat_completions, completion.PATH: completion.completion}
    return Gate(proxied, services, direct)  # type: ignore[arg-type]
