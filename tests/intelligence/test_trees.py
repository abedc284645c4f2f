"""Trees say the same whether they are walked by hand, for one turn, or for all rows at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lumni.intelligence.groups import NAMED
from lumni.intelligence.signs import COLUMN, COLUMNS, LEVEL, NAMES
from lumni.intelligence.trees import NODES, TESTS, Pair, Trees, levels_of
from lumni.intelligence.weights import shipped
from lumni.training.grow import grow, packed, summed


def by_hand(trees: Trees, levels: list[int]) -> float:
    total = 0
    for columns, cuts, values in zip(trees.columns, trees.cuts, trees.values, strict=True):
        node = 0
        while node < TESTS:
            node = 2 * node + (2 if levels[columns[node]] > cuts[node] else 1)
        total += int(values[node])
    return total * trees.scale


@given(st.lists(st.integers(0, 12), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_both_sums_are_those_of_a_walk_and_the_parts_add_up(levels: list[int]) -> None:
    """001-21: what a tree says is told as factors, and nothing is left over."""
    weights = shipped()
    found = weights.trees.ask(np.array(levels, np.uint8))
    assert np.isclose(found.first, by_hand(weights.exam_trees, levels))
    assert np.isclose(found.second, by_hand(weights.gain_trees, levels))
    assert np.isclose(found.usual + found.parts.sum(), found.first)
    assert len(found.parts) == len(NAMED)


def test_what_is_grown_is_what_is_asked() -> None:
    """000-32: what the model card measures on all rows at once is what serves each request."""
    random = np.random.default_rng(1)
    levels = random.integers(0, 6, (300, len(COLUMNS))).astype(np.uint8)
    target = ((levels[:, 3] > 2) & (levels[:, 8] > 3)).astype(np.float64)
    start, trees = grow(levels, target, 40, 0.2, seed=1)
    assert np.corrcoef(start + summed(trees, levels), target)[0, 1] > 0.9
    pair = Pair(packed(trees), packed([]))
    asked = np.array([pair.ask(row).first for row in levels])
    assert np.abs(asked - summed(trees, levels)).max() < 0.05


def test_of_too_few_rows_nothing_is_grown() -> None:
    start, trees = grow(np.zeros((3, len(COLUMNS)), np.uint8), np.array([0.0, 1.0, 0.5]), 10, 0.1, seed=1)
    assert (start, trees) == (0.5, [])
    assert packed(trees).values.shape == (0, NODES)


def test_a_turn_has_the_level_of_each_of_its_signs() -> None:
    places = [NAMES.index("numbers:4"), NAMES.index("length:2"), NAMES.index("latex")]
    levels = levels_of(np.array(places))
    assert {COLUMNS[column]: int(levels[column]) for column in np.flatnonzero(levels)} == {
        "numbers": 4,
        "length": 2,
        "latex": 1,
    }
    assert len(COLUMN) == len(LEVEL) == len(NAMES)
    assert max(LEVEL) < 255
