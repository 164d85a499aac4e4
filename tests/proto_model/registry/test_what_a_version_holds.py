"""Looks for rows and rare values of the table in every file of a version: arrays, archives and texts."""

import contextlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from proto_model.errors import InputError
from proto_model.model import coded_rows
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.table import RawTable, encode, prepare
from proto_model.training import make_pipeline
from proto_model.training.background import StoredBackground
from tests.stores import fresh_store

NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")
OUTLIER, LOWEST, RARE_JOB = 987654.321, 17.53, "astronaut"


@pytest.fixture(scope="module")
def data(mixed_frame):
    """People of whom one earns most, one least, and three have a job that nobody else has."""
    frame = mixed_frame.copy()
    frame["income"] = frame["income"].round(3)
    frame.loc[5, "income"], frame.loc[7, "income"] = OUTLIER, LOWEST
    frame.loc[[11, 42, 99], "job"] = RARE_JOB
    return prepare(RawTable("people", "people.csv", pa.Table.from_pandas(frame, preserve_index=False)))


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory):
    """Folders of a model and an explainer, by the kind of their background."""
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=20)
    pipeline.fit(data.X_train, data.y_train)
    store = tmp_path_factory.mktemp("store")
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        mlflow.set_tracking_uri(fresh_store(store))
        experiment = mlflow.create_experiment("held", artifact_location=(store / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment), warnings.catch_warnings():
            # mlflow 3.17 on the columns of an input example
            warnings.filterwarnings("ignore", "Operation with range is deprecated")
            for kind, log, name in (
                ("synthetic", log_forest_model, "model"),
                ("synthetic", log_explainer, "explainer"),
                ("rows", log_forest_model, "model"),
            ):
                background = None if kind == "synthetic" else StoredBackground.of(data, "rows")
                uri = log(pipeline, data, name=f"{kind}_{name}", background=background).model_uri
                folders[kind, name] = Path(mlflow.artifacts.download_artifacts(uri))
        mlflow.set_tracking_uri(None)
    return folders


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder, and every file inside an archive."""
    for file in sorted(path.rglob("*")):
        if not file.is_file():
            continue
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    yield f"{file.name}/{name}", archive.read(name)
        else:
            yield str(file.relative_to(path)), file.read_bytes()


def numbers(name: str, content: bytes):
    """All numbers of a file: of an array, also of its fields, or of a text."""
    if content.startswith(b"\x93NUMPY"):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        parts = [array[field] for field in array.dtype.names] if array.dtype.names else [array]
        kept = [part.astype(np.float64).ravel() for part in parts if part.dtype.kind in "fiub"]
        return np.concatenate([np.empty(0), *kept])
    if name.endswith(".py"):
        return np.empty(0)
    return np.array(NUMBER.findall(content.decode("utf-8", errors="replace")), dtype=np.float64)


def json_rows(value, names: list[str]) -> Iterator[list]:
    """Lists and objects of a JSON value that have one value per feature."""
    if isinstance(value, dict):
        if set(names) <= value.keys():
            yield [value[name] for name in names]
        for part in value.values():
            yield from json_rows(part, names)
    elif isinstance(value, list):
        if len(value) == len(names) and not any(isinstance(part, (list, dict)) for part in value):
            yield value
        for part in value:
            yield from json_rows(part, names)


def rows(name: str, content: bytes, schema):
    """All rows of a file, coded, that have as many values as the schema has features."""
    d = len(schema.features)
    empty = np.empty((0, d))
    if content.startswith(b"\x93NUMPY"):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if array.dtype.kind not in "fiub" or array.ndim != 2:
            return empty
        found = [m for m in (array, array.T) if m.shape[1] == d]
        return np.concatenate([empty, *found])
    if name.endswith(".json"):
        found = [empty]
        for values in json_rows(json.loads(content), schema.feature_names):
            with contextlib.suppress(InputError):  # not every list of that length is a row
                found.append(coded_rows([dict(zip(schema.feature_names, values, strict=True))], schema))
        return np.concatenate(found)
    return empty


def real_rows(folder: Path, data) -> set[str]:
    """Files with a row of the table, be it of training or of testing, within the rounding of 32 bits."""
    known = np.concatenate([encode(part, data.schema) for part in (data.X_train, data.X_test)])
    return {
        name
        for name, content in contents(folder)
        for row in rows(name, content, data.schema)
        if np.isclose(known, row, rtol=1e-6, atol=0, equal_nan=True).all(axis=1).any()
    }


def real_values(folder: Path, values) -> set[str]:
    """Files that hold one of some numbers, in 64 bits or in 32."""
    values = np.asarray(values, dtype=np.float64)

    def in_32_bits(numbers):
        with np.errstate(over="ignore"):
            return numbers.astype(np.float32)

    return {
        name
        for name, content in contents(folder)
        if np.isin(found := numbers(name, content), values).any()
        or np.isin(in_32_bits(found), in_32_bits(values)).any()
    }


@pytest.mark.parametrize("name", ["model", "explainer"])
def test_no_row_of_the_table_is_in_a_version(folders, data, name):
    assert real_rows(folders["synthetic", name], data) == set()


def test_rows_are_in_a_version_that_was_asked_to_have_them(folders, data):
    assert real_rows(folders["rows", "model"], data) >= {"background.npz/rows.npy", "input_example.json"}


def test_no_rare_value_is_in_a_version(folders, data):
    assert {OUTLIER, LOWEST} <= set(data.X_train["income"]) | set(data.X_test["income"])
    # In a file without an outlier, the number of another row is as telling.
    unique = data.X_train["income"].drop_duplicates(keep=False)

    held = real_values(folders["synthetic", "model"], [OUTLIER, LOWEST])

    assert held == set()
    assert real_values(folders["rows", "model"], unique) >= {"background.npz/rows.npy"}
    assert real_values(folders["synthetic", "model"], unique) & {
        "background.npz/rows.npy", "schema.json", "mapper/schema.json", "input_example.json", "MLmodel"
    } == set()  # fmt: skip


def test_a_rare_category_is_a_name_in_the_schema_and_nothing_more(folders, data):
    folder = folders["synthetic", "model"]
    (job,) = (feature for feature in data.schema.features if feature.name == "job")
    code = job.categories.index(RARE_JOB)
    bundle = folder / "artifacts" / "bundle"

    with np.load(bundle / "background.npz") as background:
        codes = background["rows"][:, data.schema.feature_names.index("job")]
        assert background["kind"] == "synthetic"

    assert code not in codes
    named = {name for name, content in contents(folder) if RARE_JOB.encode() in content}
    assert named == {
        "artifacts/bundle/schema.json",
        "mapper/schema.json",
        "pipeline.skops/schema.json",
    }


def test_the_same_table_and_seed_give_the_same_background(data):
    one, same, other = (StoredBackground.of(data, random_state=seed).rows for seed in (0, 0, 1))

    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
