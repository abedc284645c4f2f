"""What providers' answers teach, in their own spellings."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.learn import LONGEST, lessons, seconds
from lumni.quota.model import DAY, MINUTE, MONTH, Correction

NOW = 1_790_000_000.0


def test_groq_counts_requests_by_the_day_and_tokens_by_the_minute() -> None:
    """000-20: Groq's headers name no period; its documentation does."""
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-reset-tokens": "7.66s",
    }
    expected = (
        Correction("requests", DAY, 14400, 14370, 179.56),
        Correction("tokens", MINUTE, 18000, 17997, 7.66),
    )
    assert lessons(200, headers, now=NOW, provider="groq") == expected
    assert lessons(200, {f"llm_provider-{k}": v for k, v in headers.items()}, now=NOW, provider="groq") == expected


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "period"),
    [
        ("60", "59", "1s", MINUTE),
        ("10000", "9999", "6ms", MINUTE),
        ("200", "199", "7m12s", DAY),
        ("200", "150", "6h0m0s", DAY),
    ],
)
def test_openai_requests_a_day_are_told_from_requests_a_minute(
    limit: str, remaining: str, reset: str, period: float
) -> None:
    """000-22: a bucket that misses one of 200 for seven minutes is a day's."""
    headers = {
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }
    (word,) = lessons(200, headers, now=NOW, provider="openai")
    assert (word.kind, word.period, word.limit, word.remaining) == ("requests", period, int(limit), int(remaining))
    assert not word.refused


def test_cerebras_and_mistral_name_their_periods() -> None:
    """000-20"""
    cerebras = {
        "x-ratelimit-limit-requests-day": "14400",
        "x-ratelimit-remaining-requests-day": "14399",
        "x-ratelimit-reset-requests-day": "33011.382867",
        "x-ratelimit-limit-tokens-minute": "60000",
        "x-ratelimit-remaining-tokens-minute": "59800",
        "x-ratelimit-reset-tokens-minute": "11.38",
    }
    assert lessons(200, cerebras, now=NOW) == (
        Correction("requests", DAY, 14400, 14399, 33011.382867),
        Correction("tokens", MINUTE, 60000, 59800, 11.38),
    )
    mistral = {
        "x-ratelimit-limit-req-minute": "60",
        "x-ratelimit-remaining-req-minute": "58",
        "x-ratelimit-limit-req-second": "1",
        "x-ratelimit-remaining-req-second": "0",
        "x-ratelimit-limit-tokens-month": "1000000000",
        "x-ratelimit-remaining-tokens-month": "999000000",
        "ratelimitbysize-limit": "500000",
        "ratelimitbysize-remaining": "499900",
        "ratelimitbysize-reset": "40",
        "x-ratelimit-tokens-query-cost": "100",
    }
    assert lessons(200, mistral, now=NOW) == (
        Correction("requests", MINUTE, 60, 58),
        Correction("requests", 1, 1),
        Correction("tokens", MONTH, 1_000_000_000, 999_000_000),
        Correction("tokens", MINUTE, 500000, 499900, 40),
    )


def test_anthropic_resets_are_dates() -> None:
    """000-20"""
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-09-21T14:13:30Z",
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "29000",
        "anthropic-ratelimit-input-tokens-reset": "2026-09-21T16:13:22+02:00",
    }
    assert lessons(200, headers, now=NOW) == (
        Correction("requests", MINUTE, 50, 49, 10),
        Correction("input_tokens", MINUTE, 30000, 29000, 2),
    )


def test_groq_says_which_window_refused() -> None:
    """000-21: the sentence names the window, ``retry-after`` how long for a request of this size."""
    message = (
        "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_01` service tier `on_demand` on "
        "tokens per minute (TPM): Limit 6000, Used 5527, Requested 1200. Please try again in 7.27s."
    )
    body = {"error": {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}}
    assert lessons(429, {"retry-after": "8"}, body, now=NOW) == (
        Correction("tokens", MINUTE, 6000, reset_in=8, refused=True),
    )
    assert lessons(429, {}, orjson.dumps(body), now=NOW) == (
        Correction("tokens", MINUTE, 6000, reset_in=7.27, refused=True),
    )
    too_large = message.replace("Rate limit reached", "Request too large")
    assert lessons(413, {}, too_large, now=NOW) == (Correction("tokens", MINUTE, 6000),)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3. Please try again in 20s.",
            Correction("requests", MINUTE, 3, reset_in=20, refused=True),
        ),
        (
            "Rate limit reached for default-gpt-3.5 on requests per day. Limit: 200 / day. Please try again in 7m12s.",
            Correction("requests", DAY, 200, reset_in=432, refused=True),
        ),
        (
            "Too many requests. Please try again in 1 minute.",
            Correction(refused=True, reset_in=60),
        ),
        ("Slow down.", Correction(refused=True)),
    ],
)
def test_sentences_are_understood(message: str, expected: Correction) -> None:
    """000-21"""
    assert lessons(429, {}, {"error": {"message": message}}, now=NOW) == (expected,)


def google(quota_id: str, metric: str, value: str, delay: str) -> dict[str, Any]:
    violation = {"quotaMetric": f"generativelanguage.googleapis.com/{metric}", "quotaId": quota_id, "quotaValue": value}
    return {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
            ],
        }
    }


def test_gemini_tells_minute_and_day_apart() -> None:
    """000-22: a day's quota is gone until its reset, although ``retryDelay`` says half a minute."""
    minute = google(
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "generate_content_free_tier_requests", "5", "34.07s"
    )
    assert lessons(429, {}, minute, now=NOW) == (Correction("requests", MINUTE, 5, reset_in=34.07, refused=True),)
    day = google(
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "generate_content_free_tier_requests", "20", "28s"
    )
    assert lessons(429, {}, [day], now=NOW) == (Correction("requests", DAY, 20, refused=True),)
    tokens = google(
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
        "generate_content_free_tier_input_token_count",
        "250000",
        "12s",
    )
    assert lessons(429, {}, orjson.dumps(tokens), now=NOW) == (
        Correction("input_tokens", MINUTE, 250000, reset_in=12, refused=True),
    )


def test_openrouter_hides_its_headers_in_the_body() -> None:
    """000-22"""
    reset = str(int((NOW + 3600) * 1000))
    body = {
        "error": {
            "message": "Rate limit exceeded: free-models-per-day.",
            "code": 429,
            "metadata": {
                "headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
            },
        }
    }
    assert lessons(429, {}, body, now=NOW) == (Correction("requests", DAY, 50, reset_in=3600, refused=True),)
    body["error"]["message"] = "Rate limit exceeded: free-models-per-min. "
    assert lessons(429, {}, body, now=NOW)[0].period == MINUTE


def test_a_refusal_without_words_blames_the_empty_window_of_the_headers() -> None:
    """000-21"""
    headers = {
        "x-ratelimit-limit-requests-day": "100",
        "x-ratelimit-remaining-requests-day": "0",
        "x-ratelimit-reset-requests-day": "900",
        "x-ratelimit-limit-tokens-minute": "60000",
        "x-ratelimit-remaining-tokens-minute": "50000",
    }
    told = lessons(429, headers, now=NOW)
    assert Correction("requests", DAY, 100, 0, 900, refused=True) in told
    assert Correction("tokens", MINUTE, 60000, 50000) in told
    assert len(told) == 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"Retry-After": "Mon, 21 Sep 2026 14:14:20 GMT"}, 60.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e99"}, None),
        ({"retry-after": "-5"}, 0.0),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], wait: float | None) -> None:
    """000-21"""
    assert lessons(429, headers, now=NOW) == (Correction(refused=True, reset_in=wait),)


def test_no_money_is_a_day_without_and_a_server_error_teaches_nothing() -> None:
    """000-27"""
    assert lessons(402, {}, "Insufficient credits", now=NOW) == (Correction(refused=True, reset_in=DAY),)
    assert lessons(503, {"retry-after": "30"}, "overloaded", now=NOW) == ()
    assert lessons(500, {}, "tokens per minute (TPM): Limit 5", now=NOW) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h2m3s", 3723),
        ("120ms", 0.12),
        ("6m0s", 360),
        ("0", 0),
        ("7.66", 7.66),
        ("1d", DAY),
        ("", None),
        ("soon", None),
    ],
)
def test_durations(text: str, expected: float | None) -> None:
    """000-22"""
    assert seconds(text) == (None if expected is None else pytest.approx(expected))


KEYS = st.sampled_from(
    ["error", "details", "violations", "@type", "metadata", "headers", "quotaId", "quotaValue", "retryDelay", "message"]
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-reset",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-tokens-day",
        "x-ratelimit-reset-requests",
        "anthropic-ratelimit-tokens-reset",
        "ratelimitbysize-limit",
    ]
)
VALUES = (
    st.text(max_size=30) | st.floats().map(str) | st.integers().map(str) | st.from_regex(r"\A[0-9dhms.:TZ+-]{0,24}\Z")
)


@given(
    st.integers(),
    st.dictionaries(NAMES | st.text(max_size=30), VALUES, max_size=6),
    json | st.binary(max_size=60) | VALUES,
    st.sampled_from(["groq", "openai", ""]),
)
def test_nothing_a_provider_sends_can_hurt(status: int, headers: dict[str, str], body: object, provider: str) -> None:
    """000-21: never raises, and never tells the store a number that a window can't have."""
    for word in lessons(status, headers, body, now=NOW, provider=provider):
        assert word.limit is None or 0 <= word.limit < 1e15
        assert word.remaining is None or 0 <= word.remaining < 1e15
        assert word.reset_in is None or 0 <= word.reset_in <= LONGEST
        assert (word.kind is None) == (word.period is None)
        assert status in (402, 429) or not word.refused
    if status == 429:
        assert any(word.refused for word in lessons(status, headers, body, now=NOW, provider=provider))
