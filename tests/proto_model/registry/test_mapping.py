"""A mapping on its way into the versions: found, checked by the mapper, refused where it would do nothing."""

import pytest

from proto_model.errors import DataError
from proto_model.registry import mapping
from proto_model.registry.mapping import checked_mapping, located_mapping
from proto_model.registry.settings import TrainingSettings


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
