"""Machine code for the CPU at hand, from LLVM IR, without a compiler on the machine."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import llvmlite.binding as llvm

from proto_model.errors import ProtoModelError
from proto_model.forest.block import build_module
from proto_model.forest.kernels import Shape

__all__ = ["Kernels", "compiled"]

_SIGNATURE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
)
_lock = threading.Lock()
_kernels: dict[Shape, Kernels] = {}


class Kernels:
    """Compiled kernels for one shape of forest; calling them releases the GIL.

    Attributes
    ----------
    row, block : callables (fields, X, n_rows, proba, scratch)
        Addresses and a number of rows; see `build_module`.
    """

    def __init__(self, shape: Shape) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        try:
            machine = llvm.Target.from_default_triple().create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
            )
            module = llvm.parse_assembly(build_module(shape))
            _optimize(module, machine)
            self._engine = llvm.create_mcjit_compiler(module, machine)  # owns the code: keep it
            self._engine.finalize_object()
        except RuntimeError as error:
            raise ProtoModelError(
                f"The forest cannot be compiled for this CPU ({llvm.get_host_cpu_name()}): {error}. "
                "Check that the installed llvmlite supports it."
            ) from error
        self.row = _SIGNATURE(self._engine.get_function_address("forest_row"))
        self.block = _SIGNATURE(self._engine.get_function_address("forest_block"))


def compiled(shape: Shape) -> Kernels:
    """Kernels for a shape of forest, compiled once per process."""
    with _lock:
        if shape not in _kernels:
            _kernels[shape] = Kernels(shape)
        return _kernels[shape]


def _optimize(module: Any, machine: Any) -> None:
    """Turn variables into registers; LLVM's other passes take longer than all the rest and gain nothing."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
