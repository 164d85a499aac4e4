"""The log of a model: from events, and from what older releases left."""

from datetime import UTC, datetime

import pytest

from proto_model.errors import RegistryError
from proto_model.registry.catalog.editing import Edit, edit_version
from proto_model.registry.catalog.history import history
from proto_model.registry.catalog.naming import Named
from proto_model.registry.catalog.removal import delete_version
from proto_model.registry.deployed import Chosen, record_deployed
from proto_model.registry.promotion.history import HISTORY_TAG, History
from proto_model.registry.promotion.journal import JOURNAL_TAG
from proto_model.registry.promotion.moves import turn
from proto_model.registry.promotion.records import rollback_marks
from proto_model.registry.versions import read_aliases, set_alias
from tests.proto_model.registry.promotion.turns import promote


@pytest.fixture(autouse=True)
def ada(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")


def told(client, model, **of):
    return [
        (entry.kind, entry.version, entry.by, entry.what) for entry in history(client, Named(model, **of))
    ]


def test_what_was_done_with_a_version_is_told_in_order(client, model):
    run = client.create_run("1", tags={"mlflow.user": "bob"})
    number = str(
        client.create_model_version(model, "file:///x", run.info.run_id, tags={"variant": "trees"}).version
    )
    edit_version(client, f"{model}/{number}", Edit(labels=("q3",)))
    record_deployed(Chosen(model, number), "staging", "people@sha256:1", client=client)
    delete_version(client, f"{model}/{number}", reason="wrong", force=True)

    assert told(client, model, version=number) == [
        ("trained", number, "bob", "trees"),
        ("edited", number, "ada", "labels +q3"),
        ("deployed", number, "ada", "to staging: people@sha256:1"),
        ("deleted", number, "ada", "wrong"),
    ]
    entries = history(client, Named(model))
    assert len(entries) == 4 + 4
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert entries[-1].to_dict()["event"] == "deleted"


def test_a_rollback_is_told_with_who_did_it(client, model):
    set_alias(model, "champion", "1", client=client)
    set_alias(model, "challenger", "2", client=client)
    promote(model, read_aliases(model, client=client), client)
    marks = rollback_marks(model, "2", "1", datetime.now(UTC).isoformat(timespec="seconds"))
    with turn(client, model, "undo the last promotion") as taken:
        taken.roll_back(read_aliases(model, client=client), marks)

    assert ("rolled_back", "1", "ada", "champion again in place of version 2.") in told(client, model)


def test_comparisons_of_older_releases_are_told_from_their_runs(client, model):
    def compared(name, verdict, note=""):
        run = client.create_run(
            "0", run_name=name, tags={"comparison_verdict": verdict, "mlflow.user": "bob"}
        )
        client.set_tag(run.info.run_id, "mlflow.note.content", note)
        return run.info.run_id

    compared(f"compare {model} 2 with 1", "kept")
    promoted = compared("a run of mlflow run", "promoted", f"# {model}: version 3 against version 1\n\n...")
    compared(f"compare {model}x 2 with 1", "kept")
    client.set_model_version_tag(model, "3", "comparison_run_id", promoted)
    client.set_model_version_tag(model, "3", "comparison_verdict", "promoted")

    entries = told(client, model)
    assert ("compared", "2", "bob", "against version 1: kept") in entries
    assert entries.count(("promoted", "3", "bob", "against version 1")) == 1
    assert [kind for kind, number, *_ in entries if number == "3"].count("promoted") == 1
    assert {number for _, number, *_ in told(client, model, version="1")} == {"1", "2", "3"}


def test_tags_tell_what_neither_runs_nor_events_do(client, model):
    for number, tags in {
        "1": {
            "comparison_verdict": "kept",
            "comparison_at": "2026-01-02T03:04:05+00:00",
            "comparison_opponent": "9",
        },
        "2": {"deployed_production": "people@sha256:2"},
        "3": {"published_at": "2026-02-03T04:05:06+00:00", "published_by": "eve"},
        "4": {"comparison_verdict": "restored", "comparison_at": "no time"},
    }.items():
        for key, value in tags.items():
            client.set_model_version_tag(model, number, key, value)
    client.set_registered_model_tag(model, HISTORY_TAG, History("1", ("2",)).to_tag())
    client.set_registered_model_tag(model, JOURNAL_TAG, "damaged")

    entries = told(client, model)
    assert ("compared", "1", None, "kept against version 9") in entries
    assert ("deployed", "2", None, "to production: people@sha256:2") in entries
    assert ("published", "3", "eve", "") in entries
    assert ("rolled_back", "4", None, "champion again") in entries
    assert ("promoted", "2", None, "became champion; nobody noted when") in entries
    assert any(kind == "interrupted" and "damaged" in what for kind, _, _, what in entries)


def test_no_history_without_a_model_or_version(client, model):
    with pytest.raises(RegistryError, match="no registered model"):
        history(client, Named("nobody"))
    with pytest.raises(RegistryError, match="no version 9"):
        history(client, Named(model, version="9"))
