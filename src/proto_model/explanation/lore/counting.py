"""Machine code for what growing a surrogate costs: sums per node and bin, and the best split of each node.

NumPy needs many passes over the same rows and sums for it, which takes a quarter to a half more CPU per
explanation.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from proto_model.explanation.interface import Floats, Ints
from proto_model.forest.emitter import BYTES, F64, I64, Emitter, constant, vector, write_function
from proto_model.forest.jit import compile_function

WIDTH = 4
"""Numbers that are summed per row: how many it counts for, its weight, and two weighted targets."""

_SUMS = vector(F64, WIDTH)
_C_TYPES: dict[Any, Any] = {I64: ctypes.c_int64, F64: ctypes.c_double, BYTES: ctypes.c_void_p}


def count(rows: Ints, node: Ints, codes: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """Sums of the values of some rows, per node and code, added in the order of the rows.

    `rows` are the indices of the rows to count, `node` the node of each of them; `codes` has a code per
    feature for every row, all features in one numbering, and `values` WIDTH numbers for every row. With
    `shape`, the number of nodes and of codes, the result has the shape (n_nodes, n_codes, WIDTH).
    """
    assert codes.flags.c_contiguous  # machine code cannot see it
    sums = np.zeros((*shape, WIDTH))
    _compiled("count", _write_count)(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1], shape[1],
        values.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums


def best_splits(sums: Floats, least: int) -> tuple[Floats, Ints]:
    """By how much the best split of each node lets the squared error fall, and the last code that goes left.

    `sums` has the shape (n_nodes, n_features, span, WIDTH), as from `count` with as many codes for each
    feature. The gain is minus infinity where no split leaves `least` rows on both sides.
    """
    n_nodes, n_features, span, _ = sums.shape
    gains, codes = np.empty(n_nodes), np.empty(n_nodes, dtype=np.int64)
    _compiled("best_splits", _write_best_splits)(
        sums.ctypes.data, n_nodes, n_features, span, least, gains.ctypes.data, codes.ctypes.data
    )
    return gains, codes


def _write_count(
    b: Emitter, rows: Any, n_rows: Any, node: Any, codes: Any, n_features: Any, n_codes: Any, *out: Any
) -> None:
    values, sums = out
    with b.count(0, n_rows) as r:
        i = b.read(I64, rows, r)
        mine = b.at(_SUMS, sums, b.mul(b.read(I64, node, r), n_codes))
        value = b.read(_SUMS, values, i, align=8)
        own = b.at(I64, codes, b.mul(i, n_features))
        with b.count(0, n_features) as j:
            code = b.read(I64, own, j)
            b.write(b.fadd(b.read(_SUMS, mine, code, align=8), value), mine, code, align=8)


def _write_best_splits(
    b: Emitter, sums: Any, n_nodes: Any, n_features: Any, span: Any, least: Any, gains: Any, codes: Any
) -> None:
    nothing = constant(_SUMS, 0.0)
    with b.count(0, n_nodes) as k:
        node = b.at(_SUMS, sums, b.mul(k, b.mul(n_features, span)))
        whole = b.variable(nothing)
        with b.count(0, span) as c:  # the first feature's codes, as every feature counts each row once
            b.store(b.fadd(b.load(whole), b.read(_SUMS, node, c, align=8)), whole)
        total = b.load(whole)
        best, best_code = b.variable(F64(float("-inf"))), b.variable(I64(0))
        with b.count(0, n_features) as feature:
            before = b.variable(nothing)
            with b.count(0, span) as c:
                code = b.add(b.mul(feature, span), c)
                left = b.fadd(b.load(before), b.read(_SUMS, node, code, align=8))
                b.store(left, before)
                right = b.fsub(total, left)
                sides = [
                    b.fcmp_ordered(">=", b.extract_element(side, I64(0)), least) for side in (left, right)
                ]
                with b.if_then(b.and_(*sides)):  # never at the last code: no row is right of it
                    gain = b.fadd(_explained(b, left), _explained(b, right))
                    better = b.fcmp_ordered(">", gain, b.load(best))
                    b.store(b.select(better, gain, b.load(best)), best)
                    b.store(b.select(better, code, b.load(best_code)), best_code)
        b.write(b.fsub(b.load(best), _explained(b, total)), gains, k)
        b.write(b.load(best_code), codes, k)


def _explained(b: Emitter, sums: Any) -> Any:
    """Part of the targets' squares that the means of a side explain: the squares of sums by the weight."""
    weight, *targets = (b.extract_element(sums, I64(place)) for place in range(1, WIDTH))
    first, second = (b.fmul(target, target) for target in targets)
    least = F64(1e-12)
    return b.fdiv(b.fadd(first, second), b.select(b.fcmp_ordered(">", weight, least), weight, least))


@cache
def _compiled(name: str, write: Any) -> Any:
    kinds = {
        "count": (BYTES, I64, BYTES, BYTES, I64, I64, BYTES, BYTES),
        "best_splits": (BYTES, I64, I64, I64, F64, BYTES, BYTES),
    }[name]
    signature = ctypes.CFUNCTYPE(None, *(_C_TYPES[kind] for kind in kinds))
    return compile_function(write_function(name, kinds, write), name, signature)
