"""Experiments deal requests fairly and for good, and tell no more than they know."""

import math
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from scipy import stats

from lumni.experiment import Experiment
from lumni.files import ConfigurationError
from lumni.settings import Settings
from lumni.trials import UnitResult, report, t_quantile
from lumni.types import ChatRequest, Prompt

TWO = {"variants": [{"name": "a"}, {"name": "b"}]}


def experiment(**more: Any) -> Experiment:
    return Experiment.model_validate({**TWO, **more})


def request(model: str = "auto", **more: Any) -> ChatRequest:
    return ChatRequest("r", {"model": model, "messages": []}, model, datetime.now(UTC), 0.0, 1.0, **more)


def test_a_student_keeps_the_variant() -> None:
    """001-05: sticky; another experiment deals anew."""
    dealt = [experiment().variant_of("tone", f"student-{number}").name for number in range(400)]
    assert dealt == [experiment().variant_of("tone", f"student-{number}").name for number in range(400)]
    other = [experiment().variant_of("length", f"student-{number}").name for number in range(400)]
    same = sum(first == second for first, second in zip(dealt, other, strict=True))
    assert 150 < same < 250


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 0), (0, 1), (0.2, 0.5)])
def test_traffic_is_split_by_weight(weights: tuple[float, float]) -> None:
    """001-05: within four standard deviations of what was asked."""
    variants = [{"name": name, "weight": weight} for name, weight in zip("ab", weights, strict=True)]
    one = experiment(variants=variants)
    counts = Counter(one.variant_of("tone", f"s{number}").name for number in range(4000))
    share = weights[0] / sum(weights)
    assert abs(counts["a"] - 4000 * share) <= 4 * math.sqrt(4000 * share * (1 - share))


def test_who_takes_part() -> None:
    """001-05: those who ask for a model of it, in one of its courses."""
    one = experiment(models=["auto"], courses=["cs1"])
    assert one.invites(request(), "cs1")
    assert not one.invites(request(), "cs2")
    assert not one.invites(request("fast"), "cs1")
    assert not experiment().invites(request(), "cs1")
    assert experiment(models=["auto"]).invites(request(), None)


def test_variants_change_what_they_name_only() -> None:
    """001-05: between models, or between prompts with the client's own variables."""
    models = experiment(variants=[{"name": "a", "model": "fast"}, {"name": "b", "weight": 0}])
    assert models.treat("x", request(), "s")[1:] == ("fast", None)
    prompts = experiment(variants=[{"name": "a", "prompt": {"id": "tutor", "version": 3}}, {"name": "b", "weight": 0}])
    treatment, model, prompt = prompts.treat("x", request(prompt=Prompt("other", {"name": "Ada"})), "s")
    assert (treatment.variant, model, prompt) == ("a", "auto", Prompt("tutor@3", {"name": "Ada"}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tone": {"variants": [{"name": "a"}]}}, "at least 2"),
        ({"tone": {"variants": [{"name": "a"}, {"name": "a"}]}}, "the same name"),
        ({"tone": {"variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]}}, "no variant has a weight"),
        ({"tone": {**TWO, "unit": "request"}}, "student"),
        ({"tone": {"variants": [{"name": "a", "prompt": {"id": "../x"}}, {"name": "b"}]}}, "pattern"),
        ({"tone": {"variants": [{"name": "a", "prompt": {"id": "x", "version": 1, "label": "y"}}, {"name": "b"}]}},
         "a version or a label"),
        ({"to ne": TWO}, "is no name"),
    ],
)  # fmt: skip
def test_wrong_experiments_are_refused(given: dict[str, Any], words: str) -> None:
    """001-05: with what is wrong, when the gateway starts."""
    with pytest.raises((ConfigurationError, ValidationError), match=words):
        Settings.load(None, {}, experiments=given)


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 3, 4.2, 7, 29, 1000])
def test_the_quantiles_are_students(freedom: float) -> None:
    """001-05: by SciPy's."""
    assert t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def units(variant: str, values: list[float], measure: str = "latency_ms", requests: int = 5) -> list[UnitResult]:
    return [UnitResult(variant, f"{variant}{n}", requests, 1.0, **{measure: value}) for n, value in enumerate(values)]


def test_intervals_are_over_students() -> None:
    """001-05: mean and interval by Student, difference by Welch, as SciPy has them."""
    chance = random.Random(3)
    first = [chance.gauss(900, 100) for _ in range(12)]
    second = [chance.gauss(1000, 300) for _ in range(7)]
    told = report(experiment(), [*units("a", first), *units("b", second)])
    mean, low, high, n = told[0].estimates["latency_ms"]
    expected = stats.t.interval(0.95, 11, loc=sum(first) / 12, scale=stats.sem(first))
    assert (mean, low, high, n) == (pytest.approx(sum(first) / 12), *map(pytest.approx, expected), 12)
    difference = told[1].differences["latency_ms"]
    welch = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert difference.low == pytest.approx(welch.low, rel=1e-4)
    assert difference.high == pytest.approx(welch.high, rel=1e-4)
    assert (told[0].units, told[0].requests, told[0].differences) == (12, 60, {})


def test_one_eager_student_is_no_evidence() -> None:
    """001-05: a thousand requests of one are one unit, and have no interval."""
    [first, second] = report(experiment(), [*units("a", [900.0], requests=1000), *units("b", [100.0, 120.0])])
    assert first.estimates["latency_ms"] == (900.0, None, None, 1)
    assert second.differences == {}
    assert report(experiment(), [])[0].estimates == {}


def test_intervals_cover_what_they_promise() -> None:
    """001-05: the true mean lies within, in about 95 of 100 experiments."""
    chance, within = random.Random(7), 0
    for _ in range(600):
        [told, _] = report(experiment(), units("a", [chance.gauss(5, 2) for _ in range(8)], "feedback"))
        _, low, high, _ = told.estimates["feedback"]
        within += low is not None and high is not None and low <= 5 <= high
    assert 0.92 < within / 600 < 0.98
