"""What went wrong, read from any exception, and never with a secret in it."""

import inspect
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.types import Outcome
from lumni.upstream import failures, parameters
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.toolcheck import broken_tool_call

# ruff: noqa: E501
SECRETS = [
    "sk-proj-abcdefghij1234567890", "sk-or-v1-0123456789abcdef", "sk-ant-api03-abcdefgh_ijkl", "gsk_abcdefghij1234567890",
    "csk-abcdefghij1234567890", "AIzaSyA-abcdefghijklmnopqrstuvwxyz012", "hf_abcdefghijklmnop", "nvapi-abcdefghijklmnop",
    "ghp_abcdefghijklmnop1234", "github_pat_abcdefgh12345678", "https://internal.example/v1?key=abc", "Bearer abc.def.ghi",
    "a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6",
]  # fmt: skip


@given(st.text(max_size=80), st.sampled_from(SECRETS), st.text(max_size=80))
def test_no_key_and_no_address_is_told(before: str, secret: str, after: str) -> None:
    """000-08: whatever a provider quotes in its error, keys and addresses don't pass."""
    assert secret not in failures.clean(f"{before} {secret} {after}", limit=1000)


@given(st.sampled_from(SECRETS))
def test_no_key_is_told_out_of_a_provider_s_body(secret: str) -> None:
    assert secret not in failures.clean('litellm.AuthError: {"error": {"message": "bad key \\"' + secret + '\\""}}')


@given(st.text() | st.text(alphabet='{}"\\:message, '))
def test_cleaning_never_fails_and_keeps_to_its_length(text: str) -> None:
    cleaned = failures.clean(text, limit=50)
    assert len(cleaned) <= 50
    assert "\n" not in cleaned


def test_a_provider_s_own_words_are_what_is_left() -> None:
    text = 'litellm.BadRequestError: GroqException - {"error":{"message":"No such \\u00fcber model","code":"x"}}'
    assert failures.clean(text) == "No such über model"


UNBUILT = ("BudgetExceededError", "JSONSchemaValidationError")
EXPECTED = {
    "AuthenticationError": Outcome.AUTH, "PermissionDeniedError": Outcome.AUTH, "NotFoundError": Outcome.NOT_FOUND,
    "RateLimitError": Outcome.RATE_LIMITED, "BadRequestError": Outcome.BAD_REQUEST, "Timeout": Outcome.TIMEOUT,
    "ContextWindowExceededError": Outcome.CONTEXT, "InternalServerError": Outcome.UNAVAILABLE,
    "ServiceUnavailableError": Outcome.UNAVAILABLE, "APIConnectionError": Outcome.UNAVAILABLE,
    "UnprocessableEntityError": Outcome.BAD_REQUEST, "BadGatewayError": Outcome.UNAVAILABLE,
}  # fmt: skip


def litellm_error(kind: type[Exception]) -> Exception:
    """One of LiteLLM's exceptions, whatever its constructor wants."""
    status = 422 if kind.__name__ == "UnprocessableEntityError" else 403
    response = httpx.Response(status, request=httpx.Request("POST", "https://x.example"))
    values: dict[str, Any] = {
        "message": "went wrong", "model": "m", "llm_provider": "groq", "response": response, "status_code": 500,
        "request_data": {}, "category": "x", "generated_content": "", "is_pre_first_chunk": True,
    }  # fmt: skip
    wanted = inspect.signature(kind).parameters
    needed = {name for name, one in wanted.items() if name != "response" or one.default is one.empty}
    return kind(**{name: value for name, value in values.items() if name in needed})


def test_every_exception_of_litellm_is_understood(litellm: Any) -> None:
    """003-02: each class has the outcome that decides whether it is retried; none is left as a fault of ours."""
    seen = set()
    for kind in litellm.LITELLM_EXCEPTION_TYPES:
        if "original_exception" in inspect.signature(kind).parameters or kind.__name__ in UNBUILT:
            continue
        failure = failures.read(litellm_error(kind))
        seen.add(kind.__name__)
        assert failure.outcome is EXPECTED.get(kind.__name__, failure.outcome), kind
        assert failure.outcome is not Outcome.ERROR
    assert seen >= EXPECTED.keys()


STATUSES = {
    400: Outcome.BAD_REQUEST, 401: Outcome.AUTH, 402: Outcome.RATE_LIMITED, 403: Outcome.AUTH, 404: Outcome.NOT_FOUND,
    408: Outcome.TIMEOUT, 413: Outcome.CONTEXT, 422: Outcome.BAD_REQUEST, 429: Outcome.RATE_LIMITED,
    500: Outcome.UNAVAILABLE, 502: Outcome.UNAVAILABLE, 503: Outcome.UNAVAILABLE, 504: Outcome.TIMEOUT,
    529: Outcome.UNAVAILABLE, 418: Outcome.UNAVAILABLE,
}  # fmt: skip


class Refused(Exception):
    def __init__(self, status: Any, text: str = "", headers: Any = None) -> None:
        super().__init__(text)
        self.status_code = status
        self.litellm_response_headers = headers


@pytest.mark.parametrize(("status", "outcome"), STATUSES.items())
def test_every_status_has_its_outcome(status: int, outcome: Outcome) -> None:
    assert failures.read(Refused(status)).outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('{"error": {"code": "model_decommissioned"}}', Outcome.NOT_FOUND),
        ("API key not valid. Please pass a valid API key.", Outcome.AUTH),
        ("tool_use_failed", Outcome.UNAVAILABLE),
        ("This model's maximum context length is 10", Outcome.CONTEXT),
        ("temperature must be below 2", Outcome.BAD_REQUEST),
    ],
)
def test_a_400_is_read_for_whose_fault_it_is(text: str, outcome: Outcome) -> None:
    assert failures.read(Refused(400, text)).outcome is outcome


def test_a_prompt_that_was_flagged_is_no_refused_key() -> None:
    """000-15: OpenRouter's 403 is about what one student wrote: it takes no account out of the class."""
    told = "Your chosen model requires moderation and your input was flagged"
    assert failures.read(Refused(403, told)).outcome is Outcome.BAD_REQUEST


@given(st.none() | st.integers() | st.text(max_size=5) | st.floats(), st.text(max_size=40))
def test_reading_never_fails(status: Any, text: str) -> None:
    assert isinstance(failures.read(Refused(status, text)), Failure)


def test_time_outs_and_our_own_failures_are_themselves() -> None:
    assert failures.read(TimeoutError()).outcome is Outcome.TIMEOUT
    mine = Failure(Outcome.CUT, detail="x")
    assert failures.read(AttemptFailed(mine)) is mine


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """000-14: ``retry-after-ms`` before ``retry-after``; nonsense is no answer."""
    assert failures.retry_after(headers) == seconds
    assert failures.read(Refused(429, headers={k.title(): v for k, v in headers.items()})).retry_after == seconds


def test_gemini_s_retry_delay_is_read_from_its_body() -> None:
    """Gemini says how long to wait in the error's details (google.rpc.RetryInfo), in no header."""
    body = '{"error": {"code": 429, "message": "Quota exceeded", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}'
    assert failures.read(Refused(429, f"litellm.RateLimitError: VertexAIException - {body}")).retry_after == 34.5


CONTROL = ["api_base", "api_key", "base_url", "model", "messages", "timeout", "stream", "fallbacks", "mock_response",
           "custom_llm_provider", "extra_headers", "headers", "user", "metadata", "num_retries", "organization"]  # fmt: skip


def test_no_control_argument_of_litellm_comes_from_a_client(litellm: Any) -> None:
    """000-08: a client's ``api_base`` would otherwise send the account's key anywhere."""
    names = {*inspect.signature(litellm.acompletion).parameters, *CONTROL} - {"kwargs"}
    arguments = parameters.for_deployment(dict.fromkeys(names, "x"), parameters.STANDARD)
    assert arguments.keys() <= {*parameters.STANDARD, "extra_body"}
    assert not arguments.keys() & {*CONTROL}


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from([*CONTROL, *parameters.STANDARD]), st.integers()))
def test_only_named_parameters_become_arguments(body: dict[str, Any]) -> None:
    arguments = parameters.for_deployment(body, parameters.STANDARD)
    extra = arguments.pop("extra_body", {})
    assert arguments.keys() <= parameters.STANDARD
    assert not extra.keys() & parameters.WITHHELD
    assert {**arguments, **extra} == {k: v for k, v in body.items() if k not in parameters.WITHHELD}


@pytest.mark.parametrize("known", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("given_", ["max_tokens", "max_completion_tokens"])
def test_the_output_limit_is_spelled_as_the_provider_does(known: str, given_: str) -> None:
    assert parameters.for_deployment({given_: 5}, {known}) == {known: 5}


def test_only_optional_parameters_that_a_refusal_names_are_left_out() -> None:
    body = {"messages": [], "model": "m", "seed": 1, "tools": [], "stop": "x", "top_k": 1}
    assert parameters.refused(body, "property 'top_k' is unsupported") == {"top_k"}
    assert parameters.refused(body, "seed is not supported") == {"seed"}
    assert parameters.refused(body, "tools are not supported: tools") == set()
    assert parameters.refused(body, "seed must be an integer") == set()


OFFERED = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("name", "arguments", "broken"),
    [("f", "{}", False), ("f", "", False), ("f", '{"a": 1}', False), ("f", '{"a": ', True), ("f", "[1]", True),
     ("f", "3", True), ("g", "{}", True)],
)  # fmt: skip
def test_a_call_that_cannot_be_carried_out_is_named(name: str, arguments: str, broken: bool) -> None:
    fault = broken_tool_call(OFFERED, [{"function": {"name": name, "arguments": arguments}}])
    assert bool(fault) is broken


def test_what_is_left_of_a_masked_key_is_not_told() -> None:
    assert failures.clean("Incorrect API key provided: sk-p****cdef.") == "Incorrect API key provided: [hidden]."
    assert failures.clean("Bad key ************wxyz") == "Bad key [hidden]"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("'it\\'s\\nover'", "it's over"),
        ('"it\'s over"', "it's over"),
        ("'C:\\\\x'", "C:\\x"),
        ("'", "[{'message': '}]"),
    ],
)
def test_a_body_written_as_python_is_read_too(message: str, told: str) -> None:
    """So OpenAI's client writes the list in which Gemini's OpenAI-compatible endpoint wraps its errors."""
    assert failures.clean(f"Error code: 429 - [{{'message': {message}}}]") == told


def test_the_wait_in_a_body_written_as_python_is_read() -> None:
    body = "[{'error': {'details': [{'@type': 'type.googleapis.com/google.rpc.RetryInfo', 'retryDelay': '34s'}]}}]"
    assert failures.read(Refused(429, f"Error code: 429 - {body}")).retry_after == 34


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"),
    [("0", "1000060000", 60), ("1", "1000060000", None), ("0", "1000000000", None), ("0", "x", None),
     ("0", "nan", None), ("0", "1e300", None), (None, "1000060000", None)],
)  # fmt: skip
def test_openrouter_s_reset_is_a_moment(remaining: str | None, reset: str, seconds: float | None) -> None:
    """OpenRouter sends milliseconds of Unix time, and no ``retry-after``."""
    headers = {"x-ratelimit-reset": reset} | ({} if remaining is None else {"x-ratelimit-remaining": remaining})
    assert failures.until_reset(headers, now=1_000_000.0) == seconds


def test_openrouter_s_reset_is_read_only_from_a_refusal() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str((time.time() + 600) * 1000)}
    wait = failures.read(Refused(429, headers=headers)).retry_after
    assert wait is not None
    assert 0 < wait <= 600
    assert failures.read(Refused(503, headers=headers)).retry_after is None


def test_the_account_s_own_key_is_hidden_whatever_it_looks_like() -> None:
    """000-08: a provider that quotes a key in an unknown form, such as a campus server's, gives nothing away."""
    params = {
        "model": "openai/m",
        "api_key": "chalk/board",
        "aws_secret_access_key": "chalk/board/two",
        "max_tokens": 8,
    }
    secrets = failures.secrets_in(params)
    assert secrets == ["chalk/board/two", "chalk/board"]
    told = failures.read(Refused(401, "x" * 290 + " chalk/board, chalk/board/two"), secrets).detail
    assert "chalk" not in told
