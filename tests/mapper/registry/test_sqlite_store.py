"""Stores of odd forms and places; a store that MLflow made is read in tests/system/test_mapper_store.py."""

import json
import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapper import MlflowRegistryConnector
from mapper.cli.main import main
from mapper.errors import RegistryError, SchemaError, SettingsError
from mapper.registry import check_registry_url, find_model, find_registry
from mapper.registry.sqlite_store import COLUMNS, MAX_FILE_BYTES, SqliteStore, sqlite_file
from tests.mapper.conftest import SCHEMA

URI = "models:/penguins@champion"


def make_store(folder: Path, location: str, *, extra: str = "", skip: str = "") -> str:
    """URI of a store with one version of `penguins`, whose files are at the location."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for table, columns in COLUMNS.items():
            kept = [*sorted(columns - {skip}), *([extra] if extra else [])]
            database.execute(f"CREATE TABLE {table} ({', '.join(kept)})")

        def insert(table: str, **row: object) -> None:
            row = {name: value for name, value in row.items() if name != skip}
            row |= {extra: "default"} if extra else {}
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

        insert("registered_models", name="penguins")
        insert("registered_model_aliases", name="penguins", alias="champion", version=2)
        for number, stage in ((1, "Deleted_Internal"), (2, "None")):
            insert(
                "model_versions",
                name="penguins",
                version=number,
                source="models:/m-1",
                storage_location=location,
                current_stage=stage,
            )
        insert("model_version_tags", name="penguins", version=2, key="signature", value="rows")
        insert(
            "logged_models",
            model_id="m-1",
            name="model",
            source_run_id="r1",
            artifact_location=location,
            lifecycle_stage="active",
        )
        insert("runs", run_uuid="r1", artifact_uri="/nowhere", lifecycle_stage="active")
        database.commit()
    return f"sqlite:///{folder / 'mlflow.db'}"


def make_files(folder: Path) -> Path:
    (folder / "mapper").mkdir(parents=True)
    (folder / "mapper" / "schema.json").write_text(json.dumps(SCHEMA))
    return folder


@pytest.fixture
def files(tmp_path):
    """Folder of a model's files."""
    return make_files(tmp_path / "mlruns" / "0" / "models" / "m-1" / "artifacts")


@pytest.mark.parametrize("extra", ["", "workspace"])  # stores of MLflow 3.17 have it
@pytest.mark.parametrize(
    "uri", [URI, "models:/penguins/2", "models:/m-1", "runs:/r1/model"], ids=["alias", "number", "id", "run"]
)
def test_every_way_to_name_a_version_gives_its_schema(tmp_path, files, uri, extra):
    store = make_store(tmp_path, str(files), extra=extra)

    published = MlflowRegistryConnector(store, {}).fetch(uri)

    assert published.schema.content == SCHEMA
    named = uri.startswith("models:/p")
    assert (published.version, published.signature) == (("2", "rows") if named else (None, None))


@pytest.mark.parametrize("uri", [URI, "models:/penguins/2", "runs:/r1/model"])
def test_a_store_of_mlflow_2_is_read_too(tmp_path, uri):
    files = make_files(tmp_path / "mlruns" / "0" / "r1" / "artifacts" / "model")
    store = make_store(tmp_path, "runs:/r1/model")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("DROP TABLE logged_models")
        database.execute("UPDATE model_versions SET source = storage_location")
        database.execute("UPDATE runs SET artifact_uri = ?", (str(files.parent),))
        database.commit()

    assert MlflowRegistryConnector(store, {}).fetch(uri).schema.content == SCHEMA
    with pytest.raises(RegistryError, match="there is no model m-1"):
        MlflowRegistryConnector(store, {}).fetch("models:/m-1")


def test_nothing_is_written(tmp_path, files):
    store = make_store(tmp_path, str(files))
    before = sorted(tmp_path.rglob("*")), (tmp_path / "mlflow.db").read_bytes()
    (tmp_path / "mlflow.db").chmod(0o444)

    MlflowRegistryConnector(model_registry_url=store).fetch(URI)

    assert (sorted(tmp_path.rglob("*")), (tmp_path / "mlflow.db").read_bytes()) == before


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/%"), min_size=1, max_size=20)
    .filter(lambda name: name not in (".", ".."))
    .filter(lambda name: len(name.encode()) < 200)
)
def test_a_folder_may_have_any_name(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("store") / name
    files = make_files(folder / "mlruns")
    make_store(folder, str(files))
    uri = (folder / "mlflow.db").as_uri().replace("file://", "sqlite:///")

    assert MlflowRegistryConnector(uri, {}).fetch(URI).version == "2"


@pytest.mark.parametrize("form", ["file", "relative"])
def test_a_place_may_be_a_file_uri_or_beside_the_store(tmp_path, files, form):
    folder = tmp_path / "my store"
    files = make_files(folder / "mlruns" / "ä b")
    store = make_store(folder, files.as_uri() if form == "file" else "./mlruns/ä b")

    assert MlflowRegistryConnector(store, {}).fetch(URI).schema.content == SCHEMA


def test_the_store_of_this_folder_is_the_default_and_others_come_first(tmp_path, files, monkeypatch, capsys):
    make_store(tmp_path, str(files))
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)

    assert find_model("penguins@champion", "", {}).version == "2"
    assert main(["schema", "--model", URI]) == 0
    assert "penguins predicts species" in capsys.readouterr().out
    remote = {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    assert find_registry(URI, "", remote) == "http://mlflow:5000"
    assert find_registry(URI, "", remote | {"MLFLOW_REGISTRY_URI": "https://registry"}) == "https://registry"
    assert find_registry(URI, "sqlite:///mine.db", remote) == "sqlite:///mine.db"

    monkeypatch.chdir(tmp_path / "mlruns")
    with pytest.raises(SettingsError, match=r"MLFLOW_TRACKING_URI is not set and there is no mlflow\.db in"):
        find_model(URI, "", {})


def test_a_store_that_was_moved_says_where_its_files_are_now(tmp_path, files):
    make_store(tmp_path, str(files))
    moved = tmp_path.parent / f"{tmp_path.name} möved"
    tmp_path.rename(moved)
    now = moved / files.relative_to(tmp_path)

    with pytest.raises(RegistryError) as told:
        MlflowRegistryConnector(f"sqlite:///{moved}/mlflow.db", {}).fetch(URI)

    assert f"are not at {files}" in str(told.value)
    assert str(told.value).endswith(f"MLflow keeps whole paths: give --schema {shlex.quote(str(now))}.")
    assert find_model(str(now), "", {}).schema.content == SCHEMA


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/penguins@challenger", "no version with the alias 'challenger'; its aliases: champion"),
        ("models:/penguins/1", "penguins has no version 1"),
        ("models:/penguins/3", "penguins has no version 3"),
        ("models:/gulls/1", "no registered model 'gulls'; known: penguins"),
        ("models:/m-2", "no model m-2"),
        ("runs:/r2/model", "no run r2"),
        ("runs:/r1/other", "not at /nowhere/other"),
        ("penguins", "is not a model URI"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, files, uri, words):
    store = make_store(tmp_path, str(files))

    with pytest.raises(RegistryError, match=words):
        MlflowRegistryConnector(store, {}).fetch(uri)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("s3://bucket/secret?token=x", "are at s3://bucket, not on this machine"),
        ("mlflow-artifacts:/0/models", "are at mlflow-artifacts://, not on this machine"),
        ("/nowhere/at/all", "Were they moved or deleted"),
    ],
)
def test_files_elsewhere_are_said(tmp_path, location, words):
    store = make_store(tmp_path, location)

    with pytest.raises(RegistryError, match=words) as told:
        MlflowRegistryConnector(store, {}).fetch(URI)
    assert "token" not in str(told.value)


def test_a_version_of_another_project_is_said(tmp_path, files):
    (files / "mapper" / "schema.json").unlink()
    with pytest.raises(RegistryError, match=r"has no mapper/schema\.json .* logged by this project"):
        MlflowRegistryConnector(make_store(tmp_path, str(files)), {}).fetch(URI)
    (files / "mapper" / "schema.json").write_text("{}")
    with pytest.raises(SchemaError, match="Not a model schema"):
        MlflowRegistryConnector(f"sqlite:///{tmp_path}/mlflow.db", {}).fetch(URI)


@pytest.mark.parametrize("column", ["alias", "storage_location", "current_stage", "key"])
def test_a_store_of_a_form_that_is_not_known_is_refused(tmp_path, files, column):
    store = SqliteStore(make_store(tmp_path, str(files), skip=column), {})

    def read() -> None:
        store.version("penguins", "champion", "")
        store.file_of_version("penguins", "2", "mapper/schema.json")

    with pytest.raises(RegistryError, match=rf"its table \w+ lacks {column}\. Start an MLflow server"):
        read()


@pytest.mark.parametrize(
    ("content", "words"), [(b"x" * 5000, "not a database"), (b"", "it has no table registered_models")]
)
def test_a_file_that_is_no_store_is_refused(tmp_path, content, words):
    (tmp_path / "mlflow.db").write_bytes(content)

    with pytest.raises(RegistryError, match=words):
        MlflowRegistryConnector(f"sqlite:///{tmp_path}/mlflow.db", {}).fetch(URI)
    with pytest.raises(RegistryError, match="There is no MLflow store at"):
        MlflowRegistryConnector(f"sqlite:///{tmp_path}/other.db", {}).fetch(URI)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:secret@db/mlflow", "over HTTP, or in an SQLite file; postgresql: given"),
        ("mlruns", "a path given"),
        ("sqlite://", "Invalid SQLite URI"),
        ("sqlite:///:memory:", "Invalid SQLite URI"),
        ("http://", "Invalid server URL"),
    ],
)
def test_registries_of_other_kinds_are_refused_without_their_secrets(url, words, capsys):
    with pytest.raises(SettingsError, match=words):
        check_registry_url(url)

    assert main(["serve", "--registry-url", url]) == 2
    assert main(["schema", "--model", URI, "--registry-url", url]) == 2
    assert "secret" not in capsys.readouterr().err


def test_uris_are_read_as_mlflow_reads_them():
    assert sqlite_file("sqlite:///mlflow.db") == Path("mlflow.db")
    assert sqlite_file("sqlite+pysqlite:////a b/c%23.db?timeout=5") == Path("/a b/c#.db")


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE logged_models SET artifact_location = ?", None),
        ("UPDATE logged_models SET artifact_location = ?", b"models"),
        ("UPDATE logged_models SET artifact_location = ?", "a\0b"),
        ("UPDATE logged_models SET artifact_location = ?", "file:///a%00b"),
        ("UPDATE logged_models SET artifact_location = ?", "http://["),
        ("UPDATE model_versions SET source = ?, storage_location = NULL", None),
        ("UPDATE model_versions SET source = ?, storage_location = NULL", b"models:/m-1"),
        ("UPDATE registered_model_aliases SET version = ?", "two"),
        ("UPDATE registered_model_aliases SET version = ?", None),
        ("UPDATE registered_model_aliases SET version = ?", "9" * 30),
    ],
)
def test_values_that_mlflow_would_not_write_are_refused_with_a_sentence(tmp_path, files, statement, value):
    store = make_store(tmp_path, str(files))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute(statement, (value,))
        database.commit()

    with pytest.raises(RegistryError):
        MlflowRegistryConnector(store).get_model(URI)


def test_a_number_that_no_version_has_is_refused(tmp_path, files):
    with pytest.raises(RegistryError, match="has no version 9999"):
        MlflowRegistryConnector(make_store(tmp_path, str(files))).get_model(f"models:/penguins/{'9' * 30}")


@pytest.mark.parametrize("kind", ["device", "pipe", "huge"])
def test_only_ordinary_files_of_a_version_are_read(tmp_path, files, kind):
    file = files / "mapper" / "schema.json"
    file.unlink()
    if kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        with file.open("wb") as sparse:
            sparse.truncate(MAX_FILE_BYTES + 1)

    with pytest.raises(RegistryError, match="is not a file of at most"):
        MlflowRegistryConnector(make_store(tmp_path, str(files))).get_model(URI)


def test_a_store_whose_queries_have_no_end_is_given_up(tmp_path, files, monkeypatch):
    store = make_store(tmp_path, str(files))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("DROP TABLE registered_models")
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS name FROM c"
        database.execute(f"CREATE VIEW registered_models AS {endless}")
        database.commit()
    monkeypatch.setattr("mapper.registry.sqlite_store.MAX_QUERY_S", 0.05)

    with pytest.raises(RegistryError, match="interrupted"):
        MlflowRegistryConnector(store).get_model(URI)
