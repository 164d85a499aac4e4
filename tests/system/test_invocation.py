"""`run_proto_model_invocation.py` against every server, with rows and files, while there is no champion."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.cli import invoke
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from scripts.object_store import ObjectStore
from tests.file_servers import ROOT, mapping, serving
from tests.ports import free_port
from tests.stores import fresh_store

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example, and on a model without one
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning"),
]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tracking URI, runs and folders of a model for rows and of one for files; the first is challenger."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "age": rng.integers(18, 90, 300),
            "owner": rng.random(300) < 0.5,
            "job": rng.choice(["clerk", "nurse"], 300),
        }
    )
    frame["class"] = np.where((frame["size"] + frame["owner"]) > 0.4, "yes", "no")
    data = prepare(RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False)))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=20).fit(data.X_train, data.y_train)
    folder = tmp_path_factory.mktemp("store")
    uri = fresh_store(folder)
    runs, folders = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        experiment = mlflow.create_experiment("invoke", artifact_location=(folder / "artifacts").as_uri())
        for kind in ("rows", "file"):
            with mlflow.start_run(experiment_id=experiment) as run:
                info = log_forest_model(pipeline, data, signature_kind=kind)
            runs[kind] = run.info.run_id
            folders[kind] = Path(
                mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(folder / kind))
            )
            if kind == "rows":
                register_version(
                    info.model_uri,
                    "proto_model",
                    run_id=run.info.run_id,
                    description="",
                    tags={},
                    alias="challenger",
                )
    return uri, runs, folders


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    with ObjectStore.running(tmp_path_factory.mktemp("objects")) as objects:
        yield objects


def invocation(*arguments, **variables):
    own = ("MLFLOW_", "AWS_", "PROTO_MODEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, ROOT / "run_proto_model_invocation.py", *arguments],
        env=kept | {"COLUMNS": "120"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("kind", ["lean", "mlserver"])
def test_what_a_server_tells_is_enough_for_a_row(store, kind, tmp_path):
    with serving(kind, store[2]["rows"], tmp_path) as server:
        done = invocation("--url", server.url, "--explain", MLFLOW_TRACKING_URI=NOWHERE)

    assert done.returncode == 0, done.stderr
    assert f"Row: made from what {server.url} tells about its model" in done.stderr
    assert "probability_yes" in done.stdout
    assert "Why row 0: " in done.stdout


@pytest.mark.parametrize("option", [[], ["--mapper"]])
def test_what_the_mapper_tells_is_enough_for_a_row(store, option, tmp_path):
    with (
        serving("lean", store[2]["rows"], tmp_path) as server,
        mapping(store[2]["rows"], server.url, tmp_path, "rows") as url,
    ):
        done = invocation("--url", url, "--explain", *option, MLFLOW_TRACKING_URI=NOWHERE)

    assert done.returncode == 0, done.stderr
    assert f"Row: made from what {url} tells about its model" in done.stderr
    assert "probabilities yes" in done.stdout
    assert "Why row 0: " in done.stdout


def test_mlflows_server_gets_the_row_of_the_exported_run_else_of_the_aliases(store, tmp_path):
    uri, runs, folders = store
    with serving("mlflow", folders["rows"], tmp_path) as server:
        by_run = invocation("--url", server.url, MLFLOW_TRACKING_URI=uri, MLFLOW_RUN_ID=runs["rows"])
        by_alias = invocation("--url", server.url, MLFLOW_TRACKING_URI=uri, MLFLOW_RUN_ID="0" * 32)
        without = invocation("--url", server.url, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/none.db")

    assert by_run.returncode == 0, by_run.stderr
    assert f"Row: the example of runs:/{runs['rows']}/model" in by_run.stderr
    assert by_alias.returncode == 0, by_alias.stderr
    assert "Row: the example of models:/proto_model@challenger" in by_alias.stderr
    assert without.returncode == 1
    assert "does not tell which columns its model takes" in without.stderr
    assert "There is no MLflow store" in without.stderr
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("kind", ["lean", "mlserver", "mlflow", "mapper"])
def test_a_file_makes_its_round_trip(store, objects, kind, tmp_path):
    uri, runs, folders = store
    variables = {"MLFLOW_TRACKING_URI": NOWHERE, **objects.credentials}
    if kind == "mlflow":
        variables |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_RUN_ID": runs["file"]}
    model = folders["file"]
    with serving("lean" if kind == "mapper" else kind, model, tmp_path, **objects.settings) as server:
        if kind == "mapper":
            with mapping(model, server.url, tmp_path, "file") as url:
                done = invocation("--url", url, "--explain", **variables)
        else:
            done = invocation("--url", server.url, "--explain", **variables)

    assert done.returncode == 0, done.stderr
    assert "scored 100 rows" in done.stderr
    assert "checked: 100 rows came back in order, each with a prediction" in done.stderr
    assert "Why row 0: " in done.stdout
    assert not list(objects.path("any").parent.iterdir())


def test_a_file_of_ones_own_goes_through_a_store_started_for_it(store, tmp_path, monkeypatch, capsys):
    port = free_port()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("proto_model.invocation.store.LOCAL_PORT", port)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "rows.csv").write_text("key,size,age,owner,job\nx1,1.5,40,true,nurse\nx2,0,20,false,clerk\n")
    (tmp_path / "server").mkdir()
    allowed = {"ALLOWED_HOSTS": f"127.0.0.1:{port}", "ALLOW_HTTP": "true"}
    settings = {f"PROTO_MODEL_FILES_{name}": value for name, value in allowed.items()}

    with serving("lean", store[2]["file"], tmp_path / "server", **settings) as server:
        assert invoke.main(["--url", server.url, "--data", "rows.csv"]) == 0
    answered = capsys.readouterr()
    with serving("lean", store[2]["file"], tmp_path / "server") as server:
        assert invoke.main(["--url", server.url, "--data", "rows.csv"]) == 1
    refused = capsys.readouterr()

    assert "x1" in answered.out
    assert "checked: 2 rows came back in order" in answered.err
    assert f"export PROTO_MODEL_FILES_ALLOWED_HOSTS=127.0.0.1:{port}" in refused.err
