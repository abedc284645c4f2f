"""Small decision trees: what signs tell together, which a sum over each can't."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumni.intelligence.groups import COLUMN_GROUP, NAMED
from lumni.intelligence.signs import COLUMN, COLUMNS, LEVEL

DEPTH = 4
TESTS, NODES = (1 << DEPTH) - 1, (2 << DEPTH) - 1
"""Of a tree: a heap, so that the children of node *i* are 2*i* + 1 and 2*i* + 2, where *i* < ``TESTS``."""
ALWAYS_LEFT = 255
"""A cut that nothing reaches: below a leaf that isn't at the bottom, all nodes hold its value."""

_COLUMN, _LEVEL = np.array(COLUMN), np.array(LEVEL, np.uint8)
_GROUP = np.array(COLUMN_GROUP)


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """A sum of trees. ``columns`` and ``cuts`` have the shape (trees, TESTS), ``values`` (trees, NODES).

    A test asks whether a turn's integer in a column is larger than the cut; who passes goes right. A node's value is
    its integer times ``scale``; those of inner nodes are means, which tell what a test changed.
    """

    columns: NDArray[np.uint8]
    cuts: NDArray[np.uint8]
    values: NDArray[np.int8]
    scale: float


class Sums(NamedTuple):
    """What two sums of trees say of a turn. ``usual`` and ``parts``, one for each of ``NAMED``, add up to the first."""

    first: float
    second: float
    usual: float
    parts: NDArray[np.float64]


class Pair:
    """Two sums of trees, asked at once. Never changes."""

    def __init__(self, first: Trees, second: Trees) -> None:
        both = (first, second)
        self._border, count = len(first.columns), len(first.columns) + len(second.columns)
        self._columns = np.concatenate([trees.columns for trees in both]).astype(np.intp)
        self._cuts = np.concatenate([trees.cuts for trees in both])
        self._values = np.concatenate([trees.values.astype(np.float64) * trees.scale for trees in both]).ravel()
        self._groups = _GROUP[first.columns].ravel()
        self._tests, self._nodes = np.arange(count) * TESTS, np.arange(count) * NODES
        self._usual = float(self._values.reshape(-1, NODES)[: self._border, 0].sum())

    def ask(self, levels: NDArray[np.uint8]) -> Sums:
        """What they say of a turn with ``levels``."""
        border = self._border
        passed = (levels[self._columns] > self._cuts).view(np.uint8).ravel()
        paths = np.zeros((DEPTH + 1, len(self._tests)), np.intp)
        for depth in range(DEPTH):
            at = paths[depth]
            np.add(2 * at + 1, passed[self._tests + at], out=paths[depth + 1])
        values = self._values[paths + self._nodes]
        groups = self._groups[(paths[:-1] + self._tests)[:, :border]]
        changes = np.diff(values[:, :border], axis=0)
        parts = np.bincount(groups.ravel(), changes.ravel(), len(NAMED)).astype(np.float64)
        return Sums(float(values[-1, :border].sum()), float(values[-1, border:].sum()), self._usual, parts)


def levels_of(places: NDArray[np.intp]) -> NDArray[np.uint8]:
    """A turn's integer in each of ``COLUMNS``, from the places of its signs."""
    levels = np.zeros(len(COLUMNS), np.uint8)
    levels[_COLUMN[places]] = _LEVEL[places]
    return levels
