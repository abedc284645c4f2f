"""The parts of ``/openapi.json`` that FastAPI can't read off the code, because hot routes parse their own bodies."""

from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict

from lumni import __version__
from lumni.api.errors import documented
from lumni.api.gate import PUBLIC_PATHS
from lumni.api.schemas import ChatCompletionRequest, ExplainRequest


class ChatCompletion(BaseModel):
    """OpenAI's `chat.completion`, and `lumni` with what was chosen, why, and what it cost."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    lumni: dict[str, Any] | None = None


class Winner(BaseModel):
    deployment: str
    provider: str
    model: str


class Explanation(BaseModel):
    """Every candidate with its weighted parts, every exclusion with its reason, and what would be if.

    `lane` says of a request that is only imagined who would carry it, as `attempts` does of one on record. `what_if`
    has the same fields and says in `changed` whether another would win.
    """

    model_config = ConfigDict(extra="allow")

    object: str
    winner: Winner | None
    reason: str | None
    candidates: list[dict[str, Any]]
    excluded: list[dict[str, Any]]
    what_if: dict[str, Any] | None


def chat_responses(event: str) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that answers a chat request; ``event`` says what its stream's events hold."""
    return {
        200: {
            "model": ChatCompletion,
            "description": "The answer; with `stream: true` a stream of server-sent events.",
            "content": {"text/event-stream": {"itemSchema": _event(event)}},
        },
        **documented(400, 401, 404, 413, 429, 503, 504),
    }


def _event(description: str) -> dict[str, Any]:
    """One server-sent event, as OpenAPI 3.2 describes a stream: by its items. No event of ours has other fields."""
    data = {"type": "string", "description": description}
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def chat_body(*, model_required: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of a route that takes a chat request."""
    name = "ChatCompletionRequest" if model_required else "CompletionRequest"
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def explain_body() -> dict[str, Any]:
    """``openapi_extra`` of a route that explains a chat request."""
    schema = {"$ref": "#/components/schemas/ExplainRequest"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` complete: request bodies, and the key on every route that needs one."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title="Lumni", version=__version__, summary=app.summary, description=app.description,
                           routes=app.routes)  # fmt: skip
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    body = ChatCompletionRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(body.pop("$defs"))
    schemas["ChatCompletionRequest"] = body
    explained = ExplainRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(explained.pop("$defs"))
    schemas["ExplainRequest"] = explained
    schemas["CompletionRequest"] = {**deepcopy(body), "required": ["messages"], "title": "CompletionRequest"}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path not in PUBLIC_PATHS:
                operation["security"] = [{"bearer": []}, {"x-api-key": []}]
    return document
