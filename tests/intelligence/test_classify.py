"""What the classifier promises: never to fail, to be honest about its confidence, and to say why."""

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given

from lumni.intelligence import classify, needs_of
from lumni.intelligence.classify import BIAS, NON_ENGLISH_CAP, WEIGHTS
from lumni.intelligence.features import extract
from lumni.intelligence.thread import HEAD, TAIL, read
from lumni.types import Json, TaskType
from tests.intelligence.catalogues import PROOF, bodies, chat

EASY = [
    "Hi!",
    "Thanks, that helped a lot!",
    "What does RAG stand for?",
    "Translate 'good morning' to French.",
    "Define overfitting in one sentence.",
    "Summarize this paragraph: " + "The cat sat on the mat and looked around. " * 20,
    "Write a Python function that reverses a string",
    "2+2?",
    "Was ist ein neuronales Netz?",
    "",
]
HARD = [
    PROOF,
    "Beweise, dass es unendlich viele Primzahlen gibt.",
    "Derive the gradient of the softmax cross-entropy loss.",
    "Why does this crash?\n```python\ndef f(x):\n  return x[10]\nf([1])\n```\nTraceback: IndexError",
    "Design a rate limiter for three regions that admits at most 1 % too many; compare two algorithms.",
    "Implement a lock-free queue in C++ and explain the memory ordering and the ABA problem.",
    r"Solve $\int_0^\infty x^2 e^{-x} dx$ and show that it equals $\Gamma(3)$.",
]


@pytest.mark.parametrize("text", EASY)
def test_everyday_questions_are_fast(text: str) -> None:
    """001-18, 001-19."""
    assert classify(chat(text)).task_type == "fast"


@pytest.mark.parametrize("text", HARD)
def test_proofs_plans_and_faults_are_powerful(text: str) -> None:
    """001-18, 001-19."""
    assert classify(chat(text)).task_type == "powerful"


@given(body=bodies)
def test_any_body_gets_a_label_with_a_confidence_between_a_half_and_one(body: Json) -> None:
    """001-18."""
    result = classify(body)
    assert result.task_type in ("fast", "powerful")
    assert 0.5 <= result.confidence <= 1
    assert result == classify(body)


@given(body=bodies)
def test_the_factors_and_the_bias_add_up_to_the_label(body: Json) -> None:
    """001-18: the factors are the signed contributions, the largest first."""
    result = classify(body)
    total = BIAS + sum(factor.weight for factor in result.factors)
    assert result.task_type == ("powerful" if total >= 0 else "fast")
    sizes = [abs(factor.weight) for factor in result.factors]
    assert sizes == sorted(sizes, reverse=True)
    assert result.confidence <= 1 / (1 + math.exp(-abs(total))) + 1e-9


@given(body=bodies)
def test_every_sign_is_between_zero_and_one_and_has_a_weight(body: Json) -> None:
    features = extract(read(body), body)._asdict()
    assert isinstance(features.pop("foreign"), bool)
    assert features.keys() == WEIGHTS.keys()
    assert all(0 <= value <= 1 for value in features.values())


@pytest.mark.parametrize("hint", ["fast", "powerful"])
def test_the_client_s_task_type_decides(hint: TaskType) -> None:
    """001-31."""
    result = classify(chat(PROOF), hint)
    assert (result.task_type, result.confidence) == (hint, 1.0)
    assert [factor.name for factor in result.factors] == ["you asked for it"]


@pytest.mark.parametrize(
    "content",
    [
        PROOF,
        [{"type": "text", "text": PROOF}],
        [{"type": "text", "text": "Prove that"}, {"type": "text", "text": "√2 is irrational."}],
        [None, 7, {"type": "text"}, {"type": "text", "text": PROOF}],
    ],
)
def test_a_list_of_parts_is_read_like_a_string(content: Any) -> None:
    assert classify({"messages": [{"role": "user", "content": content}]}).task_type == "powerful"


def test_the_last_user_turn_counts_even_after_tool_messages() -> None:
    thread: list[Json] = [
        {"role": "system", "content": "You prove theorems."},
        {"role": "user", "content": PROOF},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}]},
        {"role": "tool", "content": "nothing found"},
    ]
    assert classify({"messages": thread}).task_type == "powerful"
    assert classify({"messages": [*thread, {"role": "user", "content": "Thanks!"}]}).task_type == "fast"


@pytest.mark.parametrize(
    "text", ["Erkläre mir bitte, wie das mit dem Gradienten und der Lernrate ist", "Объясни мне градиентный спуск"]
)
def test_confidence_is_capped_when_the_text_is_not_english(text: str) -> None:
    """Most of the words that are looked for are English."""
    assert classify(chat(text)).confidence <= NON_ENGLISH_CAP


def test_mathematics_in_greek_letters_is_not_taken_for_a_foreign_language() -> None:
    assert not extract(read(chat("Compute the sum of α and β, where α = 2β and β = 3.")), {}).foreign


@pytest.mark.parametrize("where", ["{ask} {filler}", "{filler} {ask}"])
def test_the_question_is_found_at_either_end_of_a_long_paste(where: str) -> None:
    text = where.format(ask="Prove this theorem by induction.", filler="lorem ipsum dolor " * 6_000)
    assert "asks for a proof or a derivation" in [factor.name for factor in classify(chat(text)).factors]


@pytest.mark.parametrize(
    "text", ["\ud800 lone surrogate", "\x00\x00", "İ" * 5_000, "((((" * 50_000, "\\" * 100_000, "```" * 9_999]
)
def test_hostile_texts_are_classified_like_any_other(text: str) -> None:
    assert classify(chat(text)).task_type in ("fast", "powerful")
    assert needs_of(chat(text)).prompt_tokens > 0


def test_what_is_scanned_of_a_long_text_is_bounded() -> None:
    thread = read(chat("a" * 1_000_000))
    assert len(thread.last) <= HEAD + TAIL + 1
    assert thread.length == thread.last_length == 1_000_000


def test_importing_the_classifier_loads_no_heavy_package() -> None:
    """`lumni --help` and unit tests stay fast."""
    heavy = ("numpy", "pydantic", "litellm", "fastapi", "sqlalchemy")
    code = f"import sys, lumni.intelligence; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
