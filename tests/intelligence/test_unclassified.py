"""A request is served although nothing was classified: by choice, or because of a mistake in the classifier."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.model import Catalogue, Terms
from lumni.errors import LumniError
from lumni.intelligence import Availability, Classifying, Plan, classify, plan
from lumni.intelligence.weights import shipped
from lumni.types import Json, TaskType
from tests.intelligence.catalogues import PROOF, ask, availabilities, bodies, catalogues, chat, deployment, ids
from tests.intelligence.test_classify import EASY, HARD, MIDDLING

LIST = Catalogue(
    (
        deployment("groq-second", tier="powerful", priority=1),
        deployment("gemini-first", tier="fast", priority=0),
        deployment("cerebras-third", tier="fast", priority=2, terms=Terms("personal", owner="kim")),
    )
)


def asked(
    classifying: Classifying = "auto",
    hint: TaskType | None = None,
    requested: str = "auto",
    body: Json | None = None,
    catalogue: Catalogue = LIST,
) -> Plan:
    return plan(
        requested=requested,
        body=body if body is not None else chat(PROOF),
        hint=hint,
        provider=None,
        fallback=True,
        catalogue=catalogue,
        availability={},
        classifying=classifying,
    )


def test_without_classification_auto_follows_the_model_list() -> None:
    """001-49: by priority, whatever the tiers are."""
    made = asked("never")
    assert ids(made) == ["gemini-first", "groq-second"]
    assert not made.classified
    assert "powerful" not in made.reason
    assert ids(asked()) == ["groq-second", "gemini-first"]


@pytest.mark.parametrize("requested", ["auto", "powerful"])
def test_without_detection_only_the_client_classifies(requested: str) -> None:
    """001-49: autoDetect off, but ``taskType`` and the names of the tiers still count."""
    made = asked("asked", "powerful", requested)
    assert made.classified
    assert (made.classification.task_type, made.classification.confidence) == ("powerful", 1.0)
    assert not asked("asked").classified


def test_a_tier_asked_for_by_name_comes_first_even_if_nothing_is_classified() -> None:
    """001-49, 001-31."""
    made = asked("never", requested="powerful")
    assert ids(made) == ["groq-second", "gemini-first"]
    assert not made.classified


@pytest.mark.parametrize(
    "broken", ["plan.judge", "plan.domain_of", "slate.recent_usage", "classify.look", "scoring.ngrams"]
)
def test_a_mistake_in_classifying_or_ranking_costs_no_answer(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """001-21: the order of the model list serves, and the plan says what went wrong."""

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake")

    module, _, name = broken.partition(".")
    monkeypatch.setattr(sys.modules[f"lumni.intelligence.{module}"], name, fails)
    shipped().verdicts.clear()  # a turn that is remembered isn't looked at again
    made = asked()
    assert ids(made) == ["gemini-first", "groq-second"]
    assert made.failure == "ZeroDivisionError: a mistake"
    assert not made.classified


@pytest.mark.parametrize(("headroom", "task", "quota"), [(0.9, "powerful", "plentiful"), (0.1, "fast", "scarce")])
def test_what_is_undecided_is_decided_by_the_strong_models_quota(headroom: float, task: str, quota: str) -> None:
    """001-18: and the reason says so."""
    text = next(text for text in (*EASY, *HARD, *MIDDLING) if classify(chat(text)).abstained)
    made = ask(LIST, text=text, availability={"groq-second": Availability(headroom)})
    assert made.classification.task_type == task
    assert f"undecided, and the strong models' quota is {quota}" in made.reason


def test_a_refusal_is_no_mistake() -> None:
    """001-21: what the client did wrong is told, not passed over."""
    with pytest.raises(LumniError):
        asked(requested="nothing")


@given(data=st.data(), catalogue=catalogues(able=True), body=bodies, classifying=st.sampled_from(["asked", "never"]))
def test_the_same_deployments_may_serve_whether_or_not_anything_is_classified(
    data: st.DataObject, catalogue: Catalogue, body: Json, classifying: Classifying
) -> None:
    """001-49: classification orders, it doesn't exclude."""
    available = data.draw(availabilities(catalogue))

    def ask(how: Classifying) -> set[str]:
        made = plan(
            requested="auto",
            body=body,
            hint=None,
            provider=None,
            fallback=True,
            catalogue=catalogue,
            availability=available,
            classifying=how,
        )
        assert not made.failure
        return set(ids(made))

    try:
        expected = ask("auto")
    except LumniError as error:
        with pytest.raises(type(error)):
            ask(classifying)
    else:
        assert ask(classifying) == expected
