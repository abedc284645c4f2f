"""The nouns that travel down the request's line, from the wire to the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

TaskType = Literal["fast", "powerful"]


def spell_strategy(value: Any) -> Any:
    """``round-robin`` as ``round_robin``; what is no string is left as it is."""
    return value.replace("-", "_").lower() if isinstance(value, str) else value


Role = Literal["student", "teacher", "admin", "monitor"]
Privacy = Literal["none", "hash", "redacted", "full"]
Json = dict[str, Any]
Lane = Literal["relay", "translated"]
RoutingStrategy = Literal[
    "auto", "priority", "round_robin", "least_used", "least_latency", "lowest_cost", "quality", "adaptive"
]


class Outcome(StrEnum):
    """How one upstream attempt ended, or (``OK``, ``CACHED``, …) a whole request."""

    OK = "ok"
    CACHED = "cached"
    RATE_LIMITED = "rate_limited"  # 429, 402: the account's quota, not its health
    UNAVAILABLE = "unavailable"  # 5xx, refused or dropped connections
    TIMEOUT = "timeout"
    AUTH = "auth"  # 401, 403: the account's key
    NOT_FOUND = "not_found"  # 404: the model
    BAD_REQUEST = "bad_request"  # 400, 422: wrong everywhere
    CONTEXT = "context"  # too long for this model, perhaps not for another
    CUT = "cut"  # a stream that broke off after its first content
    DISCONNECTED = "disconnected"  # the client left
    SKIPPED = "skipped"  # not called: known to be unavailable by then
    ERROR = "error"  # a fault of ours


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``key_id`` names the key without revealing it, ``student`` is a pseudonym.

    A model must be on each of the ``allowlists``. ``concurrency`` is how many upstream calls may run at once, ``None``:
    as many as for any student. ``weight`` and ``priority`` are the course's, for the queue.
    ``assignment`` is the one that the key was given out for, ``privacy`` what of prompts and answers may be stored.
    """

    key_id: str
    role: Role = "student"
    student: str | None = None
    course: str | None = None
    allowlists: tuple[tuple[str, ...], ...] = ()
    concurrency: int | None = None
    weight: float = 1.0
    priority: int = 0
    assignment: str | None = None
    privacy: Privacy = "none"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``estimated`` when the provider sent no count and LiteLLM's tokenizer made one."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request stands in a distributed trace (W3C Trace Context): hexadecimal ids, ``span_id`` is ours.

    ``parent_id`` is the caller's span, if it told one; ``sampled`` is whether spans are to be kept.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = True

    @property
    def header(self) -> str:
        """``traceparent`` for whom we call."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that is kept elsewhere. ``name`` is its id, with ``@`` and a version or a label behind it, if any.

    ``variables`` are filled into it.
    """

    name: str
    variables: Mapping[str, str | bool | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Treatment:
    """The variant of an experiment that a request got; ``unit`` is whose requests all get it."""

    experiment: str
    variant: str
    unit: str


@dataclass(frozen=True, slots=True)
class CacheControl:
    """What a client wants of the response cache (RFC 9111, section 5.2.1). Ages are in seconds.

    ``max_age`` is that of the oldest answer that will do, ``min_fresh`` for how long it must still be kept.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    min_fresh: float = 0.0


@dataclass(slots=True)
class ChatRequest:
    """One chat request, whatever the surface it came by.

    ``body`` is OpenAI's body without Lumni's own fields; unknown fields are kept. ``received`` and ``deadline`` are
    seconds of the event loop's monotonic clock, ``created_at`` is wall time (UTC). ``assignment`` is what the client
    says that it works on, ``experiment`` the one that it asks to take part in. ``pinned``: an exam
    decides about the model. ``receipt``: the answer shall come with a signed one.

    Nobody changes one: what is made of it is another. To have it frozen would make it twice as slow to build, which
    counts here, as for :class:`Attempt` and others that each request makes anew.
    """

    request_id: str
    body: Json
    model: str
    created_at: datetime
    received: float
    deadline: float
    stream: bool = False
    include_usage: bool = False
    task_type: TaskType | None = None
    provider: str | None = None
    strategy: RoutingStrategy | None = None
    fallback: bool = True
    label: str | None = None
    surface: str = "chat.completions"
    metadata_in_body: bool = True
    client_request_id: str | None = None
    assignment: str | None = None
    trace: Trace | None = None
    prompt: Prompt | None = None
    experiment: str | None = None
    treatment: Treatment | None = None
    pinned: bool = False
    receipt: bool = False
    cache_control: CacheControl = CacheControl()

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.body["messages"]
        return messages


@dataclass(slots=True)
class Attempt:
    """One upstream call. ``started_ms`` counts from the request's arrival; ``lane`` says who carried it, if known."""

    deployment: str
    provider: str
    model: str
    outcome: Outcome
    started_ms: float
    duration_ms: float
    status: int | None = None
    reason: str = ""
    lane: Lane | None = None

    def public(self) -> Json:
        """What a client may see of it: no provider text, no address."""
        shown: Json = {
            "deployment": self.deployment,
            "provider": self.provider,
            "model": self.model,
            "outcome": str(self.outcome),
            "started_ms": round(self.started_ms, 1),
            "duration_ms": round(self.duration_ms, 1),
        }
        if self.status is not None:
            shown["status"] = self.status
        if self.reason:
            shown["reason"] = self.reason
        if self.lane:
            shown["lane"] = self.lane
        return shown


@dataclass
class RequestRecord:
    """What happened to one request: exactly one for each, also when it failed, was cached, or its client left.

    Nobody changes one. It is neither frozen nor slotted since it is made and written once a request, which takes twice
    as long otherwise. Lines of the spool have its fields in this order: the id is the first, and the decision, larger
    than all else together, the last.

    Money is in nano-USD and ``None`` when the price is unknown. Milliseconds count from the request's arrival;
    ``ttft_ms`` is the time to the first content of a stream, ``queued_ms`` the time in line for quota. ``reason`` and
    ``benchmark_score`` (0 to 100) are those of the model that was chosen first, and ``decision`` is all that led to it
    (``lumni.intelligence.archive``). ``steps`` are those of the line with the milliseconds at which each was over; they
    and ``trace`` are not stored.
    """

    request_id: str
    created_at: datetime
    surface: str
    key_id: str
    requested_model: str
    outcome: Outcome
    status: int
    stream: bool
    student: str | None = None
    course: str | None = None
    label: str | None = None
    error_code: str | None = None
    task_type: TaskType | None = None
    confidence: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    deployment: str | None = None
    provider: str | None = None
    model: str | None = None
    reason: str | None = None
    benchmark_score: float | None = None
    cached: bool = False
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    usage_estimated: bool = False
    list_cost: int | None = None
    billed_cost: int | None = None
    latency_ms: float = 0.0
    queued_ms: float = 0.0
    ttft_ms: float | None = None
    attempts: tuple[Attempt, ...] = ()
    client_request_id: str | None = None
    assignment: str | None = None
    prompt: str | None = None
    experiment: str | None = None
    variant: str | None = None
    trace: Trace | None = None
    steps: tuple[tuple[str, float], ...] = ()
    decision: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How a deployment stood ``at`` a moment, and ``since`` when.

    ``headroom`` is the part of its scarcest window that was left, ``failure_rate`` the share of its calls that failed
    since its process began, both in [0, 1]; ``reason`` is why it couldn't be called.
    """

    at: datetime
    deployment: str
    provider: str
    state: str
    since: datetime | None
    headroom: float
    failure_rate: float
    reason: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that people should look at.

    ``name`` says of which kind it is (``budget_threshold``), ``subject`` what it is about: two of one name and subject
    are the same alert, raised again. ``message`` is a sentence for people; ``facts`` are JSON. Neither has the name or
    address of a student.
    """

    name: str
    subject: str
    message: str
    raised_at: datetime
    severity: Literal["info", "warning", "critical"] = "warning"
    course: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class AlertSink(Protocol):
    """Takes alerts without making anybody wait; never raises."""

    def notify(self, alert: Alert) -> None: ...
