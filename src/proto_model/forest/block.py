"""The kernel for many rows, and both kernels compiled.

Rows are taken in blocks that fit a core's L2 cache. Each tree in turn answers for all rows of a block: its
top by bit masks (see `masks`), 64 rows at a time, and what lies below by a walk of sixteen rows at a time,
which hides how long memory takes. A walk by vector gathers was measured on a CPU with AVX-512: it took twice
as long.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir

from proto_model.forest.emitter import BYTES, F32, F64, I32, I64, constant, vector, write_function
from proto_model.forest.jit import compile_function
from proto_model.forest.kernels import Code, Shape, write_row_kernel
from proto_model.forest.masks import WORD_BITS

KERNELS = ("forest_row", "forest_block")
GROUP = 64  # rows that go through a tree's top together

_GROUP_BITS = 6
_LANES = 16  # width of the vectors of rows; LLVM cuts them to what the CPU has
_WALK_ROWS = 16  # rows that walk together
_LEAVES_AHEAD = 8
_PREFETCH_ROWS = 256  # enough rows to be worth fetching the whole next tree


class Kernels(NamedTuple):
    """Compiled kernels for one shape of forest, called with (fields, X, n_rows, proba, scratch)."""

    row: Any
    block: Any


@cache
def compiled(shape: Shape) -> Kernels:
    """Kernels for a shape of forest, compiled once per process."""
    address = ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, address, address, ctypes.c_int64, address, address)
    return Kernels(*(compile_function(write_kernel(shape, name), name, signature) for name in KERNELS))


def write_kernel(shape: Shape, name: str) -> str:
    """IR of one of `KERNELS` for one shape of forest."""
    kinds = [I64.as_pointer(), F64.as_pointer(), I64, F64.as_pointer(), BYTES]
    write_body = write_row_kernel if name == "forest_row" else _write_block_kernel
    return write_function(name, kinds, lambda b, fields, *rest: write_body(Code(b, shape, fields), *rest))


def scratch_bytes(n_block: int, n_used: int, feature_bits: int) -> int:
    """Size of the scratch memory of both kernels; `n_block` is a multiple of `GROUP`.

    It is touched only as far as it is needed: half as much when no value is missing.
    """
    n_slots = (1 << feature_bits) + n_used + 1  # of a row with a missing value
    return 4 * (2 * n_slots + 2) * (n_block + GROUP)


class _Block:
    """Scratch memory for a block of rows.

    `by_group` holds 64 float32 for each slot of each group of rows, `by_row` the slots of each row and of one
    more that is walked but does not count. `place` (int32) is where each row is in the tree at hand, `active`
    (int32) the rows that still walk.
    """

    def __init__(self, code: Code, scratch: Any, has_missing: Any) -> None:
        b, n_used, bits = code.b, code.fields["n_used"], code.shape.feature_bits
        self.has_missing = has_missing
        # Without the bit for missing values, every node tests the first half of the slots.
        self.slot_bits = b.select(has_missing, I64((2 << bits) - 1), I64((1 << bits) - 1))
        n_slots = b.add(n_used, b.select(has_missing, I64((1 << bits) + 1), I64(1)))
        self.row_bytes = b.mul(n_slots, I64(4))
        self.group_bytes = b.mul(n_slots, I64(4 * GROUP))
        n_rows = b.add(code.fields["n_block"], I64(GROUP))
        self.by_group = scratch
        self.by_row = b.offset(self.by_group, b.mul(self.row_bytes, n_rows))
        self.place = b.offset(self.by_row, b.mul(self.row_bytes, n_rows))
        self.active = b.offset(self.place, b.mul(n_rows, I64(4)))


def _write_block_kernel(code: Code, X: Any, n_rows: Any, proba: Any, scratch: Any) -> None:
    b, n_block, n_classes = code.b, code.fields["n_block"], I64(code.shape.n_classes)
    n_blocks = b.sdiv(b.add(n_rows, b.sub(n_block, I64(1))), n_block)
    with b.count(0, n_blocks) as k:
        first = b.mul(k, n_block)
        rest = b.sub(n_rows, first)
        n = b.select(b.icmp_signed("<", rest, n_block), rest, n_block)
        rows = code.row_of(X, first, code.fields["n_features"])
        sums = code.row_of(proba, first, n_classes)
        block = _Block(code, scratch, _has_missing(code, rows, n))
        _fill(code, block, rows, n)
        # The sums grow in `proba` itself, tree by tree in the forest's order, as scikit-learn adds them.
        with b.count(0, n) as i:
            code.clear(code.row_of(sums, i, n_classes))
        with b.count(0, code.fields["n_trees"]) as t:
            _add_tree(code, block, t, n, sums)
        with b.count(0, n) as i:
            row = code.row_of(sums, i, n_classes)
            code.divide(row, row)


def _has_missing(code: Code, X: Any, n: Any) -> Any:
    b = code.b
    found = b.variable(ir.IntType(1)(0))
    with b.count(0, n) as i, b.count(0, code.fields["n_used"]) as j:
        value = code.input(code.row_of(X, i, code.fields["n_features"]), j)
        b.store(b.or_(b.load(found), b.fcmp_unordered("uno", value, value)), found)
    return b.load(found)


def _fill(code: Code, block: _Block, X: Any, n: Any) -> None:
    # Both layouts are written: tops compare one slot of many rows, walks read many slots of one row.
    b, n_used = code.b, code.fields["n_used"]
    low = I64(1 << code.shape.feature_bits)
    with b.count(0, n) as i:
        row = code.row_of(X, i, code.fields["n_features"])
        slots = b.offset(block.by_row, b.mul(i, block.row_bytes))
        group = b.offset(block.by_group, b.mul(b.lshr(i, I64(_GROUP_BITS)), block.group_bytes))
        lane = b.at(F32, group, b.and_(i, I64(GROUP - 1)))
        with b.count(0, n_used) as j:
            value = code.input(row, j)
            b.write(value, slots, j)
            b.write(value, lane, b.mul(j, I64(GROUP)))
        with b.if_then(block.has_missing), b.count(0, n_used) as j:
            value = code.missing_as_low(b.read(F32, slots, j))
            b.write(value, slots, b.add(j, low))
            b.write(value, lane, b.mul(b.add(j, low), I64(GROUP)))
        b.write(F32(float("-inf")), slots, n_used)
    idle = b.offset(block.by_row, b.mul(code.fields["n_block"], block.row_bytes))
    b.write(F32(float("-inf")), idle, n_used)


def _add_tree(code: Code, block: _Block, t: Any, n: Any, sums: Any) -> None:
    b = code.b
    tree, following = code.tree(t), b.add(t, I64(1))
    # A walk jumps about in its tree. The next one is fetched while this one is worked on.
    is_whole = b.icmp_signed("!=", b.read(I64, code.array("is_whole"), t), I64(0))
    with b.if_then(b.and_(b.not_(is_whole), b.icmp_signed(">=", n, I64(_PREFETCH_ROWS)))):
        next_tree, end = code.tree(following), code.tree(b.add(following, I64(1)))
        with b.count(0, b.sub(b.ptrtoint(end, I64), b.ptrtoint(next_tree, I64)), 64) as line:
            b.prefetch(b.offset(next_tree, line))
    with b.count(0, n, GROUP) as first:
        _take_exits(code, block, t, first)
    with b.if_then(b.not_(is_whole)):
        last = b.sub(
            b.read(I64, code.array("tree_start"), following), b.read(I64, code.array("tree_start"), t)
        )
        _walk_on(code, block, tree, b.sub(last, I64(1)), n)
    with b.count(0, n) as i:
        if code.shape.has_runs:  # their places are far apart
            ahead = b.add(i, I64(_LEAVES_AHEAD))
            ahead = b.select(b.icmp_signed("<", ahead, n), ahead, i)
            b.prefetch(code.leaf(tree, b.wide(b.read(I32, block.place, ahead))))
        place = b.wide(b.read(I32, block.place, i))
        code.add_leaf(tree, place, code.row_of(sums, i, I64(code.shape.n_classes)))


def _take_exits(code: Code, block: _Block, t: Any, first: Any) -> None:
    """Take a group of rows through a tree's top: the place of each becomes the node behind its exit."""
    b = code.b
    words = vector(I32, _LANES)
    parts = range(GROUP // _LANES)
    group = b.offset(block.by_group, b.mul(b.lshr(first, I64(_GROUP_BITS)), block.group_bytes))
    places = b.at(I32, block.place, first)
    exits = [b.variable(constant(words, 0)) for _ in parts]
    first_word = b.read(I64, code.array("tree_word"), t)
    n_words = b.sub(b.read(I64, code.array("tree_word"), b.add(t, I64(1))), first_word)

    # The lowest word with a bit left holds the exit, so the words are taken from the last to the first.
    with b.count(0, n_words) as done:
        place_of_word = b.sub(b.sub(n_words, done), I64(1))
        word = b.add(first_word, place_of_word)
        bits = [b.variable(constant(words, -1)) for _ in parts]
        start = b.read(I64, code.array("word_test"), word)
        stop = b.read(I64, code.array("word_test"), b.add(word, I64(1)))
        # Masks only clear bits, so that the order of the tests does not matter.
        with b.count(start, stop) as test:
            threshold = b.splat(b.read(F32, code.array("threshold"), test), _LANES)
            mask = b.splat(b.read(I32, code.array("mask"), test), _LANES)
            slot = b.and_(b.wide(b.read(I32, code.array("slot"), test)), block.slot_bits)
            column = b.at(F32, group, b.mul(slot, I64(GROUP)))
            for part in parts:
                values = b.read(vector(F32, _LANES), b.at(F32, column, part * _LANES), 0, 4)
                old = b.load(bits[part])
                to_right = b.fcmp_unordered(">", values, threshold)
                b.store(b.select(to_right, b.and_(old, mask), old), bits[part])
        shift = b.splat(b.trunc(b.mul(place_of_word, I64(WORD_BITS)), I32), _LANES)
        for part in parts:
            left = b.load(bits[part])
            exit_here = b.add(b.trailing_zeros(left), shift)
            is_here = b.icmp_unsigned("!=", left, constant(words, 0))
            b.store(b.select(is_here, exit_here, b.load(exits[part])), exits[part])

    for part in parts:
        b.write(b.load(exits[part]), b.at(I32, places, part * _LANES), 0, 4)
    nodes = b.at(I32, code.array("exit"), b.mul(first_word, I64(WORD_BITS)))
    with b.count(0, GROUP) as lane:
        b.write(b.read(I32, nodes, b.wide(b.read(I32, places, lane))), places, lane)


def _walk_on(code: Code, block: _Block, tree: Any, last_node: Any, n: Any) -> None:
    """Walk all rows of a block from where they are to their leaves.

    After every few steps the rows that have arrived leave the list of those that walk. The list is filled up
    with a row that stands in a leaf: the last node of a tree, numbered breadth first, is always one.
    """
    b = code.b
    idle = code.fields["n_block"]
    b.write(b.trunc(last_node, I32), block.place, idle)
    with b.count(0, n) as i:
        b.write(b.trunc(i, I32), block.active, i)
    n_active = b.variable(n)
    with b.repeat() as again:
        n_before = b.load(n_active)
        with b.count(0, _WALK_ROWS) as more:
            b.write(b.trunc(idle, I32), block.active, b.add(n_before, more))
        b.store(I64(0), n_active)
        with b.count(0, n_before, _WALK_ROWS) as first:
            rows = [b.wide(b.read(I32, block.active, b.add(first, I64(k)))) for k in range(_WALK_ROWS)]
            pairs = [(tree, b.offset(block.by_row, b.mul(row, block.row_bytes))) for row in rows]
            places = [b.variable(b.wide(b.read(I32, block.place, row))) for row in rows]
            moved = code.walk(pairs, block.slot_bits, places)
            # Each row is written to the end of the list, which grows only if the row still moves: no jump
            # to be foretold. The list never overtakes the rows being read.
            for row, place, moves in zip(rows, places, moved, strict=True):
                b.write(b.trunc(b.load(place), I32), block.place, row)
                count = b.load(n_active)
                b.write(b.trunc(row, I32), block.active, count)
                b.store(b.add(count, b.wide(moves)), n_active)
        again(b.icmp_signed("!=", b.load(n_active), I64(0)))
