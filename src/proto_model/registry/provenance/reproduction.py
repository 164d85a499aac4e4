"""Train a version again from what its run recorded, and compare the bundles to the last bit.

The same table, settings, libraries and kind of machine give the same bits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from proto_model.errors import RegistryError
from proto_model.registry.deployed import resolved
from proto_model.registry.model_folder import BUNDLE, downloaded
from proto_model.registry.publishing import Finding
from proto_model.registry.publishing.files import contents
from proto_model.registry.publishing.manifest import STATEMENT_FILE, read_json
from proto_model.registry.publishing.registered import provenance_of
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.versions import versions_of


def reproduced(model_uri: str, client: MlflowClient | None = None) -> list[Finding]:
    """Files of a version's bundle that another training does not give, with what else was different.

    Its own settings say where the table is; a relative path counts from the current folder. Nothing is
    registered in the current store. Raises RegistryError if no run recorded the training, or it fails.
    """
    client = client or MlflowClient()
    chosen = resolved(model_uri, client=client)
    version = client.get_model_version(chosen.name, chosen.version)
    variant, run_id = version.tags.get("variant"), version.run_id
    if not variant or not run_id:
        raise RegistryError(
            f"{chosen.uri} was not trained by this project's `train`; it cannot be trained again."
        )
    params = client.get_run(run_id).data.params
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        before = _bundle(chosen.uri, Path(temporary, "before"))
        statement = _statement(run_id, client)
        uri = f"sqlite:///{Path(temporary, 'mlflow.db')}"
        _train(params, uri, Path(temporary))
        kept = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        try:
            again = MlflowClient(uri)
            newest = next(versions_of(again, params["registered_model_name"], f"tags.variant = '{variant}'"))
            now = _bundle(f"models:/{newest.name}/{newest.version}", Path(temporary, "now"))
            inputs = input_differences(statement, _statement(newest.run_id or "", again))
        finally:
            mlflow.set_tracking_uri(kept)
    because = f" Different were: {', '.join(inputs)}." if inputs else ""
    return [
        Finding("reproduced", name, f"{name!r} is another one when it is trained again.{because}")
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _bundle(model_uri: str, folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a version's bundle."""
    folder.mkdir()
    files, _ = contents(downloaded(model_uri, folder) / BUNDLE)
    return {name: content.sha256 for name, content in files.items()}


def _statement(run_id: str, client: MlflowClient) -> dict[str, Any]:
    content = provenance_of(run_id, client).get(STATEMENT_FILE)
    return {} if content is None else read_json(content, "The statement of provenance")


def _train(params: Mapping[str, str], uri: str, folder: Path) -> None:
    """The command with the settings of a run, in a store of its own."""
    command = [sys.executable, "-m", "proto_model", "train"]
    for setting in fields(TrainingSettings):
        if setting.name in params:
            command += [f"--{setting.name.replace('_', '-')}={params[setting.name]}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    experiment = "reproduction"
    MlflowClient(uri).create_experiment(experiment, artifact_location=(folder / "artifacts").as_uri())
    kept |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": experiment}
    done = subprocess.run(command, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise RegistryError(f"The training cannot be repeated: {lines[-1]}")


def input_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the inputs of two statements that are not the same."""
    first, second = _inputs(before), _inputs(now)
    return [name for name in first if first[name] != second.get(name)]


def _inputs(statement: Mapping[str, Any]) -> dict[str, Any]:
    try:
        predicate = statement["predicate"]
        inputs = {one["name"]: one["digest"] for one in predicate["buildDefinition"]["resolvedDependencies"]}
        return inputs | dict(predicate["runDetails"]["builder"]["version"])
    except (KeyError, TypeError):
        return {}
