"""A bundle that contradicts itself is refused with the same words wherever it is loaded."""

import json
import pickle
import shutil
from types import SimpleNamespace

import pytest

from proto_model.cli import score
from proto_model.errors import ArtifactError
from proto_model.model import Bundle
from proto_model.model.digests import write_digests
from proto_model.registry.model_folder import BUNDLE
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.mlflow.pyfunc import RandomForestWrapperModel


def test_every_entry_refuses_a_schema_in_another_order_with_the_same_words(bundle, tmp_path, capsys):
    folder = shutil.copytree(bundle, tmp_path / "model" / BUNDLE)
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "rows.csv").write_text("age\n1\n")
    explainers = pickle.dumps(Bundle.load(folder))
    content = json.loads((folder / "schema.json").read_text())
    content["features"].reverse()
    (folder / "schema.json").write_text(json.dumps(content))
    write_digests(folder)

    entries = {
        "the lean server, and MLServer": lambda: ServedModel.load(tmp_path / "model", {}),
        "MLflow": lambda: RandomForestWrapperModel().load_context(
            SimpleNamespace(artifacts={"bundle": str(folder)})
        ),
        "processes of explanations": lambda: pickle.loads(explainers),
    }
    told = set()
    for entry in entries.values():
        with pytest.raises(ArtifactError, match="is of another schema") as raised:
            entry()
        told.add(str(raised.value))
    files = ["--input", str(tmp_path / "rows.csv"), "--output", str(tmp_path / "out.csv")]
    assert score.main(["--model", str(tmp_path / "model"), *files]) == 1

    assert told == {capsys.readouterr().err.removeprefix("error: ").strip()}
