"""Listing, sorting and searching on a real registry."""

import mlflow
import pytest

from proto_model.errors import InputError
from proto_model.registry.catalog.listing import matching, read_lines, sorted_lines, with_metrics
from proto_model.registry.catalog.naming import Named
from proto_model.registry.catalog.runs import runs_of
from proto_model.registry.versions import versions_of

SCORES = {"1": (0.7, 0.5), "2": (0.9, 0.6), "3": (0.8, 0.1)}


@pytest.fixture(scope="module")
def forests(client):
    """Four versions, of which the last one's run is gone; two experiments."""
    name = "it's a forest"
    client.create_registered_model(name)
    experiments = ["1", mlflow.create_experiment("others")]
    for number, (accuracy, loss) in SCORES.items():
        run = client.create_run(experiments[int(number) % 2])
        for metric, value in {"test_balanced_accuracy": accuracy, "test_log_loss": loss, "cv_std": 1}.items():
            client.log_metric(run.info.run_id, metric, value)
        client.create_model_version(name, "file:///nowhere", run.info.run_id, tags={"variant": "extra_trees"})
    client.create_model_version(
        name, "file:///nowhere", "0" * 32, tags={"labels": '["eu"]', "test_balanced_accuracy": "0.5"},
        description="The *last* one.",
    )  # fmt: skip
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "best", "2")
    return name


@pytest.fixture
def lines(client, forests):
    return with_metrics(client, read_lines(client, Named(forests)))


def numbers(lines):
    return "".join(line.version for line in lines)


def test_a_line_has_aliases_and_the_metrics_of_its_run(lines):
    assert numbers(lines) == "4321"
    last, _, second, _ = lines
    assert second.aliases == ("best", "champion")
    assert dict(second.metrics) == {"balanced_accuracy": 0.9, "log_loss": 0.6}
    assert dict(last.metrics) == {"balanced_accuracy": 0.5}  # its run is gone, a tag is there
    assert second.to_dict()["version"] == 2
    assert last.to_dict()["labels"] == ["eu"]


@pytest.mark.parametrize(
    ("by", "reverse", "expected"),
    [
        ("version", False, "4321"),
        ("version", True, "1234"),
        ("created", False, "4321"),
        ("balanced_accuracy", False, "2314"),
        ("balanced_accuracy", True, "4132"),
        ("test_log_loss", False, "3124"),  # lower is better, and the last one has none
        ("log_loss", True, "2134"),
    ],
)
def test_versions_are_sorted(lines, by, reverse, expected):
    assert numbers(sorted_lines(lines, by, reverse=reverse)) == expected


def test_a_metric_that_no_version_has_is_told_with_those_that_there_are(lines):
    with pytest.raises(InputError, match=r"No version has the metric 'auc'.*balanced_accuracy, log_loss"):
        sorted_lines(lines, "auc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "4321"), ("EXTRA", "321"), ("*LAST*", "4"), ("eu", "4"), ("champ", "2"), ("?", "")],
)
def test_versions_are_found_by_description_labels_aliases_and_tags(lines, text, expected):
    assert numbers(matching(lines, text)) == expected


def test_versions_come_in_pages_and_of_all_models(client, forests, model):
    assert [str(v.version) for v in versions_of(client, forests, page_size=2)] == ["4", "3", "2", "1"]
    found = {(line.model, line.version): line.aliases for line in read_lines(client, None)}
    assert found[forests, "2"] == ("best", "champion")
    assert (model, "4") in found


def test_one_version_is_a_list_of_one(client, forests):
    assert numbers(read_lines(client, Named(forests, alias="champion"))) == "2"


def test_runs_of_many_experiments_come_in_few_calls(client, forests):
    calls = []

    class Counting:
        def __getattr__(self, name):
            calls.append(name)
            return getattr(client, name)

    ids = [version.run_id for version in versions_of(client, forests)]
    assert len(runs_of(Counting(), [*ids, None, ""])) == 3
    assert len(calls) <= 5
