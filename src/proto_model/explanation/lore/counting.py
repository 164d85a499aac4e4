"""Machine code for what growing a surrogate costs: sums per node and bin, and the best split of each node.

NumPy needs many passes over the same rows and sums, and a quarter to a half more CPU per explanation.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np

from proto_model.explanation.interface import Floats, Ints
from proto_model.forest.emitter import BYTES, F64, I64, Emitter, constant, vector, write_function
from proto_model.forest.jit import compile_function

WIDTHS = (4, 8)
"""Numbers that may be summed per row: how many it counts for, its weight, and two or six weighted targets."""

_C_TYPES: dict[Any, Any] = {I64: ctypes.c_int64, F64: ctypes.c_double, BYTES: ctypes.c_void_p}


class _Count(NamedTuple):
    """Arguments of the function that counts, by default their types."""

    rows: Any = BYTES
    n_rows: Any = I64
    node: Any = BYTES
    codes: Any = BYTES
    n_features: Any = I64
    n_codes: Any = I64
    values: Any = BYTES
    sums: Any = BYTES


class _Split(NamedTuple):
    """Arguments of the function that chooses splits, by default their types."""

    sums: Any = BYTES
    n_nodes: Any = I64
    n_features: Any = I64
    span: Any = I64
    least: Any = F64
    gains: Any = BYTES
    codes: Any = BYTES


def count(rows: Ints, node: Ints, codes: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """Sums of the values of some rows, per node and code, added in the order of the rows.

    `rows` are the indices of the rows to count, `node` the node of each of them; `codes` has a code per
    feature for every row, all features in one numbering, and `values` the same number of numbers,
    one of `WIDTHS`, for every row. With `shape`, the number of nodes and of codes, the result has the
    shape (n_nodes, n_codes, width).
    """
    assert codes.flags.c_contiguous  # machine code cannot see it
    sums = np.zeros((*shape, values.shape[1]))
    _compiled(_write_count, _Count, values.shape[1])(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1], shape[1],
        values.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums


def best_splits(sums: Floats, least: int) -> tuple[Floats, Ints]:
    """By how much the best split of each node lets the squared error fall, and the last code that goes left.

    `sums` has the shape (n_nodes, n_features, span, width), as from `count` with as many codes for each
    feature. The gain is minus infinity where no split leaves `least` rows on both sides.
    """
    n_nodes, n_features, span, width = sums.shape
    gains, codes = np.empty(n_nodes), np.empty(n_nodes, dtype=np.int64)
    _compiled(_write_best_splits, _Split, width)(
        sums.ctypes.data, n_nodes, n_features, span, least, gains.ctypes.data, codes.ctypes.data
    )
    return gains, codes


def _write_count(b: Emitter, given: _Count, sums: Any) -> None:
    with b.count(0, given.n_rows) as r:
        i = b.read(I64, given.rows, r)
        mine = b.at(sums, given.sums, b.mul(b.read(I64, given.node, r), given.n_codes))
        value = b.read(sums, given.values, i, align=8)
        own = b.at(I64, given.codes, b.mul(i, given.n_features))
        with b.count(0, given.n_features) as j:
            code = b.read(I64, own, j)
            # NumPy aligns arrays to less than a vector, so that each access has to say that 8 bytes must do.
            b.write(b.fadd(b.read(sums, mine, code, align=8), value), mine, code, align=8)


def _write_best_splits(b: Emitter, given: _Split, sums: Any) -> None:
    span, nothing = given.span, constant(sums, 0.0)
    with b.count(0, given.n_nodes) as k:
        node = b.at(sums, given.sums, b.mul(k, b.mul(given.n_features, span)))
        whole = b.variable(nothing)
        with b.count(0, span) as c:  # the first feature's codes, as every feature counts each row once
            b.store(b.fadd(b.load(whole), b.read(sums, node, c, align=8)), whole)
        total = b.load(whole)
        best, best_code = b.variable(F64(float("-inf"))), b.variable(I64(0))
        with b.count(0, given.n_features) as feature:
            before = b.variable(nothing)
            # One pass along a feature: each code in turn is the last that goes left.
            with b.count(0, span) as c:
                code = b.add(b.mul(feature, span), c)
                left = b.fadd(b.load(before), b.read(sums, node, code, align=8))
                b.store(left, before)
                right = b.fsub(total, left)
                sides = [
                    b.fcmp_ordered(">=", b.extract_element(side, I64(0)), given.least)
                    for side in (left, right)
                ]
                with b.if_then(b.and_(*sides)):  # never at the last code: no row is right of it
                    gain = b.fadd(_explained(b, left), _explained(b, right))
                    better = b.fcmp_ordered(">", gain, b.load(best))  # of equal splits, the first stays
                    b.store(b.select(better, gain, b.load(best)), best)
                    b.store(b.select(better, code, b.load(best_code)), best_code)
        # What the whole node explains is the same for all its splits, so it is taken off only here.
        b.write(b.fsub(b.load(best), _explained(b, total)), given.gains, k)
        b.write(b.load(best_code), given.codes, k)


def _explained(b: Emitter, sums: Any) -> Any:
    """Part of the targets' squares that the means of a side explain: the squares of sums by the weight."""
    weight, *targets = (b.extract_element(sums, I64(place)) for place in range(1, sums.type.count))
    squares = reduce(b.fadd, (b.fmul(target, target) for target in targets))
    least = F64(1e-12)
    return b.fdiv(squares, b.select(b.fcmp_ordered(">", weight, least), weight, least))


@cache
def _compiled(write: Callable[[Emitter, Any, Any], None], arguments: Callable[..., Any], width: int) -> Any:
    kinds, sums = arguments(), vector(F64, width)
    code = write_function("function", kinds, lambda b, *given: write(b, arguments(*given), sums))
    return compile_function(code, "function", ctypes.CFUNCTYPE(None, *(_C_TYPES[kind] for kind in kinds)))
