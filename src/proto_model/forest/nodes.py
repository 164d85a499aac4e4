"""The forest as flat arrays: what a compiled forest keeps in memory and in its file.

Every tree is renumbered breadth first, so that the two children of a node are neighbours, a child always
stands behind its parent, and a walk ends. A node takes eight bytes: a float32 threshold and a word that
packs feature, direction of missing values and left child.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.forest.leaves import pack_leaves

NARROW_NODE = np.dtype([("threshold", "<f4"), ("link", "<u4")])
WIDE_NODE = np.dtype([("threshold", "<f4"), ("unused", "<u4"), ("link", "<u8")])


@dataclass(frozen=True)
class ForestNodes:
    """A forest of decision trees, ready for the walk.

    In a node, `threshold` is what a row's feature, rounded to float32, must not exceed to go left; in a leaf
    its bits are an unsigned integer, its place in `leaves`. `link` holds, from the low end, `feature_bits`
    bits of feature (`n_used` in a leaf), a bit that is set when missing values go left, and the left child
    counted from the start of the tree (a leaf has itself). The right child is the next node.
    """

    n_features: int  # columns of a table of inputs
    columns: NDArray[np.int32]  # (n_used,): those that some node looks at; nodes name them by position here
    tree_start: NDArray[np.int64]  # (n_trees + 1,): where each tree begins in `nodes`, and the end
    nodes: NDArray[np.void]  # (n_nodes,)
    leaves: NDArray[Any]  # distinct distributions: a row of float64 each, or a run of entries; see `leaves`
    n_classes: int

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.tree_start) - 1

    @property
    def feature_bits(self) -> int:
        """Bits of a node's link that hold the feature."""
        return _feature_bits(len(self.columns))

    @property
    def slot(self) -> NDArray[np.int64]:
        """Feature of each node, plus 2 ** feature_bits where missing values go left."""
        return self._bits(0, self.feature_bits + 1)

    @property
    def left(self) -> NDArray[np.int64]:
        """Left child of each node, counted from the start of its tree."""
        return self._bits(self.feature_bits + 1, 63)

    def _bits(self, low: int, count: int) -> NDArray[np.int64]:
        links: NDArray[np.int64] = self.nodes["link"].astype(np.int64)
        return links >> low & (1 << count) - 1


def flatten(trees: list[Any], n_features: int, columns: NDArray[np.int64], n_classes: int) -> ForestNodes:
    """Flat form of scikit-learn's trees, which have one output; `columns` holds each of their features."""
    sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
    tree_start = np.concatenate([[0], np.cumsum(sizes)])
    shift = np.repeat(tree_start[:-1], sizes)
    left = np.concatenate([tree.children_left for tree in trees]).astype(np.int64)
    right = np.concatenate([tree.children_right for tree in trees]).astype(np.int64)
    inner = left >= 0
    order = _breadth_first(tree_start, left + shift, right + shift, inner)

    # From here on, arrays are in the new order. A leaf has itself as its child, so that a walk stays there.
    inner = inner[order]
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    child = np.where(inner, position[np.where(inner, left[order] + shift, 0)], np.arange(len(order))) - shift

    feature = np.concatenate([tree.feature for tree in trees])[order]
    used, compact = np.unique(feature[inner], return_inverse=True)
    feature = np.full(len(order), len(used), dtype=np.int64)
    feature[inner] = compact

    kept = np.split((order - shift)[~inner], np.cumsum(~inner)[tree_start[1:-1] - 1])

    def shares() -> Iterator[NDArray[np.float64]]:
        return (tree.value[places, 0, :n_classes] for tree, places in zip(trees, kept, strict=True))

    leaves, leaf_place = pack_leaves(shares, n_classes)

    missing_left = np.concatenate([tree.missing_go_to_left for tree in trees])[order] != 0
    missing_left &= inner
    dtype = NARROW_NODE if _fits_narrow(len(used), int(sizes.max())) else WIDE_NODE
    bits = _feature_bits(len(used))
    nodes = np.zeros(len(order), dtype=dtype)
    nodes["link"] = feature | missing_left.astype(np.int64) << bits | child << bits + 1
    nodes["threshold"] = _floor32(np.concatenate([tree.threshold for tree in trees])[order])
    nodes["threshold"].view(np.uint32)[~inner] = leaf_place
    return ForestNodes(n_features, columns[used].astype(np.int32), tree_start, nodes, leaves, n_classes)


def _breadth_first(
    tree_start: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64], inner: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Old position of each node, tree after tree, breadth first within a tree."""
    frontier = tree_start[:-1]
    tree = np.arange(len(frontier))
    levels, owners = [], []
    while len(frontier):
        levels.append(frontier)
        owners.append(tree)
        splits = inner[frontier]
        parents = frontier[splits]
        frontier = np.stack([left[parents], right[parents]], axis=1).ravel()
        tree = np.repeat(tree[splits], 2)
    return np.concatenate(levels)[np.argsort(np.concatenate(owners), kind="stable")]


def _floor32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Largest float32 that is not above each value: `x <= value` is the same for every float32 `x`."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _feature_bits(n_used: int) -> int:
    return max(n_used.bit_length(), 1)


def _fits_narrow(n_used: int, largest_tree: int) -> bool:
    return (largest_tree << _feature_bits(n_used) + 1) <= 1 << 32
