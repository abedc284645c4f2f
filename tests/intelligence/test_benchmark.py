"""What the table of scores changes in a plan, and what it must not."""

import pytest

from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import known_scores
from lumni.intelligence import Plan, plan
from lumni.intelligence.rank import UNKNOWN
from tests.intelligence.catalogues import PROOF, chat, deployment, ids

GOOD = deployment("gemini-a", tier="powerful", model="gemini/gemini-3.5-flash")
FAIR = deployment("groq-a", tier="powerful", model="groq/openai/gpt-oss-120b")
NOBODY = deployment("openai-a", tier="powerful", model="openai/gpt-5.6")
SMALL = deployment("groq-b", tier="fast", model="groq/llama-3.1-8b-instant")


def ask(*deployments: object, text: str = PROOF, requested: str = "auto") -> Plan:
    return plan(
        requested=requested,
        body=chat(text),
        hint=None,
        provider=None,
        fallback=True,
        catalogue=Catalogue(deployments),  # type: ignore[arg-type]
        availability={},
        scores=known_scores(),
    )


def test_among_equals_the_better_model_comes_first() -> None:
    """001-23: same tier, priority, quota and price: the figures of the task's domain decide, not the file's order."""
    made = ask(FAIR, GOOD)
    assert ids(made) == ["gemini-a", "groq-a"]
    assert made.domain == "maths"
    assert [c.benchmark.domain for c in made.candidates if c.benchmark] == ["maths", "maths"]


def test_the_part_is_the_weighted_score() -> None:
    """001-23: by hand: of what a hard task needs (0.2), the share that the model has in the task's domain."""
    score = known_scores().score("gpt-oss-120b", "maths")
    assert score is not None
    parts = ask(FAIR).candidates[0].parts
    assert parts["benchmark_score"] == pytest.approx(0.2 * score.value / 0.2)
    assert parts["benchmark_ranking"] == pytest.approx(0.3 * (0.75 + 0.25 * score.value / 0.2))


def test_an_unknown_model_is_ranked_but_has_no_score() -> None:
    """001-09: without figures a model counts as an ordinary one in the order, and as unknown wherever it is shown."""
    made = ask(NOBODY, GOOD)
    assert ids(made) == ["gemini-a", "openai-a"]
    assert made.candidates[1].benchmark is None
    assert made.candidates[1].parts["benchmark_score"] == pytest.approx(0.2 * UNKNOWN / 0.2)


def test_a_named_group_keeps_its_order_whatever_the_figures_say() -> None:
    """001-23: who names a group gets it in the teacher's order."""
    first = deployment("groq-a", group="g", priority=0, model="groq/llama-3.1-8b-instant")
    second = deployment("gemini-a", group="g", priority=1, model="gemini/gemini-3.5-flash")
    assert ids(ask(second, first, requested="g")) == ["groq-a", "gemini-a"]


def test_a_strong_model_doesn_t_take_the_easy_tasks() -> None:
    """001-10: the tier of the task comes before the figures, so that scarce strong models are left for hard tasks."""
    assert ids(ask(GOOD, SMALL, text="Hi!")) == ["groq-b", "gemini-a"]
