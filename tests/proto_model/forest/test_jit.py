import ctypes
import gc
import platform

import llvmlite.binding as llvm
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import ProtoModelError
from proto_model.forest import CompiledForest
from proto_model.forest.block import KERNELS, compiled, write_kernel
from proto_model.forest.jit import compile_function
from proto_model.forest.kernels import Shape


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="names CPUs of another architecture"
)
@pytest.mark.parametrize("cpu", ["x86-64", "host"])
def test_an_older_cpu_gives_the_same_answers(cpu, deep, monkeypatch):
    forest, X = deep
    X = X[:1000].copy()
    X[::50, ::3] = np.nan
    if cpu != "host":
        monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: cpu)
        monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap())
    compiled.cache_clear()

    assert_array_equal(CompiledForest.from_sklearn(forest).predict_proba(X), forest.predict_proba(X))
    compiled.cache_clear()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "shape", [Shape(2, 5, False), Shape(3, 8, False), Shape(40, 9, True), Shape(40, 9, False, True)]
)
def test_code_can_be_written_for_arm(shape, kernel):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=2)
    module = llvm.parse_assembly(write_kernel(shape, kernel))
    module.triple = machine.triple
    module.verify()

    assert machine.emit_object(module)[:4] == b"\x7fELF"


def test_a_cpu_that_llvm_cannot_serve_is_told_so():
    with pytest.raises(ProtoModelError, match="Cannot compile 'f' for this CPU"):
        compile_function("no intermediate representation", "f", ctypes.CFUNCTYPE(None))


def test_a_compiled_function_outlives_its_compiler():
    code = "define i64 @twice(i64 %x) { %y = add i64 %x, %x\n ret i64 %y }"
    twice = compile_function(code, "twice", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64))
    gc.collect()

    assert twice(21) == 42


def test_kernels_are_compiled_once_per_shape():
    assert compiled(Shape(2, 5, False)) is compiled(Shape(2, 5, False))
    assert compiled(Shape(2, 5, False)) is not compiled(Shape(3, 5, False))
