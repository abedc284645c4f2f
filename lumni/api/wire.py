"""From a request's bytes to a :class:`ChatRequest`."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
from pydantic import BaseModel, ValidationError

from lumni.api.schemas import ChatCompletionRequest
from lumni.errors import InvalidRequest
from lumni.settings import Settings
from lumni.types import ChatRequest, Json, TaskType

OWN_FIELDS = frozenset({"task_type", "taskType", "provider", "fallback", "lumni"})
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")


def parse(raw: bytes) -> Json:
    """The JSON object in a request's body. Raises :class:`InvalidRequest`."""
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return body


def validate(body: Json, schema: type[BaseModel]) -> None:
    """Raises :class:`InvalidRequest` that names the first bad field and says what it must be."""
    try:
        schema.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = _path(first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InvalidRequest(f"{param or 'body'}: {first['msg']}{more}.", param=param or None) from None


def chat_request(
    body: Json, headers: Mapping[str, str], settings: Settings, request_id: str, surface: str = "chat.completions"
) -> ChatRequest:
    """The request that a valid OpenAI body means. Raises :class:`InvalidRequest`."""
    validate(body, ChatCompletionRequest)
    _check_thread(body["messages"])
    now = asyncio.get_running_loop().time()
    shown = body.get("lumni") is not False and headers.get("x-lumni-metadata", "").lower() not in ("off", "false", "0")
    return ChatRequest(
        request_id=request_id,
        body={name: value for name, value in body.items() if name not in OWN_FIELDS},
        model=body["model"],
        created_at=datetime.now(UTC),
        received=now,
        deadline=now + settings.request_timeout,
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        task_type=_task_type(body),
        provider=body.get("provider"),
        fallback=body.get("fallback") is not False,
        label=body.get("user"),
        surface=surface,
        metadata_in_body=shown and settings.response_metadata,
    )


def new_request_id() -> str:
    return f"req_{uuid4().hex}"


def client_request_id(value: str | None) -> str | None:
    """A client's own id, if it is fit to be echoed: 1 to 128 visible ASCII characters."""
    return value if value and _CLIENT_ID.fullmatch(value) else None


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
