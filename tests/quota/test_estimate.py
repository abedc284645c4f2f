"""Token estimates learn from what requests really took."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.estimate import FIRST_OUTPUT, Estimator, size_of
from lumni.types import Usage


def chat(text: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def test_all_that_becomes_prompt_counts() -> None:
    """000-25: text of parts, tools and schemas, in bytes; an image counts the same whatever its encoding."""
    plain = size_of(chat("hello"))
    assert size_of(chat([{"type": "text", "text": "hello"}])) > plain
    assert size_of(chat("héllo")) == plain + 1
    assert size_of({**chat("hello"), "tools": [{"function": {"name": "f"}}]}) > plain
    small = size_of(chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]))
    large = size_of(chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}]))
    assert small == large > 2000
    assert size_of({}) == 0


def test_prompt_estimates_settle_above_nearly_all_real_counts() -> None:
    """000-25: after some answers 9 of 10 prompts fit their estimate, which is no more than half too large."""
    dice, estimator = random.Random(7), Estimator()
    enough, waste = 0, []
    for n in range(400):
        size = dice.randint(200, 8000)
        real = round(size * min(0.9, max(0.15, dice.gauss(0.25, 0.03))))
        if n >= 100:
            guess = estimator.estimate("m", size).input_tokens
            enough += guess >= real
            waste.append(guess / real)
        estimator.observe("m", size, Usage(real, 10))
    assert enough >= 270
    assert sum(waste) / len(waste) < 1.5


def test_output_estimate_follows_past_answers_and_max_tokens_bounds_it() -> None:
    """000-25"""
    estimator = Estimator()
    assert estimator.estimate("m", 10).output_tokens == FIRST_OUTPUT
    assert estimator.estimate("m", 10, max_tokens=50).output_tokens == 50
    for length in range(1, 201):
        estimator.observe("m", 100, Usage(30, length))
    assert estimator.estimate("m", 10).output_tokens == 160
    assert estimator.estimate("m", 10, max_tokens=4000).output_tokens == 160
    assert estimator.estimate("m", 10, max_tokens=4000, counts_max_tokens=True).output_tokens == 4000
    assert estimator.estimate("m", 10, choices=3).output_tokens == 480
    for _ in range(200):
        estimator.observe("m", 100, Usage(30, 20))
    assert estimator.estimate("m", 10).output_tokens == 20
    assert estimator.estimate("other", 10).output_tokens == FIRST_OUTPUT


def test_made_up_counts_teach_nothing_and_a_restart_forgets_nothing() -> None:
    """000-38"""
    estimator = Estimator()
    for _ in range(50):
        estimator.observe("m", 1000, Usage(900, 7, estimated=True))
    assert estimator.estimate("m", 1000) == Estimator().estimate("m", 1000)
    for _ in range(50):
        estimator.observe("m", 1000, Usage(200, 7))
    again = Estimator()
    again.load(estimator.dump())
    assert again.estimate("m", 1000) == estimator.estimate("m", 1000)
    assert again.estimate("m", 1000).input_tokens == pytest.approx(200, rel=0.15)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6)), max_size=30),
    st.integers(0, 10**8),
    st.none() | st.integers(0, 10**6),
)
def test_estimates_stay_within_what_is_possible(
    seen: list[tuple[int, int, int]], size: int, max_tokens: int | None
) -> None:
    """000-25: never negative, never more tokens than bytes, never more output than asked for."""
    estimator = Estimator()
    for prompt_size, prompt, completion in seen:
        estimator.observe("m", prompt_size, Usage(prompt, completion))
    need = estimator.estimate("m", size, max_tokens=max_tokens)
    assert need.requests == 1
    assert 0 <= need.input_tokens <= size
    assert need.output_tokens >= 0
    assert max_tokens is None or need.output_tokens <= max_tokens


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_body_has_a_size(value: object) -> None:
    """003-07: sizes are taken before anything else is known of a body."""
    assert size_of({"messages": [value], "tools": value}) >= 0
    assert size_of({"messages": value}) >= 0
