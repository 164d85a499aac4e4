import shlex

import pytest

from proto_model.cli.mlserver import main
from proto_model.registry.publishing import Manifest
from proto_model.registry.publishing.files import contents


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


@pytest.fixture
def run(monkeypatch, capsys):
    """Function that runs the command and gives its exit code, output and words."""
    monkeypatch.setattr("proto_model.registry.tracking.quiet_mlflow", lambda: None)

    def run(model_uri, build, *options):
        code = main([str(model_uri), str(build), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_folder_is_configured_where_names_have_spaces_and_stays_where_it_was(run, downloaded, tmp_path):
    build = tmp_path / "my build"
    model = downloaded("my model")

    code, output, _ = run(model, build)

    assert code == 0
    install, start = map(shlex.split, output.splitlines())
    target = build / "mlserver_configs" / "proto_model"
    assert install[-1] == str(target / "artifact" / "model" / "requirements.txt")
    assert start == ["mlserver", "start", str(build)]
    assert (target / "artifact" / "model" / "MLmodel").read_text() == (model / "MLmodel").read_text()
    assert sorted(path.name for path in build.iterdir()) == ["mlserver_configs", "settings.json"]


def test_what_cannot_be_configured_gets_a_sentence_and_leaves_nothing(run, downloaded, tmp_path, monkeypatch):
    build = tmp_path / "build"
    (tmp_path / "file").write_text("")

    assert run("no/such", build)[::2] == (
        2,
        "error: There is no folder no/such. Give one, or a URI such as models:/proto_model@champion.\n",
    )
    assert "Set BUILD_DIR to a folder" in run(downloaded("m"), tmp_path / "file")[2]
    said = run("ftp://me:SECRET@127.0.0.1:1/m", build)[2]
    assert said.startswith("error: Cannot load ftp://127.0.0.1:1/m: ")
    monkeypatch.setenv("MLSERVER_HTTP_PORT", "http")
    assert "MLSERVER_HTTP_PORT is 'http'" in run(tmp_path / "m", build)[2]
    assert not build.exists() or not list(build.iterdir())


def test_a_version_that_is_not_published_is_not_configured_where_that_is_asked(
    run, downloaded, tmp_path, monkeypatch
):
    build, model = tmp_path / "build", downloaded("m")

    assert "It is not published" in run(model, build, "--require-published")[2]
    assert not build.exists()
    manifest = Manifest("m", "1", "2026-11-22T08:00:00+00:00", "ann", contents(model)[0])
    (tmp_path / "m.publication").mkdir()
    (tmp_path / "m.publication" / "manifest.json").write_bytes(manifest.to_bytes())
    monkeypatch.setenv("PROTO_MODEL_REQUIRE_PUBLISHED", "true")
    assert run(model, build)[0] == 0
    (model / "MLmodel").write_text("changed")
    assert "'MLmodel' was changed" in run(model, build)[2]
