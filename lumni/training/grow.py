"""Growing the trees of ``lumni.intelligence.trees``."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor

from lumni.intelligence.trees import ALWAYS_LEFT, DEPTH, NODES, TESTS, Trees

Vector = NDArray[np.float64]
LEAST_ROWS = 20  # in a leaf
ROWS, COLUMNS = 0.7, 0.3  # shares that a tree and a test get to see, drawn at random
FEW = 2 * LEAST_ROWS  # rows below which nothing can be grown


class Tree(NamedTuple):
    """One tree as ``lumni.intelligence.trees.Trees`` has them, with values in floating point."""

    columns: NDArray[np.uint8]
    cuts: NDArray[np.uint8]
    values: Vector

    def scaled(self, by: float) -> "Tree":
        return self._replace(values=self.values * by)


def grow(levels: NDArray[np.uint8], target: Vector, count: int, rate: float, seed: int) -> tuple[float, list[Tree]]:
    """Gradient boosting (Friedman 2001) of squared errors: a constant, and ``count`` trees to add to it.

    The same rows and seed give the same trees. Of too few rows, none is grown.
    """
    start = float(target.mean())
    if len(target) < FEW or not count:
        return start, []
    model = GradientBoostingRegressor(
        init="zero",
        n_estimators=count,
        learning_rate=rate,
        max_depth=DEPTH,
        min_samples_leaf=LEAST_ROWS,
        subsample=ROWS,
        max_features=COLUMNS,
        random_state=seed,
    ).fit(levels.astype(np.float32), target - start)
    return start, [_heap(tree.tree_).scaled(rate) for (tree,) in model.estimators_]


def _heap(grown: Any) -> Tree:
    """scikit-learn's tree, laid out as a heap of full depth."""
    tree = Tree(np.zeros(TESTS, np.uint8), np.full(TESTS, ALWAYS_LEFT, np.uint8), np.zeros(NODES))
    places = {0: 0}
    for node in range(NODES):
        own = places[node]
        leaf = grown.children_left[own] < 0
        tree.values[node] = grown.value[own, 0, 0]
        if node >= TESTS:
            continue
        if not leaf:
            tree.columns[node], tree.cuts[node] = grown.feature[own], int(grown.threshold[own])
        places[2 * node + 1] = own if leaf else grown.children_left[own]
        places[2 * node + 2] = own if leaf else grown.children_right[own]
    return tree


def summed(trees: Sequence[Tree], levels: NDArray[np.uint8]) -> Vector:
    """The sum of ``trees`` for each row of ``levels``."""
    total, rows = np.zeros(len(levels)), np.arange(len(levels))
    for tree in trees:
        at = np.zeros(len(levels), np.int64)
        for _ in range(DEPTH):
            at = 2 * at + 1 + (levels[rows, tree.columns[at]] > tree.cuts[at])
        total += tree.values[at]
    return total


def packed(trees: Sequence[Tree]) -> Trees:
    """``trees`` as they are shipped, with values of eight bits."""
    values = np.array([tree.values for tree in trees]).reshape(-1, NODES)
    scale = float(np.abs(values).max(initial=0.0)) / 127 or 1.0
    return Trees(
        np.array([tree.columns for tree in trees], np.uint8).reshape(-1, TESTS),
        np.array([tree.cuts for tree in trees], np.uint8).reshape(-1, TESTS),
        np.rint(values / scale).astype(np.int8),
        scale,
    )
