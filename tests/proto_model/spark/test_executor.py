"""What runs in Spark's workers, without Spark."""

import importlib.util
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import llvmlite
import numpy as np
import pyarrow as pa
import pytest

import proto_model.spark
from proto_model.errors import InputError
from proto_model.model import Predictor
from proto_model.parameters import Parameters
from proto_model.spark import SparkMissingError, executor
from proto_model.spark.executor import Shipped, Work, array_function, scored_batches
from proto_model.spark.shipping import _code, archive_of

FEATURES = {name: name for name in ("age", "income", "job", "owner", "children")}
ROWS = {"age": [40], "income": [2e4], "job": ["nurse"], "owner": [True], "children": [1]}


def shipped(bundle):
    content = archive_of((path.name, path) for path in sorted(bundle.iterdir()) if path.suffix != ".skops")
    return Shipped("proto_model-test", content)


@pytest.fixture(autouse=True)
def _forget_models():
    yield
    executor._models.clear()


def test_a_worker_reads_a_model_once(bundle, monkeypatch):
    work = Work(shipped(bundle), Parameters())
    batch = pa.record_batch(ROWS)
    list(scored_batches(work, FEATURES, [], iter([batch])))
    monkeypatch.setattr(executor, "Bundle", None)  # to be read again, it would take this

    [scored] = scored_batches(work, FEATURES, ["income"], iter([batch]))

    assert scored.to_pylist()[0]["income"] == 2e4
    assert set(executor._models) == {"proto_model-test"}


def test_a_worker_keeps_the_latest_models(bundle):
    content = shipped(bundle).content

    for number in range(12):
        assert isinstance(Shipped(f"model-{number}", content).predictor(), Predictor)

    assert list(executor._models) == [f"model-{number}" for number in range(4, 12)]


def test_columns_that_fit_no_feature_are_told_in_a_sentence(bundle):
    work = Work(shipped(bundle), Parameters())
    predict = array_function(work, None)

    with pytest.raises(
        InputError, match=r"2 columns given. The function takes struct\(\*\), or a column for"
    ):
        predict(pa.array([1]), pa.array([2]))
    with pytest.raises(
        InputError, match=r"Columns missing: \['income', 'owner', 'children'\]; given are \['age'"
    ):
        predict(pa.StructArray.from_arrays([pa.array([1])], names=["age"]))
    with pytest.raises(InputError, match="Column 'income': its type is bool, a number expected"):
        predict(**{name: pa.array(values) for name, values in (ROWS | {"income": [True]}).items()})


def test_no_row_gives_no_answer(bundle):
    work = Work(shipped(bundle), Parameters(explain=True, on_bad_row="mark"))
    empty = pa.record_batch(ROWS).slice(0, 0)

    [scored] = scored_batches(work, FEATURES, ["job"], iter([empty]))

    assert scored.num_rows == 0
    assert scored.schema.names[-2:] == ["explanation", "error"]


def test_workers_need_numpy_pyarrow_and_llvmlite_only(bundle, tmp_path):
    """Also to explain: a fresh interpreter with these three libraries and the code that is shipped."""
    code = tmp_path / "code.zip"
    code.write_bytes(_code())
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    site = Path(np.__file__).parents[1]
    for module in (np, pa, llvmlite):
        name = Path(module.__file__).parent.name
        for entry in site.glob(f"{name}*"):
            (libraries / entry.name).symlink_to(entry)
    (tmp_path / "bundle.zip").write_bytes(shipped(bundle).content or b"")
    program = f"""
import sys
sys.path[:0] = [{str(code)!r}, {str(libraries)!r}]
import pyarrow as pa
from proto_model.parameters import Parameters
from proto_model.spark.executor import Shipped, Work, scored_batches
content = open({str(tmp_path / "bundle.zip")!r}, "rb").read()
work = Work(Shipped("proto_model-test", content), Parameters(explain=True, coverage=0.0, on_bad_row="mark"))
batch = pa.record_batch({ROWS!r})
print(next(scored_batches(work, {FEATURES!r}, [], iter([batch]))).to_pylist()[0])
print(sorted({{"mlflow", "pandas", "sklearn", "scipy", "orjson", "pyspark"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    assert "'rule':" in answer.replace('"', "'")
    assert loaded == "[]"


def test_the_code_that_is_shipped_is_the_same_each_time():
    with zipfile.ZipFile(io.BytesIO(_code())) as archive:
        names = archive.namelist()

    assert _code() == _code.__wrapped__()
    assert "proto_model/spark/executor.py" in names
    assert not [name for name in names if "/registry/" in name or "/cli/" in name]


def test_without_spark_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SparkMissingError, match="pip install 'proto-model-turbo\\[spark\\]'") as caught:
        from proto_model.spark import udf  # noqa: F401

    assert isinstance(caught.value, ImportError)
    with pytest.raises(AttributeError):
        _ = proto_model.spark.nothing


def test_all_modules_load_without_spark():
    names = ["columns", "executor", "frames", "functions", "served", "shipping"]
    program = f"""
import importlib, sys
sys.modules["pyspark"] = None
for name in {names!r}:
    importlib.import_module("proto_model.spark." + name)
print(sorted({{"mlflow", "pandas", "sklearn", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
