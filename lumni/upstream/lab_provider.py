"""The lab as a LiteLLM custom provider: ``lumni-lab/fast``, ``lumni-lab/powerful``, ``lumni-lab/echo``.

What LiteLLM 1.106.2 does to a custom provider, and how this module lives with it:

- After the first chunk whose first choice has a finish reason, a chunk without content ends the stream. So the
  usage and the finish reasons of choices 1, 2, … travel before the finish of choice 0, which LiteLLM writes itself.
- Only the first choice of a chunk is looked at, so the finish of choice 1 rides behind an empty delta of choice 0.
- The usage on a chunk is taken off it, and reaches the client only with ``stream_options.include_usage``.
- An embedding's ``dimensions`` is dropped for custom providers (``drop_params``); in ``extra_body`` it arrives.
"""

from collections.abc import AsyncIterator
from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream

from lumni.errors import InvalidRequest
from lumni.lab.model import Answer, LabModel

PROVIDER = "lumni-lab"
_NOT_LAB_PARAMETERS = frozenset({"stream", "extra_body", "max_retries"})
Json = dict[str, Any]


def register_lab(seed: int) -> None:
    """Make ``lumni-lab/…`` models known to LiteLLM; a second call replaces the first one's seed."""
    handler = LabProvider(seed)
    others = [item for item in litellm.custom_provider_map if item["provider"] != PROVIDER]
    litellm.custom_provider_map = [*others, {"provider": PROVIDER, "custom_handler": handler}]
    # The Router asks for the provider's parameters before the first call, which is when LiteLLM would do this itself.
    litellm.utils.custom_llm_setup()


class LabProvider(CustomLLM):  # type: ignore[misc]  # litellm is untyped here
    """Answers every model name; the last part of it (``powerful``, ``echo``) says how."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._model = LabModel(seed)

    async def acompletion(self, *, model: str, messages: list[Json], optional_params: Json, **_: Any) -> ModelResponse:
        """One ``ModelResponse``. Raises LiteLLM's ``BadRequestError`` for a body that OpenAI refuses too."""
        return ModelResponse(**self._answer(model, messages, optional_params).completion())

    async def astreaming(
        self, *, model: str, messages: list[Json], optional_params: Json, **_: Any
    ) -> AsyncIterator[ModelResponseStream]:
        """The answer's chunks, in the order that lets LiteLLM pass all of them on."""
        for chunk in _reordered(self._answer(model, messages, optional_params)):
            yield ModelResponseStream(**chunk)

    async def aembedding(
        self,
        *,
        model: str,
        input: str | list[Any],  # noqa: A002  (LiteLLM's name)
        optional_params: Json,
        **_: Any,
    ) -> EmbeddingResponse:
        """Unit vectors; see ``lumni.lab.embeddings``."""
        try:
            return EmbeddingResponse(**self._model.embed({"model": model, "input": input, **_told(optional_params)}))
        except InvalidRequest as error:
            raise _bad_request(error, model) from None

    def _answer(self, model: str, messages: list[Json], optional_params: Json) -> Answer:
        body = {**_told(optional_params), "model": model, "messages": messages}
        try:
            return self._model.answer(body)
        except InvalidRequest as error:
            raise _bad_request(error, model) from None


def _told(optional_params: Json) -> Json:
    """The request's parameters as LiteLLM passes them on, those from ``extra_body`` among them."""
    told = {name: value for name, value in optional_params.items() if name not in _NOT_LAB_PARAMETERS}
    return {**told, **(optional_params.get("extra_body") or {})}


def _reordered(answer: Answer) -> list[Json]:
    """The chunks with the usage and the other choices' finishes before the finish of choice 0."""
    chunks = []
    last = None
    for chunk in answer.chunks():
        if not chunk["choices"]:
            continue
        choice = chunk["choices"][0]
        if choice["finish_reason"] is None:
            chunks.append(chunk)
        elif choice["index"] == 0:
            last = chunk
        else:
            nothing = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
            chunks.append({**chunk, "choices": [nothing, choice]})
    assert last is not None  # noqa: S101  (every answer has a choice 0, and it finishes)
    head = {**last, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]}
    return [*chunks, {**head, "usage": answer.usage()}, last]


def _bad_request(error: InvalidRequest, model: str) -> litellm.BadRequestError:
    return litellm.BadRequestError(message=error.message, model=model, llm_provider=PROVIDER)
