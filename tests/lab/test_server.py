"""The lab's server is each provider as its clients know it: answers, limits, errors, faults."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from lumni.lab.faults import KINDS
from lumni.lab.profiles import default_profiles
from lumni.lab.state import check_limits

from .conftest import RunningLab

_ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello there"}]}
_GROQ = "/groq/openai/v1/chat/completions"
_OPENAI = "/openai/v1/chat/completions"
_OPENROUTER = "/openrouter/api/v1/chat/completions"
_GEMINI = "/gemini/v1beta/models/gemini-2.5-flash"


def _post(lab: RunningLab, path: str, model: str = "fast", key: str = "team", **more: Any) -> httpx.Response:
    return lab.http.post(path, json={"model": model, **_ASK, **more}, headers={"authorization": f"Bearer {key}"})


@pytest.fixture
def client(lab: RunningLab) -> Iterator[Callable[[str], openai.OpenAI]]:
    opened: list[openai.OpenAI] = []

    def connect(base: str) -> openai.OpenAI:
        opened.append(openai.OpenAI(base_url=lab.url + base, api_key="team", max_retries=0))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    "base",
    ["/groq/openai/v1", "/gemini/v1beta/openai", "/openai/v1", "/openrouter/api/v1", "/mistral/v1", "/cerebras/v1",
     "/deepseek", "/together/v1", "/fireworks/inference/v1"],
)  # fmt: skip
def test_openais_client_talks_to_every_profile(base: str, client: Callable[[str], openai.OpenAI]) -> None:
    """004-07: chat, stream, models and embeddings under each provider's own path."""
    connected = client(base)
    whole = connected.chat.completions.create(model="echo", messages=[{"role": "user", "content": "to be or not"}])
    assert whole.choices[0].message.content == "to be or not"
    stream = connected.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "to be or not"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "to be or not"
    assert chunks[-1].usage
    assert whole.usage
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert "echo" in {model.id for model in connected.models.list()}
    assert len(connected.embeddings.create(model="embed", input="hi").data[0].embedding) == 256


def test_streamed_tool_calls_arrive_whole(client: Callable[[str], openai.OpenAI]) -> None:
    """003-42: the client's own accumulator gets two parallel calls with valid arguments."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: list[Any] = [
        {"type": "function", "function": {"name": n, "parameters": parameters}} for n in ("alpha", "beta")
    ]
    messages: list[Any] = [{"role": "user", "content": "call alpha and beta for Rome"}]
    with client("/openai/v1").chat.completions.stream(model="fast", messages=messages, tools=tools) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls
    assert [call.function.name for call in calls] == ["alpha", "beta"]
    assert all(orjson.loads(call.function.arguments) == {"city": "Rome"} for call in calls)


def test_groq_refuses_as_groq_does(lab: RunningLab) -> None:
    """000-20: day's requests and minute's tokens in the headers, the wait in header and text."""
    lab.configure(limits={"groq": {"*": {"rpd": 2, "tpm": 1000, "kind": "refilling"}}})
    first = _post(lab, _GROQ)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert re.fullmatch(r"12h0m0s|11h59m[\d.]+s", first.headers["x-ratelimit-reset-requests"])
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert first.json()["x_groq"]["id"]
    _post(lab, _GROQ)
    refused = _post(lab, _GROQ)
    assert refused.status_code == 429
    assert 43_000 < int(refused.headers["retry-after"]) <= 43_200
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert re.search(
        r"requests per day \(RPD\): Limit 2, Used 2, Requested 1\. Please try again in 1\dh\d+m", error["message"]
    )


def test_groq_says_too_large_when_no_wait_helps(lab: RunningLab) -> None:
    """000-20: a request over the whole window is a 413, not an endless 429."""
    refused = _post(lab, _GROQ, model="llama-3.1-8b-instant", max_tokens=7000)
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert "retry-after" not in refused.headers


def test_gemini_refuses_as_gemini_does(lab: RunningLab) -> None:
    """000-20: a status with quota id and retry delay in the body, no rate-limit header; a list on the OpenAI path."""
    lab.configure(limits={"gemini": {"*": {"rpm": 0, "kind": "fixed"}}})
    contents = {"contents": [{"parts": [{"text": "hi"}]}]}
    lab.configure(limits={"gemini": {"gemini-2.5-flash": {"rpm": 1, "kind": "fixed"}}})
    assert lab.http.post(f"{_GEMINI}:generateContent", params={"key": "k"}, json=contents).status_code == 200
    refused = lab.http.post(f"{_GEMINI}:generateContent", params={"key": "k"}, json=contents)
    assert refused.status_code == 429
    assert not [name for name in refused.headers if "ratelimit" in name or name == "retry-after"]
    status = refused.json()["error"]
    details = {detail["@type"].rsplit(".", 1)[-1]: detail for detail in status["details"]}
    assert status["status"] == "RESOURCE_EXHAUSTED"
    violation = details["QuotaFailure"]["violations"][0]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert re.fullmatch(r"\d+s", details["RetryInfo"]["retryDelay"])
    listed = _post(lab, "/gemini/v1beta/openai/chat/completions", model="gemini-2.5-flash", key="k")
    assert listed.json()[0]["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_openrouters_free_models_share_one_quota(lab: RunningLab) -> None:
    """000-20: the second model pays for the first one's calls; the reset is an epoch in milliseconds."""
    lab.configure(limits={"openrouter": {"shared": {"rpd": 1, "kind": "fixed"}}})
    assert _post(lab, _OPENROUTER, model="meta-llama/llama-3.3-70b-instruct:free").status_code == 200
    refused = _post(lab, _OPENROUTER, model="google/gemma-4-31b-it:free")
    headers = refused.json()["error"]["metadata"]["headers"]
    assert refused.json()["error"]["code"] == refused.status_code == 429
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("1", "0")
    assert int(headers["X-RateLimit-Reset"]) > 1_700_000_000_000


def test_openai_tells_the_milliseconds(lab: RunningLab) -> None:
    """000-20: retry-after-ms beside retry-after, and the six headers."""
    lab.configure(limits={"openai": {"*": {"rpm": 1, "kind": "refilling"}}})
    _post(lab, _OPENAI)
    refused = _post(lab, _OPENAI)
    assert refused.status_code == 429
    assert 50_000 < int(refused.headers["retry-after-ms"]) <= 60_000
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_limits_hold_under_concurrency_for_each_account(lab: RunningLab) -> None:
    """000-20: of many at once exactly as many pass as the limit says; keys of one account share it."""
    lab.configure(limits={"groq": {"*": {"rpm": 7}}}, latency=0.01)
    with ThreadPoolExecutor(16) as pool:
        keys = [f"a:{number}" for number in range(20)] + ["b"] * 9
        statuses = list(pool.map(lambda key: (key[0], _post(lab, _GROQ, key=key).status_code), keys))
    assert statuses.count(("a", 200)) == 7
    assert statuses.count(("b", 200)) == 7
    totals = lab.totals()
    assert (totals["ok"], totals["over_limit"], totals["calls"]) == (14, 15, 29)


@pytest.mark.parametrize(
    ("path", "no_key", "dead", "no_model"),
    [
        (_OPENAI, 401, 401, 404),
        (_GROQ, 401, 401, 404),
        (_OPENROUTER, 401, 401, 404),
        ("/gemini/v1beta/openai/chat/completions", 403, 400, 404),
        ("/mistral/v1/chat/completions", 401, 401, 400),
        ("/cerebras/v1/chat/completions", 401, 401, 404),
        ("/deepseek/chat/completions", 401, 401, 400),
        ("/together/v1/chat/completions", 401, 401, 404),
        ("/fireworks/inference/v1/chat/completions", 401, 401, 404),
    ],
)
def test_keys_and_models_are_refused_with_the_providers_status(
    path: str, no_key: int, dead: int, no_model: int, lab: RunningLab
) -> None:
    """004-12: the lab's mistakes are the provider's."""
    assert lab.http.post(path, json={"model": "fast", **_ASK}).status_code == no_key
    assert _post(lab, path, key="dead-key").status_code == dead
    assert _post(lab, path, model="no-such-model").status_code == no_model
    assert _post(lab, path, messages=[]).status_code in (400, 422)
    lab.configure(any_model=True)
    assert _post(lab, path, model="no-such-model").status_code == 200


def test_a_status_fault_strikes_as_often_as_told(lab: RunningLab) -> None:
    """004-02: an outage with its retry-after, then health again."""
    lab.faults({"kind": "status", "status": 503, "retry_after": 2, "times": 2, "profile": "groq", "body": {"oh": "no"}})
    answers = [_post(lab, _GROQ) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "2"
    assert answers[0].json() == {"oh": "no"}
    assert lab.totals()["faults"] == 2


def _lines(lab: RunningLab, **more: Any) -> list[str]:
    body = {"model": "echo", "messages": [{"role": "user", "content": "a b c d e f g h"}], "stream": True, **more}
    with lab.http.stream("POST", _OPENAI, json=body, headers={"authorization": "Bearer k"}) as answer:
        return [line for line in answer.iter_lines() if line]


def test_a_cut_stream_ends_in_a_broken_connection(lab: RunningLab) -> None:
    """003-42: the transport fails, after the deltas that were to arrive."""
    lab.faults({"kind": "cut", "after": 2})
    with pytest.raises(httpx.RemoteProtocolError):
        _lines(lab)
    assert lab.totals()["faults"] == 1


def test_a_truncated_stream_ends_cleanly_without_finish(lab: RunningLab) -> None:
    """003-42: the connection is fine, the answer isn't."""
    lab.faults({"kind": "truncate", "after": 2})
    lines = _lines(lab)
    assert len(lines) == 3
    assert "[DONE]" not in lines[-1]
    assert '"stop"' not in "".join(lines)


def test_a_malformed_chunk_is_one_bad_line_among_good_ones(lab: RunningLab) -> None:
    """003-42: the rest of the stream arrives."""
    lab.faults({"kind": "malformed", "after": 2})
    lines = [line.removeprefix("data: ") for line in _lines(lab)]
    assert lines[-1] == "[DONE]"
    bad = [line for line in lines[:-1] if not line.endswith("}")]
    assert len(bad) == 1


@pytest.mark.parametrize("kind", ["stall", "slow_first_token"])
def test_slow_faults_outlast_an_impatient_client(kind: str, lab: RunningLab) -> None:
    """003-42: the lab notices that the client left, and doesn't count an answer."""
    lab.faults({"kind": kind, "seconds": 60})
    lab.http.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        _lines(lab)
    lab.http.timeout = httpx.Timeout(10)
    for _ in range(100):
        if lab.totals()["disconnected"]:
            break
    assert lab.totals()["ok"] == 0
    assert lab.totals()["disconnected"] == 1


@pytest.mark.parametrize("kind", ["cut", "truncate", "malformed"])
def test_whole_answers_break_too(kind: str, lab: RunningLab) -> None:
    """003-42: faults hit answers that aren't streamed as well."""
    lab.faults({"kind": kind})
    try:
        answer = _post(lab, _OPENAI)
    except httpx.RemoteProtocolError:
        assert kind == "cut"
    else:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(answer.content)
    assert _post(lab, _OPENAI).status_code == 200


def test_a_dead_key_is_refused_while_others_live(lab: RunningLab) -> None:
    """003-42: one account of several loses its key."""
    lab.faults({"kind": "dead_key", "account": "a", "times": None})
    assert [_post(lab, _GROQ, key=key).status_code for key in ("a:1", "b", "a:2")] == [401, 200, 401]


def test_openrouter_streams_begin_with_a_comment(lab: RunningLab) -> None:
    """003-42: clients that choke on comment lines are found out."""
    with lab.http.stream(
        "POST", _OPENROUTER, json={"model": "fast", "stream": True, **_ASK}, headers={"authorization": "Bearer k"}
    ) as answer:
        lines = list(answer.iter_lines())
    assert lines[0] == ": OPENROUTER PROCESSING"
    assert orjson.loads(lines[2].removeprefix("data: "))["provider"] == "Lumni Lab"


@pytest.mark.parametrize("spelling", ["maxOutputTokens", "max_output_tokens"])
def test_native_gemini_streams_text_finish_and_usage(spelling: str, lab: RunningLab) -> None:
    """003-42: what Google's own clients read, as events and as an array."""
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {spelling: 9}}
    answer = lab.http.post(f"{_GEMINI}:streamGenerateContent", params={"alt": "sse", "key": "k"}, json=body)
    events = [orjson.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert events[-1]["usageMetadata"]["candidatesTokenCount"] == 9
    array = lab.http.post(f"{_GEMINI}:streamGenerateContent", params={"key": "k"}, json=body).json()
    joined = [
        "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in way) for way in (events, array)
    ]
    assert joined[0] == joined[1] != ""


def test_wrong_admin_bodies_change_nothing(lab: RunningLab) -> None:
    """003-42: a typo in a script is an error, not a fault that never strikes."""
    for path, body in (
        ("/_lab/faults", [{"kind": "cut"}, {"kind": "nonsense"}]),
        ("/_lab/faults", {"kind": "cut", "profile": "nobody"}),
        ("/_lab/config", {"latency": "fast"}),
        ("/_lab/config", {"limits": {"nobody": {}}}),
        ("/_lab/config", {"speed": 3}),
    ):
        assert lab.http.post(path, json=body).status_code == 400
    state = lab.http.get("/_lab/state").json()
    assert state["faults"] == []
    assert state["settings"]["latency"] == 0
    assert lab.http.get("/health").json() == {"status": "ok"}


def test_the_document_names_every_profile_fault_and_endpoint() -> None:
    """003-37: docs/lab.md is complete."""
    document = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    for profile in default_profiles().values():
        assert f"| `{profile.name}` | `{profile.base_path}`" in document
    for kind in KINDS:
        assert f"| `{kind}` |" in document
    for path in ("/_lab/state", "/_lab/reset", "/_lab/config", "/_lab/faults", "/health"):
        assert path in document
    limits = re.search(r"```json\n(.*?)```", document, re.DOTALL)
    assert limits
    assert check_limits(orjson.loads(limits[1]))
