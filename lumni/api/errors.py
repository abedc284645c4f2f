"""The one place where errors become responses."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from lumni.api.schemas import ErrorBody
from lumni.api.visit import Visit
from lumni.errors import DatabaseUnavailable, InternalError, InvalidRequest, LumniError, MethodNotAllowed, NotFound
from lumni.storage.errors import is_away

logger = logging.getLogger(__name__)

_MEANINGS = {
    400: "The request is wrong; `error.param` names the field.",
    401: "The key is missing or wrong.",
    403: "The key may not do this.",
    404: "There is no such model or route.",
    405: "The route has no such method.",
    409: "What is there already stands in the way.",
    413: "The body is larger than the gateway accepts.",
    429: "Out of quota for now; `retry-after` says for how long.",
    431: "The request line and headers are larger than the gateway accepts.",
    500: "A fault of Lumni's.",
    503: "Nothing can answer now: providers, limits or the database are away; `error.code` says which.",
    504: "No provider answered in time.",
}


_EVERYWHERE = (405, 431, 500, 503)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that can answer with these errors, and with those of every route."""
    return {
        status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in sorted({*statuses, *_EVERYWHERE})
    }


def response(error: LumniError, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(error.body()), error.status, {**error.headers(), **(headers or {})}, media_type="application/json"
    )


def gone() -> Response:
    """For a client that hung up; it sees nothing of it."""
    return Response(status_code=499)


def install(app: FastAPI) -> None:
    """Map every exception that leaves a route to OpenAI's error shape."""

    @app.exception_handler(LumniError)
    async def on_ours(_: Request, error: LumniError) -> Response:
        return response(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return response(InvalidRequest("The body is not valid JSON.", code="invalid_json"))
        param = ".".join(str(part) for part in first["loc"][1:])
        return response(InvalidRequest(f"{param}: {first['msg']}.", param=param))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        known: LumniError
        headers = error.headers
        if error.status_code == 404:
            known = NotFound(f"There is no {request.url.path} here. GET /docs lists what there is.")
        elif error.status_code == 405:
            known = MethodNotAllowed(f"{request.method} is not possible on {request.url.path}.")
            headers = {"allow": ", ".join(sorted(_methods(request)))}
        else:
            known = InvalidRequest(str(error.detail))
        return response(known, headers)

    @app.exception_handler(ClientDisconnect)
    async def on_gone(_: Request, __: ClientDisconnect) -> Response:
        return gone()


def _methods(request: Request) -> set[str]:
    """What is possible on the path, on all of its routes together; Starlette tells those of the first one only."""
    return {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    }


def known(error: Exception) -> LumniError | None:
    """What a client is told of an error that isn't ours, if there is something to tell: that the database is away."""
    if not is_away(error):
        return None
    return DatabaseUnavailable(
        "This needs Lumni's database, which can't be reached now. Ask again in a few seconds; if it lasts, tell who "
        "runs the gateway: `lumni db status` says what to look at. A change under way may or may not have been made.",
        retry_after=5,
    )


def response_to(error: Exception, scope: Scope, visit: Visit) -> Response:
    """What a client is told of any error. Raises it again if an answer has begun: then the server closes the
    connection, so that half an answer isn't taken for a whole one.

    What is none of ours and none of the client's is a fault of ours: a 500, with the request's id in the log. A
    database that is away is none: a 503 that says so.
    """
    what = (scope["method"], scope["path"], visit.request_id)
    if not visit.started:
        if isinstance(error, LumniError):
            return response(error)
        if isinstance(error, ClientDisconnect):
            return gone()
        if told := known(error):
            logger.warning("the database is away on %s %r (%s)", *what)
            return response(told)
    logger.error("a fault of ours on %s %r (%s)", *what, exc_info=error)
    if visit.started:
        raise error
    return response(InternalError("Lumni made a mistake. The log says which, under this request's id."))


class Faults:
    """The same inside of FastAPI, whose own answer to what no handler above knows would be plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http" or scope["lumni.visit"].started:
                raise
            await response_to(error, scope, scope["lumni.visit"])(scope, receive, send)
