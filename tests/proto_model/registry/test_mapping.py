"""A mapping on its way into the versions: found, checked by the mapper, refused where it would do nothing."""

import json

import mlflow
import pytest

from mapper.registry import MlflowRegistryConnector
from proto_model.cli.mapping import main
from proto_model.errors import DataError
from proto_model.registry import mapping
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.mapping import checked_mapping, located_mapping
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.versions import register_version


def test_a_relative_path_is_looked_for_in_every_folder_and_the_class_stays(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "own.py").touch()
    folders = [tmp_path / "a", tmp_path / "b"]

    assert located_mapping("own.py:Own", folders) == f"{tmp_path}/b/own.py:Own"
    assert located_mapping(f"{tmp_path}/b/own.py", folders) == f"{tmp_path}/b/own.py"
    with pytest.raises(DataError, match=r"No mapping none\.yaml in"):
        located_mapping("none.yaml", folders)


def test_the_mappers_verdict_is_the_runs(tmp_path, mixed_data):
    file = tmp_path / "mapping.yaml"
    file.write_text("mapping: 1\nrequest: {years: age}\n")
    settings = TrainingSettings(mapping=str(file))

    folder = checked_mapping(settings, mixed_data.schema, tmp_path / "out")

    assert folder == tmp_path / "out"
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] == ["mapper/mapping.yaml"]
    file.write_text("mapping: 1\nrequest: {years: aeg}\n")
    with pytest.raises(DataError, match=r"line 2, request.years: the model has no feature 'aeg'"):
        checked_mapping(settings, mixed_data.schema, tmp_path / "out")


def test_a_mapping_for_files_or_without_a_mapper_is_refused(tmp_path, mixed_data, monkeypatch):
    assert checked_mapping(TrainingSettings(), mixed_data.schema, tmp_path) is None
    with pytest.raises(DataError, match="does not apply to files"):
        checked_mapping(TrainingSettings(mapping="m", file_management=True), mixed_data.schema, tmp_path)
    monkeypatch.setattr(mapping, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install \./mapper"):
        checked_mapping(TrainingSettings(mapping="m"), mixed_data.schema, tmp_path)


WORDS = "mapping: 1\nrequest: {years: age}\n"
OWN = """
class Own:
    def __init__(self, model):
        self.model = model

    def form(self):
        example = self.model.schema.typical_record
        record = {"type": "object", "properties": {}, "examples": [example]}
        return {"record": record, "answer": {"type": "object"}}

    def map_request(self, tango_request, session=None):
        return self.model.map_request(tango_request, session)

    def map_response(self, response):
        return self.model.map_response(response)
"""


@pytest.fixture(scope="module")
def versions(store, mixed_pipeline, mixed_data):
    """A store with a version for rows, of the model `own`, and one for files, of `files`."""
    with mlflow.start_run() as run:
        for name, kind in (("own", "rows"), ("files", "file")):
            info = log_forest_model(mixed_pipeline, mixed_data, name=name, signature_kind=kind)
            tags = {"signature": kind}
            register_version(info.model_uri, name, run_id=run.info.run_id, tags=tags, alias="challenger")
    (store / "words.yaml").write_text(WORDS)
    (store / "own.py").write_text(OWN)
    return store


def attach(*arguments):
    return main(["attach", *arguments])


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning")
def test_a_version_that_is_there_gets_a_mapping_and_another_in_its_place(versions, capsys):
    def files():
        return dict(MlflowRegistryConnector(f"sqlite:///{versions}/mlflow.db").fetch("models:/own/1").files)

    own = ("--model", "models:/own@challenger")
    assert files() == {}
    assert attach("words.yaml", *own) == 0
    assert (
        capsys.readouterr().out
        == "mapping.yaml attached to models:/own@challenger. Start its mappers again.\n"
    )
    assert files() == {"mapping.yaml": WORDS.encode()}

    assert attach("own.py:Own", "--model", "models:/own/1") == 2
    assert "models:/own/1 has a mapping (mapping.yaml). Give --replace" in capsys.readouterr().err
    assert files() == {"mapping.yaml": WORDS.encode()}
    assert attach("own.py:Own", *own, "--replace") == 0
    code = files()
    assert json.loads(code.pop("code.json"))["class"] == "own:Own"
    assert code == {"own.py": OWN.encode()}

    (versions / "wrong.yaml").write_text("mapping: 1\nrequest: {years: aeg}\n")
    assert attach("wrong.yaml", *own, "--replace") == 2
    assert "the model has no feature 'aeg'" in capsys.readouterr().err
    assert set(files()) == {"code.json", "own.py"}
    assert attach("words.yaml", *own, "--replace") == 0
    assert files() == {"mapping.yaml": WORDS.encode()}


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/files@challenger", "takes files, and a mapping does not apply to files"),
        ("models:/own@nobody", "'own' has no alias 'nobody'"),
        ("models:/own/9", "There is no version 9 of 'own'"),
        ("models:/nobody/1", "There is no registered model 'nobody'"),
        ("models:/own", "is not the URI of a version. Give models:/name@alias or models:/name/3."),
        ("runs:/a/model", "is not the URI of a version"),
    ],
)
def test_only_versions_for_rows_that_are_there_get_one(versions, capsys, uri, words):
    assert attach("words.yaml", "--model", uri) == 2
    assert words in capsys.readouterr().err
