"""What every request passes before a route sees it. Pure ASGI: streams go through untouched."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lumni.api import errors
from lumni.api.wire import client_request_id, new_request_id
from lumni.errors import AuthenticationFailed, HeadersTooLarge, LumniError, RequestTooLarge
from lumni.people.keyring import Keyring

PUBLIC_PATHS = frozenset(
    {
        "/health",
        "/health/ready",
        "/claim",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
    }
)


class RequestId:
    """Every request gets an id of ours; a client's own ``x-request-id`` is echoed, ours is always in a header too.

    To who has a key, every answer also says what her course keeps of what is asked: errors and streams alike.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        echoed = client_request_id(Headers(scope=scope).get("x-request-id")) or request_id
        scope["lumni.request_id"] = request_id
        scope["lumni.client_request_id"] = None if echoed == request_id else echoed

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                ids = [(b"x-request-id", echoed.encode()), (b"x-lumni-request-id", request_id.encode())]
                if (principal := scope.get("lumni.principal")) is not None:
                    ids.append((b"x-lumni-privacy", principal.privacy.encode()))
                message = {**message, "headers": [*message.get("headers", ()), *ids]}
            await send(message)

        await self._app(scope, receive, send_with_id)


class HeadAsGet:
    """``HEAD`` wherever there is a ``GET``, as RFC 9110 (9.1) demands; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class Limits:
    """Refuses request lines with headers over a size, and bodies, announced or not, as soon as a route reads them."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_header_bytes: int) -> None:
        self._app = app
        self._max_body = max_body_bytes
        self._max_headers = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        line = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if line + sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_headers:
            error = HeadersTooLarge(f"The request line and headers are larger than {self._max_headers} bytes.")
            await errors.response(error)(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        announced_too_large = announced.isascii() and announced.isdigit() and int(announced) > self._max_body
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            too_large = RequestTooLarge(f"The body is larger than {self._max_body} bytes. Send less or smaller images.")
            if announced_too_large:
                raise too_large
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body:
                raise too_large
            return message

        await self._app(scope, receive_counted, send)


class Authentication:
    """A key for every route but the public ones, as ``Authorization: Bearer …`` or ``x-api-key``.

    On public routes a key is optional: it only shows more, and one that can't be used shows nothing.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no route speaks it; none shall be open by mistake
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        presented, refusal, principal = _presented_key(Headers(scope=scope)), None, None
        try:
            principal = await self._keyring.authenticate(presented) if presented else None
        except LumniError as error:
            refusal = error
        scope["lumni.principal"] = principal
        if principal is None and scope["path"] not in PUBLIC_PATHS:
            await errors.response(refusal or _refusal(presented))(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _presented_key(headers: Headers) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key")


def _refusal(presented: str | None) -> AuthenticationFailed:
    if presented:
        return AuthenticationFailed("This key is not known here. Ask your teacher for yours, or run `lumni doctor`.")
    return AuthenticationFailed("No key was sent. Send it as `Authorization: Bearer <key>`.", code="missing_api_key")
