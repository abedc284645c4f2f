"""What the six parts promise: by hand, within bounds, and scarce strong models for those who gain from them."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.model import Catalogue
from lumni.intelligence import Availability, Facts, Plan, Task, plan
from lumni.intelligence.rank import PARTS, WEIGHTS, parts_of
from tests.intelligence.catalogues import PROOF, ask, chat, deployment, ids, why

FAST = deployment("groq-8b", tier="fast")
STRONG = deployment("groq-70b", tier="powerful")

shares = st.floats(0, 1)
facts = st.builds(
    Facts,
    tier=st.sampled_from(("fast", "powerful")),
    benchmark=st.none() | shares,
    headroom=shares,
    price=st.none() | shares,
    priority=st.integers(0, 99),
    calls=st.floats(0, 10_000),
    usd=st.none() | st.floats(0, 1000),
)
tasks = st.builds(Task, tier=st.sampled_from(("fast", "powerful", None)), gain=shares)


@given(known=facts, task=tasks)
def test_every_part_is_within_bounds_and_named_like_its_weight(known: Facts, task: Task) -> None:
    """001-50: whatever is known, each part is in [0, 1]."""
    assert [part.__name__ for part in PARTS] == list(WEIGHTS)
    assert all(0 <= part(known, task) <= 1 for part in PARTS)


def test_the_parts_by_hand() -> None:
    """001-50: one model, calculated on paper."""
    known = Facts("powerful", benchmark=0.15, headroom=0.4, price=0.25, priority=1, calls=30, usd=3.0)
    assert parts_of(known, Task("powerful", 1.0)) == pytest.approx(
        {
            "benchmark_ranking": 0.3 * (0.75 + 0.25 * 0.15 / 0.2),
            "benchmark_score": 0.2 * 0.15 / 0.2,
            "rate_limit_availability": 0.2 * (1 - 0.25 / 2) / 2,
            "provider_priority": 0.1 / 2,
            "recent_usage": 0.1 / 4,
            "cost_efficiency": 0.1 / 4,
        }
    )


@given(known=facts, gain=shares)
def test_strength_beyond_what_an_easy_task_needs_is_worth_nothing(known: Facts, gain: float) -> None:
    """001-10: on a fast task a strong model never gets more for its figures than one that is good enough."""
    strong = known._replace(tier="powerful", benchmark=1.0)
    enough = known._replace(tier="fast", benchmark=0.05)
    strong_parts, enough_parts = (parts_of(it, Task("fast", gain)) for it in (strong, enough))
    assert sum(enough_parts.values()) - sum(strong_parts.values()) >= WEIGHTS["benchmark_ranking"] - 1e-9


@pytest.mark.parametrize(("price", "first"), [(0.0, "groq-70b"), (0.9, "groq-70b"), (1.0, "groq-70b")])
def test_who_asks_for_a_powerful_model_gets_one_as_long_as_there_is_any(price: float, first: str) -> None:
    """001-31."""
    made = ask((FAST, STRONG), text="Hi!", hint="powerful", availability={"groq-70b": Availability(price=price)})
    assert made.winner.id == first


@given(gain=shares, price=shares)
def test_a_scarce_strong_model_goes_to_those_whose_gain_exceeds_its_price(gain: float, price: float) -> None:
    """001-23: the threshold on the gain is the shadow price, which follows the pool's fill, not a constant."""
    strong = Facts("powerful", benchmark=0.5, price=price)
    fast = Facts("fast", benchmark=0.05, price=0.0)
    scores = [sum(parts_of(it, Task("powerful", gain)).values()) for it in (strong, fast)]
    assert (scores[0] > scores[1]) == (gain >= price)


def test_what_is_unclassified_goes_by_the_model_list() -> None:
    """001-49: with the classifier off, nothing is said about the task, and priority decides."""
    models = (FAST, replace(STRONG, priority=1))
    made = off(models, classifying="never")
    assert not made.classified
    assert ids(made) == ["groq-8b", "groq-70b"]
    assert "not classified" in made.reason


def test_without_detection_only_the_client_s_word_classifies() -> None:
    """001-49: autoDetect off."""
    assert not off((FAST, STRONG), classifying="asked").classified
    asked = off((FAST, STRONG), classifying="asked", hint="powerful")
    assert asked.classified
    assert asked.winner == STRONG


def test_without_selection_the_model_list_s_order_decides_within_the_tier() -> None:
    """001-50: benchmarkSelection off; the better and the freer model don't come first any more."""
    dear = deployment("openai-70b", tier="powerful", free=False)
    models = (FAST, dear, STRONG)
    assert ids(off(models, weights=None)) == ["openai-70b", "groq-70b", "groq-8b"]
    assert ids(ask(models, text=PROOF)) == ["groq-70b", "openai-70b", "groq-8b"]


def off(models: tuple[object, ...], **options: object) -> Plan:
    given_ = {"hint": None, "provider": None, "fallback": True, "availability": {}, **options}
    return plan(requested="auto", body=chat(PROOF), catalogue=Catalogue(models), **given_)  # type: ignore[arg-type]


@pytest.mark.parametrize(("broken", "what"), [("judge", "classification"), ("domain_of", "selection")])
def test_a_fault_in_thinking_leaves_the_model_list_s_order(
    monkeypatch: pytest.MonkeyPatch, broken: str, what: str
) -> None:
    """001-21: and says what went wrong."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["lumni.intelligence.plan"], broken, fail)
    models = (replace(STRONG, priority=1), FAST, deployment("groq-4b", priority=1))
    made = ask(models, text="Hi!")
    assert sorted(ids(made)) == ["groq-4b", "groq-70b", "groq-8b"]
    assert made.winner == FAST
    assert {name: type(error) for name, error in made.faults.items()} == {what: ZeroDivisionError}
    assert not made.classified
    assert made.weights is None


def test_a_quota_too_small_for_the_request_excludes_with_a_reason() -> None:
    """000-13: and if all are too small all stay, for the quota to say how large it is."""
    small = Availability(unfit="its quota is 100 tokens a minute, this request needs about 700")
    made = ask((FAST, STRONG), availability={"groq-8b": small})
    assert ids(made) == ["groq-70b"]
    assert why(made) == {"groq-8b": small.unfit}
    assert len(ask((FAST, STRONG), availability={"groq-8b": small, "groq-70b": small}).candidates) == 2
