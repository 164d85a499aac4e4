"""Machine code for what growing a surrogate costs: sums per node and bin, the best splits, rows to children.

numpy needs many passes over the same rows and sums for it, which took half of the time of an explanation.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ProtoModelError

__all__ = ["WIDTH", "best_splits", "count", "route"]

WIDTH = 4
"""Numbers that are summed per row: how many it counts for, its weight, and two weighted targets."""

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

define void @best_splits(
  ptr %sums, i64 %n_nodes, ptr %starts, i64 %n_features, i64 %n_codes, double %least, ptr %gains, ptr %codes
) {
entry:
  %any = icmp sgt i64 %n_nodes, 0
  br i1 %any, label %node, label %done
node:
  %k = phi i64 [0, %entry], [%k1, %stored]
  %base = mul i64 %k, %n_codes
  %end0_at = getelementptr i64, ptr %starts, i64 1
  %end0 = load i64, ptr %end0_at
  br label %sum
sum:
  %s = phi i64 [0, %node], [%s1, %sum]
  %t = phi <4 x double> [zeroinitializer, %node], [%total, %sum]
  %s_index = add i64 %base, %s
  %s_at = getelementptr <4 x double>, ptr %sums, i64 %s_index
  %s_value = load <4 x double>, ptr %s_at, align 8
  %total = fadd <4 x double> %t, %s_value
  %s1 = add i64 %s, 1
  %s_more = icmp slt i64 %s1, %end0
  br i1 %s_more, label %sum, label %feature
feature:
  %f = phi i64 [0, %sum], [%f1, %feature_done]
  %f_best = phi double [0xFFF0000000000000, %sum], [%best_so_far, %feature_done]
  %f_code = phi i64 [0, %sum], [%code_so_far, %feature_done]
  %start_at = getelementptr i64, ptr %starts, i64 %f
  %start = load i64, ptr %start_at
  %f1 = add i64 %f, 1
  %end_at = getelementptr i64, ptr %starts, i64 %f1
  %end = load i64, ptr %end_at
  %last = sub i64 %end, 1
  %splits = icmp slt i64 %start, %last
  br i1 %splits, label %code, label %feature_done
code:
  %c = phi i64 [%start, %feature], [%c1, %code_next]
  %left0 = phi <4 x double> [zeroinitializer, %feature], [%left, %code_next]
  %best = phi double [%f_best, %feature], [%best1, %code_next]
  %best_code = phi i64 [%f_code, %feature], [%best_code1, %code_next]
  %c_index = add i64 %base, %c
  %c_at = getelementptr <4 x double>, ptr %sums, i64 %c_index
  %c_value = load <4 x double>, ptr %c_at, align 8
  %left = fadd <4 x double> %left0, %c_value
  %right = fsub <4 x double> %total, %left
  %n_left = extractelement <4 x double> %left, i64 0
  %n_right = extractelement <4 x double> %right, i64 0
  %left_ok = fcmp oge double %n_left, %least
  %right_ok = fcmp oge double %n_right, %least
  %ok = and i1 %left_ok, %right_ok
  br i1 %ok, label %weigh, label %code_next
weigh:
  %gain_left = call double @explained(<4 x double> %left)
  %gain_right = call double @explained(<4 x double> %right)
  %gain = fadd double %gain_left, %gain_right
  %better = fcmp ogt double %gain, %best
  %best_w = select i1 %better, double %gain, double %best
  %code_w = select i1 %better, i64 %c, i64 %best_code
  br label %code_next
code_next:
  %best1 = phi double [%best, %code], [%best_w, %weigh]
  %best_code1 = phi i64 [%best_code, %code], [%code_w, %weigh]
  %c1 = add i64 %c, 1
  %c_more = icmp slt i64 %c1, %last
  br i1 %c_more, label %code, label %feature_done
feature_done:
  %best_so_far = phi double [%f_best, %feature], [%best1, %code_next]
  %code_so_far = phi i64 [%f_code, %feature], [%best_code1, %code_next]
  %f_more = icmp slt i64 %f1, %n_features
  br i1 %f_more, label %feature, label %stored
stored:
  %unsplit = call double @explained(<4 x double> %total)
  %fall = fsub double %best_so_far, %unsplit
  %gain_at = getelementptr double, ptr %gains, i64 %k
  store double %fall, ptr %gain_at
  %code_out = getelementptr i64, ptr %codes, i64 %k
  store i64 %code_so_far, ptr %code_out
  %k1 = add i64 %k, 1
  %again = icmp slt i64 %k1, %n_nodes
  br i1 %again, label %node, label %done
done:
  ret void
}

define i64 @route(
  ptr %rows, i64 %n, ptr %node, ptr %codes, i64 %width, ptr %feature, ptr %threshold, ptr %child
) {
entry:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %row, label %done
row:
  %r = phi i64 [0, %entry], [%r1, %next]
  %kept = phi i64 [0, %entry], [%kept1, %next]
  %row_at = getelementptr i64, ptr %rows, i64 %r
  %i = load i64, ptr %row_at
  %node_at = getelementptr i64, ptr %node, i64 %i
  %k = load i64, ptr %node_at
  %feature_at = getelementptr i64, ptr %feature, i64 %k
  %f = load i64, ptr %feature_at
  %leaf = icmp slt i64 %f, 0
  br i1 %leaf, label %next, label %split
split:
  %first = mul i64 %i, %width
  %code_index = add i64 %first, %f
  %code_at = getelementptr i64, ptr %codes, i64 %code_index
  %code = load i64, ptr %code_at
  %threshold_at = getelementptr i64, ptr %threshold, i64 %k
  %t = load i64, ptr %threshold_at
  %above = icmp sgt i64 %code, %t
  %right = zext i1 %above to i64
  %child_at = getelementptr i64, ptr %child, i64 %k
  %left_child = load i64, ptr %child_at
  %new = add i64 %left_child, %right
  store i64 %new, ptr %node_at
  %kept_at = getelementptr i64, ptr %rows, i64 %kept
  store i64 %i, ptr %kept_at
  %kept_more = add i64 %kept, 1
  br label %next
next:
  %kept1 = phi i64 [%kept, %row], [%kept_more, %split]
  %r1 = add i64 %r, 1
  %again = icmp slt i64 %r1, %n
  br i1 %again, label %row, label %done
done:
  %n_kept = phi i64 [0, %entry], [%kept1, %next]
  ret i64 %n_kept
}

define internal double @explained(<4 x double> %sums) alwaysinline {
  %weight = extractelement <4 x double> %sums, i64 1
  %a = extractelement <4 x double> %sums, i64 2
  %b = extractelement <4 x double> %sums, i64 3
  %aa = fmul double %a, %a
  %bb = fmul double %b, %b
  %squares = fadd double %aa, %bb
  %positive = fcmp ogt double %weight, 0x3D71979980000000
  %divisor = select i1 %positive, double %weight, double 0x3D71979980000000
  %result = fdiv double %squares, %divisor
  ret double %result
}
"""

_lock = threading.Lock()
_compiled: list[_Functions] = []


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
    _functions().count(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1], n_codes,
        values.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums


def best_splits(
    sums: NDArray[np.float64], starts: NDArray[np.int64], least: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The split of each node that explains most.

    Parameters
    ----------
    sums : ndarray of shape (n_nodes, n_codes, WIDTH)
        As from `count`: rows, weight, and two weighted targets.
    starts : ndarray of shape (n_features + 1,)
        First code of each feature, and the number of codes; no feature is without codes.
    least : float
        Rows that each side must have.

    Returns
    -------
    gains : ndarray of shape (n_nodes,)
        By how much the squared error falls; minus infinity where no split leaves enough rows on both sides.
    codes : ndarray of shape (n_nodes,)
        The last code that goes left.
    """
    n_nodes, n_codes, _ = sums.shape
    gains, codes = np.empty(n_nodes), np.empty(n_nodes, dtype=np.int64)
    _functions().best_splits(
        sums.ctypes.data, n_nodes, starts.ctypes.data, len(starts) - 1, n_codes, least,
        gains.ctypes.data, codes.ctypes.data,
    )  # fmt: skip
    return gains, codes


def route(
    rows: NDArray[np.int64],
    node: NDArray[np.int64],
    codes: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.int64],
    child: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Send rows to the children of their nodes, in place; the indices of those whose node was split.

    Parameters
    ----------
    rows, node, codes
        As for `count`; `node` says where each row is afterwards, and `rows` is used up.
    feature, threshold, child : ndarray of shape (n_nodes,)
        Split of each node (feature -1 for none), and its left child; the right one is the next.
    """
    n_rows = _functions().route(
        rows.ctypes.data, len(rows), node.ctypes.data, codes.ctypes.data, codes.shape[1],
        feature.ctypes.data, threshold.ctypes.data, child.ctypes.data,
    )  # fmt: skip
    return rows[:n_rows]


@dataclass(frozen=True)
class _Functions:
    """The machine code, and the engine that owns it."""

    engine: Any
    count: Any
    best_splits: Any
    route: Any


def _functions() -> _Functions:
    """The machine code, compiled once per process; calling it releases the GIL."""
    if not _compiled:
        with _lock:
            if not _compiled:
                _compiled.append(_compile())
    return _compiled[0]


def _compile() -> _Functions:
    """Compile for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        module = llvm.parse_assembly(_CODE)
        llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2)).getModulePassManager().run(
            module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2))
        )
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    except RuntimeError as error:
        raise ProtoModelError(
            f"The explainer's inner loop cannot be compiled for {llvm.get_host_cpu_name()}: {error}. "
            "Check that the installed llvmlite supports it."
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int64

    def function(name: str, result: Any, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(result, *arguments)(engine.get_function_address(name))

    return _Functions(
        engine,
        function("count", None, pointer, number, pointer, pointer, number, number, pointer, pointer),
        function(
            "best_splits", None, pointer, number, pointer, number, number, ctypes.c_double, pointer, pointer
        ),
        function("route", number, pointer, number, pointer, pointer, number, pointer, pointer, pointer),
    )
