import json

import pytest

from proto_model.errors import ArtifactError
from proto_model.serving.mlserver_configs import server_settings, write_mlserver_configs


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
    with pytest.raises(ArtifactError, match="MLSERVER_GRPC_PORT"):
        server_settings({"MLSERVER_GRPC_PORT": port})
