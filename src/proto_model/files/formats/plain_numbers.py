"""Numbers of CSV records of plain numbers, in half the time that a parser of all CSV takes, by machine code.

A field is `-`, digits, `.`, digits and an exponent, of which only digits are needed, or nothing at all.
Digits are taken eight at a time, as one 64-bit word of a little-endian CPU. What they make, w * 10**q, is
rounded to the nearest double by one or two multiplications with 128 bits of a power of five [1]_. The rare
number that this does not settle ends the kernel, as does anything else that is not plain: the block is then
another parser's.

References
----------
.. [1] D. Lemire, "Number Parsing at a Gigabyte per Second", 2021. https://arxiv.org/abs/2101.11408
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from proto_model.forest.emitter import BYTES, F64, I1, I32, I64, Emitter, constant, vector, write_function
from proto_model.forest.jit import compile_function

_LOWEST_POWER, _HIGHEST_POWER = -342, 308  # of ten, beyond which every number is 0 or infinite
_MAX_BYTES_AHEAD = 64  # beyond the text, where there have to be line ends

_I8, _I128 = ir.IntType(8), ir.IntType(128)
_FIELD_BYTES = 32  # longer ones are not numbers that a program has written
_PADDING = b"\n" * _MAX_BYTES_AHEAD
_compiling = threading.Lock()
_SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64),
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
)


def parse_numbers(
    block: bytearray, places: NDArray[np.int32], n_rows: int, width: int
) -> NDArray[np.float64] | None:
    r"""Numbers of whole CSV records as `float` reads them, None where a parser that knows more has to look.

    The records have two fields or more and no quotes; the last one may lack its line end. `places` has the
    column of the result for each field, -1 for those that are passed over; an empty field is NaN. A column
    of the result without a field is left as it comes.

    Examples
    --------
    >>> parse_numbers(bytearray(b"1,x,-.5e3\n,y,7\n"), np.array([0, -1, 1], dtype=np.int32), 2, 2)
    array([[   1., -500.],
           [  nan,    7.]])
    """
    with _compiling:  # the first blocks of a process come on several threads at once
        kernel = _compiled()
    matrix = np.empty((n_rows, width))
    n_bytes = len(block)
    block.extend(_PADDING)
    text = np.frombuffer(block, dtype=np.uint8)
    try:
        n_found = kernel(
            text.ctypes.data,
            *(n_bytes, places.ctypes.data, len(places), width, matrix.ctypes.data),
            *(_powers_of_five().ctypes.data, _powers_of_ten().ctypes.data),
        )
    finally:
        del text  # it keeps the block from changing its size
        del block[n_bytes:]
    return matrix if n_found == n_rows else None


@functools.cache
def _powers_of_ten() -> NDArray[np.uint64]:
    """10**n for n digits, and the largest number that n more digits can be added to, in turn."""
    pairs = [(10**n, (2**64 - 10**n) // 10**n) for n in range(9)]
    return np.array(pairs, dtype=np.uint64)


@functools.cache
def _powers_of_five() -> NDArray[np.uint64]:
    """The first 128 bits of 5**q, high and low, as the kernel's source rounds them."""
    pairs = []
    for q in range(_LOWEST_POWER, _HIGHEST_POWER + 1):
        power = 5 ** abs(q)
        n_bits = (power - 1).bit_length()
        if q >= 0:
            bits = power << 128 >> power.bit_length()
        elif q >= -27:
            bits = (1 << (n_bits + 127)) // power + 1
        else:
            bits = (1 << (2 * n_bits + 128)) // power + 1
            bits >>= bits.bit_length() - 128
        pairs.append((bits >> 64, bits & (2**64 - 1)))
    return np.array(pairs, dtype=np.uint64)


@functools.cache
def _compiled() -> Callable[..., int]:
    """The kernel as a function of addresses and lengths, which releases the GIL."""
    kernel: Callable[..., int] = compile_function(_build_module(), "csv_numbers", _SIGNATURE)
    return kernel


def _build_module() -> str:
    """IR of `csv_numbers(text, n_bytes, places, n_fields, width, matrix, fives, tens)`.

    It returns the number of records, or -1 where it gave up. `places` are int32, the column of each field or
    -1; `fives` and `tens` are pairs of words, see `_powers_of_five`.
    """
    kinds = [BYTES, I64, BYTES, I64, I64, BYTES, BYTES, BYTES]
    return write_function(
        "csv_numbers", kinds, lambda b, *arguments: _write_records(b, arguments), I64, _Code
    )


class _Code(Emitter):
    """Emitter of a function that gives up with -1."""

    def need(self, condition: Any) -> None:
        """Give up where a condition is false."""
        wrong, right = self.append_basic_block("wrong"), self.append_basic_block("right")
        self.cbranch(condition, right, wrong)
        self.position_at_end(wrong)
        self.ret(I64(-1))
        self.position_at_end(right)


def _write_records(b: _Code, arguments: Any) -> None:
    text, n_bytes, places, n_fields, width, matrix, fives, tens = arguments
    # The caller has `_MAX_BYTES_AHEAD` line ends behind the text: vector loads may read past its end, and a
    # last record without a line end has one all the same. So no load needs a check of bounds.
    end = b.offset(text, n_bytes)
    at, row, n_rows = b.variable(text), b.variable(matrix), b.variable(I64(0))
    last = b.sub(n_fields, I64(1))
    b.need(b.icmp_unsigned("!=", text, end))
    with b.repeat() as again:
        with b.count(0, n_fields) as field:
            # The end of a field is found first: so the next one need not wait until this one is read.
            start = b.load(at)
            length = _field_length(b, start)
            stop = b.variable(b.offset(start, length))
            is_last = b.icmp_signed("==", field, last)
            place = b.read(I32, places, field)
            with b.if_else(b.icmp_signed(">=", place, I32(0)), likely=True) as (read, skip):
                with read:
                    b.need(b.icmp_signed("<", length, I64(_FIELD_BYTES)))
                    # Only a last field may end in CR LF; for another one, this looks at its comma.
                    before = b.load(b.offset(b.load(stop), b.neg(b.wide(is_last))))
                    has_cr = b.icmp_unsigned("==", before, _I8(ord("\r")))
                    value = _write_number(
                        b, start, b.offset(b.load(stop), b.neg(b.wide(has_cr))), fives, tens
                    )
                    b.write(value, b.load(row), b.sext(place, I64))
                # A field that is passed over may be of any length and content, but for quotes.
                with skip, b.repeat() as on:
                    more = _field_length(b, b.load(stop))
                    b.store(b.offset(b.load(stop), more), stop)
                    on(b.icmp_signed("==", more, I64(_FIELD_BYTES)))
            wanted = b.select(is_last, _I8(ord("\n")), _I8(ord(",")))
            b.need(b.icmp_unsigned("==", b.load(b.load(stop)), wanted))
            b.store(b.offset(b.load(stop), 1), at)
        b.store(b.offset(b.load(row), b.mul(width, I64(8))), row)
        b.store(b.add(b.load(n_rows), I64(1)), n_rows)
        again(b.icmp_unsigned("<", b.load(at), end))
    b.ret(b.load(n_rows))


def _field_length(b: _Code, start: Any) -> Any:
    """Bytes up to the next comma or line end, up to `_FIELD_BYTES`."""
    letters = b.read(vector(_I8, _FIELD_BYTES), start, 0, align=1)
    commas = b.icmp_unsigned("==", letters, constant(letters.type, ord(",")))
    ends = b.icmp_unsigned("==", letters, constant(letters.type, ord("\n")))
    found = b.wide(b.bitcast(b.or_(commas, ends), ir.IntType(_FIELD_BYTES)))
    # The bit behind the others stops the count where nothing was found.
    return b.cttz(b.or_(found, I64(1 << _FIELD_BYTES)), I1(1))


def _write_number(b: _Code, start: Any, stop: Any, fives: Any, tens: Any) -> Any:
    """Value of a field."""
    is_negative = b.icmp_unsigned("==", b.load(start), _I8(ord("-")))
    digits = b.offset(start, b.wide(is_negative))
    at, w, q = b.variable(digits), b.variable(I64(0)), b.variable(I64(0))
    _write_digits(b, at, w, tens)
    n_digits = b.variable(_distance(b, digits, b.load(at)))
    with b.if_then(b.icmp_unsigned("==", b.load(b.load(at)), _I8(ord("."))), likely=True):
        digits = b.offset(b.load(at), 1)
        b.store(digits, at)
        _write_digits(b, at, w, tens)
        n_behind = _distance(b, digits, b.load(at))
        b.need(b.icmp_signed(">", n_behind, I64(0)))
        b.store(b.add(b.load(n_digits), n_behind), n_digits)
        b.store(b.neg(n_behind), q)
    letter = b.load(b.load(at))
    # In ASCII, bit 32 is all that parts E from e.
    with b.if_then(b.icmp_unsigned("==", b.or_(letter, _I8(32)), _I8(ord("e"))), likely=False):
        b.need(b.icmp_signed(">", b.load(n_digits), I64(0)))
        sign = b.load(b.offset(b.load(at), 1))
        is_down = b.icmp_unsigned("==", sign, _I8(ord("-")))
        has_sign = b.or_(is_down, b.icmp_unsigned("==", sign, _I8(ord("+"))))
        b.store(b.offset(b.load(at), b.add(I64(1), b.wide(has_sign))), at)
        value, n = _eight_digits(b, b.load(at))
        # Eight digits may go on, and no exponent of a double has more than three.
        b.need(b.and_(b.icmp_signed(">", n, I64(0)), b.icmp_signed("<", n, I64(8))))
        b.store(b.offset(b.load(at), n), at)
        b.store(b.add(b.load(q), b.select(is_down, b.neg(value), value)), q)
    b.need(b.icmp_unsigned("==", b.load(at), stop))

    result = b.variable(ir.Constant(F64, float("nan")))
    with b.if_else(b.icmp_signed(">", b.load(n_digits), I64(0)), likely=True) as (something, nothing):
        with something:
            bits = b.variable(I64(0))
            with b.if_then(b.icmp_unsigned("!=", b.load(w), I64(0)), likely=True):
                b.store(_rounded(b, b.load(w), b.load(q), fives), bits)
            sign_bit = b.shl(b.wide(is_negative), I64(63))
            b.store(b.bitcast(b.or_(b.load(bits), sign_bit), F64), result)
        with nothing:
            b.need(b.not_(is_negative))
    return b.load(result)


def _write_digits(b: _Code, at: Any, w: Any, tens: Any) -> None:
    """Add the digits that follow to w."""
    with b.repeat() as again:
        # w * 10**n + value must fit in 64 bits. `tens` has the largest w for which it does, for each n.
        value, n = _eight_digits(b, b.load(at))
        power = b.read(I64, tens, b.shl(n, I64(1)))
        most = b.read(I64, tens, b.add(b.shl(n, I64(1)), I64(1)))
        b.need(b.icmp_unsigned("<=", b.load(w), most))
        b.store(b.add(b.mul(b.load(w), power), value), w)
        b.store(b.offset(b.load(at), n), at)
        again(b.icmp_signed("==", n, I64(8)))


def _eight_digits(b: _Code, address: Any) -> tuple[Any, Any]:
    """What the digits at an address make, up to eight of them, and their number."""
    # A byte XOR "0" is 0 to 9 for digits only. Adding 0x76 then sets the top bit of all bytes above 9; a
    # carry only reaches bytes behind the first that is no digit, and of these nothing is used.
    digits = b.xor(b.read(I64, address, 0, align=1), I64(0x3030303030303030))
    above = b.or_(b.add(digits, I64(0x7676767676767676)), digits)
    others = b.and_(above, I64(0x8080808080808080 - 2**64))
    n = b.lshr(b.cttz(others, I1(0)), I64(3))
    half = b.shl(b.sub(I64(8), n), I64(2))  # in two steps, as 64 bits cannot be shifted by 64
    digits = b.shl(b.shl(digits, half), half)
    # The digits now stand at the end of the word, zeros before them: 12345 is read as 00012345. Neighbours
    # are joined to four numbers below 100, in every other byte; two multiplications weigh and add these.
    pairs = b.add(b.mul(digits, I64(10)), b.lshr(digits, I64(8)))
    mask = I64(0x000000FF000000FF)
    left = b.mul(b.and_(pairs, mask), I64(100 + (1000000 << 32)))
    right = b.mul(b.and_(b.lshr(pairs, I64(16)), mask), I64(1 + (10000 << 32)))
    return b.lshr(b.add(left, right), I64(32)), n


def _rounded(b: _Code, w: Any, q: Any, fives: Any) -> Any:
    """Bits of the double nearest to w * 10**q, where w is not zero."""
    b.need(b.and_(b.icmp_signed(">=", q, I64(_LOWEST_POWER)), b.icmp_signed("<=", q, I64(_HIGHEST_POWER))))
    # w, shifted so that its top bit is set, times the first 64 bits of 5**q. The top 55 bits decide.
    place = b.shl(b.sub(q, I64(_LOWEST_POWER)), I64(1))
    n_zeros = b.ctlz(w, I1(0))
    w = b.shl(w, n_zeros)
    high, low = _product(b, w, b.read(I64, fives, place))
    high, low = b.variable(high), b.variable(low)
    # Only if the 9 bits below these are all set can the missing bits of 5**q carry into them.
    unclear = b.icmp_unsigned("==", b.and_(b.load(high), I64(0x1FF)), I64(0x1FF))
    with b.if_then(unclear, likely=False):
        carry, _ = _product(b, w, b.read(I64, fives, b.add(place, I64(1))))
        total = b.add(b.load(low), carry)
        b.store(b.add(b.load(high), b.wide(b.icmp_unsigned("<", total, carry))), high)
        b.store(total, low)
        b.need(b.icmp_signed("!=", total, I64(-1)))
    high, low = b.load(high), b.load(low)

    top = b.lshr(high, I64(63))
    shift = b.add(top, I64(64 - 52 - 3))
    mantissa = b.lshr(high, shift)
    # (152170 + 65536) / 2**16 is log2(10), near enough for all powers here.
    exponent = b.ashr(b.mul(q, I64(152170 + 65536)), I64(16))
    exponent = b.sub(b.add(b.add(exponent, top), I64(63 + 1023)), n_zeros)
    b.need(b.icmp_signed(">", exponent, I64(0)))  # subnormal numbers are another parser's
    # Exactly half-way between two doubles, which is possible for few powers: to the even one.
    is_half = b.and_(
        b.icmp_unsigned("<=", low, I64(1)),
        b.and_(
            b.icmp_unsigned("<=", b.add(q, I64(4)), I64(27)),
            b.and_(
                b.icmp_unsigned("==", b.and_(mantissa, I64(3)), I64(1)),
                b.icmp_unsigned("==", b.shl(mantissa, shift), high),
            ),
        ),
    )
    mantissa = b.xor(mantissa, b.wide(is_half))
    mantissa = b.lshr(b.add(mantissa, b.and_(mantissa, I64(1))), I64(1))
    # A carry out of the 53 bits goes on into the exponent.
    bits = b.add(mantissa, b.shl(b.sub(exponent, I64(1)), I64(52)))
    b.need(b.icmp_unsigned("<", bits, I64(0x7FF << 52)))
    return bits


def _product(b: _Code, left: Any, right: Any) -> tuple[Any, Any]:
    """High and low word of a product."""
    product = b.mul(b.zext(left, _I128), b.zext(right, _I128))
    return b.trunc(b.lshr(product, _I128(64)), I64), b.trunc(product, I64)


def _distance(b: _Code, start: Any, end: Any) -> Any:
    return b.sub(b.ptrtoint(end, I64), b.ptrtoint(start, I64))
