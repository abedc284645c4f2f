"""From a request's bytes to a :class:`ChatRequest`."""

import asyncio
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ValidationError

from lumni.api.schemas import MODEL_LENGTH, ChatCompletionRequest, chat_shape
from lumni.errors import InvalidRequest
from lumni.settings import Settings
from lumni.types import CacheControl, ChatRequest, Json, Prompt, TaskType, spell_strategy

if TYPE_CHECKING:
    from lumni.api.visit import Visit

OWN_FIELDS = frozenset({
    "task_type", "taskType", "provider", "routing_strategy", "fallback", "prompt", "experiment", "lumni", "what_if",
})  # fmt: skip
MAX_DEPTH = 100
NO_WISHES = CacheControl()
LABEL_LENGTH = 256
JSON = b"application/json"
_ASSIGNMENT = re.compile(rb"[a-z0-9][a-z0-9-]{0,62}")
_ON, _OFF = (b"1", b"true", b"yes"), (b"0", b"false", b"off")
Headers = Mapping[bytes, bytes]


def envelope(request_id: str, surface: str, received: float, **more: Any) -> Json:
    """What is known of a chat request before its body is read: fields of :class:`ChatRequest`."""
    return {"request_id": request_id, "surface": surface, "received": received, "created_at": datetime.now(UTC), **more}


def envelope_of(visit: "Visit", surface: str) -> Json:
    """The same of one that came by HTTP."""
    trace = visit.services.begin_trace(visit.headers.get(b"traceparent", b"").decode("latin-1"))
    ids = {"client_request_id": visit.client_request_id, "trace": trace}
    return envelope(visit.request_id, surface, visit.received, **ids)


def check_encoding(headers: Headers) -> None:
    """Raises :class:`InvalidRequest` unless the body is plain JSON, by its headers."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise InvalidRequest("Send the body as it is, without content-encoding.", param="content-encoding")
    media_type = headers.get(b"content-type", JSON).partition(b";")[0].strip().lower()
    if media_type != JSON and not (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        raise InvalidRequest("Send JSON, with the header `content-type: application/json`.", param="content-type")


def parse(raw: bytes) -> Json:
    """The JSON object in a request's body; of a key that is there twice, the last. Raises :class:`InvalidRequest`."""
    if not raw:
        raise InvalidRequest("The body is empty. Send a JSON object with `model` and `messages`.", code="invalid_json")
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:  # fewer can't be nested deeper
        _check_depth(body)
    return body


def _check_depth(body: Json) -> None:
    """Level by level, since what translates the body later goes down it by recursion."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        values = [value for node in level for value in (node.values() if isinstance(node, dict) else node)]
        level = [value for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.", code="invalid_json")


def validate(body: Json, schema: type[BaseModel]) -> None:
    """Raises :class:`InvalidRequest` that names the first bad field and says what it must be."""
    try:
        schema.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = _path(first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InvalidRequest(f"{param or 'body'}: {first['msg']}{more}.", param=param or None) from None


def chat_request(body: Json, headers: Headers, settings: Settings, envelope: Json) -> ChatRequest:
    """The request that a valid OpenAI body means. Raises :class:`InvalidRequest`."""
    try:
        chat_shape().validator.validate_python(body)
    except ValidationError:
        validate(body, ChatCompletionRequest)
    messages = body.get("messages") or []
    if not messages and not body.get("prompt"):
        raise InvalidRequest("messages: Field required.", param="messages")
    _check_thread(messages)
    wishes, sent = {}, body
    if not OWN_FIELDS.isdisjoint(body):
        wishes, sent = _wishes(body), {name: value for name, value in body.items() if name not in OWN_FIELDS}
    shown = body.get("lumni") is not False and headers.get(b"x-lumni-metadata", b"").lower() not in _OFF
    return ChatRequest(
        **envelope,
        **wishes,
        body={**sent, "messages": messages},
        model=body["model"],
        deadline=asyncio.get_running_loop().time() + settings.request_timeout,
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        label=_label(body),
        assignment=assignment_in(headers),
        receipt=headers.get(b"x-lumni-receipt", b"").lower() in _ON,
        cache_control=cache_control(headers.get(b"cache-control", b"").decode("latin-1")),
        metadata_in_body=shown and settings.response_metadata,
    )


def _wishes(body: Json) -> Json:
    """What the fields of Lumni's own ask for."""
    return {
        "task_type": _task_type(body),
        "provider": body.get("provider"),
        "strategy": spell_strategy(body.get("routing_strategy")),
        "fallback": body.get("fallback") is not False,
        "prompt": _prompt(body.get("prompt")),
        "experiment": body.get("experiment"),
    }


def refused(body: Json, envelope: Json) -> ChatRequest:
    """As much of a request that can't be served as its record needs."""
    model = body.get("model")
    return ChatRequest(
        **envelope,
        deadline=envelope["received"],
        body={},
        model=model[:MODEL_LENGTH] if isinstance(model, str) else "",
        stream=body.get("stream") is True,
        label=_label(body),
    )


def _label(body: Json) -> str | None:
    user = body.get("user")
    return user[:LABEL_LENGTH] if isinstance(user, str) else None


def assignment_in(headers: Headers) -> str | None:
    """What ``x-lumni-assignment`` names. Raises :class:`InvalidRequest` for what can be no assignment's id."""
    given = headers.get(b"x-lumni-assignment")
    if not given:
        return None
    if not _ASSIGNMENT.fullmatch(given):
        message = "x-lumni-assignment: an assignment's id has small letters, digits and dashes, at most 63."
        raise InvalidRequest(message, param="x-lumni-assignment")
    return given.decode()


def cache_control(value: str | None) -> CacheControl:
    """The directives of a request's ``cache-control``. An age that is no number asks for a new answer."""
    if not value:
        return NO_WISHES
    given = dict(_directive(part) for part in value.lower().split(","))
    max_age = _seconds(given["max-age"], 0.0) if "max-age" in given else None
    return CacheControl(
        no_cache="no-cache" in given or max_age == 0,
        no_store="no-store" in given,
        only_if_cached="only-if-cached" in given,
        max_age=max_age,
        min_fresh=_seconds(given["min-fresh"], float("inf")) if "min-fresh" in given else 0.0,
    )


def _directive(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip().strip('"')


def _seconds(value: str, otherwise: float) -> float:
    return float(value) if value.isascii() and value.isdigit() else otherwise


def _prompt(given: Json | None) -> Prompt | None:
    """The prompt that is meant; a version says more than a label."""
    if given is None:
        return None
    which = given.get("version") or given.get("label")
    return Prompt(f"{given['id']}@{which}" if which else given["id"], given.get("variables") or {})


def new_request_id() -> str:
    """The time in milliseconds, then 80 random bits: ids that follow each other are neighbours in a database's indexes,
    which then writes half as many pages."""
    return f"req_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def _task_type(body: Json) -> TaskType | None:
    given = {body[name] for name in ("task_type", "taskType") if body.get(name) not in (None, "auto")}
    if len(given) > 1:
        raise InvalidRequest("task_type and taskType contradict each other. Send one of them.", param="task_type")
    return given.pop() if given else None


def _check_thread(messages: list[Any]) -> None:
    """What a schema can't say: the answer to a tool call names the call."""
    for number, message in enumerate(messages):
        if message["role"] == "tool" and not message.get("tool_call_id"):
            where = f"messages[{number}].tool_call_id"
            raise InvalidRequest(f"{where}: a tool message must name the call that it answers.", param=where)


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"\w+", part):  # pydantic adds the names of union members, which are none of the client's
            path += f".{part}" if path else part
    return re.sub(r"\.(str|ContentPart)$", "", path)
