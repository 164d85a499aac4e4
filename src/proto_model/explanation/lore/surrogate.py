"""The surrogate: a small decision tree that imitates the model around one row.

It is grown level by level on sums per bin, for all nodes of a level at once, from the model's probabilities
(which say more per row than its classes), with every class of the neighbourhood weighing the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.interface import Bools, Floats, Ints
from proto_model.explanation.lore.counting import WIDTHS, best_splits, count
from proto_model.explanation.lore.neighborhood import Bins

MAX_DEPTH = 10
MAX_FEATURES = 10
LEAF_ROWS = 10
MIN_GAIN = 2e-4  # of the spread at the root


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A tree over positions: a row goes left where the position of its value is at most the threshold."""

    feature: Ints  # of each node; -1 for a leaf
    threshold: Ints
    left: Ints  # child; the right one is the next node
    label: Ints  # class of each leaf

    @classmethod
    def fit(
        cls, positions: NDArray[np.int32], probabilities: Floats, weights: Floats, bins: Bins,
        read: Bools | None = None,
    ) -> Surrogate:  # fmt: skip
        """Tree for rows given by the positions of their values, the model's probabilities and row weights.

        It splits on features that are `read`; all by default.
        """
        labels = probabilities.argmax(axis=1)
        n_classes = probabilities.shape[1]
        # Every class weighs the same, and a row 1 on average.
        weights = weights / np.maximum(np.bincount(labels, weights, n_classes), 1e-12)[labels]
        weights = weights * (len(weights) / weights.sum())
        weighted = probabilities * weights[:, np.newaxis]
        # Probabilities sum to 1, so that one class fewer says as much; those that vary most are told apart.
        spread = (weighted * probabilities).sum(axis=0) - weighted.sum(axis=0) ** 2 / weights.sum()
        width = next((width for width in WIDTHS if n_classes - 1 <= width - 2), WIDTHS[-1])
        targets = np.argsort(-spread, kind="stable")[: max(min(width - 2, n_classes - 1), 1)]
        coarse = bins.coarse[positions]
        values = np.zeros((len(weights), width))
        values[:, 0], values[:, 1], values[:, 2 : 2 + len(targets)] = 1.0, weights, weighted[:, targets]
        codes = _Codes.of(coarse, _features(coarse, values, bins, read), bins)
        feature, threshold, left, leaf = _grow(codes, values, MIN_GAIN * float(spread[targets].sum()))
        last = np.where(feature >= 0, threshold - codes.shift[feature], 0)  # a leaf has no bin
        votes = [np.bincount(leaf, column, len(feature)) for column in weighted.T]
        return cls(
            feature=np.where(feature >= 0, codes.features[feature], -1),
            threshold=np.where(feature >= 0, bins.coarse_last[last], 0),
            left=left,
            label=np.array(votes).argmax(axis=0),
        )

    def leaves(self, positions: NDArray[np.int32]) -> Ints:
        """Leaf of each row."""
        node = np.zeros(len(positions), dtype=np.int64)
        rows = np.arange(len(positions))
        while len(rows):
            feature = self.feature[node[rows]]
            rows, feature = rows[feature >= 0], feature[feature >= 0]
            mine = node[rows]
            node[rows] = self.left[mine] + (positions[rows, feature] > self.threshold[mine])
        return node

    def predict(self, positions: NDArray[np.int32]) -> Ints:
        """Index of the class of each row."""
        return self.label[self.leaves(positions)]

    def path(self, position: NDArray[np.int32]) -> list[tuple[int, int, bool]]:
        """Feature, threshold and whether it is above, for each split on one row's way."""
        steps, node = [], 0
        while self.feature[node] >= 0:
            j, t = int(self.feature[node]), int(self.threshold[node])
            above = bool(position[j] > t)
            steps.append((j, t, above))
            node = int(self.left[node]) + above
        return steps


@dataclass(frozen=True, eq=False)
class _Codes:
    """Coarse bins of the features that the tree may use, each feature with `span` numbers of its own.

    A feature with fewer bins leaves the last of its numbers empty, so that sums per number make one array of
    shape (nodes, features, span).
    """

    features: Ints
    shift: Ints
    span: int
    codes: Ints

    @classmethod
    def of(cls, coarse: NDArray[np.int32], features: Ints, bins: Bins) -> _Codes:
        first = np.searchsorted(bins.coarse_feature, np.arange(coarse.shape[1] + 1))
        span = int(np.diff(first)[features].max())
        shift = np.arange(len(features)) * span - first[features]
        return cls(features, shift, span, np.ascontiguousarray(coarse[:, features] + shift))


def _features(coarse: NDArray[np.int32], values: Floats, bins: Bins, read: Bools | None) -> Ints:
    """The features that tell the targets apart best, each on its own."""
    n_rows, n_features = coarse.shape
    allowed = np.ones(n_features, dtype=np.bool_) if read is None else read
    if np.count_nonzero(allowed) <= MAX_FEATURES:
        return np.flatnonzero(allowed)
    nodes = np.zeros(n_rows, dtype=np.int64)
    codes = coarse.astype(np.int64)
    # With every bin a leaf of its own: the same measure as that of a split, in one pass over the rows.
    sums = count(np.arange(n_rows), nodes, codes, values, (1, len(bins.coarse_feature)))[0]
    score = (sums[:, 2:] ** 2).sum(axis=1) / np.maximum(sums[:, 1], 1e-12)
    scores = np.where(allowed, np.bincount(bins.coarse_feature, score, n_features), -np.inf)
    best = np.argsort(-scores, kind="stable")
    return np.sort(best[:MAX_FEATURES])


def _grow(codes: _Codes, values: Floats, least_gain: float) -> tuple[Ints, Ints, Ints, Ints]:
    """Feature, threshold (as codes) and left child of each node, and the leaf of each row."""
    rows = np.arange(len(values))  # those whose node may still be split
    node = np.zeros(len(rows), dtype=np.int64)  # of each of them, in the numbering of its level
    leaf = np.zeros(len(rows), dtype=np.int64)  # of every row, in the numbering of the tree
    feature, threshold, left = [], [], []
    n_nodes, offset = 1, 0
    for depth in range(MAX_DEPTH + 1):
        split_feature, split_code = np.full(n_nodes, -1), np.zeros(n_nodes, dtype=np.int64)
        if depth < MAX_DEPTH:
            shape = n_nodes, len(codes.features) * codes.span
            sums = count(rows, node, codes.codes, values, shape)
            gain, best = best_splits(sums.reshape(n_nodes, -1, codes.span, values.shape[1]), LEAF_ROWS)
            worth = gain > least_gain
            split_feature[worth], split_code[worth] = best[worth] // codes.span, best[worth]
        splits = split_feature >= 0
        children = 2 * (np.cumsum(splits) - 1)  # pairs, in the order of their parents
        feature.append(split_feature)
        threshold.append(split_code)
        left.append(np.where(splits, offset + n_nodes + children, -1))
        if not splits.any():
            break
        # Rows of leaves are done with; those of splits go to their side, in the order that they had.
        goes_on = splits[node]
        rows, node = rows[goes_on], node[goes_on]
        code = codes.codes[rows, split_feature[node]]
        node = children[node] + (code > split_code[node])
        # A level follows upon the one before, and only splits have children in it.
        offset += n_nodes
        n_nodes = 2 * int(splits.sum())
        leaf[rows] = offset + node
    return np.concatenate(feature), np.concatenate(threshold), np.concatenate(left), leaf
