"""The surrogate: a small decision tree that imitates the model around one row.

It is grown level by level on counts per bin, for all nodes of a level at once, from the model's probabilities
(which say more per row than its classes), with every class of the neighbourhood weighing the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.lore.bins import Bins
from proto_model.explanation.lore.counting import WIDTH, best_splits, count, route

__all__ = ["Surrogate"]

MAX_DEPTH = 10
MAX_FEATURES = 10
MAX_TARGETS = WIDTH - 2
LEAF_ROWS = 10
MIN_GAIN = 2e-4  # of the spread at the root

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A tree over positions: a row goes left where the position of its value is at most the threshold.

    Parameters
    ----------
    feature, threshold, left : ndarray of shape (n_nodes,)
        Split of each node, the right child being the one after the left; feature -1 for a leaf.
    label : ndarray of shape (n_nodes,)
        Index of the class of each leaf.
    """

    feature: Ints
    threshold: Ints
    left: Ints
    label: Ints

    @classmethod
    def fit(
        cls, positions: NDArray[np.int32], probabilities: Floats, weights: Floats, bins: Bins
    ) -> Surrogate:
        """Tree for rows given by the positions of their values, the model's probabilities and row weights."""
        labels = probabilities.argmax(axis=1)
        n_classes = probabilities.shape[1]
        weights = weights / np.maximum(np.bincount(labels, weights, n_classes), 1e-12)[labels]
        weights = weights * (len(weights) / weights.sum())
        weighted = probabilities * weights[:, np.newaxis]
        spread = (weighted * probabilities).sum(axis=0) - weighted.sum(axis=0) ** 2 / weights.sum()
        targets = np.argsort(-spread, kind="stable")[: max(min(MAX_TARGETS, n_classes - 1), 1)]
        coarse = bins.coarse[positions]
        values = np.zeros((len(weights), WIDTH))
        values[:, 0], values[:, 1], values[:, 2 : 2 + len(targets)] = 1.0, weights, weighted[:, targets]
        chosen = _features(coarse, values, bins)
        return cls._grow(coarse, chosen, values, weighted, bins, float(spread[targets].sum()))

    @classmethod
    def _grow(
        cls,
        coarse: NDArray[np.int32],
        chosen: Ints,
        values: Floats,
        weighted: Floats,
        bins: Bins,
        spread: float,
    ) -> Surrogate:
        """Grow the tree level by level on the chosen features."""
        taken = np.isin(bins.coarse_feature, chosen)
        original = np.flatnonzero(taken)  # coarse bins of the chosen features, numbered without gaps
        codes = np.ascontiguousarray((np.cumsum(taken) - 1)[coarse[:, chosen]])
        feature_of = np.searchsorted(chosen, bins.coarse_feature[original])
        starts = np.searchsorted(feature_of, np.arange(len(chosen) + 1))
        node = np.zeros(len(values), dtype=np.int64)  # of each row, in the numbering of its level
        leaf = np.zeros(len(values), dtype=np.int64)  # the same, in the numbering of the tree
        rows = np.arange(len(values))
        feature, threshold, left = [], [], []
        n_nodes, offset = 1, 0
        for depth in range(MAX_DEPTH + 1):
            split_feature = np.full(n_nodes, -1)
            split_code = np.zeros(n_nodes, dtype=np.int64)
            if depth < MAX_DEPTH:
                sums = count(rows, node, codes, values, n_nodes, len(original))
                gain, best = best_splits(sums, starts, LEAF_ROWS)
                worth = gain > MIN_GAIN * spread
                split_feature[worth] = feature_of[best[worth]]
                split_code[worth] = best[worth]
            splits = split_feature >= 0
            children = 2 * (np.cumsum(splits) - 1)
            left.append(np.where(splits, offset + n_nodes + children, -1))
            feature.append(split_feature)
            threshold.append(split_code)
            if not splits.any():
                break
            rows = route(rows, node, codes, split_feature, split_code, children)
            offset += n_nodes
            n_nodes = 2 * int(splits.sum())
            leaf[rows] = offset + node[rows]
        features = np.concatenate(feature)
        votes = [np.bincount(leaf, column, len(features)) for column in weighted.T]
        return cls(
            feature=np.where(features >= 0, chosen[features], -1),
            threshold=bins.coarse_last[original[np.concatenate(threshold)]],
            left=np.concatenate(left),
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


def _features(coarse: NDArray[np.int32], values: Floats, bins: Bins) -> Ints:
    """The features that tell the targets apart best, each on its own."""
    n_rows, n_features = coarse.shape
    if n_features <= MAX_FEATURES:
        return np.arange(n_features)
    n_coarse = len(bins.coarse_feature)
    nodes = np.zeros(n_rows, dtype=np.int64)
    sums = count(np.arange(n_rows), nodes, coarse.astype(np.int64), values, 1, n_coarse)[0]
    score = (sums[:, 2:] ** 2).sum(axis=1) / np.maximum(sums[:, 1], 1e-12)
    best = np.argsort(-np.bincount(bins.coarse_feature, score, n_features), kind="stable")
    return np.sort(best[:MAX_FEATURES])
