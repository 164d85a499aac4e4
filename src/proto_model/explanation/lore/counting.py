"""Sums per tree node and bin, in one pass: machine code for the loop that growing a surrogate consists of.

numpy needs several passes over the same rows for it, which took half of the time of an explanation.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ProtoModelError

__all__ = ["WIDTH", "count"]

WIDTH = 4
"""Numbers that are summed per row."""

_CODE = """
define void @count(
  ptr %rows, i64 %n, ptr %node, ptr %codes, i64 %width, i64 %n_codes, ptr %values, ptr %sums
) {
entry:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %row, label %done
row:
  %r = phi i64 [0, %entry], [%r1, %next]
  %row_at = getelementptr i64, ptr %rows, i64 %r
  %i = load i64, ptr %row_at
  %node_at = getelementptr i64, ptr %node, i64 %i
  %k = load i64, ptr %node_at
  %base = mul i64 %k, %n_codes
  %value_at = getelementptr <4 x double>, ptr %values, i64 %i
  %value = load <4 x double>, ptr %value_at, align 8
  %first = mul i64 %i, %width
  br label %cell
cell:
  %j = phi i64 [0, %row], [%j1, %cell]
  %code_index = add i64 %first, %j
  %code_at = getelementptr i64, ptr %codes, i64 %code_index
  %code = load i64, ptr %code_at
  %at = add i64 %base, %code
  %sum_at = getelementptr <4 x double>, ptr %sums, i64 %at
  %sum = load <4 x double>, ptr %sum_at, align 8
  %new = fadd <4 x double> %sum, %value
  store <4 x double> %new, ptr %sum_at, align 8
  %j1 = add i64 %j, 1
  %more = icmp slt i64 %j1, %width
  br i1 %more, label %cell, label %next
next:
  %r1 = add i64 %r, 1
  %again = icmp slt i64 %r1, %n
  br i1 %again, label %row, label %done
done:
  ret void
}
"""

_lock = threading.Lock()
_compiled: list[tuple[Any, Any]] = []


def count(
    rows: NDArray[np.int64],
    node: NDArray[np.int64],
    codes: NDArray[np.int64],
    values: NDArray[np.float64],
    n_nodes: int,
    n_codes: int,
) -> NDArray[np.float64]:
    """Sums of the values of rows, per node and code.

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
    n_nodes, n_codes : int
        How many there are.

    Returns
    -------
    ndarray of shape (n_nodes, n_codes, WIDTH)
        For each node and code, the sum over the rows of the node that have the code.
    """
    sums = np.zeros((n_nodes, n_codes, WIDTH))
    _function()(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1], n_codes,
        values.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums


def _function() -> Any:
    """The machine code, compiled once per process; calling it releases the GIL."""
    if not _compiled:
        with _lock:
            if not _compiled:
                _compiled.append(_compile())
    return _compiled[0][1]


def _compile() -> tuple[Any, Any]:
    """The engine that owns the code, and the function."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_CODE), machine)
        engine.finalize_object()
    except RuntimeError as error:
        raise ProtoModelError(
            f"The explainer's inner loop cannot be compiled for {llvm.get_host_cpu_name()}: {error}. "
            "Check that the installed llvmlite supports it."
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    arguments = (pointer, number, pointer, pointer, number, number, pointer, pointer)
    return engine, ctypes.CFUNCTYPE(None, *arguments)(engine.get_function_address("count"))
