"""What the upstream gives back: a whole answer, or a stream that has begun to speak."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lumni.catalogue.model import Deployment
from lumni.types import Json, Lane, Usage


@dataclass(frozen=True)
class WholeAnswer:
    """``body`` is an OpenAI ``chat.completion``, ``headers`` are the provider's."""

    deployment: Deployment
    body: Json
    usage: Usage
    headers: Mapping[str, str] = field(default_factory=dict)
    lane: Lane = "translated"

    @property
    def finish_reason(self) -> str | None:
        reason: str | None = self.body["choices"][0]["finish_reason"] if self.body["choices"] else None
        return reason


class StreamedAnswer(Protocol):
    """A stream whose first content is there. Iterating yields server-sent events of OpenAI chunks, whole ones, several
    if they came together, and none of them the last of its choice: those are in ``closing`` once the stream ended.

    ``resumed``: it broke off and was asked for again. ``usage`` is set once the stream ended, also when it broke off
    (then it is an estimate). ``headers`` are the provider's.
    ``aclose`` hangs up on the provider.
    """

    deployment: Deployment
    lane: Lane
    headers: Mapping[str, str]

    @property
    def closing(self) -> list[Json]: ...

    @property
    def usage(self) -> Usage: ...

    @property
    def usage_body(self) -> Json: ...

    @property
    def finish_reason(self) -> str | None: ...

    @property
    def resumed(self) -> bool: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...
