"""Which ability a request asks for."""

import pytest
from hypothesis import given

from lumni.catalogue.scores import DOMAINS, Domain
from lumni.intelligence.domain import LONG_PROMPT, domain_of, subject_of
from lumni.intelligence.features import look
from lumni.intelligence.needs import needs_of
from lumni.intelligence.thread import read
from lumni.types import Json
from tests.intelligence.catalogues import PROOF, bodies, chat

TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
IMAGE = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
]


def found(body: Json) -> Domain:
    return domain_of(subject_of(look(read(body).last, body)), needs_of(body))


@pytest.mark.parametrize(
    ("body", "domain"),
    [
        (chat("Hi!"), "language"),
        (chat("Translate 'bread' to German."), "language"),
        (chat(PROOF), "maths"),
        (chat("Write a Python function that parses CSV rows."), "coding"),
        (chat("Why does this fail?\n```python\nimport os\nprint(os.nothing)\n```"), "coding"),
        (chat("Which column of my spreadsheet has outliers?"), "data_analysis"),
        (chat("Why did the Roman Republic fall?"), "reasoning"),
        (chat("What is 2 + 2?", tools=[TOOL]), "tool_use"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "vision"),
        ({"messages": [{"role": "user", "content": IMAGE}], "tools": [TOOL]}, "vision"),
        (chat("word " * LONG_PROMPT, tools=[TOOL]), "long_context"),
    ],
)
def test_the_domain_follows_from_what_a_model_must_take_in_and_then_from_the_subject(body: Json, domain: str) -> None:
    """001-23: images, long prompts and tools first, then code, data, mathematics, language; else reasoning."""
    assert found(body) == domain


@given(bodies)
def test_any_body_has_a_domain(body: Json) -> None:
    """001-21: whatever a client sends, and the same one again."""
    assert found(body) in DOMAINS
    assert found(body) == found(body)
