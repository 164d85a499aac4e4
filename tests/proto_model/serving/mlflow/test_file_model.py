from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.pipeline import Pipeline

from proto_model.model import write_bundle
from proto_model.registry.logged_model import CODE, save_model
from proto_model.registry.signature import file_signature
from proto_model.table import TrainingData, encode
from scripts.object_store import ObjectStore

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory,
    rclone: ObjectStore,
    mixed_pipeline: Pipeline,
    mixed_data: TrainingData,
) -> Iterator[Any]:
    """The model for files, loaded as a server loads it."""
    folder = tmp_path_factory.mktemp("model")
    background = encode(mixed_data.X_train, mixed_data.schema)
    write_bundle(folder / "bundle", mixed_pipeline, mixed_data.schema, background)
    signature = file_signature()
    save_model(folder / "model", bundle=folder / "bundle", code=CODE / "file.py", signature=signature)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in rclone.settings.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        yield mlflow.pyfunc.load_model(str(folder / "model"))


def test_the_signature_names_urls_and_parameters(loaded: Any) -> None:
    assert loaded.metadata.get_input_schema().input_names() == ["input_url", "output_url", "file_id"]
    names = [param.name for param in loaded.metadata.get_params_schema().params]
    assert {"explain", "input_format", "output_format", "passthrough", "on_bad_row", "engine"} <= set(names)


def test_rows_are_jobs(
    loaded: Any, rclone: ObjectStore, mixed_data: TrainingData, mixed_pipeline: Pipeline, tmp_path: Path
) -> None:
    mixed_data.X_test.to_csv(rclone.path("people.csv"), index=False)
    jobs = pd.DataFrame(
        {
            "input_url": [
                rclone.presign("get_object", "people.csv"),
                rclone.presign("get_object", "nobody.csv"),
            ],
            "output_url": [rclone.presign("put_object", "a.jsonl"), rclone.presign("put_object", "b.jsonl")],
            "file_id": ["first", None],
        }
    )

    answer = loaded.predict(jobs, params={"output_format": "jsonl"})

    assert answer["status"].tolist() == ["done", "failed"]
    assert answer["file_id"].tolist() == ["first", None]
    assert answer["rows"].tolist() == [len(mixed_data.X_test), None]
    out = pd.read_json(rclone.path("a.jsonl"), lines=True)
    assert out["prediction"].tolist() == mixed_pipeline.predict(mixed_data.X_test).tolist()
    assert not rclone.path("b.jsonl").exists()
    assert "404" in answer["error"][1]


def test_explanations_come_with_the_rows(loaded: Any, rclone: ObjectStore, mixed_data: TrainingData) -> None:
    mixed_data.X_test.head(2).to_csv(rclone.path("two.csv"), index=False)
    jobs = {
        "input_url": rclone.presign("get_object", "two.csv"),
        "output_url": rclone.presign("put_object", "two.jsonl"),
    }

    answer = loaded.predict(pd.DataFrame([jobs]), params={"explain": True, "output_format": "jsonl"})

    assert answer["error"].tolist() == [None]
    out = pd.read_json(rclone.path("two.jsonl"), lines=True)
    assert [explanation["prediction"] for explanation in out["explanation"]] == out["prediction"].tolist()


@pytest.mark.parametrize(
    ("columns", "params", "reason"),
    [
        ({"input_url": ["https://h/k?X-Amz-Signature=5ec4e7"]}, {}, "Columns missing: .'output_url'"),
        ({"input_url": ["u"], "output_url": ["u"]}, {"on_bad_row": "skip"}, "on_bad_row: 'skip' given"),
        (
            {"input_url": ["u"], "output_url": ["u"]},
            {"output_format": "xlsx"},
            "Unknown output_format",
        ),
        ({"input_url": ["u"], "output_url": ["u"]}, {"passthrough": ["a", "a"]}, "names a column twice"),
        (
            {"input_url": ["u"], "output_url": ["u"]},
            {"explain": True, "effort": "huge"},
            "effort: 'huge' given",
        ),
    ],
)
def test_a_request_that_is_wrong_is_refused_whole(
    loaded: Any, columns: dict[str, Any], params: dict[str, Any], reason: str
) -> None:
    with pytest.raises(MlflowException, match=reason) as caught:
        loaded.predict(pd.DataFrame(columns), params=params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "5ec4e7" not in str(caught.value)


def test_values_that_are_no_urls_fail_their_job_only(loaded: Any) -> None:
    answer = loaded.predict(
        pd.DataFrame({"input_url": [None, 7, "file:///etc/passwd"], "output_url": ["x", "y", "z"]})
    )

    assert answer["status"].tolist() == ["failed"] * 3
    assert answer["error_type"].tolist() == ["url"] * 3


def test_columns_of_lists_are_jobs_too(loaded: Any) -> None:
    answer = loaded.predict({"input_url": ["u", "v"], "output_url": ["x", "y"]})

    assert answer["status"].tolist() == ["failed"] * 2
