"""The walk through the forest as LLVM IR, written for one shape of forest.

Two kernels take (fields, X, n_rows, proba, scratch): `forest_row`, for a few rows, is in this module, and
`forest_block`, for many, in `block`. Both first turn inputs into *slots* of float32: one for each used
feature, then one that holds -inf for the leaves to test. Where values are missing there are as many again,
2 ** feature_bits further on, for the nodes that send a missing value to the left: there it is -inf. In the
first half it stays NaN, and "not at most the threshold" is then true. So one test serves all nodes, and the
slot that a node tests is simply the low bits of its link.

Trees are added up in their order, and the sum is divided at the end, so that the result is scikit-learn's to
the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from proto_model.forest.emitter import BYTES, F32, F64, I32, I64, Emitter, constant, vector
from proto_model.forest.leaves import ENTRY, LAST_ENTRY

FIELDS = (  # what a kernel is told about a forest, each as one int64: a number or an address
    "n_trees", "n_padded", "n_features", "n_used", "n_block", "columns", "tree_start", "nodes", "leaves",
    "tree_word", "word_test", "threshold", "slot", "mask", "exit", "is_whole",
)  # fmt: skip
ROW_TREES = 12  # trees that one row walks through together

_STEPS = 4  # steps between two looks whether a walk is over
_UNROLLED_CLASSES = 16
_VECTOR_CLASSES = 8


@dataclass(frozen=True)
class Shape:
    """What a kernel is written for: classes, and how a node is packed."""

    n_classes: int
    feature_bits: int
    is_wide: bool
    has_runs: bool = False  # leaves are runs of entries, see `leaves`


class Code:
    """What both kernels are made of; `fields` is the address of one int64 for each of `FIELDS`."""

    def __init__(self, b: Emitter, shape: Shape, fields: Any) -> None:
        self.b = b
        self.shape = shape
        self.fields = {name: b.read(I64, fields, place) for place, name in enumerate(FIELDS)}
        self.node_bytes = 16 if shape.is_wide else 8

    def array(self, name: str) -> Any:
        """Array of the forest."""
        return self.b.inttoptr(self.fields[name], BYTES)

    def tree(self, t: Any) -> Any:
        """Address of a tree's first node."""
        start = self.b.read(I64, self.array("tree_start"), t)
        return self.b.offset(self.array("nodes"), self.b.mul(start, I64(self.node_bytes)))

    def input(self, row: Any, j: Any) -> Any:
        """Value of the j-th used feature in a row of `X`, rounded to float32 as scikit-learn does."""
        column = self.b.read(I32, self.array("columns"), j)
        return self.b.fptrunc(self.b.read(F64, row, self.b.wide(column)), F32)

    def missing_as_low(self, value: Any) -> Any:
        """The value, or -inf if it is missing."""
        return self.b.select(self.b.fcmp_unordered("uno", value, value), F32(float("-inf")), value)

    def step(self, tree: Any, slots: Any, slot_bits: Any, place: Any) -> Any:
        """Place of the child that a row goes to; a leaf's own place, because its link leads to itself."""
        b = self.b
        node = b.offset(tree, b.mul(place, I64(self.node_bytes)))
        threshold = b.read(F32, node, 0)
        link = b.read(I64, node, 1) if self.shape.is_wide else b.wide(b.read(I32, node, 1))
        value = b.read(F32, slots, b.and_(link, slot_bits))
        left = b.lshr(link, I64(self.shape.feature_bits + 1))
        # "Unordered" is true for a missing value: it goes right unless the link names the slot with -inf.
        return b.add(left, b.wide(b.fcmp_unordered(">", value, threshold)))

    def walk(self, pairs: Sequence[tuple[Any, Any]], slot_bits: Any, places: Sequence[Any]) -> list[Any]:
        """Take (tree, slots) pairs some steps on, all in step; for each, whether it moved in the last one."""
        b = self.b

        def step() -> list[Any]:
            # All steps are computed before any is stored, so that their memory accesses overlap.
            after = [
                self.step(tree, slots, slot_bits, b.load(place))
                for (tree, slots), place in zip(pairs, places, strict=True)
            ]
            for place, value in zip(places, after, strict=True):
                b.store(value, place)
            return after

        with b.count(0, _STEPS - 1):
            step()
        before = [b.load(place) for place in places]
        # A leaf leads to itself: a row that has not moved in the last step has arrived.
        return [b.icmp_signed("!=", old, new) for old, new in zip(before, step(), strict=True)]

    def leaf(self, tree: Any, place: Any) -> Any:
        """Address of the distribution of the leaf at a place."""
        b = self.b
        leaf = b.wide(b.read(I32, b.offset(tree, b.mul(place, I64(self.node_bytes))), 0))
        if self.shape.has_runs:
            return b.offset(self.array("leaves"), b.mul(leaf, I64(ENTRY.itemsize)))
        return b.at(F64, self.array("leaves"), b.mul(leaf, I64(self.shape.n_classes)))

    def add_leaf(self, tree: Any, place: Any, sums: Any) -> None:
        """Add the distribution of the leaf at a place to the sums of one row."""
        b = self.b
        values = self.leaf(tree, place)
        if self.shape.has_runs:
            self._add_run(values, sums)
            return
        self._set_sums(
            sums, lambda kind, c: b.fadd(*(b.read(kind, b.at(F64, x, c), 0, 8) for x in (sums, values)))
        )

    def _add_run(self, first: Any, sums: Any) -> None:
        b = self.b
        entry = b.variable(first)
        with b.repeat() as again:
            at = b.load(entry)
            label = b.read(I32, at, 2)
            share = b.read(F64, at, 0, 4)  # entries are packed
            total = b.at(F64, sums, b.wide(b.and_(label, I32(LAST_ENTRY - 1))))
            b.store(b.fadd(b.load(total), share), total)
            b.store(b.offset(at, ENTRY.itemsize), entry)
            again(b.icmp_signed(">=", label, I32(0)))

    def clear(self, sums: Any) -> None:
        """Set the sums of one row to zero."""
        self._set_sums(sums, lambda kind, _: constant(kind, 0.0))

    def divide(self, sums: Any, proba: Any) -> None:
        """Mean over the trees, from the sums of one row."""
        b = self.b
        n_trees = b.uitofp(self.fields["n_trees"], F64)
        self._set_sums(
            proba,
            lambda kind, c: b.fdiv(b.read(kind, b.at(F64, sums, c), 0, 8), b.splat(n_trees, kind.count)),
        )

    def row_of(self, array: Any, i: Any, n_columns: Any) -> Any:
        """Row of a float64 matrix."""
        return self.b.at(F64, array, self.b.mul(i, n_columns))

    def _set_sums(self, target: Any, value: Callable[[Any, Any], Any]) -> None:
        """Set one float64 per class to `value(vector type, first class)`."""
        # Few classes are written out as short vectors; a loop keeps the code small where there are many.
        n_classes, first_left = self.shape.n_classes, 0
        if n_classes > _UNROLLED_CLASSES:
            first_left = n_classes // _VECTOR_CLASSES * _VECTOR_CLASSES
            with self.b.count(0, first_left, _VECTOR_CLASSES) as c:
                self.b.write(value(vector(F64, _VECTOR_CLASSES), c), self.b.at(F64, target, c), 0, 8)
        for first in range(first_left, n_classes, _VECTOR_CLASSES):
            kind = vector(F64, min(_VECTOR_CLASSES, n_classes - first))
            self.b.write(value(kind, I64(first)), self.b.at(F64, target, first), 0, 8)


def write_row_kernel(code: Code, X: Any, n_rows: Any, proba: Any, slots: Any) -> None:
    """Body of `forest_row`: each row by itself, through several trees; `slots` has room for one row's."""
    b, fields, shape = code.b, code.fields, code.shape
    n_used, n_classes = fields["n_used"], I64(shape.n_classes)
    with b.goto_entry_block():  # the one place where LLVM turns stack memory into registers
        sums = b.alloca(ir.ArrayType(F64, shape.n_classes))
    b.write(F32(float("-inf")), slots, n_used)  # what leaves test
    low_slots = b.at(F32, slots, 1 << shape.feature_bits)
    with b.count(0, n_rows) as i:
        row = code.row_of(X, i, fields["n_features"])
        with b.count(0, n_used) as j:
            value = code.input(row, j)
            b.write(value, slots, j)
            b.write(code.missing_as_low(value), low_slots, j)
        code.clear(sums)
        # Trees depend on nothing of each other: while one waits for memory, the others walk.
        with b.count(0, fields["n_padded"], ROW_TREES) as t:
            trees = [code.tree(b.add(t, I64(lane))) for lane in range(ROW_TREES)]
            places = [b.variable(I64(0)) for _ in trees]
            with b.repeat() as again:
                pairs = [(tree, slots) for tree in trees]
                again(functools.reduce(b.or_, code.walk(pairs, I64((2 << shape.feature_bits) - 1), places)))
            for tree, place in zip(trees, places, strict=True):
                code.add_leaf(tree, b.load(place), sums)
        code.divide(sums, code.row_of(proba, i, n_classes))
