"""What clients may send, checked enough for a clear 400. Unknown fields are kept: they are the provider's business.

Shapes and ranges are OpenAI's (their OpenAPI document, ``CreateChatCompletionRequest``).
"""

from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required

from annotated_types import MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from lumni.experiment import NAME, PromptName
from lumni.types import RoutingStrategy, spell_strategy

MODEL_LENGTH = 256
MOST_ITEMS = 4096  # of any list, so that a hostile body costs neither time nor memory
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MODEL_LENGTH)]
ExperimentName = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class ImageURL(_Open):
    url: Text
    detail: str | None = None


class ContentPart(_Open):
    """A part of a message: text, an image, audio, a file, or whatever a provider understands."""

    type: Text
    text: str | None = None
    image_url: ImageURL | None = None


class FunctionCall(_Open):
    name: Text
    arguments: str


class ToolCall(_Open):
    id: Text
    type: Text = "function"
    function: FunctionCall | None = None


_ANSWERS_A_CALL: JsonDict = {
    "if": {"properties": {"role": {"const": "tool"}}},
    "then": {"properties": {"tool_call_id": {"type": "string", "minLength": 1}}, "required": ["tool_call_id"]},
}


class Message(_Open):
    """One turn of the conversation. A `tool` message names the call that it answers."""

    model_config = ConfigDict(json_schema_extra=_ANSWERS_A_CALL)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], MaxLen(MOST_ITEMS)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], MaxLen(MOST_ITEMS)] | None = None
    tool_call_id: str | None = None


class FunctionDefinition(_Open):
    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(_Open):
    type: Text
    function: FunctionDefinition | None = None


class ResponseFormat(_Open):
    type: Text
    json_schema: dict[str, Any] | None = None


class StreamOptions(_Open):
    include_usage: bool | None = None


class PromptReference(BaseModel):
    """A prompt that is kept in Portkey or in a file. Its messages come before the request's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: PromptName
    version: int | None = Field(None, ge=1, le=10**6)
    label: PromptName | None = None
    variables: dict[str, bool | int | float | str] | None = Field(None, description="Filled into it.")


# With a prompt they may be left out; to say so in the schema would say little more, and generators stumble over it.
_NEEDS_MESSAGES: JsonDict = {"required": ["model", "messages"]}


class ChatCompletionRequest(_Open):
    """The body of ``POST /v1/chat/completions``: OpenAI's, and a few fields of Lumni's own at the end."""

    model_config = ConfigDict(json_schema_extra=_NEEDS_MESSAGES)

    model: Name = Field(
        examples=["auto"], description="`auto`, `fast`, `powerful`, a model group, or `provider/model`."
    )
    messages: list[Message] = Field(default_factory=list, min_length=1, max_length=2048, fail_fast=True)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | Annotated[list[str], MaxLen(MOST_ITEMS)] | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: Annotated[list[Tool], MaxLen(MOST_ITEMS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    functions: Annotated[list[FunctionDefinition], MaxLen(MOST_ITEMS)] | None = None
    function_call: str | dict[str, Any] | None = None
    logit_bias: dict[str, float] | None = None
    metadata: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None

    task_type: Literal["auto", "fast", "powerful"] | None = Field(None, description="Overrides the classification.")
    taskType: Literal["auto", "fast", "powerful"] | None = Field(None, description="Another spelling of `task_type`.")  # noqa: N815
    provider: Name | None = Field(None, description="The provider to prefer.")
    routing_strategy: Annotated[RoutingStrategy, BeforeValidator(spell_strategy)] | None = Field(
        None, description="The order in which candidates are tried."
    )
    fallback: bool | None = Field(None, description="`false`: try only the first choice.")
    prompt: PromptReference | None = Field(
        None, description="A teacher's prompt, before your `messages`, which may then be left out."
    )
    experiment: ExperimentName | None = Field(None, description="The experiment to take part in, while there is one.")
    lumni: bool | None = Field(None, description="`false`: leave the `lumni` object out of the answer.")


@cache
def chat_shape() -> TypeAdapter[Any]:
    """Refuses what :class:`ChatCompletionRequest` does, in half the time: it makes no models of what is right."""
    return TypeAdapter(_shape(ChatCompletionRequest))


def _shape(model: type[BaseModel]) -> Any:
    """The model's fields as those of a dictionary, in which each may be missing that has a default."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = list[_shape(Message)] if field.annotation == list[Message] else field.annotation  # type: ignore[misc]
        kind = Annotated[(kind, *field.metadata)] if field.metadata else kind
        fields[name] = Required[kind] if field.is_required() else NotRequired[kind]
    shape: Any = TypedDict(model.__name__, fields)  # type: ignore[misc]
    return with_config(model.model_config)(shape)


Part = Literal[
    "benchmark_ranking",
    "benchmark_score",
    "rate_limit_availability",
    "provider_priority",
    "recent_usage",
    "cost_efficiency",
    "benchmarkRanking",
    "benchmarkScore",
    "rateLimitAvailability",
    "providerPriority",
    "recentUsage",
    "costEfficiency",
]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Literal["empty", "full"] | Share


class WhatIfRequest(BaseModel):
    """Suppositions about a choice; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weights: dict[Part, Annotated[float, Field(ge=0, le=1000)]] | None = Field(
        None, description="Of the score's parts, relative to each other; those left out weigh nothing."
    )
    without: Annotated[list[Name], MaxLen(MOST_ITEMS)] | None = Field(
        None, description="Providers, models or deployments that are not there."
    )
    quota: Level | dict[str, Level] | None = Field(
        None, description="`empty`, `full` or the share that is left: of all, or by provider, model or deployment."
    )
    task_type: Literal["fast", "powerful"] | None = None


class ExplainRequest(ChatCompletionRequest):
    """The body of ``POST /v1/explain``."""

    what_if: WhatIfRequest | None = None


class ErrorDetail(BaseModel):
    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """Every error of every route, in OpenAI's shape."""

    error: ErrorDetail
