"""One HTTP request as all who serve it see it."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from lumni.api.presence import Presence
from lumni.api.wire import new_request_id
from lumni.errors import AuthenticationFailed, RequestTooLarge
from lumni.services import Services
from lumni.types import Principal

Header = tuple[bytes, bytes]
_CLIENT_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Visit:
    """Its headers read once, its ids, who asks, and the way to its body and back.

    Every request gets an id of ours; a client's own ``x-request-id`` is echoed if it is fit for that: 1 to 128 visible
    ASCII characters. ``headers`` has each name once: of several the first counts. ``received`` is the event loop's
    time, in seconds. ``principal`` is who asks, once that is known; on public routes it may be nobody. ``sharing`` are
    the headers that let pages of other origins read the answer.
    """

    def __init__(self, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        self.services = services
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.received = asyncio.get_running_loop().time()
        self.request_id = new_request_id()
        theirs = self.headers.get(b"x-request-id")
        self.client_request_id = theirs.decode() if theirs and _CLIENT_ID.fullmatch(theirs) else None
        self.presence: Presence = scope.get("extensions", {}).get(Presence.EXTENSION) or Presence()
        self.principal: Principal | None = None
        self.sharing: Sequence[Header] = ()
        self.started = False
        self._receive = receive
        self._send = send
        self._read = 0

    @property
    def caller(self) -> Principal:
        """Who asks, on a route that needs a key."""
        if self.principal is None:
            raise AuthenticationFailed("This needs a key.")
        return self.principal

    def told(self) -> list[Header]:
        """What every answer tells, errors and streams alike: both ids, and to who has a key, what her course keeps."""
        ours = self.request_id.encode()
        theirs = self.client_request_id.encode() if self.client_request_id else ours
        told = [(b"x-request-id", theirs), (b"x-lumni-request-id", ours), *self.sharing]
        if self.principal is not None:
            told.append((b"x-lumni-privacy", self.principal.privacy.encode()))
        return told

    async def body(self) -> bytes:
        """The whole body. Raises :class:`RequestTooLarge`, and :class:`ClientDisconnect` if it isn't coming."""
        pieces, more = [], True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(pieces)

    async def receive(self) -> Message:
        """As ASGI has it. Raises :class:`RequestTooLarge` as soon as it is known, be it announced or not."""
        most = self.services.settings.max_body_bytes
        announced = self.headers.get(b"content-length", b"")
        too_large = announced.isdigit() and int(announced) > most
        if not too_large:
            message = await self._receive()
            self._read += len(message.get("body", b""))
            too_large = self._read > most
        if too_large:
            raise RequestTooLarge(f"The body is larger than {most} bytes. Send less or smaller images.")
        return message

    async def answer(self, response: Response, scope: Scope) -> None:
        """Send it as the answer."""
        self.started = True
        response.raw_headers += self.told()
        await response(scope, self._receive, self._send)

    async def send(self, message: Message) -> None:
        """As ASGI has it."""
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message.get("headers", ()), *self.told()]}
        await self._send(message)


def visit_of(request: Request) -> Visit:
    visit: Visit = request.scope["lumni.visit"]
    return visit


def principal_of(request: Request) -> Principal:
    """Who asks, on a route that needs a key."""
    return visit_of(request).caller


def services_of(request: Request) -> Services:
    return visit_of(request).services


Here = Annotated[Visit, Depends(visit_of)]
"""The request that a route serves."""
