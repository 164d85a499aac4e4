"""Packages of real versions: from MLflow's store and over HTTP, for another Python, and served elsewhere."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from proto_model.cli.main import main
from proto_model.deployment.package import load_package
from proto_model.registry.publishing import make_keys, publish
from proto_model.registry.versions import set_alias
from tests.environments import run_uv
from tests.stores import fresh_store
from tests.system.test_lean_server import post, serving
from tests.tracking_server import ADMIN, ADMIN_PASSWORD, create_user, environment, tracking_server, user
from tests.trainings import as_in, trained_in

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
SRC = Path(__file__).parents[2] / "src"
READER = "rita"
ROWS = [
    {"size": 0.5, "age": 40.0, "job": "nurse"},
    {"size": -1.25, "age": None, "job": "clerk"},
    {"size": 0.01, "age": 17.0, "job": None},
]


def command(uri, *arguments):
    """What a command prints, run in this process, which has MLflow; its exit status, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        try:
            status = main([*map(str, arguments)])
        finally:
            mlflow.set_tracking_uri(None)
    return status, out.getvalue(), err.getvalue()


def reseal(folder):
    """Write the manifest of a package anew, as whoever changes one would."""
    listed = (line.split("  ", 1)[1] for line in (folder / "MANIFEST.sha256").read_text().splitlines())
    done = subprocess.run(["sha256sum", *listed], cwd=folder, check=True, capture_output=True, text=True)
    (folder / "MANIFEST.sha256").write_text(done.stdout)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def store(tmp_path_factory, keys):
    """URI of an embedded store with three trained versions of people, of which the best is published."""
    folder = tmp_path_factory.mktemp("embedded")
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({name: rng.normal(size=300).round(3) for name in ("size", "age")})
    frame["job"] = rng.choice(np.array(["clerk", "nurse", None], dtype=object), 300)
    frame.loc[::9, "age"] = np.nan
    frame["class"] = np.where(frame["size"] + (frame["job"] == "nurse") > 0.3, "yes", "no")
    frame.to_csv(folder / "people.csv", index=False)
    uri = trained_in(folder, "--dataset", str(folder / "people.csv"), "--registered-model-name", "people")
    with as_in(folder, uri):
        publish("models:/people@challenger", key=keys[0], by="ann")
        set_alias("people", "champion", 3)
    return uri


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of an MLflow server that asks for a password, in whose registry nothing is."""
    folder = tmp_path_factory.mktemp("server")
    with tracking_server(folder, app="basic-auth") as port, user(ADMIN):
        url = f"http://127.0.0.1:{port}"
        create_user(url, READER)
        yield url


@pytest.fixture(scope="module")
def package(store, keys, tmp_path_factory):
    """Zip file of the champion."""
    path = tmp_path_factory.mktemp("packages") / "people.zip"
    words = ("package", "-m", "models:/people@champion", "--out", path, "--zip", "--verify-key", keys[1])
    assert command(store, *words)[:2] == (0, f"{path}\n")
    return path


def test_it_names_no_folder_of_the_machine_that_trained_or_packed(package, store):
    with zipfile.ZipFile(package) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    for folder in (Path(store.removeprefix("sqlite:///")).parent, package.parent):
        assert not [name for name, content in held.items() if str(folder).encode() in content]
    about = {
        name for name in held if name.startswith("artifacts/") and not name.startswith("artifacts/model/")
    }
    assert {Path(name).name for name in about if not name.endswith(".whl")} == {
        *("manifest.json", "signature.sigstore.json", "provenance.sigstore.json"),
        *("provenance.intoto.json", "bom.cdx.json", "version.json", "model_card.md"),
    }


@cache
def other_python():
    """A Python of another version than this one, from 3.11, or this one if none is found."""
    names = [f"python3.{minor}" for minor in (13, 12, 14, 11)]
    found = [shutil.which(name) for name in names]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found += [str(path) for name in names for path in sorted(pyenv.glob(f"*/bin/{name}"))]
    ask = "import sys, venv; print(sys.implementation.name, *sys.version_info[:2])"
    for path in filter(None, found):
        said = subprocess.run([path, "-c", ask], capture_output=True, text=True).stdout.split()
        if said[:2] == ["cpython", "3"] and int(said[2]) >= 11 and int(said[2]) != sys.version_info[1]:
            return path
    return sys.executable


@pytest.fixture(scope="module")
def used(package, tmp_path_factory):
    """Folder of the unpacked package, after its setup.sh was run with another Python; `.venv` is inside."""
    folder = tmp_path_factory.mktemp("used") / "people"
    shutil.unpack_archive(package, folder)
    subprocess.run(["sh", folder / "setup.sh"], env=environment(PYTHON=other_python()), check=True)
    return folder


@pytest.mark.long
def test_it_loads_in_a_new_environment_of_another_python(package, keys, capsys):
    python = other_python()
    words = ("package", "check", package, "--python", python, "--verify-key", keys[1], "--json")
    status, out, err = command("sqlite:///nowhere", *words)
    assert status == 0, err
    checked = json.loads(out)

    assert (
        checked["said"][0] == "20 rows of example.csv: labels and probabilities are the same to the last bit."
    )
    assert checked["publication"]["published_by"] == "ann"
    assert checked["publication"]["signer"]
    here = f"Python 3.{sys.version_info[1]}."
    with capsys.disabled():
        if python == sys.executable:
            print("\nNo other Python from 3.11 was found: the package was loaded by the same one.")
        else:
            assert not checked["said"][1].startswith(here)


def test_its_environment_holds_what_it_lists_and_answers_from_any_folder(used, tmp_path):
    python = used / ".venv" / "bin" / "python"
    installed = {
        one["name"] for one in json.loads(run_uv("pip", "list", "--format", "json", "--python", str(python)))
    }
    assert installed == {"llvmlite", "numpy", "orjson", "proto-model-turbo"}
    # Written where it is installed, with another Python, the wheel is the same to the last bit.
    again = "import pathlib, proto_model.deployment.package.wheel as w; w.write_wheel(pathlib.Path())"
    subprocess.run([python, "-c", again], cwd=tmp_path, env={}, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == (used / "artifacts" / wheel.name).read_bytes()
    code = (
        "import json, sys; from interface import load_model; model = load_model();"
        "rows = json.loads(sys.argv[1]);"
        "print(json.dumps([model.predict(rows).tolist(), model.predict_proba(rows).tolist(),"
        " [one['rule']['text'] for one in model.explain(rows)]]))"
    )
    done = subprocess.run(
        [python, "-W", "error", "-c", code, json.dumps(ROWS)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(used)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    labels, probabilities, rules = json.loads(done.stdout)

    assert set(labels) <= {"no", "yes"}
    assert all(sum(row) == pytest.approx(1) for row in probabilities)
    assert all(rule.startswith("IF ") for rule in rules)


def test_it_is_registered_over_http_and_from_there_and_serves_the_same(package, used, server, keys, tmp_path):
    status, out, err = command(server, "package", "import", package, "--verify-key", keys[1], "--json")
    assert status == 0, err
    assert (json.loads(out)["version"], json.loads(out)["from"]) == (1, {"name": "people", "version": "3"})
    with user(READER):
        assert command(server, "package", "-m", "models:/people/1", "--out", tmp_path / "again")[0] == 0
    held = [path.read_bytes() for path in (tmp_path / "again").rglob("*") if path.is_file()]
    assert not [one for one in held if ADMIN_PASSWORD.encode() in one or server.encode() in one]
    third = fresh_store(tmp_path)
    words = ("package", "import", tmp_path / "again", "--name", "folk", "--alias", "champion")
    assert command(third, *words)[:2] == (0, "version 1 of 'people' is now version 1 of 'folk'.\n")

    model = load_package(used)
    with serving("models:/folk@champion", MLFLOW_TRACKING_URI=third) as (_, port):
        status, answer = post(port, "/invocations", {"dataframe_records": ROWS})
    assert status == 200
    served = answer["predictions"]
    assert [row["prediction"] for row in served] == model.predict(ROWS).tolist()
    names = [f"probability_{label}" for label in model.classes_]
    assert [[row[name] for name in names] for row in served] == model.predict_proba(ROWS).tolist()
    events = json.loads(command(third, "versions", "history", "folk", "--json")[1])
    assert [(entry["event"], entry["what"]) for entry in events][:3] == [
        ("trained", events[0]["what"]),
        ("published", "as people 3"),
        ("imported", "as people 1: from a package of people 3"),
    ]


def test_who_may_only_read_registers_nothing(package, server):
    with user(READER):
        status, _, err = command(server, "package", "import", package, "--name", "mine")

    assert (status, "'rita' may not" in err) == (1, True), err
    mlflow.set_tracking_uri(server)
    client = MlflowClient()
    assert not client.search_registered_models("name = 'mine'")
    assert not client.search_runs(
        ["0"], "tags.mlflow.runName = 'people 3, imported' and attributes.status = 'RUNNING'"
    )
    mlflow.set_tracking_uri(None)


def test_what_was_changed_on_the_way_is_neither_used_nor_registered(package, server, keys, tmp_path):
    folder = tmp_path / "people"
    shutil.unpack_archive(package, folder)
    with (folder / "interface.py").open("a") as file:
        file.write("\n")
    for action in ("check", "import"):
        status, _, err = command(server, "package", action, folder)
        assert (status, "'interface.py' was changed" in err) == (1, True)
    reseal(folder)
    status, _, err = command(server, "package", "check", folder, "--verify-key", keys[1])
    assert (status, "interface.py is not what this release" in err) == (1, True)
    folder.joinpath("artifacts", "model", "MLmodel").write_text("changed")
    reseal(folder)
    status, _, err = command(server, "package", "import", folder, "--name", "forged")
    assert (status, "'MLmodel' was changed" in err) == (1, True)
    assert not [one.name for one in MlflowClient(server).search_registered_models("name = 'forged'")]


@pytest.mark.sequence
def test_it_is_installed_without_uv_too(package, tmp_path):
    without = [folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "uv").exists()]
    assert shutil.which("sh", path=os.pathsep.join(without))
    variables = environment(PYTHON=sys.executable) | {"PATH": os.pathsep.join(without)}
    shutil.unpack_archive(package, tmp_path / "people")
    done = subprocess.run(
        ["sh", tmp_path / "people" / "setup.sh", "environment"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    program = [tmp_path / "environment" / "bin" / "python", "-I", tmp_path / "people" / "interface.py"]
    said = subprocess.run(program, capture_output=True, text=True).stdout
    assert said.startswith("20 rows of example.csv: labels and probabilities are the same")
