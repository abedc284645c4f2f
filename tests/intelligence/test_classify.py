"""What the classifier promises: never to fail, to be honest about its confidence, and to say why."""

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.intelligence import classify, needs_of
from lumni.intelligence.classify import ABSTAIN, LEAST_TURN, LONG_CONVERSATION, NON_ENGLISH_CAP
from lumni.intelligence.features import look
from lumni.intelligence.groups import GROUP_OF, GROUPS
from lumni.intelligence.signs import BINS, NAMES, signs_of
from lumni.intelligence.thread import HEAD, TAIL, read
from lumni.types import Json, TaskType
from tests.intelligence.catalogues import PROOF, bodies, chat, messages

EASY = [
    "Hi!",
    "Thanks, that helped a lot!",
    "What does RAG stand for?",
    "Translate 'good morning' to French.",
    "Define overfitting in one sentence.",
    "Summarize this paragraph: " + "The cat sat on the mat and looked around. " * 20,
    "2+2?",
    "Was ist ein neuronales Netz?",
    "",
]
HARDEST = (
    "Prove by induction that every tournament graph has a Hamiltonian path, and construct a counterexample without it."
)
MIDDLING = [
    "Write a Python function that reverses a string",
    "Translate 'bread' to German.",
    "Compare lists and tuples.",
]
HARD = [
    PROOF,
    "Beweise, dass es unendlich viele Primzahlen gibt.",
    "Derive the gradient of the softmax cross-entropy loss.",
    "Design a rate limiter for three regions that admits at most 1 % too many; compare two algorithms.",
    "Prove that a lock-free queue with this memory ordering is free of the ABA problem, or construct a counterexample.",
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
def test_the_factors_add_up_to_the_probability_that_a_weak_model_fails(body: Json) -> None:
    """001-18: the factors are signed contributions to its log-odds, the largest first."""
    result = classify(body)
    total = sum(factor.weight for factor in result.factors)
    assert 1 / (1 + math.exp(-total)) == pytest.approx(result.weak_fails, abs=1e-6)
    sizes = [abs(factor.weight) for factor in result.factors]
    assert sizes == sorted(sizes, reverse=True)
    assert len({factor.name for factor in result.factors}) == len(result.factors)


@given(body=bodies, plentiful=st.booleans())
def test_the_label_follows_from_the_probability_and_undecided_from_the_quota(body: Json, plentiful: bool) -> None:
    """001-18: what is undecided goes to the strong tier while its quota is plentiful, else to the weak one."""
    result = classify(body, plentiful=plentiful)
    assert result.abstained == (result.confidence < ABSTAIN)
    assert (result.task_type == "powerful") == (plentiful if result.abstained else result.weak_fails >= 0.5)
    assert result.confidence <= max(result.weak_fails, 1 - result.weak_fails)
    assert -1 <= result.gain <= 1


def test_some_request_is_undecided_so_that_the_quota_decides() -> None:
    """001-18."""
    undecided = [text for text in (*EASY, *HARD, *MIDDLING) if classify(chat(text)).abstained]
    assert undecided
    assert {classify(chat(text), plentiful=True).task_type for text in undecided} == {"powerful"}
    assert {classify(chat(text), plentiful=False).task_type for text in undecided} == {"fast"}


@given(thread=st.lists(messages, max_size=8), plentiful=st.booleans())
def test_a_conversation_only_ever_moves_up(thread: list[Json], plentiful: bool) -> None:
    """001-18: whatever is said next, it isn't handed to a weaker tier in its middle."""
    ends = [at + 1 for at, message in enumerate(thread) if message.get("role") == "user"]
    labels = [classify({"messages": thread[:end]}, plentiful=plentiful).task_type for end in ends]
    assert labels == sorted(labels)  # "fast" before "powerful"


def test_a_conversation_stays_where_its_hardest_turn_was() -> None:
    """001-18: and the answer says so, while the gain is that of the last turn alone."""
    thread = [*chat(HARDEST)["messages"], {"role": "assistant", "content": "q.e.d."}]
    alone = classify(chat("Thanks!"))
    after = classify({"messages": [*thread, {"role": "user", "content": "Thanks!"}]})
    assert (alone.task_type, after.task_type) == ("fast", "powerful")
    assert "an earlier turn was harder" in [factor.name for factor in after.factors]
    assert after.gain < classify(chat(HARDEST)).gain


@given(turns=st.integers(2, 80), size=st.integers(1, 9_000))
def test_a_long_conversation_is_not_read_again_and_again(turns: int, size: int) -> None:
    """001-19: past a bound it counts as hard, unread."""
    body = {"messages": [{"role": "user", "content": "a " * (size // 2)} for _ in range(turns)]}
    result = classify(body)
    read_in_all = turns * max(LEAST_TURN, min(size // 2 * 2, HEAD + TAIL + 1))
    if read_in_all > LONG_CONVERSATION:
        assert result.task_type == "powerful"
        assert not result.abstained


@given(body=bodies)
def test_every_turn_shows_one_sign_of_each_number_and_every_sign_has_a_group(body: Json) -> None:
    """001-18: a factor for everything that is weighed."""
    places = signs_of(look(read(body).last, body))
    assert len(places) == len(set(places))
    shown = [NAMES[place] for place in places]
    assert all(sum(sign.rpartition(":")[0] == name for sign in shown) == 1 for name in BINS)
    assert len(GROUP_OF) == len(NAMES)
    assert set(GROUP_OF) == set(GROUPS.values())


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
    assert read({"messages": thread}).last.text == PROOF
    assert classify({"messages": thread}).task_type == "powerful"


@pytest.mark.parametrize(
    "text", ["Erkläre mir bitte, wie das mit dem Gradienten und der Lernrate ist", "Объясни мне градиентный спуск"]
)
def test_confidence_is_capped_when_the_text_is_not_english(text: str) -> None:
    """Most of the words that are looked for are English."""
    assert classify(chat(text)).confidence <= NON_ENGLISH_CAP


def test_mathematics_in_greek_letters_is_not_taken_for_a_foreign_language() -> None:
    assert not look(read(chat("Compute the sum of α and β, where α = 2β and β = 3.")).last, {}).features.foreign


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
    assert len(thread.last.text) <= HEAD + TAIL + 1
    assert thread.length == thread.last.length == 1_000_000


def test_importing_the_classifier_loads_no_heavy_package() -> None:
    """`lumni --help` and unit tests stay fast."""
    heavy = ("numpy", "pydantic", "litellm", "fastapi", "sqlalchemy")
    code = f"import sys, lumni.intelligence; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
