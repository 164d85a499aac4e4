"""A forest's trees as other formats have them: node by node, with thresholds to compare doubles with.

scikit-learn rounds an input to float32 and compares it then. `Tree.threshold` is the greatest double that is
not above the node's own threshold after this rounding: who compares the doubles themselves gets the same
answers, and no other format has to round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.file import read_nodes
from proto_model.forest.leaves import ENTRY, LAST_ENTRY
from proto_model.forest.nodes import ForestNodes

_BEYOND = 2.0**128  # the number that follows the greatest float32


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree; an array has a number per node, the root first."""

    column: NDArray[np.int64]  # what the node looks at; -1 in a leaf
    threshold: NDArray[np.float64]  # up to it, rows go left; meaningless in a leaf
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.int64]  # row of `Trees.shares`; -1 in an inner node

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Which nodes are leaves."""
        leaves: NDArray[np.bool_] = self.leaf >= 0
        return leaves


@dataclass(frozen=True, eq=False)
class Trees:
    """A forest: the sum of the leaves' shares, tree after tree, divided by the number of trees."""

    shares: NDArray[np.float64]  # (n_leaves, n_classes)
    trees: tuple[Tree, ...]

    @classmethod
    def read(cls, path: Path) -> Trees:
        """Trees of a `forest.npz`; an ArtifactError says that it is none."""
        return cls.of(read_nodes(path)[0])

    @classmethod
    def of(cls, forest: ForestNodes) -> Trees:
        """Trees of a forest's flat arrays; their columns are those of the forest's input."""
        shares, row_of = _dense(forest)
        mask = (1 << forest.feature_bits) - 1
        feature, missing = forest.slot & mask, forest.slot > mask
        is_leaf = feature == len(forest.columns)
        columns = np.append(forest.columns.astype(np.int64), -1)
        own = forest.nodes["threshold"]
        place = np.where(is_leaf, own.view(np.uint32), 0).astype(np.int64)
        column, leaf = columns[feature], np.where(is_leaf, row_of[place], -1)
        threshold = np.where(is_leaf, 0.0, greatest_left(np.where(is_leaf, np.float32(0), own)))
        left = np.where(is_leaf, -1, forest.left)
        right = np.where(is_leaf, -1, forest.left + 1)
        arrays = (column, threshold, left, right, missing & ~is_leaf, leaf)
        cuts = forest.tree_start[1:-1]
        parts = zip(*(np.split(array, cuts) for array in arrays), strict=True)
        return cls(shares, tuple(Tree(*part) for part in parts))

    @property
    def n_classes(self) -> int:
        """Classes that a leaf has shares of."""
        return int(self.shares.shape[1])

    @property
    def columns(self) -> list[int]:
        """Columns that a node looks at, ascending; the first one of a forest that looks at none."""
        used = np.unique(np.concatenate([tree.column for tree in self.trees]))
        return [int(column) for column in used if column >= 0] or [0]


def greatest_left(thresholds: NDArray[np.float32]) -> NDArray[np.float64]:
    """Greatest double that is not above each threshold once it is rounded to float32.

    Examples
    --------
    >>> at = greatest_left(np.array([0.1], dtype=np.float32))
    >>> above = np.nextafter(at, np.inf)
    >>> at.astype(np.float32) <= np.float32(0.1), above.astype(np.float32) <= np.float32(0.1)
    (array([ True]), array([False]))
    """
    with np.errstate(over="ignore"):
        following = np.nextafter(thresholds, np.float32(np.inf))
    low, high = (np.clip(ends.astype(np.float64), -_BEYOND, _BEYOND) for ends in (thresholds, following))
    middle = (low + high) / 2
    # What is right between two numbers is rounded to the one whose last bit is zero.
    is_even = thresholds.view(np.uint32) & 1 == 0
    greatest: NDArray[np.float64] = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isposinf(thresholds), np.inf, greatest)


def _dense(forest: ForestNodes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Shares of each distinct leaf, and its row by its place in the forest's leaves."""
    leaves = forest.leaves
    if leaves.dtype != ENTRY:
        return leaves, np.arange(len(leaves))
    ends = leaves["label"] >= LAST_ENTRY
    row: NDArray[np.int64] = np.cumsum(ends) - ends
    shares = np.zeros((int(ends.sum()), forest.n_classes))
    shares[row, leaves["label"] & LAST_ENTRY - 1] = leaves["share"]
    return shares, row
