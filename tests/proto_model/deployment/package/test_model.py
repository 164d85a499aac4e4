import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from proto_model.deployment.package import PackageError, load_package, self_test
from proto_model.errors import InputError
from proto_model.model import Predictor, coded_rows
from proto_model.parameters import EXPLAINER

SRC = Path(__file__).parents[4] / "src"
BLOCKED = ("mlflow", "pandas", "pyarrow", "sklearn", "scipy", "orjson", "rich", "yaml", "cryptography")
ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import json
from interface import load_model, main

model = load_model()
rows = json.loads(sys.argv[1])
explained = model.explain(rows, max_counterfactuals=1)
print(json.dumps([model.predict(rows).tolist(), model.predict_proba(rows).tolist(), len(explained)]))
sys.exit(main())
"""


@pytest.fixture(scope="module")
def loaded(package):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_package(package)


@pytest.fixture(scope="module")
def frame(mixed_data):
    return mixed_data.X_test.head(40)


def test_it_answers_as_every_other_way_to_serve_it(loaded, frame, forest_model):
    predictor = Predictor(forest_model)
    matrix = coded_rows(frame, predictor.schema)
    answer = predictor.answer(matrix)

    assert loaded.classes_.tolist() == ["no", "yes"]
    assert loaded.feature_names_in_.tolist() == predictor.schema.feature_names
    assert loaded.predict_proba(frame).tobytes() == answer.scores.tobytes()
    assert isinstance(loaded.predict(frame), np.ndarray)
    assert loaded.predict(frame).tolist() == [record["prediction"] for record in answer.records()]


def test_frames_columns_and_records_mean_the_same(loaded, frame):
    expected = loaded.predict_proba(frame)
    records = json.loads(frame.to_json(orient="records", double_precision=15))
    columns = {name: [record[name] for record in records] for name in reversed(frame.columns)}

    assert (
        loaded.predict_proba(frame.assign(more=1)[sorted([*frame.columns, "more"])]).tobytes()
        == expected.tobytes()
    )
    assert loaded.predict_proba(records).tobytes() == expected.tobytes()
    assert loaded.predict_proba(columns).tobytes() == expected.tobytes()
    assert loaded.predict_proba(frame.head(0)).shape == (0, 2)
    assert loaded.predict(pd.DataFrame(records)).tolist() == loaded.predict(frame).tolist()


def test_it_explains_as_the_servers_do(loaded, frame, forest_model):
    rows = frame.head(2)
    explained = loaded.explain(rows, max_counterfactuals=1, immutable_features=["age"])

    predictor = Predictor(forest_model, EXPLAINER)
    asked = predictor.parameters({"max_counterfactuals": 1, "immutable_features": ["age"]})
    assert explained == predictor.explain(coded_rows(rows, predictor.schema), asked)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_counterfactual": 1}, "explain takes no 'max_counterfactual'"),
        ({"max_counterfactuals": 99}, "from 0 to 20"),
    ],
)
def test_wrong_parameters_are_refused(given, said, loaded, frame):
    with pytest.raises(InputError, match=said):
        loaded.explain(frame.head(1), **given)


def test_wrong_values_are_named(loaded):
    with pytest.raises(InputError, match="column 'income'"):
        loaded.predict({"age": [1], "income": ["much"], "job": ["nurse"], "owner": [True], "children": [0]})


def test_a_warning_lists_versions_that_differ(copy):
    path = copy / "requirements.txt"
    lines = path.read_text().replace("numpy==", "numpy==1!").replace("turbo-0.", "turbo-9.")
    path.write_text(lines + "nothing-of-this-name==1.0\n")

    with pytest.warns(
        UserWarning, match=r"^Installed versions are not those .*: proto-model-turbo"
    ) as warned:
        load_package(copy)

    (text,) = [str(one.message) for one in warned]
    assert f"numpy {np.__version__} instead of 1!{np.__version__}" in text
    assert "nothing" not in text
    assert "llvmlite" not in text


def test_it_needs_numpy_and_llvmlite_only_from_any_folder(package, frame, loaded, tmp_path):
    records = json.loads(frame.head(3).to_json(orient="records", double_precision=15))
    done = subprocess.run(
        [sys.executable, "-c", ALONE % (BLOCKED,), json.dumps(records)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{SRC}:{package}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer, said, _ = done.stdout.splitlines()

    assert json.loads(answer) == [
        loaded.predict(records).tolist(),
        loaded.predict_proba(records).tolist(),
        3,
    ]
    assert said == "20 rows of example.csv: labels and probabilities are the same to the last bit."


def test_without_its_packages_the_error_says_what_to_type(package, tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(package / "interface.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"Type: sh {package / 'setup.sh'}")


def test_one_bit_of_a_probability_is_found(copy, loaded):
    path = copy / "example.csv"
    header, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[-1] = repr(float(np.nextafter(float(cells[-1]), 2)))
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")

    found = self_test(copy, loaded)

    assert not found.is_good
    assert found.lines[1] == f"row 0, probability_yes: {first.split(',')[-1]} given, {cells[-1]} expected"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\xff", 'a,"\n'])
def test_an_example_of_another_model_is_refused(text, copy, loaded):
    (copy / "example.csv").write_text(text, encoding="latin-1")

    with pytest.raises(PackageError, match="Get the whole package"):
        self_test(copy, loaded)


def test_a_package_without_requirements_is_refused(copy):
    (copy / "requirements.txt").unlink()

    with pytest.raises(PackageError, match="Cannot read"):
        load_package(copy)
    shutil.rmtree(copy)
