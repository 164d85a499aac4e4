from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from proto_model.cli.score import main
from proto_model.errors import InputError
from proto_model.files import score_file
from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.parameters import FILE
from proto_model.table import TrainingData, encode


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, mixed_pipeline: Pipeline, mixed_data: TrainingData
) -> Path:
    """Folder of a model, as far as scoring looks at it."""
    folder = tmp_path_factory.mktemp("model")
    background = encode(mixed_data.X_train, mixed_data.schema)
    write_bundle(folder / "artifacts" / "bundle", mixed_pipeline, mixed_data.schema, background)
    return folder


@pytest.fixture(scope="module")
def forest(folder: Path) -> Predictor:
    bundle = Bundle.load(folder / "artifacts" / "bundle")
    return Predictor(bundle, FILE)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet", "feather"])
def test_a_file_gets_what_the_pipeline_predicts(
    tmp_path: Path, forest: Predictor, mixed_pipeline: Pipeline, mixed_data: TrainingData, suffix: str
) -> None:
    frame = mixed_data.X_test.assign(row=range(len(mixed_data.X_test)))
    path = tmp_path / f"in.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    elif suffix.startswith("csv"):
        frame.to_csv(path, index=False)
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.reset_index(drop=True).to_feather(path)
    seen: list[tuple[int, float]] = []

    scored = score_file(
        path, tmp_path / "out.parquet", forest, progress=lambda n_rows, share: seen.append((n_rows, share))
    )

    out = pd.read_parquet(tmp_path / "out.parquet")
    assert scored.n_rows == len(out) == len(frame)
    assert str(scored.output_format) == "parquet"
    expected = mixed_pipeline.predict_proba(mixed_data.X_test)
    np.testing.assert_array_equal(out[mixed_data.schema.probability_columns].to_numpy(), expected)
    np.testing.assert_array_equal(out["probability"].to_numpy(), expected.max(axis=1))
    assert out["prediction"].tolist() == mixed_pipeline.predict(mixed_data.X_test).tolist()
    assert seen[-1][0] == len(frame)
    assert 0 < seen[-1][1] <= 1


def test_an_output_appears_only_when_it_is_complete(tmp_path: Path, model) -> None:
    (tmp_path / "in.csv").write_text("age\n1\nx\n")
    (tmp_path / "out.csv").write_text("before")

    with pytest.raises(InputError, match="line 3"):
        score_file(tmp_path / "in.csv", tmp_path / "out.csv", model)
    assert (tmp_path / "out.csv").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("names", [("none.csv", "out.csv"), ("in.csv", "no/out.csv"), (".", "out.csv")])
def test_a_path_that_cannot_be_used_is_an_error(tmp_path: Path, model, names: tuple[str, str]) -> None:
    (tmp_path / "in.csv").write_text("age\n1\n")

    with pytest.raises(InputError, match=r"Cannot (read|write)"):
        score_file(tmp_path / names[0], tmp_path / names[1], model)


def test_the_command_scores_and_says_so(
    tmp_path: Path, folder: Path, mixed_data: TrainingData, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed_data.X_test.head(3).assign(row=["a", "b", "c"]).to_csv(tmp_path / "in.csv", index=False)
    files = [
        "--input",
        str(tmp_path / "in.csv"),
        "--output",
        str(tmp_path / "out.jsonl"),
        "--model",
        str(folder),
    ]

    assert main([*files, "--passthrough", "row", "--explain", "--workers", "1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["rows"], shown["output_format"]) == (3, "jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == ["a", "b", "c"]
    assert all(row["explanation"]["prediction"] == row["prediction"] for row in rows)

    (tmp_path / "in.csv").write_text("age\n1\n")
    assert main(files) == 2
    assert "Columns missing in the file" in capsys.readouterr().err
    assert main([*files[:-1], str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_the_command_loads_no_library_of_training(
    tmp_path: Path, folder: Path, mixed_data: TrainingData
) -> None:
    mixed_data.X_test.head(3).to_csv(tmp_path / "in.csv", index=False)
    files = [
        "--input",
        str(tmp_path / "in.csv"),
        "--output",
        str(tmp_path / "out.csv"),
        "--model",
        str(folder),
    ]
    code = (
        "import sys; from proto_model.cli.score import main; "
        f"assert main({files!r}) == 0; print({{'mlflow', 'pandas', 'sklearn'}} & sys.modules.keys())"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.splitlines()[-1] == "set()"
