"""The surrogate: a small decision tree that imitates the model around one row.

It is grown level by level on counts per bin, for all nodes of a level at once, from the model's probabilities
(which say more per row than its classes), with every class of the neighbourhood weighing the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surrogate"]

MAX_DEPTH = 9
MAX_FEATURES = 12
MAX_TARGETS = 2
LEAF_ROWS = 8

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
    def fit(cls, positions: NDArray[np.int32], probabilities: Floats, weights: Floats) -> Surrogate:
        """Tree for rows given by the positions of their values, the model's probabilities, and row weights."""
        share = weights @ np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
        weights = weights / np.where(share > 0, share, 1)[probabilities.argmax(axis=1)]
        weights = weights * (len(weights) / weights.sum())
        weighted = probabilities * weights[:, np.newaxis]
        spread = (weighted * probabilities).sum(axis=0) - weighted.sum(axis=0) ** 2 / weights.sum()
        targets = np.sort(np.argsort(-spread, kind="stable")[: min(MAX_TARGETS, max(len(spread) - 1, 1))])
        columns = np.ascontiguousarray(weighted[:, targets].T)
        chosen = _features(positions, weights, columns)
        return cls._grow(positions, chosen, weights, columns, weighted)

    @classmethod
    def _grow(
        cls,
        positions: NDArray[np.int32],
        chosen: Ints,
        weights: Floats,
        columns: Floats,
        weighted: Floats,
    ) -> Surrogate:
        """Grow the tree level by level on the chosen features."""
        n_rows, n_classes = weighted.shape
        codes, feature_of, start = _compact(positions, chosen)
        n_codes = len(feature_of)
        at = np.arange(n_codes)
        first, last = at == start[feature_of], np.append(feature_of[1:] != feature_of[:-1], True)
        node = np.zeros(n_rows, dtype=np.int64)
        rows = np.arange(n_rows)
        feature, threshold, left, value = [], [], [], []
        level_value = weighted.sum(axis=0)[np.newaxis]
        n_nodes, offset = 1, 0
        for depth in range(MAX_DEPTH + 1):
            value.append(level_value)
            split_feature = np.full(n_nodes, -1)
            split_code = np.zeros(n_nodes, dtype=np.int64)
            if depth < MAX_DEPTH and len(rows):
                gain = _gains(
                    codes[rows],
                    node[rows],
                    weights[rows],
                    columns[:, rows],
                    n_nodes,
                    n_codes,
                    start,
                    feature_of,
                )
                gain[:, last] = -np.inf
                best = gain.argmax(axis=1)
                worth = gain[np.arange(n_nodes), best] > 1e-7
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
        features, codes_at = np.concatenate(feature), np.concatenate(threshold)
        originals = np.concatenate([np.unique(positions[:, j]) for j in chosen])
        return cls(
            feature=np.where(features >= 0, chosen[features], -1),
            threshold=originals[codes_at],
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


def _features(positions: NDArray[np.int32], weights: Floats, columns: Floats) -> Ints:
    """The features that tell the targets apart best, each on its own."""
    n_features = positions.shape[1]
    if n_features <= MAX_FEATURES:
        return np.arange(n_features)
    flat = positions.ravel()
    n_bins = int(positions[:, -1].max()) + 1
    total = np.bincount(flat, np.repeat(weights, n_features), n_bins)
    score = np.zeros(n_bins)
    for column in columns:
        score += np.bincount(flat, np.repeat(column, n_features), n_bins) ** 2 / np.maximum(total, 1e-12)
    order = np.searchsorted(positions.max(axis=0), np.arange(n_bins))
    per_feature = np.bincount(np.minimum(order, n_features - 1), score, n_features)
    return np.sort(np.argsort(-per_feature, kind="stable")[:MAX_FEATURES])


def _compact(positions: NDArray[np.int32], chosen: Ints) -> tuple[Ints, Ints, Ints]:
    """Positions of the chosen features without gaps: codes, the feature of each code, its first code."""
    codes = np.empty((len(positions), len(chosen)), dtype=np.int64)
    counts, n = [], 0
    for k, j in enumerate(chosen):
        values, inverse = np.unique(positions[:, j], return_inverse=True)
        codes[:, k] = inverse + n
        counts.append(len(values))
        n += len(values)
    ends = np.cumsum(counts)
    return codes, np.repeat(np.arange(len(chosen)), counts), ends - np.array(counts)


def _gains(
    codes: Ints,
    node: Ints,
    weights: Floats,
    columns: Floats,
    n_nodes: int,
    n_codes: int,
    start: Ints,
    feature_of: Ints,
) -> Floats:
    """Fall of the squared error by a split of each node after each code."""
    key = (codes + (node * n_codes)[:, np.newaxis]).ravel()
    width = codes.shape[1]
    size = n_nodes * n_codes
    n_left = _cumulated(np.bincount(key, minlength=size), n_nodes, start, feature_of)
    w_left = _cumulated(np.bincount(key, np.repeat(weights, width), size), n_nodes, start, feature_of)
    ends = np.append(start[1:], n_codes) - 1
    n_right = n_left[:, ends][:, feature_of] - n_left
    w_total = w_left[:, ends][:, feature_of]
    w_right = w_total - w_left
    gain = np.zeros((n_nodes, n_codes))
    for column in columns:
        left = _cumulated(np.bincount(key, np.repeat(column, width), size), n_nodes, start, feature_of)
        total = left[:, ends][:, feature_of]
        gain += left**2 / np.maximum(w_left, 1e-12) + (total - left) ** 2 / np.maximum(w_right, 1e-12)
        gain -= total**2 / np.maximum(w_total, 1e-12)
    gain[(n_left < LEAF_ROWS) | (n_right < LEAF_ROWS)] = -np.inf
    return gain


def _cumulated(counts: NDArray[np.int64] | Floats, n_nodes: int, start: Ints, feature_of: Ints) -> Floats:
    """Running sums along the codes of each feature."""
    sums = np.cumsum(counts.reshape(n_nodes, -1), axis=1, dtype=np.float64)
    before = np.where(start > 0, sums[:, start - 1], 0.0)
    result: Floats = sums - before[:, feature_of]
    return result
