"""One call to a provider of the lab: key, model, fault, limits, answer."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from lumni.errors import InvalidRequest

from . import gemini
from .delivery import Broken, deliver_stream, deliver_whole
from .dialects import Dialect, Refused
from .faults import Fault
from .limits import Pool
from .model import Answer
from .profiles import Profile, behaviour_for
from .state import Counts, Lab, account_of
from .wire import ClientGone, Connection, Headers, event

Json = dict[str, Any]
Style = Literal["openai", "gemini-sse", "gemini-array", "gemini"]
_DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls which model of which provider."""

    lab: Lab
    profile: Profile
    dialect: Dialect
    account: str
    model: str
    counts: Counts
    pool: Pool

    def headers(self) -> Headers:
        now = self.lab.clock()
        return self.dialect.limit_headers(self.pool.readings(now), now)


class CallRefused(Exception):
    """The call ends with this error."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.status)
        self.refused = refused


async def serve_chat(lab: Lab, profile: Profile, to: Connection, key: str) -> None:
    """``POST …/chat/completions``."""
    raw = await to.body()
    await _guarded(to, _chat(lab, profile, profile.dialect, to, key, _parse(profile.dialect, raw), "openai"))


async def serve_gemini(lab: Lab, profile: Profile, to: Connection, key: str, model: str, style: Style) -> None:
    """``POST …:generateContent`` and ``…:streamGenerateContent``."""
    dialect = profile.native_dialect or profile.dialect
    raw = await to.body()
    parsed = _parse(dialect, raw)
    body = parsed if isinstance(parsed, Refused) else gemini.to_openai(parsed, model)
    await _guarded(to, _chat(lab, profile, dialect, to, key, body, style))


async def serve_embeddings(lab: Lab, profile: Profile, to: Connection, key: str) -> None:
    """``POST …/embeddings``."""
    raw = await to.body()
    await _guarded(to, _embed(lab, profile, profile.dialect, to, key, _parse(profile.dialect, raw), native=None))


async def serve_gemini_embeddings(
    lab: Lab, profile: Profile, to: Connection, key: str, model: str, *, batch: bool
) -> None:
    """``POST …:embedContent`` and ``…:batchEmbedContents``."""
    dialect = profile.native_dialect or profile.dialect
    raw = await to.body()
    parsed = _parse(dialect, raw)
    if not isinstance(parsed, Refused):
        requests = parsed.get("requests", []) if batch else [parsed]
        texts = ["\n".join(part.get("text", "") for part in one["content"]["parts"]) for one in requests]
        size = next((one["outputDimensionality"] for one in requests if one.get("outputDimensionality")), None)
        parsed = {"model": model, "input": texts, "dimensions": size}
    await _guarded(to, _embed(lab, profile, dialect, to, key, parsed, native="batch" if batch else "one"))


async def _guarded(to: Connection, call: Any) -> None:
    try:
        await call
    except CallRefused as error:
        await to.json(error.refused.status, error.refused.body, error.refused.headers)


async def _chat(
    lab: Lab, profile: Profile, dialect: Dialect, to: Connection, key: str, body: Json | Refused, style: Style
) -> None:
    call, fault = _open(lab, profile, dialect, key, body)
    assert isinstance(body, dict)  # noqa: S101  (_open refuses everything else)
    try:
        answer = lab.model.answer(body, behaviour=behaviour_for(call.model), answer_id=f"chatcmpl-lab{lab.calls:016x}")
    except InvalidRequest as error:
        call.counts.refused += 1
        raise CallRefused(dialect.bad_request(error.message, error.param)) from None
    charged = _charge(profile, answer, body)
    reserved = max(charged, answer.prompt_tokens + _most(body)) if profile.counts_max_tokens else charged
    _admit(call, reserved)
    try:
        await _send(call, to, answer, body, style, fault)
        call.counts.ok += 1
    except Broken:
        call.counts.faults += 1
        call.counts.refused += 1
    except ClientGone:
        call.counts.disconnected += 1
        raise
    finally:
        call.pool.settle(charged - reserved, lab.clock())
        call.counts.prompt_tokens += answer.prompt_tokens
        call.counts.completion_tokens += answer.completion_tokens


async def _embed(
    lab: Lab, profile: Profile, dialect: Dialect, to: Connection, key: str, body: Json | Refused, *, native: str | None
) -> None:
    call, fault = _open(lab, profile, dialect, key, body)
    assert isinstance(body, dict)  # noqa: S101  (_open refuses everything else)
    try:
        answer = lab.model.embed(body)
    except InvalidRequest as error:
        call.counts.refused += 1
        raise CallRefused(dialect.bad_request(error.message, error.param)) from None
    tokens = answer["usage"]["prompt_tokens"]
    _admit(call, tokens)
    call.counts.prompt_tokens += tokens
    if native:
        vectors = [{"values": item["embedding"]} for item in answer["data"]]
        answer = {"embeddings": vectors} if native == "batch" else {"embedding": vectors[0]}
    try:
        await deliver_whole(lab, to, orjson.dumps(answer), 0, call.headers(), fault)
        call.counts.ok += 1
    except Broken:
        call.counts.faults += 1
        call.counts.refused += 1


def _open(lab: Lab, profile: Profile, dialect: Dialect, key: str, body: Json | Refused) -> tuple[Call, Fault | None]:
    """Check key, body and model, and let the faults that forbid an answer happen. Raises ``CallRefused``."""
    lab.calls += 1
    account = account_of(key)
    if isinstance(body, Refused):
        raise CallRefused(body)
    model = str(body.get("model") or "")
    counts = lab.count(profile.name, account, model)
    counts.calls += 1
    refused = None
    fault = None
    if not key or key.startswith(_DEAD):
        refused = dialect.bad_key(key)
    elif not (lab.any_model or profile.knows(model)):
        refused = dialect.no_model(model)
    elif fault := lab.faults.take(profile.name, model, account):
        refused = _refusal(dialect, fault, key)
        counts.faults += refused is not None
    if refused:
        counts.refused += 1
        raise CallRefused(refused)
    return Call(lab, profile, dialect, account, model, counts, lab.pools(profile, account, model)), fault


def _refusal(dialect: Dialect, fault: Fault, key: str) -> Refused | None:
    """What the client gets for a fault that stands instead of an answer."""
    if fault.kind == "dead_key":
        return dialect.bad_key(key)
    if fault.kind != "status":
        return None
    refused = dialect.broken(fault.status)
    headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
    return Refused(fault.status, refused.body if fault.body is None else fault.body, headers)


def _admit(call: Call, tokens: int) -> None:
    now = call.lab.clock()
    refusal = call.pool.admit(tokens, now)
    if refusal is None:
        return
    call.counts.refused += 1
    call.counts.over_limit += 1
    refused = call.dialect.over_limit(refusal, call.model, call.account, now)
    raise CallRefused(Refused(refused.status, refused.body, {**call.headers(), **refused.headers}))


def _charge(profile: Profile, answer: Answer, body: Json) -> int:  # noqa: ARG001
    """The tokens that count in the end: Gemini's limits count the prompt only."""
    return answer.prompt_tokens + (0 if profile.counts_prompt_only else answer.completion_tokens)


def _most(body: Json) -> int:
    """The completion tokens that a client allows; providers that reserve them count these before they answer."""
    most = body.get("max_completion_tokens")
    if most is None:
        most = body.get("max_tokens")
    return (most or 0) * (body.get("n") or 1)


async def _send(call: Call, to: Connection, answer: Answer, body: Json, style: Style, fault: Fault | None) -> None:
    headers, lab = call.headers(), call.lab
    if style == "openai" and not body.get("stream"):
        whole = orjson.dumps(call.dialect.dress(answer.completion()))
        await deliver_whole(lab, to, whole, answer.completion_tokens, headers, fault)
    elif style == "openai":
        await deliver_stream(lab, to, _events(call.dialect, answer), headers, fault)
    elif style == "gemini":
        whole = orjson.dumps(gemini.whole(answer))
        await deliver_whole(lab, to, whole, answer.completion_tokens, headers, fault)
    elif style == "gemini-sse":
        events = [event(chunk) for chunk in gemini.chunks(answer)]
        await deliver_stream(lab, to, events, headers, fault)
    else:
        array = orjson.dumps(list(gemini.chunks(answer)))
        await deliver_whole(lab, to, array, answer.completion_tokens, headers, fault)


def _events(dialect: Dialect, answer: Answer) -> list[bytes]:
    """The stream's events, dressed; the comment that opens it travels with the first, ``[DONE]`` with the last."""
    open_choices = len(answer.choices)
    events = []
    for chunk in answer.chunks():
        ends = bool(chunk["choices"]) and chunk["choices"][0]["finish_reason"] is not None
        open_choices -= ends
        events.append(event(dialect.dress_chunk(chunk, answer.usage() if ends and not open_choices else None)))
    events[0] = dialect.preamble + events[0]
    if dialect.sends_done:
        events.append(b"data: [DONE]\n\n")
    return events


def _parse(dialect: Dialect, raw: bytes) -> Json | Refused:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return dialect.bad_request("We could not parse the JSON body of your request.", None)
    if not isinstance(body, dict):
        return dialect.bad_request("The body must be a JSON object.", None)
    return body
