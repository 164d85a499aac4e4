"""All that users do with versions, on a real MLflow server with basic-auth, each with rights of their own.

Nobody may do anything on this server unless it was given: its default is NO_PERMISSIONS. The tests go on from
what the ones before have left, because a version of a real model takes seconds.
"""

import importlib
import json
import sqlite3
from dataclasses import asdict, replace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from proto_model import Registry
from proto_model.cli import access, compare, verify
from proto_model.cli import versions as versions_command
from proto_model.errors import RegistryError
from proto_model.registry.access import AccessServer
from proto_model.registry.deployed import Chosen, record_deployed
from proto_model.registry.patience import patient
from proto_model.registry.promotion.lock import Owner, lock_name, locked
from proto_model.registry.publishing import make_keys
from proto_model.registry.refusals import NotAllowedError
from proto_model.registry.versions import register_version, set_alias
from tests.tracking_server import ADMIN, ADMIN_PASSWORD, create_user, tracking_server, user
from tests.trainings import no_modules

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]

READER, EDITOR, MANAGER, STRANGER = "rita", "edith", "mary", "sam"


def people(n, seed):
    generator = np.random.default_rng(seed)
    X = pd.DataFrame({name: generator.normal(size=n).round(3) for name in ("size", "age")})
    return X, pd.Series(np.where(X["size"] + X["age"] > 0, "yes", "no"), name="answer")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Folder of a server with versions 1 to 5 of `people`, of which all but the first are copies."""
    folder = tmp_path_factory.mktemp("server")
    with (
        tracking_server(folder, app="basic-auth", default="NO_PERMISSIONS") as port,
        user(ADMIN),
        pytest.MonkeyPatch.context() as patch,
    ):
        url = f"http://127.0.0.1:{port}"
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        for name in (READER, EDITOR, MANAGER, STRANGER):
            create_user(url, name)
        mlflow.set_tracking_uri(url)
        MlflowClient().create_experiment("people")
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "people")  # `set_experiment` would outlive the server
        (X, y), (X_test, y_test) = people(200, 0), people(100, 1)
        forest = RandomForestClassifier(3, max_depth=3, random_state=0)
        pipeline = make_pipeline(StandardScaler(), forest).fit(X, y)
        with no_modules():
            version = (
                Registry()
                .model("people")
                .new_version(pipeline, X, y, X_test=X_test, y_test=y_test, tags=["one"])
            )
        first = MlflowClient().get_model_version("people", version.number)
        for _ in range(4):
            register_version(first.source, "people", run_id=first.run_id, tags=first.tags)
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture
def run(server, capsys):
    """A command in this process: exit status, standard output as JSON if it is JSON, and standard error."""

    def call(command, *arguments):
        status = command.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        try:
            return status, json.loads(out), err
        except ValueError:
            return status, out, err

    return call


def state(folder):
    """All that the server keeps: its database, and its files with their sizes."""
    database = sqlite3.connect(folder / "mlflow.db")
    content = list(database.iterdump())
    database.close()
    files = {path: path.stat().st_size for path in (folder / "mlartifacts").rglob("*") if path.is_file()}
    return content, files


def test_an_administrator_gives_rights_and_sees_who_has_which(run):
    for name, right in ((READER, "READ"), (EDITOR, "READ"), (MANAGER, "MANAGE")):
        status, given, _ = run(access, "grant", name, "--model", "people", right, "--experiment", "--json")
        assert status == 0
        assert [(one["name"], one["before"], one["after"], one["effective"]) for one in given["changes"]] == [
            (resource, None, right, right) for resource in ("people", "people_explainer", "people")
        ]
    status, out, _ = run(access, "grant", EDITOR, "EDIT", "--model", "people", "--experiment")
    assert status == 0
    assert out.splitlines() == [
        "edith, registered model 'people': EDIT given in place of READ.",
        "edith, registered model 'people_explainer': EDIT given in place of READ.",
        "edith, experiment 'people': EDIT given in place of READ.",
    ]
    assert "EDIT as before" in run(access, "grant", EDITOR, "EDIT", "--model", "people")[1]
    _, found, err = run(access, "list", "--model", "people", "--json")
    assert err == ""
    assert {one["user"]: {(r["right"], r["from"]) for r in one["rights"]} for one in found} == {
        ADMIN: {("MANAGE", "administrator")},
        READER: {("READ", "granted")},
        EDITOR: {("EDIT", "granted")},
        MANAGER: {("MANAGE", "granted")},
        STRANGER: {("NO_PERMISSIONS", "default")},
    }
    _, table, _ = run(access, "list", "--model", "people")
    assert "registered model 'people_explainer'" in table
    assert "NO_PERMISSIONS (default)" in table


def test_whoever_may_not_give_rights_is_told_so(run):
    with user(EDITOR):
        status, _, err = run(access, "grant", READER, "EDIT", "--model", "people")
        assert status == 1
        assert err.startswith("error: 'edith' may not give rights on 'people'. Ask an administrator")
        _, found, err = run(access, "list", "--model", "people", "--json")
        assert [one["user"] for one in found] == [EDITOR]
        assert err == "Only administrators see what others than 'edith' may do.\n"
    with user(MANAGER):  # does not see what there was before
        status, out, _ = run(access, "grant", STRANGER, "READ", "--model", "people")
        assert (status, out.count("READ given.")) == (0, 2)
        assert "'people': READ given" in run(access, "grant", STRANGER, "READ", "--model", "people")[1]
        assert run(access, "revoke", STRANGER, "--model", "people")[0] == 0
    _, revoked, _ = run(access, "revoke", STRANGER, "--model", "people", "--json")
    assert {(one["before"], one["after"], one["effective"]) for one in revoked["changes"]} == {
        (None, None, "NO_PERMISSIONS")
    }


@pytest.mark.parametrize(
    ("name", "password", "arguments", "code", "message"),
    [
        (
            ADMIN,
            ADMIN_PASSWORD,
            ("grant", "nobody", "READ", "--model", "people"),
            2,
            "There is no user 'nobody'",
        ),
        (ADMIN, ADMIN_PASSWORD, ("list", "--model", "nothing"), 2, "There is no registered model 'nothing'"),
        (ADMIN, "wrong", ("list", "--model", "people"), 1, "does not know this name and password"),
        (
            STRANGER,
            ADMIN_PASSWORD,
            ("list", "--model", "people"),
            1,
            "'sam' may not read the registered model",
        ),
        (
            ADMIN,
            ADMIN_PASSWORD,
            ("list", "--tracking-uri", "http://127.0.0.1:1"),
            1,
            "MLflow at http://127.0.0.1:1 does not answer",
        ),
        (
            ADMIN,
            ADMIN_PASSWORD,
            ("list", "--tracking-uri", "sqlite:///mlflow.db"),
            2,
            "Rights are kept by an MLflow server",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(server, run, name, password, arguments, code, message):
    here = mlflow.get_tracking_uri()
    with user(name, password):
        status, out, err = run(access, *arguments)
    mlflow.set_tracking_uri(here)
    assert (status, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert password not in err


def test_whoever_may_only_read_sees_all_and_changes_nothing(server, run):
    set_alias("people", "previous_champion", "1")
    set_alias("people", "champion", "2")
    set_alias("people", "challenger", "3")
    before = state(server)
    with user(READER):
        _, listed, _ = run(versions_command, "list", "people", "--json")
        assert [line["version"] for line in listed] == [5, 4, 3, 2, 1]
        assert all(0 < line["metrics"]["balanced_accuracy"] <= 1 for line in listed)
        assert run(versions_command, "history", "people")[0] == 0
        for command, *arguments in (
            (versions_command, "edit", "people/2", "--label", "mine"),
            (versions_command, "publish", "people/2"),
            (versions_command, "delete", "people/4", "--yes", "--force"),
            (versions_command, "prune", "people", "--keep", "1", "--yes"),
            (compare, "--model", "people", "--rule", "point"),
            (compare, "--model", "people", "--rollback"),
            (access, "grant", READER, "MANAGE", "--model", "people"),
        ):
            status, _, err = run(command, *arguments)
            assert status in (1, 2), (arguments, err)
            said = err.strip().splitlines()[-1]
            assert "'rita' may not " in said, (arguments, err)
            assert "access grant rita --model" in said or command is access
            assert "Traceback" not in err
        with pytest.raises(NotAllowedError, match="'rita' may not"):
            record_deployed(Chosen("people", "2"), "staging", "image")
    assert state(server) == before
    for alias in ("previous_champion", "champion"):
        MlflowClient().delete_registered_model_alias("people", alias)
    set_alias("people", "challenger", "1")


def test_whoever_may_edit_promotes_and_rolls_back(server, run):
    with user(EDITOR):
        status, verdict, _ = run(compare, "--model", "people")
        assert (status, verdict["verdict"], verdict["aliases"]["after"]["champion"]) == (0, "promoted", "1")
        status, _, err = run(compare, "--model", "people")
        assert status == 2
        assert "nothing to compare" in err
        set_alias("people", "challenger", "3")
        status, verdict, _ = run(compare, "--model", "people")  # a copy is no better
        assert (status, verdict["verdict"], verdict["champion"]["version"]) == (1, "kept", "1")
        set_alias("people", "previous_champion", "1")
        set_alias("people", "champion", "2")
        assert run(compare, "--model", "people", "--rollback")[1]["verdict"] == "rolled_back"
        assert run(compare, "--model", "people", "--rollback")[0] == 2
        assert record_deployed(Chosen("people", "2"), "staging", "image:2") == []
        assert record_deployed(Chosen("people", "1"), "staging", "image:1") == ["2"]
        _, listed, _ = run(versions_command, "list", "people", "--json")
        assert [line["deployed"] for line in listed if line["deployed"]] == [{"staging": "image:1"}]
    client = MlflowClient()
    aliases = client.get_registered_model("people").aliases
    # To delete an alias takes MANAGE; on the champion, it says nothing.
    assert aliases == {"champion": "1", "previous_champion": "1", "challenger": "3"}
    explained = client.get_model_version_by_alias("people_explainer", "champion").tags["explained_version"]
    assert explained == "1"
    assert "promotion_journal" not in client.get_registered_model("people").tags
    assert client.get_run(verdict["run_id"]).info.status == "FINISHED"


def test_a_promotion_that_would_be_refused_half_way_is_not_begun(server, run):
    AccessServer(mlflow.get_tracking_uri()).revoke(EDITOR, "registered_model", "people_explainer")
    AccessServer(mlflow.get_tracking_uri()).grant(EDITOR, "registered_model", "people_explainer", "READ")
    client = MlflowClient()
    set_alias("people", "previous_champion", "1")
    set_alias("people", "champion", "2")
    before = client.get_registered_model("people").aliases
    with user(EDITOR):
        status, _, err = run(compare, "--model", "people", "--rollback")
    assert status == 2
    assert "may not change the registered model 'people_explainer'" in err
    assert "access grant edith --model people EDIT" in err
    assert client.get_registered_model("people").aliases == before
    assert "promotion_journal" not in client.get_registered_model("people").tags
    assert run(access, "grant", EDITOR, "EDIT", "--model", "people")[0] == 0
    with user(EDITOR):
        assert run(compare, "--model", "people", "--rollback")[0] == 0


def test_whoever_may_edit_describes_and_publishes_but_does_not_delete(server, run, tmp_path):
    private, public = make_keys(tmp_path / "keys")
    with user(EDITOR):
        _, edited, _ = run(
            versions_command, "edit", "people@champion", "--label", "q3", "--set", "threshold=.4",
            "--record", "s3://lake/a.parquet", "--description", "Ä *forest*.", "--json",
        )  # fmt: skip
        assert set(edited["changes"]) == {"labels", "config", "records", "description"}
        _, edited, _ = run(versions_command, "edit", "people@champion", "--clear", "labels", "--json")
        assert edited["changes"]["labels"] == {"before": ["one", "q3"], "after": []}
        before = state(server)
        for arguments in (
            ("delete", "people/4", "--yes"),
            ("prune", "people", "--keep", "1", "--yes"),
        ):
            status, _, err = run(versions_command, *arguments)
            assert status == 1
            assert "'edith' may not delete anything of the registered model 'people" in err
            assert "access grant edith --model people MANAGE" in err
        assert state(server) == before
        status, published, err = run(
            versions_command, "publish", "people@champion", "--key", private, "--json"
        )
        assert (status, published["published_by"]) == (0, EDITOR)
        assert "Published version 1 of 'people'" in err
        for arguments in (("edit", "people/1", "--label", "late"), ("publish", "people/1")):
            status, _, err = run(versions_command, *arguments)
            assert status == 1
            assert "was published at" in err
    with user(READER):
        status, verdict, _ = run(verify, "-m", "models:/people@champion", "--key", public, "--json")
        assert (status, verdict["verified"], verdict["published_by"]) == (0, True, EDITOR)
        _, sheet, _ = run(versions_command, "show", "people/1", "--json")
        assert (sheet["config"], sheet["records"]) == ({"threshold": 0.4}, ["s3://lake/a.parquet"])
        _, log, _ = run(versions_command, "history", "people", "--version", "1", "--json")
        assert [(entry["event"], entry["by"]) for entry in log if entry["event"] == "published"] == [
            ("published", EDITOR)
        ]
        assert {"trained", "edited", "promoted", "published", "deployed"} <= {one["event"] for one in log}


def test_whoever_manages_deletes(server, run):
    with user(MANAGER):
        status, deleted, _ = run(
            versions_command, "delete", "people/4", "--yes", "--reason", "a copy", "--json"
        )
        assert (status, len(deleted["deleted"]["digest"])) == (0, 64)
        status, _, err = run(versions_command, "delete", "people/1", "--yes")
        assert status == 1
        assert "is published" in err
        _, pruned, _ = run(versions_command, "prune", "people", "--keep", "1", "--yes", "--json")
        assert (pruned["deleted"], pruned["spared"]) == ([2], [3, 1])
    with user(READER):
        _, listed, _ = run(versions_command, "list", "people", "--json")
        assert [line["version"] for line in listed] == [5, 3, 1]
        _, stones, _ = run(versions_command, "list", "people", "--deleted", "--json")
        assert [(stone["version"], stone["by"]) for stone in stones] == [("4", MANAGER), ("2", MANAGER)]


def test_somebody_with_a_model_of_their_own_needs_no_rights_of_others(server, run):
    with user(STRANGER):
        client = MlflowClient()
        logged = client.create_logged_model(client.create_experiment("own"), name="model")
        client.finalize_logged_model(logged.model_id, "READY")
        register_version(f"models:/{logged.model_id}", "own")
        assert run(versions_command, "edit", "own/1", "--label", "mine")[0] == 0
        assert run(versions_command, "delete", "own/1", "--yes")[0] == 0
        status, _, err = run(versions_command, "list", "people")
        assert status == 1
        assert "'sam' may not read the registered model 'people'" in err
    with user(MANAGER):
        status, _, err = run(versions_command, "show", "own")
        assert status == 1
        assert "access grant mary --model own READ" in err


@pytest.mark.parametrize(
    "command",
    [
        "versions list people",
        "verify -m models:/people@champion",
        "score --input a --output b --model models:/people@champion",
    ],
)
def test_a_wrong_password_and_a_hidden_model_are_told_by_each_command(server, run, command, tmp_path):
    name, *arguments = command.split()
    (tmp_path / "a").write_text("size,age\n1,2\n")
    arguments = [str(tmp_path / one) if one in ("a", "b") else one for one in arguments]
    module = importlib.import_module(f"proto_model.cli.{name}")
    for user_name, password, message in (
        (READER, "not the password", "does not know this name and password. Set MLFLOW_TRACKING_USERNAME"),
        (STRANGER, ADMIN_PASSWORD, "'sam' may not "),
    ):
        with user(user_name, password):
            status, out, err = run(module, *arguments)
        assert status in (1, 2)
        assert (out, err.count("\n"), "Traceback" in err) == ("", 1, False)
        assert message in err


def test_a_lock_of_somebody_else_is_waited_for_and_the_one_of_a_dead_command_is_named(server):
    client = MlflowClient()
    with user(MANAGER):
        client.create_registered_model(lock_name("people"), tags={"lock_owner": _dead()})
    with (
        user(EDITOR),
        pytest.raises(RegistryError, match="another user, if the registered model 'people__lock' exists"),
        locked(patient(client), "people", "test", patience_s=0.1),
    ):
        pytest.fail("two had the lock")
    AccessServer(mlflow.get_tracking_uri()).grant(EDITOR, "registered_model", lock_name("people"), "READ")
    with (
        user(EDITOR),
        pytest.raises(NotAllowedError, match="A command of another user was killed and left the lock"),
        locked(patient(client), "people", "test", patience_s=0.1),
    ):
        pytest.fail("two had the lock")
    with user(ADMIN), locked(patient(client), "people", "test", patience_s=5) as lock:
        assert len(lock.broken) == 1


def _dead():
    return json.dumps(asdict(replace(Owner.of_this_process("die"), pid=2**22 + 1)))
