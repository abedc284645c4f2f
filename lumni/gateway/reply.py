"""What the pipeline hands back to a surface."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from lumni.types import Json


@dataclass(frozen=True)
class Reply:
    """An OpenAI ``chat.completion`` in ``body``, or OpenAI chunks in ``chunks``: one of the two.

    ``chunks`` ends normally only after a whole answer; it raises :class:`lumni.errors.LumniError` when the stream
    broke off. Closing it early hangs up on the provider.
    """

    headers: Mapping[str, str]
    body: Json | None = None
    chunks: AsyncGenerator[Json] | None = None
