"""Edits on a real registry, alone and several at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient

from proto_model.errors import InputError, RegistryError
from proto_model.registry.catalog.editing import Edit, edit_version
from proto_model.registry.details import Details
from proto_model.registry.events import events_of
from proto_model.registry.promotion.journal import describe


def details(client, model, number="2"):
    version = client.get_model_version(model, number)
    return Details.of(version.description, version.tags)


def test_all_that_a_user_says_can_be_said_changed_and_taken_back(client, model):
    first = Edit(
        description="A *forest*.",
        labels=("q3", "eu"),
        config={"threshold": 0.4, "unit": "mm"},
        hyperparameters={"n": 5},
        records=("s3://lake/a.parquet",),
    )
    edit_version(client, f"{model}/2", first)
    assert details(client, model) == Details(
        "A *forest*.", ("eu", "q3"), {"threshold": 0.4, "unit": "mm"}, {"n": 5}, ("s3://lake/a.parquet",)
    )

    second = Edit(
        labels=("eu", "new"), drop_labels=("q3",), set_config={"threshold": 0.5}, unset_config=("unit",),
        set_hyperparameters={"m": 1}, records=("b.csv",), drop_records=("s3://lake/a.parquet?sig=1",),
    )  # fmt: skip
    edited = edit_version(client, f"{model}/2", second)
    assert details(client, model) == Details(
        "A *forest*.", ("eu", "new"), {"threshold": 0.5}, {"n": 5, "m": 1}, ("b.csv",)
    )
    assert edited.changes["labels"] == {"before": ["eu", "q3"], "after": ["eu", "new"]}

    edit_version(
        client, f"{model}/2", Edit(clear=("description", "labels", "config", "hyperparameters", "records"))
    )
    version = client.get_model_version(model, "2")
    events = events_of(version.tags)
    assert not version.description
    assert len(version.tags) == len(events) == 3
    assert events[1].what.startswith("labels +new -q3; config.threshold 0.4 → 0.5; config.unit removed")


def test_single_hyperparameters_are_changed_of_those_of_the_run(client, model):
    run = client.create_run("0")
    for name, value in {
        "n_estimators": "200",
        "max_depth": "None",
        "dataset": "wine",
        "variant": "x",
    }.items():
        client.log_param(run.info.run_id, name, value)
    number = client.create_model_version(model, "file:///nowhere", run.info.run_id).version
    edit_version(
        client,
        f"{model}/{number}",
        Edit(set_hyperparameters={"note": "a"}, unset_hyperparameters=("max_depth",)),
    )
    assert details(client, model, str(number)).hyperparameters == {"n_estimators": 200, "note": "a"}


def test_the_paragraph_of_a_comparison_stays_under_a_new_description(client, model):
    describe(model, "2", "**Comparison of 2026-10-31:** promoted.").make(client)
    edit_version(client, f"{model}/2", Edit(description="New."))
    shown = client.get_model_version(model, "2").description
    assert shown == "New.\n\n**Comparison of 2026-10-31:** promoted."
    edit_version(client, f"{model}/2", Edit(description=f"Newer.{shown[4:]}"))
    assert client.get_model_version(model, "2").description.count("**Comparison") == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(), "Nothing to change"),
        (Edit(drop_labels=("x",)), "no label 'x'. It has no label"),
        (Edit(unset_config=("x",)), "config has no 'x'"),
        (Edit(set_config={"x": 1}, unset_config=("x",)), "to be set and removed"),
        (Edit(labels=("a", "a")), "given twice"),
        (Edit(description="x" * 5001), "5,001 characters, and MLflow keeps 5,000"),
        (Edit(description="a\x1b[31m"), "control characters"),
        (Edit(records=tuple(f"s3://lake/{n:090}" for n in range(60))), "records takes"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(client, model, edit, message):
    with pytest.raises(InputError, match=message):
        edit_version(client, f"{model}/2", edit)
    version = client.get_model_version(model, "2")
    assert (version.tags, version.description) == ({}, None)


def test_a_dry_run_and_an_edit_that_changes_nothing_write_nothing(client, model):
    assert edit_version(client, f"{model}/2", Edit(labels=("a",)), dry_run=True).changes
    assert not edit_version(client, f"{model}/2", Edit(clear=("labels",))).changes
    assert client.get_model_version(model, "2").tags == {}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_published_version_stays_as_it_is(client, model, dry_run):
    client.set_model_version_tag(model, "2", "published_at", "2026-10-31T12:00:00+00:00")
    client.set_model_version_tag(model, "2", "published_by", "ada")
    with pytest.raises(RegistryError, match=r"published at 2026-10-31.* by ada and cannot be changed"):
        edit_version(client, f"{model}/2", Edit(labels=("a",)), dry_run=dry_run)
    assert len(client.get_model_version(model, "2").tags) == 2


def test_of_edits_at_once_none_is_lost(client, model):
    uri = client._tracking_client.tracking_uri

    def label(number):
        edit_version(MlflowClient(uri), f"{model}/2", Edit(labels=(f"label {number}",)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(label, range(6)))

    version = client.get_model_version(model, "2")
    assert Details.of("", version.tags).labels == tuple(f"label {number}" for number in range(6))
    assert len(events_of(version.tags)) == 6
