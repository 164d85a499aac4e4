import itertools
import json

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    Aliases,
    check_unchanged,
    promote,
    read_aliases,
    register_version,
    rollback,
    set_alias,
    version_of_alias,
)

numbers = itertools.count()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    # The store resolves models:/m-... by the current URI, whichever client asks.
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db")
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def model(client):
    """Registered model with the versions 1 to 4 and no alias."""
    name = f"model_{next(numbers)}"
    client.create_registered_model(name)
    for _ in range(4):
        client.create_model_version(name, "file:///nowhere")
    return name


class Crash(Exception):
    pass


class FailingClient:
    """MLflow's client that stops to work after a number of changes, as when the process is killed."""

    def __init__(self, client, n_changes):
        self._client = client
        self._left = n_changes

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_")):
            return method

        def change(*arguments):
            if self._left == 0:
                raise Crash
            self._left -= 1
            return method(*arguments)

        return change


class ContestedClient:
    """MLflow's client beside somebody who moves the champion right after it was moved."""

    def __init__(self, client, version):
        self._client = client
        self._version = version

    def __getattr__(self, name):
        return getattr(self._client, name)

    def set_registered_model_alias(self, name, alias, version):
        self._client.set_registered_model_alias(name, alias, version)
        if alias == CHAMPION:
            self._client.set_registered_model_alias(name, alias, self._version)


def test_a_version_is_registered_with_all_that_describes_it(client):
    run = client.create_run("0")
    logged = client.create_logged_model("0", source_run_id=run.info.run_id)
    name = f"model_{next(numbers)}"
    for _ in range(2):
        register_version(
            f"models:/{logged.model_id}", name, run_id=run.info.run_id, description="a *forest*",
            tags={"variant": "extra_trees", "test_balanced_accuracy": 0.5}, alias=CHALLENGER, client=client,
        )  # fmt: skip

    version = version_of_alias(name, CHALLENGER, client=client)
    assert (str(version.version), version.run_id, version.description) == ("2", run.info.run_id, "a *forest*")
    assert version.tags == {"variant": "extra_trees", "test_balanced_accuracy": "0.5"}
    linked = json.loads(client.get_logged_model(logged.model_id).tags["mlflow.modelVersions"])
    assert [item["version"] for item in linked] == [1, 2]


def test_an_alias_that_is_not_set_has_no_version(client, model):
    assert version_of_alias(model, CHAMPION, client=client) is None
    assert version_of_alias("no such model", CHAMPION, client=client) is None


def test_aliases_of_a_model_that_does_not_exist_are_an_error_that_names_it(client):
    with pytest.raises(RegistryError, match="'no such model'"):
        read_aliases("no such model", client=client)


def test_the_first_promotion_leaves_a_champion_only(client, model):
    set_alias(model, CHALLENGER, 1, client=client)

    assert promote(model, expected=Aliases(challenger="1"), client=client) == Aliases(champion="1")


def test_a_promotion_keeps_the_old_champion_and_a_rollback_brings_it_back(client, model):
    for version in ("1", "2", "3"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, expected=read_aliases(model, client=client), client=client)

    assert read_aliases(model, client=client) == Aliases("3", None, "2")
    assert rollback(model, expected=Aliases("3", None, "2"), client=client) == Aliases("2", None, "1")
    assert rollback(model, expected=Aliases("2", None, "1"), client=client) == Aliases("1", None, None)
    with pytest.raises(RegistryError, match="no promotion of"):
        rollback(model, expected=Aliases("1"), client=client)


def test_a_version_that_comes_back_as_champion_can_be_taken_back_again(client, model):
    for version in ("1", "2", "1"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, expected=read_aliases(model, client=client), client=client)

    assert rollback(model, expected=Aliases("1", None, "2"), client=client) == Aliases("2", None, "1")
    assert rollback(model, expected=Aliases("2", None, "1"), client=client) == Aliases("1", None, None)


def test_a_rollback_passes_over_a_version_that_was_deleted(client, model):
    for version in ("1", "2", "3"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, expected=read_aliases(model, client=client), client=client)
    client.delete_model_version(model, "1")

    assert rollback(model, expected=Aliases("3", None, "2"), client=client) == Aliases("2", None, None)


def test_a_newer_challenger_keeps_its_alias(client, model):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)

    class Registering(ContestedClient):
        def set_registered_model_alias(self, name, alias, version):
            self._client.set_registered_model_alias(name, alias, version)
            self._client.set_registered_model_alias(name, CHALLENGER, self._version)

    after = promote(model, expected=Aliases("1", "2"), client=Registering(client, "3"))
    assert after == Aliases("2", "3", "1")


@pytest.mark.parametrize("moved", [CHAMPION, CHALLENGER])
def test_a_move_by_somebody_else_stops_the_promotion_before_it_changes_anything(client, model, moved):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)
    expected = read_aliases(model, client=client)
    set_alias(model, moved, 3, client=client)
    before = read_aliases(model, client=client)

    for move in (promote, check_unchanged):
        with pytest.raises(RegistryError, match=f"{moved} version 3"):
            move(model, expected=expected, client=client)
    assert read_aliases(model, client=client) == before


def test_a_move_by_somebody_else_right_after_stands_and_is_told(client, model):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)
    with pytest.raises(RegistryError, match="champion version 4"):
        promote(model, expected=Aliases("1", "2"), client=ContestedClient(client, "4"))

    assert read_aliases(model, client=client) == Aliases("4", "2", "1")


def test_a_move_by_somebody_else_stops_a_rollback(client, model):
    set_alias(model, CHAMPION, 2, client=client)
    set_alias(model, PREVIOUS_CHAMPION, 1, client=client)
    with pytest.raises(RegistryError, match="champion version 4"):
        rollback(model, expected=Aliases("2", None, "1"), client=ContestedClient(client, "4"))
    with pytest.raises(RegistryError, match="Nothing was changed"):
        rollback(model, expected=Aliases("2", None, "1"), client=client)

    assert read_aliases(model, client=client).champion == "4"


@pytest.mark.parametrize("n_changes", range(5))
def test_a_crash_during_a_promotion_leaves_a_champion_and_both_versions_in_reach(client, model, n_changes):
    set_alias(model, CHAMPION, 1, client=client)
    set_alias(model, CHALLENGER, 2, client=client)
    try:
        promote(model, expected=Aliases("1", "2"), client=FailingClient(client, n_changes))
    except Crash:
        assert n_changes < 4
    else:
        assert n_changes == 4

    left = read_aliases(model, client=client)
    assert left.champion in ("1", "2")
    assert {"1", "2"} <= {left.champion, left.challenger, left.previous_champion}
    if left.champion == "1":
        assert promote(model, expected=left, client=client) == Aliases("2", None, "1")
    else:
        assert rollback(model, expected=left, client=client).champion == "1"


@pytest.mark.parametrize("n_changes", range(4))
def test_a_crash_during_a_rollback_leaves_a_champion(client, model, n_changes):
    for version in ("1", "2", "3"):
        set_alias(model, CHALLENGER, version, client=client)
        promote(model, expected=read_aliases(model, client=client), client=client)
    try:
        rollback(model, expected=Aliases("3", None, "2"), client=FailingClient(client, n_changes))
    except Crash:
        assert n_changes < 3

    assert read_aliases(model, client=client).champion == ("3" if n_changes == 0 else "2")


def test_errors_of_the_registry_are_not_hidden(client):
    with pytest.raises(MlflowException):
        version_of_alias("", CHAMPION, client=client)
