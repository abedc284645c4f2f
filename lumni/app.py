"""The ASGI application."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

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
    middleware,
    models,
    pairs,
    people,
    quota,
    receipts,
    rules,
    settings,
    usage,
)
from lumni.services import Services

DESCRIPTION = """
An OpenAI-compatible gateway for teaching. Use any OpenAI client: base URL `/v1`, your key as the API key, model `auto`.
Each answer says in `lumni` what was chosen, why, and what it cost.
"""


def create_app(services: Services) -> FastAPI:
    """The application over running services. Whoever started them stops them."""
    app = FastAPI(
        title="Lumni", version=__version__, summary="One base URL, one key a student.", description=DESCRIPTION,
        docs_url=None, redoc_url=None,  # FastAPI's own load their scripts from another host; see lumni.api.docs
        redirect_slashes=False,  # behind a proxy that ends TLS, a redirect would send the key over plain HTTP
    )  # fmt: skip
    app.state.services = services
    for surface in (
        chat, completion, models, quota, explain, feedback, pairs, people, keys, rules, calibrations, settings, claim,
        usage, receipts, cache, health, metrics, docs,
    ):  # fmt: skip
        app.include_router(surface.router)
    errors.install(app)
    documents.install(app)
    given = services.settings
    # Added from the inside out: the last one is the first that a request meets.
    app.add_middleware(chat.ChatRoute)
    app.add_middleware(middleware.Authentication, keyring=services.keyring)
    app.add_middleware(middleware.Limits, max_body_bytes=given.max_body_bytes, max_header_bytes=given.max_header_bytes)
    app.add_middleware(errors.Faults)
    app.add_middleware(middleware.HeadAsGet)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=given.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*", "x-request-id", "retry-after"],
    )
    app.add_middleware(middleware.RequestId)
    return app
