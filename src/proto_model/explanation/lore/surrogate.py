"""The surrogate: a small decision tree that imitates the model around one row.

It is grown level by level on sums per bin, for all nodes of a level at once, from the model's probabilities
(which say more per row than its classes), with every class of the neighbourhood weighing the same.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from proto_model.explanation.lore.neighborhood import Bins
from proto_model.forest.emitter import BYTES, F64, I64, Emitter, vector
from proto_model.forest.jit import compile_function

MAX_DEPTH = 10
MAX_FEATURES = 10
WIDTH = 4  # numbers that are summed per row: how many it counts for, its weight, and weighted targets
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
        # Probabilities sum to 1, so that one class fewer says as much; those that vary most are told apart.
        spread = (weighted * probabilities).sum(axis=0) - weighted.sum(axis=0) ** 2 / weights.sum()
        targets = np.argsort(-spread, kind="stable")[: max(min(MAX_TARGETS, n_classes - 1), 1)]
        coarse = bins.coarse[positions]
        values = np.zeros((len(weights), WIDTH))
        values[:, 0], values[:, 1], values[:, 2 : 2 + len(targets)] = 1.0, weights, weighted[:, targets]
        codes = _Codes.of(coarse, _features(coarse, values, bins), bins)
        feature, threshold, left, leaf = _grow(codes, values, MIN_GAIN * float(spread[targets].sum()))
        votes = [np.bincount(leaf, column, len(feature)) for column in weighted.T]
        return cls(
            feature=np.where(feature >= 0, codes.features[feature], -1),
            threshold=np.where(feature >= 0, bins.coarse_last[threshold - codes.shift[feature]], 0),
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
    shape (nodes, features, span) that NumPy can run along.
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


def _features(coarse: NDArray[np.int32], values: Floats, bins: Bins) -> Ints:
    """The features that tell the targets apart best, each on its own."""
    n_rows, n_features = coarse.shape
    if n_features <= MAX_FEATURES:
        return np.arange(n_features)
    nodes = np.zeros(n_rows, dtype=np.int64)
    codes = coarse.astype(np.int64)
    sums = count(np.arange(n_rows), nodes, codes, values, (1, len(bins.coarse_feature)))[0]
    score = (sums[:, 2:] ** 2).sum(axis=1) / np.maximum(sums[:, 1], 1e-12)
    best = np.argsort(-np.bincount(bins.coarse_feature, score, n_features), kind="stable")
    return np.sort(best[:MAX_FEATURES])


def _grow(codes: _Codes, values: Floats, least_gain: float) -> tuple[Ints, Ints, Ints, Ints]:
    """Feature, threshold (as codes) and left child of each node, and the leaf of each row."""
    node = np.zeros(len(values), dtype=np.int64)  # of each row, in the numbering of its level
    leaf = np.zeros(len(values), dtype=np.int64)  # the same, in the numbering of the tree
    rows = np.arange(len(values))  # those whose node may still be split
    feature, threshold, left = [], [], []
    n_nodes, offset = 1, 0
    for depth in range(MAX_DEPTH + 1):
        split_feature, split_code = np.full(n_nodes, -1), np.zeros(n_nodes, dtype=np.int64)
        if depth < MAX_DEPTH:
            shape = n_nodes, len(codes.features) * codes.span
            sums = count(rows, node, codes.codes, values, shape)
            gain, best = _best_splits(sums.reshape(n_nodes, -1, codes.span, WIDTH))
            worth = gain > least_gain
            split_feature[worth], split_code[worth] = best[worth] // codes.span, best[worth]
        splits = split_feature >= 0
        children = 2 * (np.cumsum(splits) - 1)  # pairs, in the order of their parents
        feature.append(split_feature)
        threshold.append(split_code)
        left.append(np.where(splits, offset + n_nodes + children, -1))
        if not splits.any():
            break
        mine = node[rows]
        rows, mine = rows[splits[mine]], mine[splits[mine]]
        code = codes.codes[rows, split_feature[mine]]
        node[rows] = children[mine] + (code > split_code[mine])
        offset += n_nodes
        n_nodes = 2 * int(splits.sum())
        leaf[rows] = offset + node[rows]
    return np.concatenate(feature), np.concatenate(threshold), np.concatenate(left), leaf


def _best_splits(sums: Floats) -> tuple[Floats, Ints]:
    """By how much the best split of each node lets the squared error fall, and the last code that goes left.

    `sums` has the shape (n_nodes, n_features, span, WIDTH). The gain is minus infinity where no split leaves
    enough rows on both sides, which is also so at the last code of a feature: nothing is right of it.
    """
    left = np.ascontiguousarray(np.moveaxis(sums, -1, 0)).cumsum(axis=-1)
    total = left[:, :, :1, -1:]  # any feature's, because each counts every row once
    right = total - left
    gain = _explained(left) + _explained(right)
    gain[np.minimum(left[0], right[0]) < LEAF_ROWS] = -np.inf
    gain = gain.reshape(len(sums), -1)
    best = gain.argmax(axis=1)
    return gain[np.arange(len(sums)), best] - _explained(total)[:, 0, 0], best


def _explained(sums: Floats) -> Floats:
    """Part of the squares of the targets that the means of a side explain: sum**2 / weight."""
    _, weight, a, b = sums
    explained: Floats = (a * a + b * b) / np.maximum(weight, 1e-12)
    return explained


def count(rows: Ints, node: Ints, codes: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """Sums of the values of some rows, per node and code, in the order of the rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows,)
        Indices of the rows to count.
    node : ndarray of shape (n_all,)
        Node of each row.
    codes : ndarray of shape (n_all, n_features)
        A code per feature, all features in one numbering; C-contiguous, as are all the arrays.
    values : ndarray of shape (n_all, WIDTH)
        What to sum.
    shape : tuple of int
        Number of nodes and of codes.

    Returns
    -------
    ndarray of shape (n_nodes, n_codes, WIDTH)
    """
    sums = np.zeros((*shape, WIDTH))
    assert codes.flags.c_contiguous  # the machine code cannot see it
    assert codes.dtype == np.int64
    _count_kernel()(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1], shape[1],
        values.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums


@cache
def _count_kernel() -> Any:
    """Machine code for `count`; `np.bincount` would need a pass per number, and a fifth more CPU per row."""
    module = ir.Module(name="count")
    arguments = [BYTES, I64, BYTES, BYTES, I64, I64, BYTES, BYTES]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name="count")
    rows, n_rows, node, codes, n_features, n_codes, values, sums = function.args
    b = Emitter(function.append_basic_block("entry"))
    kind = vector(F64, WIDTH)
    with b.count(0, n_rows) as r:
        i = b.read(I64, rows, r)
        mine = b.at(kind, sums, b.mul(b.read(I64, node, i), n_codes))
        value = b.read(kind, values, i, align=8)
        own = b.at(I64, codes, b.mul(i, n_features))
        with b.count(0, n_features) as j:
            code = b.read(I64, own, j)
            b.write(b.fadd(b.read(kind, mine, code, align=8), value), mine, code, align=8)
    b.ret_void()
    address, number = ctypes.c_void_p, ctypes.c_int64
    signature = ctypes.CFUNCTYPE(None, address, number, address, address, number, number, address, address)
    return compile_function(str(module), "count", signature)
