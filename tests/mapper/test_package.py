import ast
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mapper.errors
from mapper.errors import Finding
from mapper.http.problem import PROBLEMS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "mlflow",
    "sklearn",
    "pandas",
    "numpy",
    "pyarrow",
    "onnxruntime",
    "lore_sa",
    "boto3",
    "proto_model",
    "pydantic",
}
ERRORS = [
    error
    for _, error in inspect.getmembers(mapper.errors, inspect.isclass)
    if issubclass(error, Exception) and error is not mapper.errors.MapperError
]


def run(code, **environ):
    env = {**os.environ, **environ}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_mapper_loads_no_model_library_and_little_else():
    code = """
        import importlib, pathlib, pkgutil, re, sys, time
        started = time.process_time()
        import mapper
        seconds = time.process_time() - started
        assert not {"uvloop", "prometheus_client"} & sys.modules.keys()
        for module in pkgutil.walk_packages(mapper.__path__, "mapper."):
            if module.name != "mapper.__main__":
                importlib.import_module(module.name)
        print(sorted(HEAVY & sys.modules.keys()))
        status = pathlib.Path("/proc/self/status")  # Linux; ru_maxrss would be that of the parent
        peak = re.search("VmHWM:[^0-9]*([0-9]+)", status.read_text())[1] if status.exists() else 0
        print(seconds, int(peak) / 1024)
    """.replace("HEAVY", repr(HEAVY))

    loaded, measured = run(code).splitlines()
    seconds, mebibytes = map(float, measured.split())
    print(f"import mapper: {seconds:.3f} s of CPU; all of it: {mebibytes:.0f} MiB")

    assert loaded == "[]"
    assert mebibytes < 60
    assert seconds < 0.4  # of CPU, on a machine that may be busy and without compiled bytecode


def test_no_module_imports_the_models_side():
    for path in (ROOT / "mapper").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not HEAVY & {name.split(".")[0] for name in names}, path


def test_the_classes_of_tango_interfaces_are_the_bases_where_it_is_installed(tmp_path):
    names = ["ExplainableTangoModel", "TangoModel", "TangoModelRegistryConnector", "TangoModelServerProxy"]
    package = tmp_path / "tango_interfaces"
    package.mkdir()
    (package / "__init__.py").write_text("\n".join(f"class {name}: pass" for name in names))

    code = """
        import mapper, tango_interfaces as tango
        assert issubclass(mapper.TabularModel, tango.ExplainableTangoModel)
        assert issubclass(mapper.TabularExplainer, tango.TangoModel)
        assert issubclass(mapper.ModelServerProxy, tango.TangoModelServerProxy)
        assert issubclass(mapper.MlflowRegistryConnector, tango.TangoModelRegistryConnector)
        print("yes")
    """

    assert run(code, PYTHONPATH=str(tmp_path)) == "yes\n"


def test_public_names_exist():
    assert all(hasattr(mapper, name) for name in mapper.__all__)


@pytest.mark.parametrize("error", ERRORS)
def test_errors_survive_pickling(error):
    given = (
        error("what", [Finding("k", "m", 1, "f")])
        if error is mapper.errors.InvalidRequestError
        else error("what")
    )

    copy = pickle.loads(pickle.dumps(given))

    assert (type(copy), str(copy)) == (error, "what")
    assert getattr(copy, "errors", None) == getattr(given, "errors", None)


def test_every_error_of_a_request_has_a_status():
    startup = {"MapperError", "CallerError", "SettingsError", "SchemaError", "RegistryError", "MappingError"}
    startup |= {"UnknownModelError"}
    seen_by_nobody = {"ClientGoneError"}

    assert {error.__name__ for error in PROBLEMS} == {
        error.__name__ for error in ERRORS
    } - startup - seen_by_nobody
