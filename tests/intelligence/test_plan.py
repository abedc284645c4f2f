"""What a plan promises: never empty, always explained, and in the order that the teacher wrote down."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.model import Catalogue, Price
from lumni.errors import InvalidRequest, LumniError, ModelNotFound, UnsupportedFeature
from lumni.intelligence import Availability, Plan
from lumni.intelligence.rank import WEIGHTS
from lumni.money import NanoUSD
from lumni.types import Json
from tests.intelligence.catalogues import (
    PROOF,
    PROVIDERS,
    ask,
    availabilities,
    bodies,
    catalogues,
    deployment,
    ids,
    why,
)

FAST = deployment("groq-8b", tier="fast")
STRONG = deployment("groq-70b", tier="powerful")
BLOCKED = Availability(0.0, "out of requests for this minute", 30)
REQUESTS = st.sampled_from(["auto", "fast", "powerful", "a", "b", "gpt-4o", "best", "groq-0", "nothing"])


@given(data=st.data(), catalogue=catalogues(), body=bodies, requested=REQUESTS, fallback=st.booleans())
def test_any_request_gets_a_plan_or_one_of_lumni_s_errors(
    data: st.DataObject, catalogue: Catalogue, body: Json, requested: str, fallback: bool
) -> None:
    """001-19: and the same one for the same arguments."""
    provider = data.draw(st.none() | st.sampled_from([*PROVIDERS, "nobody"]))
    known = data.draw(availabilities(catalogue))
    options: dict[str, Any] = {"body": body, "provider": provider, "fallback": fallback, "availability": known}
    try:
        made = ask(catalogue, requested, **options)
    except LumniError as caught:
        error: LumniError | None = caught
    else:
        error = None
        assert_sound(made)
        assert made == ask(catalogue, requested, **options)
    assert error is None or (error.message and 400 <= error.status < 500)


def assert_sound(made: Plan) -> None:
    assert made.candidates
    assert made.reason
    assert all(candidate.deployment.enabled for candidate in made.candidates)
    assert all(out.reason for out in made.excluded)
    everyone = [*ids(made), *why(made)]
    assert len(everyone) == len(set(everyone)) == len(made.candidates) + len(made.excluded)
    for candidate in made.candidates:
        assert candidate.parts.keys() == WEIGHTS.keys()
        assert all(0 <= part <= 1 for part in candidate.parts.values())
        assert candidate.score == pytest.approx(sum(candidate.parts.values()))
        assert 0 <= candidate.score <= 1 + 1e-9


@given(data=st.data(), catalogue=catalogues(), requested=st.sampled_from(["auto", "fast", "powerful"]))
def test_every_deployment_is_a_candidate_or_excluded_with_a_reason(
    data: st.DataObject, catalogue: Catalogue, requested: str
) -> None:
    known = data.draw(availabilities(catalogue))
    try:
        made = ask(catalogue, requested, availability=known, fallback=data.draw(st.booleans()))
    except LumniError:
        return
    assert {*ids(made), *why(made)} == set(catalogue.by_id)


@given(data=st.data(), catalogue=catalogues(able=True))
def test_a_named_group_keeps_strict_priority_order(data: st.DataObject, catalogue: Catalogue) -> None:
    """000-11, 004-06: whatever the headroom, price or task, the lowest number that is available comes first."""
    group = data.draw(st.sampled_from(sorted(catalogue.groups)))
    known = data.draw(availabilities(catalogue))
    made = ask(catalogue, group, text=data.draw(st.sampled_from(["Hi!", PROOF])), availability=known)
    candidates = [candidate.deployment for candidate in made.candidates]
    if any(known.get(d.id, Availability()).blocked or known.get(d.id, Availability()).unfit for d in candidates):
        return
    members = [d for d in candidates if d.group == group]
    assert candidates[: len(members)] == members, "fallback groups come after the group itself"
    free = [d for d in catalogue.groups[group] if d.id not in why(made)]
    assert members == free
    assert all(known[id_].blocked or known[id_].unfit for id_ in why(made))


@given(data=st.data(), catalogue=catalogues(able=True), requested=st.sampled_from(["auto", "powerful", "a", "b"]))
def test_without_fallback_exactly_the_best_candidate_is_kept(
    data: st.DataObject, catalogue: Catalogue, requested: str
) -> None:
    known = data.draw(availabilities(catalogue))
    try:
        made = ask(catalogue, requested, fallback=False, availability=known)
    except ModelNotFound:
        return
    assert len(made.candidates) == 1
    if requested in ("auto", "powerful"):
        assert made.winner == ask(catalogue, requested, availability=known).winner


@given(data=st.data(), catalogue=catalogues(able=True), text=st.sampled_from(["Hi!", PROOF]))
def test_removing_the_winner_promotes_the_runner_up(data: st.DataObject, catalogue: Catalogue, text: str) -> None:
    known = data.draw(availabilities(catalogue))
    made = ask(catalogue, text=text, availability=known)
    if len(made.candidates) < 2:
        return
    rest = Catalogue(tuple(d for d in catalogue.deployments if d != made.winner))
    assert ids(ask(rest, text=text, availability=known)) == ids(made)[1:]


def test_the_task_chooses_the_tier_and_the_other_tier_is_the_fallback() -> None:
    """001-20."""
    assert ids(ask((FAST, STRONG), text=PROOF)) == ["groq-70b", "groq-8b"]
    assert ids(ask((STRONG, FAST), text="Hi!")) == ["groq-8b", "groq-70b"]


def test_the_client_s_task_type_chooses_the_tier_of_auto() -> None:
    """001-31."""
    assert ask((FAST, STRONG), text="Hi!", hint="powerful").winner == STRONG
    assert ask((FAST, STRONG), text=PROOF, hint="fast").winner == FAST


@pytest.mark.parametrize(("requested", "first"), [("fast", "groq-8b"), ("powerful", "groq-70b"), ("best", "groq-70b")])
def test_the_tiers_can_be_asked_for_by_name_and_overrule_the_hint(requested: str, first: str) -> None:
    catalogue = Catalogue((STRONG, FAST), aliases={"best": "powerful"})
    made = ask(catalogue, requested, text="Hi!", hint="fast")
    assert made.winner.id == first
    assert "you asked for it" in made.reason


def test_a_powerful_request_falls_to_a_fast_model_rather_than_fail() -> None:
    made = ask((FAST,), "powerful")
    assert ids(made) == ["groq-8b"]
    assert "no powerful model can serve it now" in made.reason


def test_the_reason_is_one_sentence_that_names_the_sign_and_the_winner() -> None:
    made = ask((FAST, STRONG), text=PROOF)
    assert made.reason.startswith("powerful (")
    assert "asks for a proof" in made.reason
    assert made.reason.endswith("groq-70b is the best available of 2 candidates")


def test_among_equals_the_lowest_priority_number_comes_first_then_the_file_s_order() -> None:
    """004-06."""
    models = (
        deployment("groq-c", priority=2),
        deployment("groq-b"),
        deployment("groq-a"),
        deployment("groq-d", priority=1),
    )
    assert ids(ask(models)) == ["groq-b", "groq-a", "groq-d", "groq-c"]


def test_headroom_and_price_decide_between_neighbours() -> None:
    dear = deployment("groq-dear", free=False, price=Price(NanoUSD(10**9), NanoUSD(10**9)))
    unpriced = deployment("groq-unpriced", free=False)
    tight = deployment("groq-tight")
    models = (unpriced, dear, tight, deployment("groq-free"))
    made = ask(models, availability={"groq-tight": Availability(headroom=0.1)})
    assert ids(made) == ["groq-free", "groq-dear", "groq-tight", "groq-unpriced"]
    by_id = {candidate.deployment.id: candidate.parts for candidate in made.candidates}
    assert by_id["groq-dear"]["cost_efficiency"] == pytest.approx(WEIGHTS["cost_efficiency"] / 2)  # 1 USD a million
    assert by_id["groq-tight"]["rate_limit_availability"] == pytest.approx(WEIGHTS["rate_limit_availability"] * 0.1)


def test_a_priority_outweighs_a_fifth_of_the_headroom_but_not_half_of_it() -> None:
    """001-50: by hand: 0.1 × (1 − ½) against 0.2 × what is missing."""
    models = (deployment("groq-second", priority=1), deployment("groq-first"))
    assert ask(models, availability={"groq-first": Availability(headroom=0.8)}).winner.id == "groq-first"
    assert ask(models, availability={"groq-first": Availability(headroom=0.5)}).winner.id == "groq-second"


def test_the_weights_of_the_score_sum_to_one() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_the_documented_parts_of_the_score_are_the_real_ones() -> None:
    text = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \| (0\.\d+) \|", text, flags=re.MULTILINE)
    assert {name: float(weight) for name, weight in documented} == WEIGHTS


def test_blocked_deployments_are_excluded_while_another_is_free() -> None:
    made = ask((FAST, STRONG), text=PROOF, availability={"groq-70b": BLOCKED})
    assert ids(made) == ["groq-8b"]
    assert why(made) == {"groq-70b": "out of requests for this minute (for another 30 s)"}


def test_when_all_are_blocked_they_are_kept_by_when_they_are_free_again() -> None:
    models = tuple(deployment(f"groq-{n}") for n in "abc")
    waits = {
        "groq-a": Availability(0, "down"),
        "groq-b": Availability(0, "full", 60),
        "groq-c": Availability(0, "full", 5),
    }
    made = ask(models, availability=waits)
    assert ids(made) == ["groq-c", "groq-b", "groq-a"]
    assert "groq-c is free first, in 5 s (full)" in made.reason


def test_the_fallback_groups_follow_in_their_order_and_only_if_allowed() -> None:
    """004-02."""
    models = tuple(
        deployment(f"groq-{n}", group=n, tier=t) for n, t in zip("abcd", ["fast"] * 3 + ["powerful"], strict=True)
    )
    catalogue = Catalogue(models, fallbacks={"a": ("c", "b", "gone"), "*": ("d",), "c": ("powerful",)})
    assert ids(ask(catalogue, "a")) == ["groq-a", "groq-c", "groq-b"]
    assert ids(ask(catalogue, "b")) == ["groq-b", "groq-d"], "the default entry, as LiteLLM does it"
    assert ids(ask(catalogue, "c")) == ["groq-c", "groq-d"], "a tier may be a fallback too"
    assert ids(ask(catalogue, "a", fallback=False)) == ["groq-a"]


@pytest.mark.parametrize("name", ["groq-b", "x/groq-b-model", "groq-b-model", "groq/groq-b-model"])
def test_one_deployment_can_be_named_and_its_group_is_its_fallback(name: str) -> None:
    models = (deployment("cerebras-a", group="llama"), deployment("groq-b", group="llama", priority=5))
    assert ids(ask(models, name)) == ["groq-b", "cerebras-a"]
    assert ids(ask(models, name, fallback=False)) == ["groq-b"]


def test_a_group_of_the_catalogue_called_fast_is_that_group() -> None:
    models = (deployment("groq-a", group="fast", tier="powerful"), FAST)
    assert ids(ask(models, "fast")) == ["groq-a"]


def test_the_preferred_provider_comes_first_and_the_others_after() -> None:
    models = (FAST, deployment("gemini-flash", priority=3), STRONG)
    assert ids(ask(models, provider="Gemini")) == ["gemini-flash", "groq-8b", "groq-70b"]
    assert ids(ask(models, provider="gemini", fallback=False)) == ["gemini-flash"]


def test_a_preferred_provider_outranks_the_tier_of_the_task() -> None:
    models = (FAST, deployment("gemini-pro", tier="powerful"))
    assert ids(ask(models, text="Hi!", provider="gemini")) == ["gemini-pro", "groq-8b"]


def test_a_preferred_provider_that_cannot_serve_is_said_so() -> None:
    models = (FAST, deployment("gemini-flash", disabled="GEMINI_API_KEY is not set"))
    assert "gemini, which you prefer, can't serve it now" in ask(models, provider="gemini").reason
    with pytest.raises(InvalidRequest, match=r"GEMINI_API_KEY is not set.*These can: groq"):
        ask(models, provider="gemini", fallback=False)


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="Known are: gemini, groq") as caught:
        ask((FAST, deployment("gemini-flash")), provider="grok")
    assert caught.value.param == "provider"


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    """004-12."""
    with pytest.raises(ModelNotFound, match=r"'groq-80b'.*Did you mean 'groq-8b'.*GET /v1/models") as caught:
        ask((FAST, STRONG), "groq-80b")
    assert caught.value.status == 404


def test_a_disabled_model_is_refused_with_the_reason() -> None:
    models = (FAST, deployment("gemini-pro", disabled="GEMINI_API_KEY is not set."))
    with pytest.raises(ModelNotFound, match=r"'gemini-pro' exists, .*: GEMINI_API_KEY is not set\.$"):
        ask(models, "gemini-pro")


def test_with_nothing_enabled_the_error_says_why() -> None:
    with pytest.raises(ModelNotFound, match="GROQ_API_KEY is not set"):
        ask((deployment("groq-a", disabled="GROQ_API_KEY is not set"),))
    with pytest.raises(ModelNotFound, match="No model is enabled"):
        ask(())


def test_models_for_embeddings_never_answer_chats() -> None:
    embedding = deployment("gemini-embedding", info={"mode": "embedding"})
    made = ask((embedding, FAST))
    assert ids(made) == ["groq-8b"]
    assert "not for chat" in why(made)["gemini-embedding"]
    with pytest.raises(UnsupportedFeature, match="embedding"):
        ask((embedding,), "gemini-embedding")
