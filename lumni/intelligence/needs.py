"""What a request needs of a model, and why a deployment can't give it."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from lumni.catalogue.model import Capabilities, Deployment
from lumni.errors import ContextLengthExceeded, InvalidRequest, UnsupportedFeature
from lumni.intelligence.thread import Thread, mappings, read, utf8_size

BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English; in bytes of UTF-8 it doesn't undercount Chinese, where a character is a token."""

TOKENS_PER_IMAGE = 765
"""A 1024 × 1024 image at OpenAI's high detail (platform.openai.com/docs/guides/images): 85 + 4 tiles of 170."""

TOKENS_PER_MESSAGE = 4
"""The role and separators around each message in OpenAI's chat format."""

CHAT_MODES = frozenset({"", "chat", "completion", "responses"})
"""LiteLLM's ``model_info.mode`` of models that answer chat requests."""


class Needs(NamedTuple):
    """``prompt_tokens`` is an estimate. ``max_output`` is in tokens, ``None`` when the client set none."""

    prompt_tokens: int = 0
    max_output: int | None = None
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    stream: bool = False

    @property
    def window(self) -> int:
        """Tokens of context: the prompt and what was asked for as output."""
        return self.prompt_tokens + (self.max_output or 0)

    @property
    def abilities(self) -> "Needs":
        """Without sizes, in which hardly two requests are alike."""
        return Needs(0, None, *self[2:])


class Misfit(NamedTuple):
    """Why a deployment can't serve a request; ``limit`` is the tokens that it has instead, for sizes."""

    kind: Literal["feature", "context", "output"]
    reason: str
    limit: int = 0


def needs_of(body: Mapping[str, Any], thread: Thread | None = None) -> Needs:
    """What OpenAI's chat ``body`` needs. Never raises: what isn't understood isn't needed."""
    thread = thread or read(body)
    tools = [*mappings(body.get("tools")), *mappings(body.get("functions"))]
    response_format = body.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    return Needs(
        prompt_tokens=-(-(thread.size + (_json_size(tools) if tools else 0)) // BYTES_PER_TOKEN)
        + TOKENS_PER_IMAGE * thread.images
        + TOKENS_PER_MESSAGE * thread.messages,
        max_output=_tokens(body.get("max_completion_tokens")) or _tokens(body.get("max_tokens")),
        tools=bool(tools),
        vision=thread.images > 0,
        json_schema=kind == "json_schema",
        stream=body.get("stream") is True,
    )


def _json_size(value: object) -> int:
    """About the bytes of ``value`` as JSON, without recursion: a body may nest as deep as it likes."""
    size, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            size += utf8_size(item) + 2
        elif isinstance(item, Mapping):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, (list, tuple)):
            left.extend(item)
        else:
            size += 2
    return size


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def is_chat(deployment: Deployment) -> bool:
    """Whether LiteLLM's ``mode`` of the model, if any, is one that answers chat requests."""
    return str(deployment.info.get("mode") or "") in CHAT_MODES


def misfit(deployment: Deployment, needs: Needs) -> Misfit | None:
    """Why ``deployment`` can't serve ``needs``, or ``None``. What no source says is not held against it."""
    can = deployment.capabilities
    lacking = [name for name, needed, has in _features(needs, can) if needed and has is False]
    if lacking:
        return Misfit("feature", f"it does not support {' or '.join(lacking)}")
    if can.context_window is not None and needs.window > can.context_window:
        reason = f"its context window holds {can.context_window:,} tokens, this request needs about {needs.window:,}"
        return Misfit("context", reason, can.context_window)
    if can.max_output is not None and needs.max_output is not None and needs.max_output > can.max_output:
        reason = f"it writes at most {can.max_output:,} tokens, {needs.max_output:,} were asked for"
        return Misfit("output", reason, can.max_output)
    return None


def _features(needs: Needs, can: Capabilities) -> tuple[tuple[str, bool, bool | None], ...]:
    return (
        ("tools", needs.tools, can.tools),
        ("images", needs.vision, can.vision),
        ("response_format json_schema", needs.json_schema, can.json_schema),
        ("streaming", needs.stream, can.streaming),
    )


def nobody_fits(needs: Needs, misfits: Iterable[Misfit]) -> InvalidRequest:
    """The error when all that may serve a request are misfits: what was asked, and the largest there is."""
    misfits = tuple(misfits)
    if outputs := [m.limit for m in misfits if m.kind == "output"]:
        return InvalidRequest(
            f"{needs.max_output:,} tokens of output were asked for; the most that a model here writes is "
            f"{max(outputs):,}. Lower max_tokens.",
            param="max_tokens",
        )
    if windows := [m.limit for m in misfits if m.kind == "context"]:
        return ContextLengthExceeded(
            f"This request needs about {needs.window:,} tokens of context ({needs.prompt_tokens:,} in the messages, "
            f"{needs.max_output or 0:,} for the answer); the largest window that can serve it has {max(windows):,}. "
            "Shorten the messages or lower max_tokens.",
            param="messages",
        )
    asked = [name for name, needed, _ in _features(needs, Capabilities()) if needed]
    return UnsupportedFeature(
        f"This request needs {' and '.join(asked)}; no model that may serve it can do that. "
        "Ask for model 'auto', or see the capabilities that GET /v1/models lists."
    )
