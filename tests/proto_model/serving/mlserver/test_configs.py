import json

import pytest

from proto_model.errors import ArtifactError
from proto_model.serving.http.settings import ServerSettings, ServerSettingsError
from proto_model.serving.mlserver.configs import server_settings, write_mlserver_configs


@pytest.fixture
def downloaded(tmp_path, bundle):
    """Builds model folders as far as they matter here."""

    def make(name):
        folder = tmp_path / name
        (folder / "artifacts" / "bundle").mkdir(parents=True)
        (folder / "MLmodel").write_text(name)
        (folder / "artifacts" / "bundle" / "schema.json").write_bytes((bundle / "schema.json").read_bytes())
        return folder

    return make


def test_the_folder_is_replaced_as_a_whole(downloaded, tmp_path):
    build = tmp_path / "build"
    write_mlserver_configs(downloaded("first"), build, {})

    target = write_mlserver_configs(downloaded("second"), build, {"MLSERVER_HTTP_PORT": "6001"})

    assert target == build / "mlserver_configs" / "proto_model"
    assert (target / "artifact" / "model" / "MLmodel").read_text() == "second"
    assert json.loads((build / "settings.json").read_text())["http_port"] == 6001
    assert json.loads((target / "settings.json").read_text())["http_port"] == 6001
    assert [path.name for path in target.parent.iterdir()] == ["proto_model"]


def test_there_is_one_model_for_mlserver_though_a_version_brings_settings_of_its_own(downloaded, tmp_path):
    version = downloaded("version")
    (version / "model-settings.json").write_text("{}")

    target = write_mlserver_configs(version, tmp_path / "build", {})

    assert list((tmp_path / "build").rglob("model-settings.json")) == [target / "model-settings.json"]


def test_a_folder_that_is_no_model_of_ours_changes_nothing(downloaded, tmp_path):
    build = tmp_path / "build"
    write_mlserver_configs(downloaded("first"), build, {})
    (tmp_path / "other").mkdir()

    with pytest.raises(ArtifactError, match=r"schema\.json"):
        write_mlserver_configs(tmp_path / "other", build, {})

    assert (
        build / "mlserver_configs" / "proto_model" / "artifact" / "model" / "MLmodel"
    ).read_text() == "first"


def test_the_server_listens_to_this_machine_only_unless_told_otherwise():
    assert server_settings({})["host"] == "127.0.0.1"
    assert server_settings({})["parallel_workers"] == 0


@pytest.mark.parametrize("port", ["", "http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_named(port):
    with pytest.raises(ServerSettingsError, match="MLSERVER_GRPC_PORT"):
        server_settings({"MLSERVER_GRPC_PORT": port})


def test_limits_are_written_for_the_runtime_and_read_by_it(downloaded, tmp_path):
    environment = {"PROTO_MODEL_SERVER_FILE_TIMEOUT_S": "7200", "PROTO_MODEL_SERVER_THREADS": "3"}
    files = downloaded("files")
    (files / "file.py").write_text("")

    def extra(model):
        target = write_mlserver_configs(model, tmp_path / "build", environment)
        settings = json.loads((target / "model-settings.json").read_text())
        return settings, settings["parameters"]["extra"]

    _, for_rows = extra(downloaded("rows"))
    settings, for_files = extra(files)

    assert ServerSettings.of_numbers(for_rows, "") == ServerSettings(threads=3)
    assert ServerSettings.of_numbers(for_files, "") == ServerSettings(file_timeout_s=7200.0)
    assert for_rows.keys().isdisjoint(for_files)
    assert [tensor["name"] for tensor in settings["inputs"]] == ["input_url", "output_url", "file_id"]
    assert [tensor["name"] for tensor in settings["outputs"]] == ["file_id", "status", "summary"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("FILE_JOBS", "0", "PROTO_MODEL_SERVER_FILE_JOBS is '0', a whole number from 1 expected"),
        ("FILE_JOBS", "2.5", "a whole number from 1"),
        ("FILE_TIMEOUT_S", "nan", "a number from 0.001"),
        ("FILE_JOB", "1", "PROTO_MODEL_SERVER_FILE_JOB is not known. Known are: .*file_jobs"),
    ],
)
def test_a_limit_that_cannot_be_is_named_before_anything_is_written(
    downloaded, tmp_path, variable, value, words
):
    with pytest.raises(ServerSettingsError, match=words):
        write_mlserver_configs(downloaded("m"), tmp_path / "build", {f"PROTO_MODEL_SERVER_{variable}": value})

    assert not (tmp_path / "build").exists()
