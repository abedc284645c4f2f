"""What the pipeline hands back to a surface."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from lumni.types import Json


class Closing(bytes):
    """A stream's last events: what a surface ends it with can go out with them."""


@dataclass(frozen=True)
class Reply:
    """An OpenAI ``chat.completion`` in ``body``, or a stream's ``events``: one of the two.

    ``events`` are server-sent events of OpenAI chunks (:func:`lumni.sse.event`), in pieces of any number of whole ones;
    the ``[DONE]`` after them is the surface's; the last piece may be :class:`Closing`. They end normally only after a
    whole answer, else with a :class:`lumni.errors.LumniError`. Closing them early hangs up on the provider.
    """

    headers: Mapping[str, str]
    body: Json | None = None
    events: AsyncGenerator[bytes] | None = None
