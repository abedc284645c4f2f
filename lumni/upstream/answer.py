"""What the upstream gives back: a whole answer, or a stream that has begun to speak."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lumni.catalogue.model import Deployment
from lumni.types import Json, Usage


@dataclass(frozen=True)
class WholeAnswer:
    """``body`` is an OpenAI ``chat.completion``, ``headers`` are the provider's."""

    deployment: Deployment
    body: Json
    usage: Usage
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def finish_reason(self) -> str | None:
        reason: str | None = self.body["choices"][0]["finish_reason"] if self.body["choices"] else None
        return reason


class StreamedAnswer(Protocol):
    """A stream whose first content is there. Iterating yields OpenAI chunks without usage.

    ``usage`` is set once the stream ended, also when it broke off (then it is an estimate). ``headers`` are the
    provider's.
    ``aclose`` hangs up on the provider.
    """

    deployment: Deployment
    headers: Mapping[str, str]

    @property
    def usage(self) -> Usage: ...

    @property
    def usage_body(self) -> Json: ...

    @property
    def finish_reason(self) -> str | None: ...

    def __aiter__(self) -> AsyncIterator[Json]: ...

    async def aclose(self) -> None: ...
