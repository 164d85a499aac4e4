"""The surrogate: a small decision tree that imitates the model around one row.

It is grown level by level on counts per bin, for all nodes of a level at once, from the model's probabilities
(which say more per row than its classes), with every class of the neighbourhood weighing the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.lore.bins import Bins
from proto_model.explanation.lore.counting import WIDTH, count

__all__ = ["Surrogate"]

MAX_DEPTH = 9
MAX_FEATURES = 10
MAX_TARGETS = WIDTH - 2
LEAF_ROWS = 8
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
        Index of the class of each node.
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
        columns = np.ascontiguousarray(weighted[:, targets].T)
        coarse = bins.coarse[positions]
        chosen = _features(coarse, weights, columns, bins)
        return cls._grow(coarse, chosen, weights, columns, weighted, bins, float(spread[targets].sum()))

    @classmethod
    def _grow(
        cls,
        coarse: NDArray[np.int32],
        chosen: Ints,
        weights: Floats,
        columns: Floats,
        weighted: Floats,
        bins: Bins,
        spread: float,
    ) -> Surrogate:
        """Grow the tree level by level on the chosen features."""
        n_rows, n_classes = weighted.shape
        taken = np.isin(bins.coarse_feature, chosen)
        original = np.flatnonzero(taken)  # coarse bins of the chosen features, numbered without gaps
        codes = np.ascontiguousarray((np.cumsum(taken) - 1)[coarse[:, chosen]])
        n_codes = len(original)
        feature_of = np.searchsorted(chosen, bins.coarse_feature[original])
        start = np.searchsorted(feature_of, np.arange(len(chosen)))
        last = np.append(feature_of[1:] != feature_of[:-1], True)
        values = np.zeros((n_rows, WIDTH))  # rows, weight, targets
        values[:, 0], values[:, 1], values[:, 2 : 2 + len(columns)] = 1.0, weights, columns.T
        node = np.zeros(n_rows, dtype=np.int64)
        rows = np.arange(n_rows)
        feature, threshold, left, value = [], [], [], []
        level_value = weighted.sum(axis=0)[np.newaxis]
        n_nodes, offset = 1, 0
        for depth in range(MAX_DEPTH + 1):
            value.append(level_value)
            split_feature = np.full(n_nodes, -1)
            split_code = np.zeros(n_nodes, dtype=np.int64)
            if depth < MAX_DEPTH:
                gain = _gains(count(rows, node, codes, values, n_nodes, n_codes), start, feature_of)
                gain[:, last] = -np.inf
                best = gain.argmax(axis=1)
                worth = gain[np.arange(n_nodes), best] > MIN_GAIN * spread
                split_feature[worth] = feature_of[best[worth]]
                split_code[worth] = best[worth]
            splits = split_feature >= 0
            children = np.cumsum(splits) - 1
            left.append(np.where(splits, offset + n_nodes + 2 * children, -1))
            feature.append(split_feature)
            threshold.append(split_code)
            if not splits.any():
                break
            rows = rows[splits[node[rows]]]
            mine = node[rows]
            right = codes[rows, split_feature[mine]] > split_code[mine]
            node[rows] = 2 * children[mine] + right
            offset += n_nodes
            n_nodes = 2 * int(splits.sum())
            level_value = np.stack(
                [np.bincount(node[rows], weighted[rows, k], n_nodes) for k in range(n_classes)], axis=1
            )
        features = np.concatenate(feature)
        return cls(
            feature=np.where(features >= 0, chosen[features], -1),
            threshold=bins.coarse_last[original[np.concatenate(threshold)]],
            left=np.concatenate(left),
            label=np.concatenate(value).argmax(axis=1),
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


def _features(coarse: NDArray[np.int32], weights: Floats, columns: Floats, bins: Bins) -> Ints:
    """The features that tell the targets apart best, each on its own."""
    n_features = coarse.shape[1]
    if n_features <= MAX_FEATURES:
        return np.arange(n_features)
    flat, n_coarse = coarse.ravel(), len(bins.coarse_feature)
    total = np.maximum(np.bincount(flat, np.repeat(weights, n_features), n_coarse), 1e-12)
    score = np.zeros(n_coarse)
    for column in columns:
        score += np.bincount(flat, np.repeat(column, n_features), n_coarse) ** 2 / total
    best = np.argsort(-np.bincount(bins.coarse_feature, score, n_features), kind="stable")
    return np.sort(best[:MAX_FEATURES])


def _gains(sums: Floats, start: Ints, feature_of: Ints) -> Floats:
    """Fall of the squared error by a split of each node after each code; sums as from `count`."""
    running = np.cumsum(sums, axis=1)
    ends = np.append(start[1:], len(feature_of)) - 1
    before = np.where((start > 0)[:, np.newaxis], running[:, start - 1], 0.0)
    n_left, w_left, *left = np.moveaxis(running - before[:, feature_of], 2, 0)
    n_total, w_total, *total = np.moveaxis(running[:, ends[:1]], 2, 0)
    inverse_left = 1 / np.maximum(w_left, 1e-12)
    inverse_right = 1 / np.maximum(w_total - w_left, 1e-12)
    gain: Floats = np.zeros_like(w_left)
    for mine, whole in zip(left, total, strict=True):
        gain += (
            mine**2 * inverse_left
            + (whole - mine) ** 2 * inverse_right
            - whole**2 / np.maximum(w_total, 1e-12)
        )
    gain[(n_left < LEAF_ROWS) | (n_total - n_left < LEAF_ROWS)] = -np.inf
    return gain
