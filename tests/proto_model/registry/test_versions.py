import json

import pytest
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    read_aliases,
    register_version,
    version_of_alias,
    versions_of,
)


def test_a_version_is_registered_with_all_that_describes_it(client):
    run = client.create_run("0")
    logged = client.create_logged_model("0", source_run_id=run.info.run_id)
    name = "described"
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


def test_errors_of_the_registry_are_not_hidden(client):
    with pytest.raises(MlflowException):
        version_of_alias("", CHAMPION, client=client)


@pytest.mark.parametrize("name", ["it's", 'q"q', 'it\'s "q"', "100%", "a_b"])
def test_versions_of_a_model_are_found_whatever_its_name(client, name):
    for each in (name, "itXs", 'itXs "q"', "aXb"):
        client.create_registered_model(f"{each} of {name}")
        client.create_model_version(f"{each} of {name}", "file:///nowhere")
    wanted = f"{name} of {name}"
    assert [version.name for version in versions_of(client, wanted, page_size=1)] == [wanted]
