"""What plans have in common is found out once: no plan is another for it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lumni.calibration import Calibration
from lumni.catalogue.model import Catalogue, Terms
from lumni.catalogue.scores import known_scores
from lumni.errors import LumniError
from lumni.intelligence import Availability, Decision, Memory, Plan, archive, names, plan, sieve
from lumni.intelligence.memory import Bounded
from lumni.intelligence.needs import needs_of
from lumni.intelligence.rank import WEIGHTS, facts_of, parts_of, with_quota
from lumni.intelligence.weights import shipped
from tests.intelligence.catalogues import PROOF, availabilities, bodies, catalogues, chat, deployment, ids, why

TAUGHT = Calibration("cs101", 1, datetime(2026, 9, 1, tzinfo=UTC), "kim", shipped().id, 0.8, 0.6)
MODELS = ("gemini/gemini-2.5-flash", "cerebras/gpt-oss-120b", "x/unknown")
TEXTS = ("Hi!", PROOF, "Write a Python function that parses CSV rows.", "Übersetze das: Guten Tag", "And why is that?")

said: st.SearchStrategy[Any] = st.lists(
    st.builds(dict, role=st.sampled_from(["user", "assistant"]), content=st.sampled_from(TEXTS)), max_size=4
)
alike = st.fixed_dictionaries(
    {"messages": said},
    optional={
        "tools": st.sampled_from([[], [{"type": "function", "function": {"name": "add"}}]]),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "response_format": st.just({"type": "json_schema"}),
        "max_tokens": st.integers(1, 12_000),
        "stream": st.booleans(),
    },
)
"""Requests of which many say the same."""


@st.composite
def owned(draw: st.DrawFn) -> Catalogue:
    """A catalogue in which some accounts are personal, and some models have published scores."""
    plain = draw(catalogues(able=draw(st.booleans())))
    terms = st.sampled_from((Terms(), Terms(), Terms("personal", owner="kim"), Terms("personal")))
    changed = (replace(d, terms=draw(terms), model=draw(st.sampled_from(MODELS))) for d in plain.deployments)
    return Catalogue(tuple(changed), plain.aliases, plain.fallbacks)


@st.composite
def questions(draw: st.DrawFn, catalogue: Catalogue) -> dict[str, Any]:
    """What ``plan`` is asked."""
    known = [d.id for d in catalogue.deployments]
    return {
        "requested": draw(st.sampled_from(["auto", "auto", "fast", "powerful", "best", "a", "b", "gpt-4o", *known])),
        "body": draw(alike | bodies),
        "hint": draw(st.sampled_from([None, None, "fast", "powerful"])),
        "provider": draw(st.sampled_from([None, None, "groq", "GEMINI"])),
        "fallback": draw(st.booleans()),
        "catalogue": catalogue,
        "availability": draw(availabilities(catalogue)),
        "person": draw(st.sampled_from([None, "kim", "ada"])),
        "role": draw(st.sampled_from(["student", "admin"])),
        "allowlists": draw(st.sampled_from([(), (("a", "fast"),), (("groq/*", "b"), ("*",))])),
        "scores": known_scores(),
        "weights": draw(st.sampled_from([WEIGHTS, None, {**dict.fromkeys(WEIGHTS, 0.0), "recent_usage": 1.0}])),
        "classifying": draw(st.sampled_from(["auto", "auto", "asked", "never"])),
        "calibration": draw(st.sampled_from([None, TAUGHT])),
    }


def outcome(**question: Any) -> object:
    """All that is kept and told of a plan, or the refusal."""
    try:
        made = plan(**question)
    except LumniError as refusal:
        return type(refusal), str(refusal), refusal.param
    assert not made.failure
    return archive.dump(Decision.of(made)), made.reason, made.excluded, [c.parts for c in made.candidates]


@given(data=st.data(), catalogue=owned())
def test_a_plan_is_the_same_whatever_was_planned_before(data: st.DataObject, catalogue: Catalogue) -> None:
    """Relay lane, Show 1, and 001-23: whatever was said, weighed, left or taught."""
    memory = Memory()
    for question in data.draw(st.lists(questions(catalogue), min_size=2, max_size=6)):
        alone = outcome(**question)
        assert outcome(**question, memory=memory) == alone
        assert outcome(**question, memory=memory) == alone


@given(data=st.data(), catalogue=owned())
def test_a_plan_is_that_of_the_straight_calculation(data: st.DataObject, catalogue: Catalogue) -> None:
    """001-23, 001-50: one sieve after the other, each part by its definition, for this request alone."""
    question = data.draw(questions(catalogue)) | {"fallback": True}
    try:
        made = plan(**question)
    except LumniError:
        return
    left = straight(made, question)
    everyone = [d for d in catalogue.deployments if d.id in {*ids(made), *why(made)}]
    assert {d.id for d in left} == set(ids(made))
    assert {d.id for d in everyone} - {d.id for d in left} == set(why(made))
    for candidate in made.candidates:
        d = candidate.deployment
        known = question["availability"].get(d.id, Availability())
        model = known_scores().model_of(d)
        score = known_scores().score(model, made.domain) if model else None
        assert candidate.benchmark == score
        assert candidate.facts == with_quota(facts_of(d, score), known)
        assert candidate.parts == ({} if made.weights is None else parts_of(candidate.facts, made.task, made.weights))
        assert candidate.score == sum(candidate.parts.values())
        assert candidate.place == catalogue.deployments.index(d)
        assert candidate.rank.unpreferred == (d.provider != str(question["provider"]).lower())
    ranks = [(c.rank.wait, c.rank.unpreferred, c.rank.stage) for c in made.candidates]
    assert ranks == sorted(ranks)


def straight(made: Plan, question: dict[str, Any]) -> tuple[Any, ...]:
    """Who is left, without anything prepared."""
    catalogue, requested = question["catalogue"], question["requested"]
    by_score = made.weights is not None
    stages = names.stages(requested, made.task.tier, catalogue, fallback=True, by_score=by_score)
    named = () if made.automatic else tuple(d.id for d in stages[0].deployments)
    known = {d.id: question["availability"].get(d.id, Availability()) for d in catalogue.deployments}
    who = sieve.of_catalogue((d for stage in stages for d in stage.deployments), requested)
    who = sieve.listed(who, requested, named, question["allowlists"], catalogue)
    who = sieve.permitted(who, requested, named, question["person"], question["role"])
    who = sieve.fitting(who, needs_of(question["body"]))
    return sieve.available(sieve.within_limits(who, known), known).left


def test_the_same_words_with_something_else_are_judged_anew() -> None:
    """001-19: tools, an effort asked for, a course's calibration and the client's own word all count."""
    memory = Memory()
    besides: list[dict[str, Any]] = [
        {"body": chat(PROOF)},
        {"body": chat(PROOF, tools=[{"type": "function"}])},
        {"body": chat(PROOF, reasoning_effort="high")},
        {"body": chat(PROOF), "calibration": TAUGHT},
        {"body": chat(PROOF), "hint": "fast"},
        {"body": chat(PROOF), "classifying": "never"},
    ]
    models = Catalogue((deployment("groq-1"),))
    always: dict[str, Any] = {
        "requested": "auto", "provider": None, "fallback": True, "availability": {}, "catalogue": models,
    }  # fmt: skip
    shipped().verdicts.clear()
    told = [plan(**{"hint": None} | always | one, memory=memory).classification for one in besides]
    assert len(memory.opinions) == len(besides)
    assert len(shipped().verdicts) == 3, "a turn alone, with tools, and with an effort"
    shipped().verdicts.clear()
    assert told == [plan(**{"hint": None} | always | one).classification for one in besides]


def test_what_is_remembered_has_no_words_in_it() -> None:
    """DESIGN, Storage: content is kept only if a course asks for it; here is a hash of it, and what it came to."""
    memory = Memory()
    secret = "My password is swordfish, please prove that it is prime."
    plan(
        requested="auto",
        body=chat(secret),
        hint=None,
        provider=None,
        fallback=True,
        catalogue=Catalogue((deployment("groq-1"),)),
        availability={},
        memory=memory,
    )
    assert len(memory.opinions) == len(memory.slates) == 1
    assert "swordfish" not in repr(memory) + repr(list(shipped().verdicts.items())[-1])


def test_a_memory_is_bounded() -> None:
    """Relay lane, Show 4: full, it begins anew; what is known isn't made again."""
    memory: Bounded[int, str] = Bounded(3)
    for number in range(10):
        assert memory.recall(number, lambda: str(number)) == str(number)  # noqa: B023  (called at once)
        assert memory.recall(number, lambda: "another") == str(number)
        assert len(memory) <= 3
