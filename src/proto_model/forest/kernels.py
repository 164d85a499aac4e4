"""The walk through the forest as LLVM IR, written for one shape of forest.

`forest_row` takes a few rows, one after the other, eight trees at a time. `forest_block` takes many: rows are
copied into a block as float32, then each tree in turn answers for all rows of the block, its top by bit masks
and the rest by a walk of sixteen rows at a time, which hides how long memory takes. Trees are added up in
their order, so that sums are scikit-learn's to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

__all__ = ["FIELDS", "GROUP", "ROW_TREES", "Shape", "build_module", "scratch_bytes"]

GROUP = 64  # rows that go through a tree's top together
FIELDS = (  # what a kernel is told about a forest, each as one int64: a number or an address
    "n_trees", "n_padded", "n_features", "n_used", "columns", "tree_start", "nodes", "leaves",
    "tree_word", "word_test", "word_right", "threshold", "feature", "mask", "exit", "is_whole", "n_block",
)  # fmt: skip

ROW_TREES = 8  # trees that one row walks through together
_WALK_ROWS = 16  # rows that walk through one tree together
_STEPS = 4  # steps between two looks whether a walk is over
_UNROLLED_CLASSES = 16
_LANES = 16  # width of the vectors of rows; LLVM cuts them to what the CPU has

_i1, _i32, _i64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_f32, _f64 = ir.FloatType(), ir.DoubleType()
_bytes = ir.IntType(8).as_pointer()


@dataclass(frozen=True)
class Shape:
    """What a kernel is written for: classes, and how a node is packed."""

    n_classes: int
    feature_bits: int
    is_wide: bool


class _Emitter(ir.IRBuilder):  # type: ignore[misc]  # llvmlite has no types
    """IR builder with arrays, loops and variables."""

    def at(self, kind: ir.Type, base: Any, index: Any) -> Any:
        """Pointer to element `index` of an array of `kind`."""
        array = self.bitcast(base, kind.as_pointer())
        return self.gep(array, [_whole(index)])

    def read(self, kind: ir.Type, base: Any, index: Any, align: int | None = None) -> Any:
        return self.load(self.at(kind, base, index), align=align)

    def write(self, value: Any, base: Any, index: Any, align: int | None = None) -> None:
        self.store(value, self.at(value.type, base, index), align=align)

    def offset(self, base: Any, n_bytes: Any) -> Any:
        return self.gep(self.bitcast(base, _bytes), [_whole(n_bytes)])

    def variable(self, value: Any) -> Any:
        """Variable that starts with a value; LLVM turns it into a register."""
        with self.goto_entry_block():
            place = self.alloca(value.type)
        self.store(value, place)
        return place

    def wide(self, value: Any) -> Any:
        return self.zext(value, _i64)

    def splat(self, value: Any, n: int = _LANES) -> Any:
        """Vector with the same value in all lanes."""
        kind = ir.VectorType(value.type, n)
        first = self.insert_element(ir.Constant(kind, ir.Undefined), value, _i32(0))
        return self.shuffle_vector(
            first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_i32, n), [0] * n)
        )

    def trailing_zeros(self, words: Any) -> Any:
        """Number of zero bits below the lowest set bit, for each word of a vector."""
        name = f"llvm.cttz.v{words.type.count}i{words.type.element.width}"
        function = self.module.globals.get(name) or ir.Function(
            self.module, ir.FunctionType(words.type, [words.type, _i1]), name=name
        )
        return self.call(function, [words, _i1(0)])

    @contextmanager
    def count(self, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
        """Loop over `range(start, stop, step)`."""
        before = self.block
        head = self.append_basic_block("head")
        body = self.append_basic_block("body")
        done = self.append_basic_block("done")
        self.branch(head)
        self.position_at_end(head)
        index = self.phi(_i64)
        index.add_incoming(_whole(start), before)
        self.cbranch(self.icmp_signed("<", index, _whole(stop)), body, done)
        self.position_at_end(body)
        yield index
        following = self.add(index, _whole(step))
        index.add_incoming(following, self.block)
        self.branch(head)
        self.position_at_end(done)

    @contextmanager
    def repeat(self) -> Iterator[Callable[[Any], None]]:
        """Loop that ends when the condition handed to the yielded function is false."""
        body = self.append_basic_block("again")
        done = self.append_basic_block("over")
        conditions: list[Any] = []
        self.branch(body)
        self.position_at_end(body)
        yield conditions.append
        self.cbranch(conditions[0], body, done)
        self.position_at_end(done)


def _whole(value: Any) -> Any:
    return _i64(value) if isinstance(value, int) else value


def build_module(shape: Shape) -> str:
    """IR of `forest_row` and `forest_block`, both `void (fields, X, n_rows, proba, scratch)`.

    `scratch` holds, for `forest_row`, n_used + 1 float32; for `forest_block` see `_Block`.
    """
    module = ir.Module(name="forest")
    arguments = [_i64.as_pointer(), _f64.as_pointer(), _i64, _f64.as_pointer(), _bytes]
    for name, write in (("forest_row", _write_row), ("forest_block", _write_block)):
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name=name)
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        b = _Emitter(function.append_basic_block("entry"))
        body = b.append_basic_block("start")
        b.position_at_end(body)
        write(b, shape, _Forest(b, function.args[0]), *function.args[1:])
        b.ret_void()
        with b.goto_block(function.entry_basic_block):
            b.branch(body)
    return str(module)


class _Forest:
    """Fields of the forest, loaded once."""

    def __init__(self, b: _Emitter, fields: Any) -> None:
        self._values = {name: b.read(_i64, fields, place) for place, name in enumerate(FIELDS)}
        self._b = b

    def number(self, name: str) -> Any:
        return self._values[name]

    def array(self, name: str) -> Any:
        return self._b.inttoptr(self._values[name], _bytes)


def _step(b: _Emitter, shape: Shape, tree: Any, row: Any, place: Any, missing: bool) -> Any:
    """Place of the child that a row goes to, or the same place in a leaf; places are i64."""
    stride, link_at, link_type = (16, 8, _i64) if shape.is_wide else (8, 4, _i32)
    node = b.offset(tree, b.mul(place, _i64(stride)))
    threshold = b.read(_f32, node, 0)
    link = b.read(link_type, b.offset(node, link_at), 0)
    link = link if shape.is_wide else b.wide(link)
    feature = b.and_(link, _i64((1 << shape.feature_bits) - 1))
    child = b.lshr(link, _i64(shape.feature_bits + 1))
    value = b.read(_f32, row, feature)
    to_right = b.fcmp_ordered(">", value, threshold)
    if missing:
        sent_right = b.icmp_unsigned("==", b.and_(link, _i64(1 << shape.feature_bits)), _i64(0))
        to_right = b.or_(to_right, b.and_(b.fcmp_unordered("uno", value, value), sent_right))
    return b.add(child, b.wide(to_right))


def _leaf(b: _Emitter, shape: Shape, tree: Any, place: Any) -> Any:
    """Row of the table of leaves behind the leaf at a place."""
    return b.wide(b.read(_i32, b.offset(tree, b.mul(place, _i64(16 if shape.is_wide else 8))), 0))


def _each_class(b: _Emitter, shape: Shape, change: Callable[[Any, int], None]) -> None:
    """Call `change(first class, width)` until all classes had their turn."""
    if shape.n_classes <= _UNROLLED_CLASSES:
        for first in range(0, shape.n_classes, 8):
            change(_i64(first), min(8, shape.n_classes - first))
    else:
        with b.count(0, shape.n_classes) as c:
            change(c, 1)


def _add_leaf(b: _Emitter, shape: Shape, forest: _Forest, leaf: Any, sums: Any) -> None:
    """Add a leaf's distribution to the sums of one row."""
    values = b.at(_f64, forest.array("leaves"), b.mul(leaf, _i64(shape.n_classes)))

    def add(first: Any, width: int) -> None:
        kind = ir.VectorType(_f64, width)
        old, more = (b.read(kind, b.at(_f64, part, first), 0, align=8) for part in (sums, values))
        b.write(b.fadd(old, more), b.at(_f64, sums, first), 0, align=8)

    _each_class(b, shape, add)


def _set_zero(b: _Emitter, shape: Shape, sums: Any) -> None:
    def clear(first: Any, width: int) -> None:
        zeros = ir.Constant(ir.VectorType(_f64, width), [0.0] * width)
        b.write(zeros, b.at(_f64, sums, first), 0, align=8)

    _each_class(b, shape, clear)


def _divide(b: _Emitter, shape: Shape, forest: _Forest, sums: Any, proba: Any) -> None:
    """Mean over the trees."""
    n_trees = b.uitofp(forest.number("n_trees"), _f64)

    def divide(first: Any, width: int) -> None:
        total = b.read(ir.VectorType(_f64, width), b.at(_f64, sums, first), 0, align=8)
        b.write(b.fdiv(total, b.splat(n_trees, width)), b.at(_f64, proba, first), 0, align=8)

    _each_class(b, shape, divide)


def _read_float(b: _Emitter, forest: _Forest, row: Any, j: Any) -> Any:
    """Value of the j-th used feature in a row of `X`, rounded to float32 as scikit-learn does."""
    column = b.read(_i32, forest.array("columns"), j)
    return b.fptrunc(b.read(_f64, row, b.wide(column)), _f32)


def _write_row(b: _Emitter, shape: Shape, forest: _Forest, X: Any, n_rows: Any, proba: Any, row: Any) -> None:
    """Body of `forest_row`."""
    with b.goto_entry_block():
        sums = b.alloca(_f64, shape.n_classes)
    n_used = forest.number("n_used")
    b.write(_f32(float("-inf")), row, n_used)
    with b.count(0, n_rows) as i:
        source = b.at(_f64, X, b.mul(i, forest.number("n_features")))
        is_missing = b.variable(_i1(0))
        with b.count(0, n_used) as j:
            value = _read_float(b, forest, source, j)
            b.write(value, row, j)
            b.store(b.or_(b.load(is_missing), b.fcmp_unordered("uno", value, value)), is_missing)
        _set_zero(b, shape, sums)
        with b.if_else(b.load(is_missing)) as branches:
            for branch, missing in zip(branches, (True, False), strict=True):
                with branch:
                    _row_through_trees(b, shape, forest, row, sums, missing)
        _divide(b, shape, forest, sums, b.at(_f64, proba, b.mul(i, _i64(shape.n_classes))))


def _row_through_trees(
    b: _Emitter, shape: Shape, forest: _Forest, row: Any, sums: Any, missing: bool
) -> None:
    with b.count(0, forest.number("n_padded"), ROW_TREES) as t:
        trees = [_tree(b, shape, forest, b.add(t, _i64(lane))) for lane in range(ROW_TREES)]
        places = [b.variable(_i64(0)) for _ in trees]
        _walk(b, shape, [(tree, row) for tree in trees], places, missing)
        for tree, place in zip(trees, places, strict=True):
            _add_leaf(b, shape, forest, _leaf(b, shape, tree, b.load(place)), sums)


def _walk(
    b: _Emitter, shape: Shape, pairs: Sequence[tuple[Any, Any]], places: Sequence[Any], missing: bool
) -> None:
    """Walk several (tree, row) pairs in step until all are in leaves."""
    with b.repeat() as again:
        before = after = [b.load(place) for place in places]
        for _ in range(_STEPS):
            before = after
            after = [
                _step(b, shape, tree, row, place, missing)
                for (tree, row), place in zip(pairs, before, strict=True)
            ]
        moved = _i64(0)
        for place, old, new in zip(places, before, after, strict=True):
            b.store(new, place)
            moved = b.or_(moved, b.xor(old, new))
        again(b.icmp_signed("!=", moved, _i64(0)))


def _tree(b: _Emitter, shape: Shape, forest: _Forest, t: Any) -> Any:
    """Address of a tree's first node."""
    start = b.read(_i64, forest.array("tree_start"), t)
    return b.offset(forest.array("nodes"), b.mul(start, _i64(16 if shape.is_wide else 8)))


class _Block:
    """Parts of the scratch memory for a block of rows.

    `by_feature`: float32, for each group of 64 rows, for each feature, the 64 values.
    `by_row`: float32, for each row (and one more that is never read), n_used features and -inf.
    `place`: int32, where each row is in the tree at hand.
    `active`: int32, rows that are still walking.
    """

    def __init__(self, b: _Emitter, forest: _Forest, scratch: Any) -> None:
        n_block, n_used = forest.number("n_block"), forest.number("n_used")
        self.row_bytes = b.mul(b.add(n_used, _i64(1)), _i64(4))
        self.group_bytes = b.mul(n_used, _i64(4 * GROUP))
        n_rows = b.add(n_block, _i64(GROUP))
        self.by_feature = scratch
        self.by_row = b.offset(self.by_feature, b.mul(self.group_bytes, b.sdiv(n_block, _i64(GROUP))))
        self.place = b.offset(self.by_row, b.mul(self.row_bytes, n_rows))
        self.active = b.offset(self.place, b.mul(n_rows, _i64(4)))


def scratch_bytes(n_block: int, n_used: int) -> int:
    """Size of the scratch memory of `forest_block`; `n_block` is a multiple of `GROUP`."""
    n_rows = n_block + GROUP
    return 4 * (n_block * n_used + n_rows * (n_used + 1) + 2 * n_rows)


def _write_block(
    b: _Emitter, shape: Shape, forest: _Forest, X: Any, n_rows: Any, proba: Any, scratch: Any
) -> None:
    """Body of `forest_block`."""
    block = _Block(b, forest, scratch)
    n_block = forest.number("n_block")
    n_blocks = b.sdiv(b.add(n_rows, b.sub(n_block, _i64(1))), n_block)
    with b.count(0, n_blocks) as k:
        first = b.mul(k, n_block)
        rest = b.sub(n_rows, first)
        n = b.select(b.icmp_signed("<", rest, n_block), rest, n_block)
        source = b.at(_f64, X, b.mul(first, forest.number("n_features")))
        target = b.at(_f64, proba, b.mul(first, _i64(shape.n_classes)))
        is_missing = _fill_block(b, shape, forest, block, source, n, target)
        with b.if_else(is_missing) as branches:
            for branch, missing in zip(branches, (True, False), strict=True):
                with branch, b.count(0, forest.number("n_trees")) as t:
                    _block_through_tree(b, shape, forest, block, t, n, target, missing)
        with b.count(0, n) as i:
            row = b.at(_f64, target, b.mul(i, _i64(shape.n_classes)))
            _divide(b, shape, forest, row, row)


def _fill_block(b: _Emitter, shape: Shape, forest: _Forest, block: _Block, X: Any, n: Any, proba: Any) -> Any:
    """Copy rows into the block and set their sums to zero; true when a value is missing."""
    is_missing = b.variable(_i1(0))
    with b.count(0, n) as i:
        source = b.at(_f64, X, b.mul(i, forest.number("n_features")))
        row = b.offset(block.by_row, b.mul(i, block.row_bytes))
        group = b.offset(block.by_feature, b.mul(b.lshr(i, _i64(6)), block.group_bytes))
        lane = b.at(_f32, group, b.and_(i, _i64(GROUP - 1)))
        with b.count(0, forest.number("n_used")) as j:
            value = _read_float(b, forest, source, j)
            b.write(value, row, j)
            b.write(value, lane, b.mul(j, _i64(GROUP)))
            b.store(b.or_(b.load(is_missing), b.fcmp_unordered("uno", value, value)), is_missing)
        b.write(_f32(float("-inf")), row, forest.number("n_used"))
        _set_zero(b, shape, b.at(_f64, proba, b.mul(i, _i64(shape.n_classes))))
    return b.load(is_missing)


def _block_through_tree(
    b: _Emitter, shape: Shape, forest: _Forest, block: _Block, t: Any, n: Any, proba: Any, missing: bool
) -> None:
    """Add one tree to the sums of all rows of a block."""
    tree = _tree(b, shape, forest, t)
    with b.count(0, n, GROUP) as first:
        _find_exits(b, forest, block, t, first, missing)
    is_whole = b.icmp_signed("!=", b.read(_i64, forest.array("is_whole"), t), _i64(0))
    with b.if_then(b.not_(is_whole)):
        _walk_on(b, shape, forest, block, t, tree, n, missing)
    with b.count(0, n) as i:
        leaf = _leaf(b, shape, tree, b.wide(b.read(_i32, block.place, i)))
        _add_leaf(b, shape, forest, leaf, b.at(_f64, proba, b.mul(i, _i64(shape.n_classes))))


def _find_exits(b: _Emitter, forest: _Forest, block: _Block, t: Any, first: Any, missing: bool) -> None:
    """Take a group of rows through a tree's top: the place of each row becomes its exit's node."""
    words = ir.VectorType(_i32, _LANES)
    values = ir.VectorType(_f32, _LANES)
    n_vectors = GROUP // _LANES
    group = b.offset(block.by_feature, b.mul(b.lshr(first, _i64(6)), block.group_bytes))
    places = b.at(_i32, block.place, first)
    full = ir.Constant(words, [-1] * _LANES)
    zero = ir.Constant(words, [0] * _LANES)
    exits = [b.variable(zero) for _ in range(n_vectors)]
    bits = [b.variable(full) for _ in range(n_vectors)]
    first_word = b.read(_i64, forest.array("tree_word"), t)
    n_words = b.sub(b.read(_i64, forest.array("tree_word"), b.add(t, _i64(1))), first_word)

    def clear_bits(start: Any, stop: Any, is_right: Callable[[Any, Any], Any]) -> None:
        with b.count(start, stop) as test:
            threshold = b.splat(b.read(_f32, forest.array("threshold"), test))
            kept = b.splat(b.read(_i32, forest.array("mask"), test))
            feature = b.wide(b.read(_i32, forest.array("feature"), test))
            column = b.at(_f32, group, b.mul(feature, _i64(GROUP)))
            for v in range(n_vectors):
                value = b.read(values, b.at(_f32, column, v * _LANES), 0, align=4)
                old = b.load(bits[v])
                b.store(b.select(is_right(value, threshold), b.and_(old, kept), old), bits[v])

    # The lowest word with a bit left holds the exit, so the words are taken from the last to the first.
    with b.count(0, n_words) as done:
        within = b.sub(b.sub(n_words, done), _i64(1))
        word = b.add(first_word, within)
        for part in bits:
            b.store(full, part)
        start = b.read(_i64, forest.array("word_test"), word)
        stop = b.read(_i64, forest.array("word_test"), b.add(word, _i64(1)))
        if missing:
            middle = b.read(_i64, forest.array("word_right"), word)
            clear_bits(start, middle, lambda value, threshold: b.fcmp_ordered(">", value, threshold))
            clear_bits(middle, stop, lambda value, threshold: b.fcmp_unordered(">", value, threshold))
        else:
            clear_bits(start, stop, lambda value, threshold: b.fcmp_ordered(">", value, threshold))
        shift = b.splat(b.trunc(b.mul(within, _i64(32)), _i32))
        for part, exit_ in zip(bits, exits, strict=True):
            left = b.load(part)
            here = b.add(b.trailing_zeros(left), shift)
            b.store(b.select(b.icmp_unsigned("!=", left, zero), here, b.load(exit_)), exit_)
    for v, exit_ in enumerate(exits):
        b.write(b.load(exit_), b.at(_i32, places, v * _LANES), 0, align=4)
    nodes = b.at(_i32, forest.array("exit"), b.mul(first_word, _i64(32)))
    with b.count(0, GROUP) as lane:
        b.write(b.read(_i32, nodes, b.wide(b.read(_i32, places, lane))), places, lane)


def _walk_on(
    b: _Emitter, shape: Shape, forest: _Forest, block: _Block, t: Any, tree: Any, n: Any, missing: bool
) -> None:
    """Walk all rows of a block from where they are to their leaves.

    After every few steps the rows that have arrived leave the list of those that walk. The list is filled up
    with a row that stands in a leaf: the last node of a tree, numbered breadth first, is always one.
    """
    with b.count(0, n) as i:
        b.write(b.trunc(i, _i32), block.active, i)
    end = b.read(_i64, forest.array("tree_start"), b.add(t, _i64(1)))
    last = b.sub(b.sub(end, b.read(_i64, forest.array("tree_start"), t)), _i64(1))
    idle = forest.number("n_block")
    b.write(b.trunc(last, _i32), block.place, idle)
    n_active = b.variable(n)
    with b.repeat() as again:
        n_before = b.load(n_active)
        with b.count(0, _WALK_ROWS) as pad:
            b.write(b.trunc(idle, _i32), block.active, b.add(n_before, pad))
        b.store(_i64(0), n_active)
        with b.count(0, n_before, _WALK_ROWS) as first:
            rows = [
                b.wide(b.read(_i32, block.active, b.add(first, _i64(lane)))) for lane in range(_WALK_ROWS)
            ]
            inputs = [b.offset(block.by_row, b.mul(row, block.row_bytes)) for row in rows]
            before = after = [b.wide(b.read(_i32, block.place, row)) for row in rows]
            for _ in range(_STEPS):
                before = after
                after = [
                    _step(b, shape, tree, values, place, missing)
                    for values, place in zip(inputs, before, strict=True)
                ]
            for row, old, new in zip(rows, before, after, strict=True):
                b.write(b.trunc(new, _i32), block.place, row)
                count = b.load(n_active)
                b.write(b.trunc(row, _i32), block.active, count)
                b.store(b.add(count, b.wide(b.icmp_signed("!=", old, new))), n_active)
        again(b.icmp_signed("!=", b.load(n_active), _i64(0)))
