"""`python -m proto_model versions` on an embedded store, run in this process."""

import io
import json
import sys

import mlflow
import pytest
from mlflow import MlflowClient

from proto_model.cli import verify
from proto_model.cli.versions import main
from proto_model.registry.publishing import Manifest, make_keys, read_signing_key
from proto_model.registry.publishing.registered import read
from tests.proto_model.registry.publishing.test_publish import new_version
from tests.stores import fresh_store

HOSTILE = "[red]a[/red] \x1b[2J\u202eb"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """URI of a store with the model `people`, whose versions are 1 to 4; 3 is its champion."""
    folder = tmp_path_factory.mktemp("versions")
    uri = fresh_store(folder)
    client = MlflowClient(uri)
    client.create_registered_model("people")
    run = client.create_run(client.create_experiment("e", artifact_location=folder.as_uri()))
    for name, value in {"": 0.91, "_low": 0.88, "_high": 0.94}.items():
        client.log_metric(run.info.run_id, f"test_balanced_accuracy{name}", value)
    for _ in range(4):
        client.create_model_version("people", "file:///nowhere", run.info.run_id, tags={"variant": "trees"})
    client.set_registered_model_alias("people", "champion", "3")
    client.set_model_version_tag("people", "1", "note", HOSTILE)
    client.update_model_version("people", "1", HOSTILE)
    return uri


@pytest.fixture
def versions(store, capsys, monkeypatch):
    """The command: exit status, standard output (read as JSON with --json) and standard error."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")

    def run(action, *arguments):
        status = main([action, "--tracking-uri", store, *arguments])
        out, err = capsys.readouterr()
        return status, json.loads(out) if "--json" in arguments and out else out, err

    yield run
    mlflow.set_tracking_uri(None)


def test_a_table_shows_what_the_card_shows(versions):
    status, out, err = versions("list", "people", "--limit", "2")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert (status, err) == (0, "")
    assert (
        lines[0]
        == "version aliases variant balanced accuracy log loss created published deployed labels".split()
    )
    assert [line[0] for line in lines[2:]] == ["4", "3"]
    assert lines[3][1:7] == ["champion", "trees", "0.9100", "(0.880", "to", "0.940)"]


def test_json_holds_the_same(versions):
    status, listed, _ = versions("list", "models:/people@champion", "--json")
    (line,) = listed
    assert (status, line["version"], line["aliases"]) == (0, 3, ["champion"])
    _, sheet, _ = versions("show", "people/3", "--json")
    assert line.items() <= sheet.items()
    assert sheet["hyperparameters_from"] == "run"
    assert sheet["uri"] == "models:/people/3"


@pytest.mark.parametrize("arguments", [("show", "people/1"), ("list", "people"), ("history", "people")])
def test_what_the_registry_holds_is_neither_markup_nor_steers_the_terminal(versions, arguments):
    _, out, _ = versions(*arguments)
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert ("[red]a[/red] \N{REPLACEMENT CHARACTER}[2J" in out) == (arguments[0] == "show")


HALF, C1 = '"\\ud800"', '"\\u009b2J"'


@pytest.mark.parametrize(
    "tags",
    [
        {"labels": f"[{HALF}, {C1}]", "records": f"[{HALF}]"},
        {"config": '{"a": NaN, "b": 1e999}', "hyperparameters": '{"a": NaN}'},
        {"config": f'{{"a": {HALF}, {HALF}: 1}}', "hyperparameters": f'{{"a": {C1}}}'},
        {"labels": f"[{C1}]", "published_by": "\x9b2J"},
        {"event.20261122T081011.000000Z.edited": f'{{"by": {HALF}, "what": {C1}}}'},
        {"labels": json.dumps(["long" * 1000])},
    ],
)
def test_tags_that_mlflow_takes_and_nobody_can_read_stop_no_command(versions, store, tags):
    """Others write tags, too: half characters, numbers that JSON does not know, controls of terminals."""
    client = MlflowClient(store)
    model = f"tagged_{len(client.search_registered_models())}"
    client.create_registered_model(model, tags={"deleted.1": f'{{"reason": {HALF}, "by": {C1}}}'})
    client.create_model_version(model, "file:///nowhere")
    client.delete_model_version(model, "1")
    client.create_model_version(model, "file:///nowhere", tags=tags)
    for arguments in [("list", model), ("show", model), ("history", model), ("list", model, "--deleted")]:
        for options in [(), ("--json",)]:
            status, out, err = versions(*arguments, *options)
            assert (status, err) == (0, "")
            assert not set(str(out)) & ({"\ud800", "\x1b"} if options else {"\ud800", "\x1b", "\x9b"})
    status, edited, err = versions("edit", f"{model}/2", "--label", "ok", "--json")
    assert (status, err) == (0, "")
    assert "ok" in edited["changes"]["labels"]["after"]


def test_json_for_programs_steers_no_terminal(versions, store, capsys):
    client = MlflowClient(store)
    number = client.create_model_version("people", "file:///nowhere", description="\x9b2J \u202e é").version
    assert main(["show", f"people/{number}", "--json", "--tracking-uri", store]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["description"] == "\x9b2J \u202e é"
    assert "\\u009b2J \\u202e é" in out
    client.delete_model_version("people", number)


def test_an_edit_from_files_and_flags_shows_what_changed(versions, tmp_path):
    (tmp_path / "about.md").write_text("# People\n\nA *forest*.\n")
    (tmp_path / "config.yaml").write_text("threshold: 0.3\nunits: {size: mm}\n")
    files = ["--description-file", str(tmp_path / "about.md"), "--config", str(tmp_path / "config.yaml")]
    flags = [
        "--label",
        "q3",
        "--set",
        "threshold=.4",
        "--set",
        "mode=fast",
        "--record",
        "s3://k:s@lake/a?x=1",
    ]

    status, edited, err = versions("edit", "people@champion", *files, *flags, "--json")

    assert (status, err) == (0, "")
    assert edited["changes"]["config"]["after"] == {"threshold": 0.4, "units": {"size": "mm"}, "mode": "fast"}
    assert edited["changes"]["records"]["after"] == ["s3://lake/a"]
    assert versions("show", "people/3", "--json")[1]["description"] == "# People\n\nA *forest*."
    status, out, err = versions("edit", "people/3", "--label", "q3")
    assert (status, out, err) == (0, "", "Version 3 of 'people' is like that already.\n")
    assert [entry["event"] for entry in versions("history", "people", "--version", "3", "--json")[1]][
        -1
    ] == "edited"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("show", "nobody"), 2, "There is no registered model 'nobody'"),
        (("show", "people@worst"), 2, "no alias 'worst'. It has 'champion'"),
        (("show", "people/99"), 2, "no version 99"),
        (("show", "a/b/c"), 2, "names no model"),
        (("edit", "people", "--label", "a"), 2, "names no version"),
        (("edit", "people/1"), 2, "Nothing to change was given"),
        (("edit", "people/1", "--label", "x" * 33), 2, "has 33 characters"),
        (("edit", "people/1", "--set", "x"), 2, "KEY=VALUE expected"),
        (("edit", "people/1", "--set", 'x="\\ud800"'), 2, r"config holds half a character: '\ud800'"),
        (("edit", "people/1", "--description", "caf\udce9"), 2, "holds control characters: '\\udce9'"),
        (("edit", "people/1", "--set", "x=1", "--set", "x=2"), 2, "sets 'x' twice"),
        (("edit", "people/1", "--config", "/nowhere.yaml"), 2, "Cannot read /nowhere.yaml"),
        (("delete", "people/3", "--yes"), 1, "has the alias champion, so it stays"),
        (("delete", "people/1"), 2, "There is no terminal to ask at. Give --yes."),
        (("prune", "people", "--keep", "1"), 2, "There is no terminal to ask at. Give --yes."),
        (("prune", "people/1"), 2, "names a version; prune takes a model"),
        (("history", "people/1", "--version", "2"), 2, "names a version already"),
        (("list", "--all", "--deleted"), 2, "--deleted is about one model"),
        (("list", "people", "--sort", "speed"), 2, "No version has the metric 'speed'"),
        (("publish", "people/99"), 2, "version"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(versions, arguments, status, message, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, out, err = versions(*arguments)
    assert (code, out) == (status, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "- {", "\x00", "", "a: &a [*a]"])
def test_a_file_that_is_no_object_is_told(versions, tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    status, _, err = versions("edit", "people/1", "--config", str(tmp_path / "config.yaml"))
    assert status == 2
    assert str(tmp_path / "config.yaml") in err


def test_a_deleted_version_is_known(versions):
    for arguments in [
        ("edit", "people/2", "--label", "old"),
        ("delete", "people/2", "--yes", "--reason", "[b]old"),
    ]:
        assert versions(*arguments)[0] == 0
    assert "[b]old" in versions("list", "people", "--deleted")[1]
    _, sheet, _ = versions("show", "people/2", "--json")
    assert (sheet["deleted"]["by"], sheet["deleted"]["labels"]) == ("ada", ["old"])
    events = [entry["event"] for entry in versions("history", "people", "--version", "2", "--json")[1]]
    assert events == ["trained", "edited", "deleted"]
    assert [line["version"] for line in versions("list", "people", "--json")[1]] == [4, 3, 1]
    status, _, err = versions("delete", "people/2", "--yes")
    assert status == 1
    assert "A deleted version does not come back." in err


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("typed", "status"), [("n\n", 1), ("\n", 1), ("", 1), ("yes\n", 0)])
def test_a_terminal_is_asked(versions, monkeypatch, store, typed, status):
    number = MlflowClient(store).create_model_version("people", "file:///nowhere").version
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    code, _, err = versions("delete", f"people/{number}")
    assert code == status
    assert f"Delete version {number} of 'people'? [y/N]" in err
    assert ("Nothing was changed." in err) == bool(status)


def test_pruning_says_first_what_it_would_do(versions):
    status, dry, err = versions("prune", "people", "--keep", "1", "--dry-run", "--json")
    assert status == 0
    assert dry["spared"] == [3]
    assert dry["deleted"] == []
    assert "1 to" not in err
    status, done, _ = versions("prune", "people", "--keep", "1", "--yes", "--json")
    assert (status, done["deleted"], done["stayed"]) == (0, dry["prunable"], {})


def test_a_registry_that_is_not_there_and_one_that_is_read_only_are_told(store, capsys, tmp_path):
    try:
        assert main(["list", "--tracking-uri", "http://127.0.0.1:1"]) == 1
        assert "Cannot use MLflow at http://127.0.0.1:1" in capsys.readouterr().err
        path = store.removeprefix("sqlite:///")
        read_only = f"sqlite:///file:{path}?mode=ro&uri=true"
        assert main(["edit", "people/3", "--label", "x", "--tracking-uri", read_only]) == 1
    finally:
        mlflow.set_tracking_uri(None)
    out, err = capsys.readouterr()
    assert out == ""
    assert "MLflow's database can only be read here" in err
    assert "Traceback" not in err


@pytest.fixture
def given(store, tmp_path):
    """Name of a model with two versions that have files, on the same store."""
    client, name = MlflowClient(store), f"given_{tmp_path.name}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    for _ in range(2):
        new_version(client, name, tmp_path)
    yield name
    mlflow.set_tracking_uri(before)


def test_a_version_is_published_without_a_key_and_then_stays(versions, given, store):
    status, out, err = versions("publish", f"{given}/1")
    assert (status, out) == (0, "")
    assert err == (
        f"Published version 1 of '{given}'. It does not change any more. Nobody signed it, so servers with a "
        "verify key refuse it.\n"
    )
    (line,) = versions("list", f"{given}/1", "--json")[1]
    assert line["published"]
    before = MlflowClient(store).get_model_version(given, "1").tags
    for arguments in (
        ("publish", f"{given}/1"),
        ("edit", f"{given}/1", "--label", "late"),
        ("edit", f"{given}/1", "--label", "late", "--dry-run"),
    ):
        status, out, err = versions(*arguments)
        assert (status, out) == (1, "")
        assert "was published at" in err
        assert "by ada and cannot be changed" in err
    assert MlflowClient(store).get_model_version(given, "1").tags == before


def test_a_version_is_published_with_a_key_and_its_details_are_in_the_manifest(
    versions, given, store, tmp_path, capsys
):
    private, public = make_keys(tmp_path / "keys")
    details = ("--label=q3", "--set=threshold=.4", "--record=s3://lake/a", "--set-hyperparameter=a=1")
    assert versions("edit", f"{given}/2", *details)[0] == 0

    status, published, err = versions("publish", f"{given}/2", "--key", str(private), "--json")

    assert (status, published["version"], published["published_by"]) == (0, 2, "ada")
    assert published["signer"] == read_signing_key(private).fingerprint
    assert f"It is signed with {published['signer']}." in err
    manifest = manifest_of(MlflowClient(store), given, "2")
    assert manifest.facts["config"] == {"threshold": 0.4}
    assert manifest.facts["records"] == ["s3://lake/a"]
    assert manifest.facts["hyperparameters"]["a"] == 1
    assert manifest.facts["data_sets"] == []
    mlflow.set_tracking_uri(store)
    assert verify.main(["-m", f"models:/{given}/2", "--key", str(public)]) == 0
    capsys.readouterr()
    log = versions("history", given, "--version", "2", "--json")[1]
    assert [(entry["event"], entry["by"]) for entry in log][-2:] == [("edited", "ada"), ("published", "ada")]
    _, sheet, _ = versions("show", f"{given}/2", "--json")
    assert (sheet["published"], sheet["published_by"]) == (published["published_at"], "ada")


def test_published_versions_are_deleted_only_by_force_and_pruned_never(versions, given):
    assert versions("publish", f"{given}/1", "--json")[0] == 0

    status, _, err = versions("delete", f"{given}/1", "--yes")
    assert (status, "is published, so it stays" in err) == (1, True)
    _, pruned, _ = versions("prune", given, "--keep", "1", "--yes", "--json")
    assert (pruned["prunable"], pruned["spared"]) == ([], [1])
    status, deleted, _ = versions("delete", f"{given}/1", "--yes", "--force", "--json")
    assert status == 0
    assert deleted["deleted"]["published_at"]


def test_a_key_that_cannot_be_used_publishes_nothing(versions, given, store, tmp_path):
    public = make_keys(tmp_path / "keys")[1]
    public.chmod(0o600)
    for key, message in ((tmp_path / "none.pem", "cannot be read"), (public, "cannot be read")):
        status, out, err = versions("publish", f"{given}/1", "--key", str(key))
        assert (status, out) == (2, "")
        assert message in err
    assert "published_at" not in MlflowClient(store).get_model_version(given, "1").tags


def manifest_of(client, name, number):
    version = client.get_model_version(name, number)
    publication, faults = read(version, client)
    assert faults == []
    return Manifest.of_bytes(publication.manifest)
