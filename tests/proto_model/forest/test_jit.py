import platform

import llvmlite.binding as llvm
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import ProtoModelError
from proto_model.forest import CompiledForest, jit
from proto_model.forest.block import build_module
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
    monkeypatch.setattr(jit, "_kernels", {})

    assert_array_equal(CompiledForest.from_sklearn(forest).predict_proba(X), forest.predict_proba(X))


@pytest.mark.parametrize("shape", [Shape(2, 5, False), Shape(3, 8, False), Shape(40, 9, True)])
def test_code_can_be_written_for_arm(shape):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=2)
    module = llvm.parse_assembly(build_module(shape))
    module.triple = machine.triple
    module.verify()

    assert machine.emit_object(module)[:4] == b"\x7fELF"


def test_a_cpu_that_llvm_cannot_serve_is_told_so(monkeypatch):
    monkeypatch.setattr(jit, "build_module", lambda _: "no intermediate representation")
    with pytest.raises(ProtoModelError, match="cannot be compiled for this CPU"):
        jit.Kernels(Shape(2, 5, False))


def test_kernels_are_compiled_once_per_shape():
    assert jit.compiled(Shape(2, 5, False)) is jit.compiled(Shape(2, 5, False))
    assert jit.compiled(Shape(2, 5, False)) is not jit.compiled(Shape(3, 5, False))
