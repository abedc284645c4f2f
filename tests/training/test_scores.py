"""The table of scores is built as docs/scores.md says: by ranks within a source, then on one scale."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.scores.build import OUTPUT, build, read_sources
from training.scores.normalise import link, normal_scores, ranks, share

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "benchmarks" / "scores_raw.csv"

MODELS = [f"m{number}" for number in range(12)]
# Few distinct values, so that ties are common.
SCORES = st.dictionaries(st.sampled_from(MODELS), st.integers(-50, 50).map(float), min_size=2)
COLUMN = st.dictionaries(st.sampled_from(MODELS), st.integers(-50, 50).map(float), min_size=6)


def sources(columns: Mapping[str, list[str]], **changes: Any) -> dict[str, Any]:
    """A description of sources ``a``, ``b`` and ``c``, for models whose names are the same everywhere."""
    return {
        "sources": {
            name: {
                "id": name,
                "date": "2026-01-01",
                "title": name,
                "unit": "share",
                "url": "https://x",
                "licence": "MIT",
            }
            for name in "abc"
        },
        "base": "base",
        "requires": {"models": 2, "anchors": 2, "agreement": -1.0},
        "columns": columns,
        "general": ["base"],
        "domains": {"coding": {"columns": ["other"], "general": True}, "vision": {"columns": [], "general": False}},
        "models": {model: [model, None, f"{model}-high"] for model in MODELS},
        **changes,
    }


TWO = {"base": ["a", "t"], "other": ["b", "t", "base"]}
THREE = {**TWO, "unrelated": ["c", "t", "base"]}


def published(**by_source: Mapping[str, float | str]) -> bytes:
    rows = [
        f"{source},{model},t,{score},False,x" for source, given in by_source.items() for model, score in given.items()
    ]
    return "\n".join(["source,model,benchmark,score,self_reported,link", *rows]).encode()


def table(description: Mapping[str, Any], **by_source: Mapping[str, float | str]) -> Any:
    return json.loads(build(published(**by_source), description))


@given(SCORES)
def test_ranks_are_monotone_and_in_the_unit_interval(scores: dict[str, float]) -> None:
    """001-09: within a source a better figure never ranks lower, equal figures rank equally, and the mean is a half."""
    places = ranks(scores)
    assert all(0 < place < 1 for place in places.values())
    assert sum(places.values()) / len(places) == pytest.approx(0.5)
    for one, score in scores.items():
        for other, another in scores.items():
            assert (places[one] < places[other]) == (score < another)


@given(SCORES)
def test_only_the_order_of_a_source_counts(scores: dict[str, float]) -> None:
    """001-09: percent or share, saturated or not: an increasing transformation of a source changes nothing."""
    assert ranks({model: 2.0 ** (score / 10) for model, score in scores.items()}) == ranks(scores)


@given(COLUMN, COLUMN)
def test_values_keep_the_order_of_their_column(base: dict[str, float], other: dict[str, float]) -> None:
    """001-09: on the common scale too, the values of a source are in [0, 1] and in the order of its figures."""
    built = table(sources(TWO), a=base, b=other)["models"]
    values = {model: figures["other"] for model, figures in built.items() if "value" in figures.get("other", {})}
    for figure in values.values():
        assert 0 <= figure["value"] <= 1
        for another in values.values():
            if figure["score"] < another["score"]:
                assert figure["value"] <= another["value"]
            if figure["score"] == another["score"]:
                assert figure["value"] == another["value"]


@given(COLUMN, COLUMN, COLUMN)
def test_an_unrelated_source_changes_no_value(
    base: dict[str, float], other: dict[str, float], unrelated: dict[str, float]
) -> None:
    """001-09: what a third party publishes moves nobody's figures in the columns of others."""
    without = table(sources(TWO), a=base, b=other)["models"]
    with_it = table(sources(THREE), a=base, b=other, c=unrelated)["models"]
    for model in MODELS:
        assert {name: figure for name, figure in with_it[model].items() if name != "unrelated"} == without[model]


@given(COLUMN)
def test_the_same_measurement_twice_has_the_same_values(base: dict[str, float]) -> None:
    """001-09: a source that measured the same models with the same order, in another unit, gives the same values."""
    built = table(sources(TWO), a=base, b={model: 1000 + 3 * score for model, score in base.items()})["models"]
    for figures in built.values():
        if "value" in figures.get("other", {}):
            assert figures["other"]["value"] == pytest.approx(figures["base"]["value"], abs=2e-4)


def test_the_last_of_the_best_beats_the_best_of_the_rest() -> None:
    """001-09: a source that lists only strong models doesn't make its last one weak."""
    everybody = {model: float(number) for number, model in enumerate(MODELS)}
    elite = {model: everybody[model] for model in MODELS[8:]}
    built = table(sources(TWO), a=everybody, b=elite)["models"]
    assert built["m8"]["other"]["rank"] < 0.2
    assert built["m8"]["other"]["value"] > built["m6"]["base"]["value"]


def test_a_link_by_hand() -> None:
    """001-09: three common models at −1, 0, 1 here and at 1, 3, 5 there: slope 2, intercept 3; order agrees fully."""
    found = link({"a": -1.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 3.0, "c": 5.0}, ["a", "b", "c", "d"])
    assert found is not None
    assert (found.slope, found.intercept, found.anchors, found.agreement) == pytest.approx((2.0, 3.0, 3, 1.0))
    assert found(0.5) == pytest.approx(4.0)


def test_without_common_models_there_is_no_link() -> None:
    """001-09: a column that shares no models with the scale gets figures and ranks, but no value, and says why."""
    built = table(sources(TWO), a={"m0": 1, "m1": 2}, b={"m2": 1, "m3": 2})
    assert built["models"]["m3"]["other"] == {"score": 2.0, "rank": 0.75, "row": "m3"}
    assert "in common" in built["columns"]["other"]["unused"]
    assert built["domains"]["coding"] == {"columns": [], "general": ["base"]}


@pytest.mark.parametrize(
    ("requires", "why"),
    [
        ({"models": 13, "anchors": 2, "agreement": -1.0}, "12 models, fewer than 13"),
        ({"models": 2, "anchors": 13, "agreement": -1.0}, "12 models in common"),
        ({"models": 2, "anchors": 2, "agreement": 0.5}, "ρ -1.00, below 0.5"),
    ],
)
def test_what_orders_models_differently_serves_no_domain(requires: dict[str, float], why: str) -> None:
    """001-09: a column is used only with enough models, enough in common, and enough agreement; else it says why."""
    scores = {model: float(number) for number, model in enumerate(MODELS)}
    built = table(sources(TWO, requires=requires), a=scores, b={model: -score for model, score in scores.items()})
    assert why in built["columns"]["other"]["unused"]
    assert built["domains"]["coding"]["columns"] == []


def test_a_missing_figure_is_missing() -> None:
    """001-09: who isn't in a source has no entry there: neither 0 nor an average."""
    built = table(sources(TWO), a={"m0": 1, "m1": 2, "m2": 3}, b={"m0": 1, "m1": 2})["models"]
    assert set(built["m2"]) == {"base"}
    assert built["m5"] == {}


def test_what_is_published_twice_has_its_median_and_percent_signs_are_read() -> None:
    """001-09: one model, one figure a column."""
    rows = published(a={"m0": "10%", "m1": "50%"}) + b"\na,m0,t,30%,True,x\na,m0,t,20,False,x"
    built = json.loads(build(rows, sources(TWO)))["models"]
    assert built["m0"]["base"]["score"] == 20
    assert built["m0"]["base"]["self_reported"] is True


def test_another_setting_serves_where_nothing_else_does_and_is_marked() -> None:
    """001-09: figures with more thinking than the API's default are a last resort, and never tie two scales."""
    built = table(sources(TWO), a={"m0": 1, "m0-high": 9, "m1-high": 5, "m2": 2}, b={"m0": 1, "m1": 2, "m2": 3})
    assert built["models"]["m0"]["base"]["row"] == "m0"
    assert "other_setting" not in built["models"]["m0"]["base"]
    assert built["models"]["m1"]["base"]["other_setting"] is True
    assert built["columns"]["other"]["anchors"] == 2


@given(SCORES)
def test_normal_scores_are_inverted_by_share(scores: dict[str, float]) -> None:
    """001-09: on the base itself a value is the rank."""
    places = ranks(scores)
    assert {model: pytest.approx(place) for model, place in places.items()} == {
        model: share(z) for model, z in normal_scores(scores).items()
    }


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published figures aren't here")
def test_the_shipped_table_is_what_the_script_builds() -> None:
    """001-09: same input, same bytes; nobody edited the table by hand."""
    assert build(PUBLISHED.read_bytes(), read_sources()) == OUTPUT.read_text(encoding="utf-8")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published figures aren't here")
def test_every_name_in_the_sources_is_one() -> None:
    """001-09: a name that no source has would be a figure silently lost."""
    with PUBLISHED.open(encoding="utf-8", newline="") as rows:
        names = {row["model"] for row in csv.DictReader(rows)}
    written = {row for rows in read_sources()["models"].values() for row in rows if row is not None}
    assert written - names == set()
