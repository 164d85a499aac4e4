"""Machine code for the CPU at hand, from LLVM IR: the only place that starts LLVM."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

from proto_model.errors import ProtoModelError


def compile_function(code: str, name: str, signature: Any) -> Any:
    """The function `name` of a module of textual IR, compiled for this CPU; calls release the GIL.

    `signature` is made by `ctypes.CFUNCTYPE`. Keep the result: compiling takes a while. Raises
    ProtoModelError if LLVM cannot compile it.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu = llvm.get_host_cpu_name()
    try:
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=cpu, features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        module = llvm.parse_assembly(code)
        # This turns variables into registers. LLVM's other passes take longer than all the rest and gain
        # nothing here, because the kernels are written as they shall run.
        passes = llvm.create_new_function_pass_manager()
        passes.add_sroa_pass()
        tuning = llvm.create_pipeline_tuning_options(speed_level=1)
        passes.run(module.get_function(name), llvm.create_pass_builder(machine, tuning))
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    except RuntimeError as error:
        raise ProtoModelError(
            f"Cannot compile {name!r} for this CPU ({cpu}): {error}. "
            "Check that the installed llvmlite supports it."
        ) from error
    function = signature(engine.get_function_address(name))
    function.engine = engine  # owns the code
    return function
