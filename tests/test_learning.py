"""What a class teaches the classifier: which answers tell something, and a correction that holds for other people."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.calibration import Calibration, Told
from lumni.errors import Conflict
from lumni.intelligence import classify
from lumni.intelligence.classify import Frame, judge
from lumni.intelligence.groups import TAUGHT
from lumni.intelligence.thread import read
from lumni.intelligence.weights import shipped
from lumni.learning import LEAST_VOTES, Line, evidence, fit, learn

START = datetime(2026, 9, 1, 8, tzinfo=UTC)
MADE_WITH = "weights-1"


def told(number: int = 0, **changes: Any) -> Told:
    """An answer of a weak model, each of its own question."""
    values: dict[str, Any] = {
        "request_id": f"req-{number}",
        "at": START + timedelta(minutes=number),
        "person": f"person-{number % 10}",
        "tier": "fast",
        "weights": MADE_WITH,
        "weak_fails": 0.3 + number / 10_000,
        "gain": 0.2,
    }
    return Told(**{**values, **changes})


def sources(*rows: Told) -> dict[str, tuple[str, bool]]:
    odds = {round(math.log(one.weak_fails / (1 - one.weak_fails)), 9): one.request_id for one in rows}
    return {
        odds[round(one.log_odds, 9)]: (one.source, one.failed) for one in evidence(rows, MADE_WITH) if one.weight > 0
    }


def a_class(shift: float, slope: float, votes: int = 400, seed: int = 3) -> list[Told]:
    """A class whose weak models fail with log-odds of ``shift`` + ``slope`` × what the weights say."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(votes):
        odds = float(random.normal(-0.5, 1.5))
        failed = random.random() < 1 / (1 + math.exp(-(shift + slope * odds)))
        choice = "powerful" if failed else "tie"
        rows.append(told(number, weak_fails=1 / (1 + math.exp(-odds)), paired=True, choice=choice))
    return rows


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"paired": True, "choice": "powerful"}, ("blind pair", True)),
        ({"paired": True, "choice": "neither"}, ("blind pair", True)),
        ({"paired": True, "choice": "fast"}, ("blind pair", False)),
        ({"paired": True, "choice": "tie"}, ("blind pair", False)),
        ({"thumb": -1}, ("thumb", True)),
        ({"thumb": 1}, ("thumb", False)),
        ({"thumb": -1, "tier": "powerful"}, ("thumb", True)),
        ({}, ("left it at that", False)),
    ],
)
def test_each_answer_tells_what_it_can(changes: dict[str, Any], meant: tuple[str, bool]) -> None:
    """Issue 4: votes and outcomes are read as what they say of the weak tier."""
    assert sources(told(1, **changes)) == {"req-1": meant}


@pytest.mark.parametrize(
    "changes",
    [
        {"paired": True},
        {"tier": "powerful"},
        {"tier": "powerful", "thumb": 1},
        {"thumb": -1, "sureness": 0.0},
        {"weights": "other weights"},
    ],
)
def test_what_tells_nothing_of_the_weak_tier_is_left_out(changes: dict[str, Any]) -> None:
    """Issue 4: a pair without a vote, a strong model's good answer, a thumb of no weight, another classifier's word."""
    assert sources(told(1, **changes)) == {}


def test_asking_again_is_told_by_the_same_figures_of_the_same_person() -> None:
    """Issue 4: retries and escalations, found without any text; neither another person's nor a later day's."""
    first = told(1, person="ada")
    again = first._replace(request_id="req-2", at=first.at + timedelta(minutes=3))
    strong = again._replace(tier="powerful")
    assert [(one.source, one.failed) for one in evidence([first, again], MADE_WITH)] == [
        ("asked again", True),
        ("left it at that", False),
    ]
    assert [one.source for one in evidence([first, strong], MADE_WITH)] == ["asked again, of a strong model"]
    for other in (
        again._replace(person="ben"),
        again._replace(at=first.at + timedelta(days=1)),
        again._replace(gain=0.21),
    ):
        assert {one.source for one in evidence([first, other], MADE_WITH)} == {"left it at that"}


def test_a_program_that_asks_the_same_all_day_teaches_nothing() -> None:
    """Issue 4: a loop over one prompt isn't a student who is unhappy with the answer."""
    first = told(1)
    loop = [first._replace(request_id=f"req-{n}", at=first.at + timedelta(seconds=20 * n)) for n in range(30)]
    assert evidence(loop, MADE_WITH) == []
    assert len(evidence(loop[:3], MADE_WITH)) == 3


def test_a_thumb_counts_before_what_followed() -> None:
    """Issue 4: each answer counts once, by what was said on purpose."""
    first = told(1, thumb=1)
    again = first._replace(request_id="req-2", at=first.at + timedelta(minutes=1), thumb=0)
    assert [one.source for one in evidence([first, again], MADE_WITH)] == ["thumb", "left it at that"]


def test_a_lesson_finds_how_the_class_differs_and_is_better_for_others() -> None:
    """Issue 4: the correction is the class's own, and by people left out in making it, better outside the interval."""
    lesson = learn(a_class(shift=1.2, slope=0.6, votes=2000), MADE_WITH)
    assert lesson.line.slope == pytest.approx(0.6, abs=0.2)
    assert lesson.line.shift == pytest.approx(1.2, abs=0.35)
    assert lesson.after.log_loss.value < lesson.before.log_loss.value
    assert lesson.after.calibration_error.value < lesson.before.calibration_error.value
    assert 0 < lesson.saved.low < lesson.saved.value < lesson.saved.high
    assert (lesson.votes, lesson.people) == (2000, 10)
    assert learn(a_class(shift=1.2, slope=0.6, votes=2000), MADE_WITH) == lesson


def test_a_class_like_all_is_left_alone() -> None:
    """Issue 4: where the shipped weights are right, the correction is near to none and saves nothing worth telling."""
    lesson = learn(a_class(shift=0.0, slope=1.0, votes=2000), MADE_WITH)
    assert lesson.line.slope == pytest.approx(1.0, abs=0.2)
    assert lesson.line.shift == pytest.approx(0.0, abs=0.25)
    assert lesson.saved.low < 0.01


def test_few_votes_move_little() -> None:
    """Issue 4: the prior is the shipped classifier: the fewer votes, the nearer to it."""
    rows = a_class(shift=2.0, slope=1.0)
    few, many = learn(rows[:LEAST_VOTES], MADE_WITH).line, learn(rows, MADE_WITH).line
    assert 0 < few.shift < many.shift < 2.3
    assert fit(np.array([]), np.array([]), np.array([])) == Line(1.0, 0.0)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        a_class(0, 1, votes=LEAST_VOTES - 1),
        [one._replace(person="ada") for one in a_class(0, 1, votes=100)],
        [one._replace(choice="tie") for one in a_class(0, 1, votes=100)],
        [told(number) for number in range(500)],
    ],
)
def test_too_little_is_refused(rows: list[Told]) -> None:
    """Issue 4: too few votes, one person's, all alike, or silence only: an error that says how much it takes."""
    with pytest.raises(Conflict, match="at least 20 votes of 5 people") as refused:
        learn(rows, MADE_WITH)
    assert refused.value.code == "too_few_votes"


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.booleans(), st.floats(0.01, 1)), max_size=60),
)
def test_no_lesson_turns_the_order_round(rows: list[tuple[float, bool, float]]) -> None:
    """Issue 4: whatever was voted, the harder of two tasks stays the harder, and the figures are finite."""
    odds, failed, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True)) if rows else ([],) * 3
    line = fit(np.array(odds), np.array(failed), np.array(weight))
    assert line.slope >= 0.1
    assert math.isfinite(line.shift)


HARD = {"messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]}


def judged(calibration: Calibration | None) -> Any:
    thread = read(HARD)
    return judge(thread, Frame.of(HARD), calibration=calibration).plentiful


def test_a_calibration_corrects_probability_gain_and_factors() -> None:
    """Issue 4: the factors sum to the corrected log-odds, one says what the class taught; the gain follows."""
    plain = classify(HARD)
    calibration = Calibration("cs1", 2, START, "key-1", shipped().id, slope=0.5, shift=-1.0)
    found = judged(calibration)
    before = math.log(plain.weak_fails / (1 - plain.weak_fails))
    assert math.log(found.weak_fails / (1 - found.weak_fails)) == pytest.approx(-1.0 + 0.5 * before)
    assert sum(factor.weight for factor in found.factors) == pytest.approx(-1.0 + 0.5 * before)
    assert TAUGHT in {factor.name for factor in found.factors}
    assert found.calibrated is not None
    assert (found.calibrated.course, found.calibrated.version) == ("cs1", 2)
    assert found.calibrated.weak_fails == plain.weak_fails
    assert found.gain == pytest.approx(plain.gain * found.weak_fails / plain.weak_fails)


def test_a_calibration_of_other_weights_is_left_out() -> None:
    """Issue 4: what corrected an older classifier says nothing of today's."""
    old = Calibration("cs1", 2, START, "key-1", "0123456789ab", slope=0.5, shift=3.0)
    assert judged(old) == judged(None) == replace(classify(HARD), calibrated=None)
