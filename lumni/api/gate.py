"""What every request passes before it is served. Plain ASGI: streams go through untouched."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import chain

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lumni.api import errors
from lumni.api.visit import Header, Visit
from lumni.errors import AuthenticationFailed, HeadersTooLarge, LumniError
from lumni.services import Services

Serve = Callable[[Visit], Awaitable[Response]]

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


class Gate:
    """The outermost application: identity, limits, who asks, other origins, and faults of ours, in one step.

    ``direct`` are routes by their path that ``POST`` reaches without a way through FastAPI, which costs a tenth of a
    chat request and does nothing for it; everything else is for ``app``.
    """

    def __init__(self, app: ASGIApp, services: Services, direct: Mapping[str, Serve]) -> None:
        self._app = app
        self._services = services
        self._direct = direct
        self._max_head = services.settings.max_header_bytes
        self._origins = Origins(services.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no route speaks it; none shall be open by mistake
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(self._services, scope, receive, send)
        try:
            await self._serve(scope, visit)
        except Exception as error:  # noqa: BLE001  (every one has its answer, or is raised again)
            await visit.answer(errors.response_to(error, scope, visit), scope)

    async def _serve(self, scope: Scope, visit: Visit) -> None:
        origin, method = visit.headers.get(b"origin"), scope["method"]
        if origin is not None and method == "OPTIONS" and b"access-control-request-method" in visit.headers:
            await visit.answer(self._origins.preflight(scope), scope)
            return
        visit.sharing = self._origins.sharing(origin)
        self._check_head(scope)
        await self._identify(scope, visit)
        if method == "POST" and (serve := self._direct.get(scope["path"])):
            await visit.answer(await serve(visit), scope)
            return
        # HEAD wherever there is a GET, as RFC 9110 (9.1) demands; the server leaves the body out.
        scope = {**scope, "method": "GET" if method == "HEAD" else method, "lumni.visit": visit}
        await self._app(scope, visit.receive, visit.send)

    def _check_head(self, scope: Scope) -> None:
        line = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if line + sum(map(len, chain.from_iterable(scope["headers"]))) > self._max_head:
            raise HeadersTooLarge(f"The request line and headers are larger than {self._max_head} bytes.")

    async def _identify(self, scope: Scope, visit: Visit) -> None:
        """A key for every route but the public ones, as ``Authorization: Bearer …`` or ``x-api-key``.

        On public routes a key is optional: it only shows more, and one that can't be used shows nothing.
        """
        presented = _presented_key(visit.headers)
        try:
            visit.principal = await self._services.keyring.authenticate(presented) if presented else None
        except LumniError:
            if scope["path"] not in PUBLIC_PATHS:
                raise
        if visit.principal is None and scope["path"] not in PUBLIC_PATHS:
            raise _refusal(presented)


class Origins:
    """Which pages of browsers may read our answers (CORS), as Starlette's middleware has it."""

    def __init__(self, allowed: Collection[str]) -> None:
        exposed = ["*", "x-request-id", "retry-after"]
        self._cors = CORSMiddleware(
            Response(), allowed, allow_methods=["*"], allow_headers=["*"], expose_headers=exposed
        )
        self._exposing = (b"access-control-expose-headers", ", ".join(exposed).encode())
        self._everybody = "*" in allowed

    def sharing(self, origin: bytes | None) -> list[Header]:
        """The headers of an answer to a page of ``origin``, or to what is no page."""
        varies = (b"vary", b"Origin")
        if origin is None:
            return [varies]
        if self._everybody:
            return [(b"access-control-allow-origin", b"*"), self._exposing, varies]
        if self._cors.is_allowed_origin(origin.decode("latin-1")):
            return [(b"access-control-allow-origin", origin), self._exposing, varies]
        return [self._exposing, varies]

    def preflight(self, scope: Scope) -> Response:
        """The answer to a browser that asks whether a page may ask."""
        return self._cors.preflight_response(Headers(scope=scope))


def _presented_key(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not credentials.strip():
        credentials = headers.get(b"x-api-key", b"")
    return credentials.strip().decode("latin-1") or None


def _refusal(presented: str | None) -> AuthenticationFailed:
    if presented:
        return AuthenticationFailed("This key is not known here. Ask your teacher for yours, or run `lumni doctor`.")
    return AuthenticationFailed("No key was sent. Send it as `Authorization: Bearer <key>`.", code="missing_api_key")
