"""LLVM IR with arrays, variables, vectors and loops, which is all that the kernels need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()
BYTES = ir.IntType(8).as_pointer()


def write_function(
    name: str, kinds: Sequence[Any], write: Callable[..., None], result: Any = None, emitter: Any = None
) -> str:
    """Textual IR of a module with one function, whose arguments are of some kinds and do not overlap.

    `write` is handed an emitter (of its own class, if one is given) and the arguments. It writes the body,
    and the `ret` if there is a result.
    """
    module = ir.Module(name=name)
    function = ir.Function(module, ir.FunctionType(result or ir.VoidType(), kinds), name=name)
    for argument in function.args:
        if isinstance(argument.type, ir.PointerType):
            argument.add_attribute("noalias")
    b = (emitter or Emitter)(function.append_basic_block("entry"))
    start = b.append_basic_block("start")
    b.position_at_end(start)
    write(b, *function.args)
    if result is None:
        b.ret_void()
    with b.goto_block(function.entry_basic_block):  # where variables were put in the meantime
        b.branch(start)
    return str(module)


def vector(kind: Any, width: int) -> Any:
    """Type of a vector."""
    return ir.VectorType(kind, width)


def constant(kind: Any, value: float) -> Any:
    """Constant; the same value in all lanes of a vector."""
    is_vector = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [value] * kind.count if is_vector else value)


class Emitter(ir.IRBuilder):  # type: ignore[misc]  # llvmlite has no types
    """Builder of one function; an index is an i64 value or an int, an array the address where it starts."""

    def at(self, kind: Any, array: Any, index: Any) -> Any:
        """Address of an element of an array of `kind`."""
        return self.gep(self.bitcast(array, kind.as_pointer()), [_whole(index)])

    def read(self, kind: Any, array: Any, index: Any, align: int | None = None) -> Any:
        """Element of an array of `kind`."""
        return self.load(self.at(kind, array, index), align=align)

    def write(self, value: Any, array: Any, index: Any, align: int | None = None) -> None:
        """Set an element of an array."""
        self.store(value, self.at(value.type, array, index), align=align)

    def offset(self, address: Any, n_bytes: Any) -> Any:
        """Address some bytes further on."""
        return self.gep(self.bitcast(address, BYTES), [_whole(n_bytes)])

    def variable(self, value: Any) -> Any:
        """Variable for `load` and `store`, set to a value here; it ends up in a register."""
        with self.goto_entry_block():
            place = self.alloca(value.type)
        self.store(value, place)
        return place

    def wide(self, value: Any) -> Any:
        """Unsigned value as i64."""
        return self.zext(value, I64)

    def splat(self, value: Any, width: int) -> Any:
        """Vector with the same value in all lanes."""
        nothing = ir.Constant(vector(value.type, width), ir.Undefined)
        first = self.insert_element(nothing, value, I32(0))
        return self.shuffle_vector(first, nothing, constant(vector(I32, width), 0))

    def trailing_zeros(self, words: Any) -> Any:
        """Number of zero bits below the lowest set bit, for each lane."""
        kind = words.type
        return self._intrinsic(f"llvm.cttz.v{kind.count}i{kind.element.width}", kind, words, I1(0))

    def prefetch(self, address: Any) -> None:
        """Fetch a line of memory that is going to be read."""
        self._intrinsic("llvm.prefetch.p0", ir.VoidType(), address, I32(0), I32(3), I32(1))

    @contextmanager
    def count(self, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
        """Loop over `range(start, stop, step)`."""
        start, stop = _whole(start), _whole(stop)
        before = self.block
        body = self.append_basic_block("body")
        done = self.append_basic_block("done")
        self.cbranch(self.icmp_signed("<", start, stop), body, done)
        self.position_at_end(body)
        index = self.phi(I64)
        index.add_incoming(start, before)
        yield index
        following = self.add(index, I64(step))
        index.add_incoming(following, self.block)
        self.cbranch(self.icmp_signed("<", following, stop), body, done)
        self.position_at_end(done)

    @contextmanager
    def repeat(self) -> Iterator[Callable[[Any], None]]:
        """Loop that goes on while the condition handed to the yielded function is true."""
        body = self.append_basic_block("again")
        done = self.append_basic_block("over")
        conditions: list[Any] = []
        self.branch(body)
        self.position_at_end(body)
        yield conditions.append
        self.cbranch(conditions[0], body, done)
        self.position_at_end(done)

    def _intrinsic(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self.module.globals.get(name) or ir.Function(
            self.module, ir.FunctionType(result, [argument.type for argument in arguments]), name=name
        )
        return self.call(function, arguments)


def _whole(value: Any) -> Any:
    return I64(value) if isinstance(value, int) else value
