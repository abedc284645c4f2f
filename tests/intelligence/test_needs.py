"""What a request needs of a model, and how a lack of it is told."""

import pytest
from hypothesis import given

from lumni.catalogue.model import Capabilities
from lumni.errors import ContextLengthExceeded, InvalidRequest, UnsupportedFeature
from lumni.intelligence import Needs, needs_of
from lumni.intelligence.needs import TOKENS_PER_IMAGE
from lumni.types import Json
from tests.intelligence.catalogues import ask, bodies, chat, deployment, ids, why

IMAGE: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
TOOL: Json = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
SEEING = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}]}


@given(body=bodies)
def test_any_body_has_needs(body: Json) -> None:
    needs = needs_of(body)
    assert needs.prompt_tokens >= 0
    assert needs.max_output is None or needs.max_output > 0


def test_tokens_are_estimated_from_the_text_and_never_from_an_image_s_bytes() -> None:
    assert 1_000 <= needs_of(chat("abcd" * 1_000)).prompt_tokens <= 1_010
    assert TOKENS_PER_IMAGE < needs_of(SEEING).prompt_tokens < TOKENS_PER_IMAGE + 20


def test_chinese_is_not_undercounted() -> None:
    assert needs_of(chat("证明" * 500)).prompt_tokens >= 700


def test_deeply_nested_tools_are_measured() -> None:
    deep: Json = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert needs_of(chat("Hi", tools=[deep])).prompt_tokens > 3_000


@pytest.mark.parametrize(
    ("body", "lacking", "words"),
    [
        (chat("Hi", tools=[TOOL]), Capabilities(tools=False), "tools"),
        (SEEING, Capabilities(vision=False), "images"),
        (chat("Hi", response_format={"type": "json_schema"}), Capabilities(json_schema=False), "json_schema"),
        (chat("Hi", stream=True), Capabilities(streaming=False), "streaming"),
        (chat("long " * 1_000), Capabilities(context_window=1_000), "1,000 tokens"),
        (chat("Hi", max_completion_tokens=500), Capabilities(max_output=100), "at most 100 tokens"),
    ],
)
def test_a_model_that_cannot_is_excluded_with_a_reason(body: Json, lacking: Capabilities, words: str) -> None:
    made = ask((deployment("groq-small", capabilities=lacking), deployment("groq-unknown", priority=9)), body=body)
    assert ids(made) == ["groq-unknown"], "what no source says is not held against a model"
    assert words in why(made)["groq-small"]


def test_when_no_window_is_large_enough_the_error_names_the_largest() -> None:
    models = [deployment(f"groq-{n}", capabilities=Capabilities(context_window=n)) for n in (1_000, 2_000)]
    with pytest.raises(ContextLengthExceeded, match=r"about 5,0\d\d tokens .* has 2,000"):
        ask(tuple(models), body=chat("abcd" * 5_000))


def test_when_nobody_can_do_it_the_error_names_what_was_asked() -> None:
    blind = deployment("groq-blind", capabilities=Capabilities(vision=False, context_window=10))
    with pytest.raises(UnsupportedFeature, match="needs images"):
        ask((blind,), body=SEEING)


def test_when_nobody_writes_that_much_the_error_names_the_most() -> None:
    with pytest.raises(InvalidRequest, match="here writes is 100") as caught:
        ask((deployment("groq-a", capabilities=Capabilities(max_output=100)),), body=chat("Hi", max_tokens=500))
    assert caught.value.param == "max_tokens"


def test_the_answer_s_tokens_count_towards_the_window() -> None:
    assert Needs(prompt_tokens=900, max_output=200).window == 1_100
