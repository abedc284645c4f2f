"""Training keeps what the model card says: the same rows give the same bytes, and rows that judge never train."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from lumni.errors import InvalidRequest
from lumni.intelligence import classify
from lumni.intelligence.features import look
from lumni.intelligence.scoring import verdict
from lumni.intelligence.signs import NAMES
from lumni.intelligence.thread import read
from lumni.intelligence.weights import LARGEST, dump, parse, shipped
from lumni.training import figures
from lumni.training.examples import LEVELS, example, load
from lumni.training.fit import Settings, fit, table
from lumni.training.judge import predict
from lumni.training.run import train

ROOT = Path(__file__).parents[2]
QUICK = Settings(folds=3, resamples=20)
EASY, HARD = "What is {}?", "Prove that {} converges, and derive its limit."
THINGS = ("a list", "the series", "an integral", "gradient descent", "this sum", "a tree", "the mean", "a prime")


def rows() -> list[dict[str, Any]]:
    """Twice as many easy and hard ones as there are things, of both kinds."""
    benchmark = [
        {"prompt": text.format(thing), "group": group, "weak": weak, "strong": strong, "licence": "MIT"}
        for group, text, weak, strong in (("facts", EASY, 1.0, 1.0), ("proofs", HARD, 0.1, 0.9))
        for thing in THINGS
    ]
    classroom = [
        {"prompt": text.format(thing), "level": level, "language": "en"}
        for text, level in ((EASY, 0), (HARD, 4))
        for thing in THINGS
    ]
    return benchmark + classroom


def write(path: Path, content: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")
    return path


def test_the_same_rows_give_the_same_bytes_and_the_same_card(tmp_path: Path) -> None:
    """000-32: weights can be made again by anybody."""
    one = train([write(tmp_path / "a.jsonl", rows())], [write(tmp_path / "b.jsonl", rows()[:16])], QUICK)
    assert one == train([tmp_path / "a.jsonl"], [tmp_path / "b.jsonl"], QUICK)
    content, card = one
    assert len(content) <= LARGEST
    for fact in (content, (tmp_path / "a.jsonl").read_bytes(), (tmp_path / "b.jsonl").read_bytes()):
        assert hashlib.sha256(fact).hexdigest() in card


def test_what_is_learnt_tells_hard_from_easy(tmp_path: Path) -> None:
    """001-18, 001-19."""
    weights = parse(train([write(tmp_path / "a.jsonl", rows())], [], QUICK)[0])
    easy, hard = ({"messages": [{"role": "user", "content": text.format("a new thing")}]} for text in (EASY, HARD))
    assert classify(easy, weights=weights).weak_fails < 0.5 < classify(hard, weights=weights).weak_fails
    assert classify(easy, weights=weights).gain < classify(hard, weights=weights).gain


@pytest.mark.parametrize("kind", [slice(0, 16), slice(16, 32)])
def test_rows_of_one_kind_are_enough(kind: slice) -> None:
    with threadpool_limits(limits=1):
        weights = fit(table([example(row) for row in rows()[kind]]), QUICK)
    found = predict(weights, table([example(row) for row in rows()[kind]]))
    assert found.fails[:8].max() < found.fails[8:].min()


@pytest.mark.parametrize("group", ["mmlu", "MMLU_stem", "gsm8k", "mt_bench", "RouterArena-easy", "alpacaeval"])
def test_rows_that_judge_are_refused(tmp_path: Path, group: str) -> None:
    """The rules of the data: never train on them."""
    with pytest.raises(InvalidRequest, match="must not train"):
        train([write(tmp_path / "a.jsonl", [{**rows()[0], "group": group}])], [], QUICK)


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"prompt": "x"}', '{"prompt": "x", "level": 9}', '{"prompt": "x", "group": "g", "weak": 2}']
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(rows()[0]) + "\n" + line + "\n")
    with pytest.raises(InvalidRequest, match="line 2"):
        load(tmp_path / "a.jsonl")


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**rows()[0], "prompt": "one\u2028two"}, rows()[1]])
    assert len(load(path).examples) == 2


def test_the_shipped_weights_are_those_of_the_card_and_small_enough() -> None:
    """000-32: at most 128 kB."""
    content = (ROOT / "lumni/intelligence/data/weights.npz").read_bytes()
    assert len(content) <= LARGEST
    assert hashlib.sha256(content).hexdigest() in (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    assert dump(shipped()) == content


def test_the_card_names_every_classroom_file_as_it_is() -> None:
    """000-32: weights that were trained on other prompts than the shipped ones are out of date."""
    card = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    for path in (ROOT / "training/classroom").glob("*.jsonl"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_weights_for_other_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("lumni.intelligence.weights.NAMES", NAMES[1:])
        older = dump(shipped())
    with pytest.raises(ValueError, match="other features"):
        parse(older)


def test_judging_all_rows_at_once_agrees_with_classifying_each() -> None:
    """What the card measures is what serves."""
    found = predict(shipped(), table([example(row) for row in rows()]))
    for place, row in enumerate(rows()):
        body = {"messages": [{"role": "user", "content": row["prompt"]}]}
        own = verdict(look(read(body).last, body), shipped())
        assert found.fails[place] == pytest.approx(1 / (1 + np.exp(-own.log_odds)), abs=1e-5)
        assert found.gain[place] == pytest.approx(own.gain, abs=1e-5)


def test_levels_are_probabilities_that_rise() -> None:
    assert list(LEVELS) == sorted(LEVELS)
    assert 0 < LEVELS[0] < LEVELS[-1] < 1


def test_training_says_what_is_missing_without_scikit_learn() -> None:
    """`lumni train --help` needs nothing, and the command itself says how to get what it needs."""
    code = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'sklearn' else real(name, *rest)\n"
        "sys.modules['sklearn'] = None\n"
        "sys.argv = ['lumni', 'train', *sys.argv[1:]]\n"
        "from lumni.__main__ import main\n"
        "main()\n"
    )
    helped = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (helped.returncode, helped.stderr) == (0, "")
    tried = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=False)
    assert tried.returncode == 1
    assert "uv sync --group train" in tried.stderr


scores = st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=30)


@given(scores)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[float, bool]]) -> None:
    values, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    wins = [(p > n) + (p == n) / 2 for p in values[positive] for n in values[~positive]]
    found = figures.auc(values, positive)
    assert np.isnan(found) if not wins else found == pytest.approx(np.mean(wins))


def test_apgr_of_the_true_gain_beats_its_reverse_and_no_order_gives_a_half() -> None:
    """RouteLLM's definition: 0.5 is what chance recovers."""
    gains, groups = np.array([1.0, 0.5, 0.0, 0.0]), np.array(["a", "a", "b", "b"])
    assert figures.apgr(np.zeros(4), gains, groups) == pytest.approx(0.5)
    assert figures.apgr(gains, gains, groups) == pytest.approx(1 - figures.apgr(-gains, gains, groups))
    # By hand: 2/3 of the gain after a quarter of the calls, all after a half.
    assert figures.apgr(gains, gains, groups) == pytest.approx((1 / 3 + (2 / 3 + 1) / 2 + 2) / 4)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    assert figures.calibration_error(np.array([0.05, 0.95]), np.array([0.0, 1.0])) == pytest.approx(0.05)
    assert figures.calibration_error(np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 1.0])) == 0
