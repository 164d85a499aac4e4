"""Published versions with real servers and commands, and with OpenSSF's own tool for signatures of models."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.publishing import make_keys, publish
from proto_model.registry.versions import register_version
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from tests.environments import environment
from tests.stores import fresh_store
from tests.system.test_follow import ready, until
from tests.system.test_lean_server import get, serving
from tests.trainings import no_modules

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
SRC = Path(__file__).parents[2] / "src"
N_VERSIONS = 4


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_keys(folder / name) for name in ("team", "stranger")}


@pytest.fixture(scope="module")
def registry(tmp_path_factory, keys):
    """Client of a registry: 1 is published, 2 by a stranger, 3 without a signature, 4 not at all."""
    folder = tmp_path_factory.mktemp("publishing")
    with pytest.MonkeyPatch.context() as patch:
        uri = fresh_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        experiment = mlflow.create_experiment("publishing", artifact_location=(folder / "artifacts").as_uri())
        generator = np.random.default_rng(5)
        frame = pd.DataFrame({name: generator.normal(size=120).round(3) for name in ("size", "age")})
        frame["class"] = (frame["size"] > 0).astype(int)
        data = prepare(RawTable("people", "people", pa.Table.from_pandas(frame, preserve_index=False)))
        with mlflow.start_run(experiment_id=experiment) as run, no_modules():
            pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=5)
            info = log_forest_model(pipeline.fit(data.X_train, data.y_train), data)
        logged = mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(folder / "logged"))
        for _ in range(N_VERSIONS):  # copies: each version has files of its own
            model = client.create_logged_model(experiment, source_run_id=run.info.run_id)
            client.log_model_artifacts(model.model_id, logged)
            register_version(f"models:/{model.model_id}", "people", run_id=run.info.run_id, client=client)
        publish("models:/people/1", key=keys["team"][0], by="ann")
        publish("models:/people/2", key=keys["stranger"][0], by="eve")
        publish("models:/people/3", by="ann")
        yield client
        mlflow.set_tracking_uri(None)


def command(*arguments, timeout=120, program=()):
    done = subprocess.run(
        [*program, sys.executable, "-m", "proto_model", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_server_stays_at_the_last_version_that_it_can_trust(registry, keys):
    registry.set_registered_model_alias("people", "champion", "1")
    options = ("--follow", "1", "--verify-key", str(keys["team"][1]))
    with serving("models:/people@champion", *options) as (server, port):
        for version, reason in (("2", "another key"), ("3", "not signed"), ("4", "is not published")):
            registry.set_registered_model_alias("people", "champion", version)
            server.send_signal(signal.SIGHUP)
            until(lambda version=version: ready(port)["models"][0].get("wanted_version") == version)
            page = ready(port)["models"][0]
            assert (page["version"], page["problem"]) == ("1", "publication")
            assert reason in page["detail"]
            assert 'problem="publication"} 1' in get(port, "/metrics")[1].decode()
        publish("models:/people/4", key=keys["team"][0], by="ann")
        server.send_signal(signal.SIGHUP)
        until(lambda: ready(port)["models"][0]["version"] == "4")
        assert "problem" not in ready(port)["models"][0]


def test_no_server_starts_with_a_version_that_it_cannot_trust(registry, keys):
    code, _, error = command("serve", "-m", "models:/people/2", "-p", "0", "--verify-key", keys["team"][1])

    assert code == 1
    assert "cannot be trusted: The signature was made with another key" in error


@pytest.fixture
def kept(registry, tmp_path):
    """Folder of version 1, with its publication beside it, as somebody keeps it without a registry."""
    folder = Path(mlflow.artifacts.download_artifacts("models:/people/1", dst_path=str(tmp_path / "people")))
    tags = registry.get_model_version("people", "1").tags
    artifacts = f"runs:/{tags['publication_run_id']}/publication/{tags['manifest_sha256']}"
    mlflow.artifacts.download_artifacts(artifacts, dst_path=str(tmp_path / "download"))
    (source,) = {path.parent for path in (tmp_path / "download").rglob("manifest.json")}
    source.rename(folder.with_name(f"{folder.name}.publication"))
    return folder


def test_a_folder_is_verified_and_served_without_a_registry(kept, keys):
    code, out, error = command("verify", "-m", kept, "--key", keys["team"][1], "--json")
    assert (code, error) == (0, "")
    assert json.loads(out)["published_by"] == "ann"
    with serving(kept, "--verify-key", str(keys["team"][1]), MLFLOW_TRACKING_URI="http://127.0.0.1:1"):
        pass
    rows, out = kept.with_name("rows.csv"), kept.with_name("out.csv")
    rows.write_text("size,age\n1.5,40\n")
    score = ("score", "--input", rows, "--output", out, "--model", kept, "--verify-key")
    assert command(*score, keys["team"][1])[0] == 0
    assert len(out.read_text().splitlines()) == 2

    (kept / "artifacts" / "bundle" / "schema.json").write_text("{}")
    assert command("verify", "-m", kept, "--key", keys["team"][1])[:2] == (
        1,
        "version 1 of people is not what was published:\n  'artifacts/bundle/schema.json' was changed.\n",
    )
    code, _, error = command("serve", "-m", kept, "-p", "0", "--verify-key", keys["team"][1])
    assert code == 1
    assert "'artifacts/bundle/schema.json' was changed" in error
    code, _, error = command(*score, keys["team"][1])
    assert code == 1
    assert "'artifacts/bundle/schema.json' was changed" in error


def test_openssfs_tool_and_this_project_verify_each_others_signatures(kept, keys, tmp_path):
    # model-signing 1.1.1 imports OpenSSL, and does not ask for it.
    tool = environment("model-signing", "model-signing==1.1.1", "pyopenssl>=24") / "model_signing"
    private, public = map(str, keys["team"])

    def run(*arguments):
        return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)

    ours = kept.with_name(f"{kept.name}.publication") / "signature.sigstore.json"
    verify = ("verify", "key", "--public_key", public, "--signature")
    done = run(*verify, ours, kept)
    assert done.returncode == 0, done.stderr
    theirs = tmp_path / "theirs.json"
    done = run("sign", "key", "--private_key", private, "--signature", theirs, kept)
    assert done.returncode == 0, done.stderr
    given = ("verify", "-m", kept, "--key", public, "--signature", theirs)
    assert command(*given)[0] == 0

    (kept / "MLmodel").write_text("changed")
    assert "MLmodel" in (done := run(*verify, ours, kept)).stdout + done.stderr
    assert done.returncode != 0
    assert "'MLmodel' was changed" in command(*given)[1]
