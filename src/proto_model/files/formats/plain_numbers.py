"""Numbers of CSV records that are nothing but numbers, in half the time that a parser of all CSV takes."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from proto_model.files.formats.number_kernel import HIGHEST_POWER, LOWEST_POWER, MAX_BYTES_AHEAD, build_module
from proto_model.forest.jit import compile_function

_PADDING = b"\n" * MAX_BYTES_AHEAD
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
    for q in range(LOWEST_POWER, HIGHEST_POWER + 1):
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
    kernel: Callable[..., int] = compile_function(build_module(), "csv_numbers", _SIGNATURE)
    return kernel
