"""compare.py on a real store with real versions; the forests are tiny."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.metrics import balanced_accuracy_score

from proto_model.cli import compare
from proto_model.model import write_bundle
from proto_model.registry.logged_model import log_forest_model
from proto_model.registry.promotion import judgment, report
from proto_model.registry.record import log_split
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    Aliases,
    read_aliases,
    register_version,
    set_alias,
)
from proto_model.table import encode, load_training_data
from proto_model.training import make_pipeline
from tests.stores import fresh_store

pytestmark = pytest.mark.system

NAME = "people"
FOREIGN_MODEL = """
import mlflow
import pandas as pd

class AlwaysYes(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return ["yes"] * len(model_input)

mlflow.models.set_model(AlwaysYes())
"""


def table(n_rows, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.integers(18, 90, n_rows)
    income = generator.normal(0, 1, n_rows)
    job = generator.choice(["clerk", "nurse", "pilot"], n_rows)
    score = (age - 50) / 20 + income + (job == "pilot") + generator.normal(0, 0.3, n_rows)
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "height": np.random.default_rng(n_rows + seed).normal(170, 9, n_rows),  # no row nearly repeats
            "job": job,
            "class": np.where(score > 0.4, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of an MLflow store that is the current one meanwhile; experiment 1 keeps its artifacts there."""
    folder = tmp_path_factory.mktemp("compare")
    mlflow.set_tracking_uri(fresh_store(folder))
    mlflow.create_experiment("people", artifact_location=(folder / "artifacts").as_uri())
    yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def client(folder):
    return MlflowClient()


@pytest.fixture(scope="module")
def train(folder, client):
    """Logged model trained on a table, some labels of which may be wrong; with the tags of its version."""

    def train(frame, wrong_labels=0.0, n_estimators=20, test_size=0.4):
        frame.to_csv(folder / "people.csv", index=False)
        data = load_training_data(str(folder / "people.csv"), test_size=test_size, model_name=NAME)
        generator = np.random.default_rng(0)
        y = np.where(generator.random(len(data.y_train)) < wrong_labels, "no", data.y_train)
        pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=n_estimators)
        pipeline.fit(data.X_train, y.astype(object))
        with mlflow.start_run(experiment_id="1") as run:
            log_split(data)
        logged = client.create_logged_model("1", name="model", source_run_id=run.info.run_id)
        with tempfile.TemporaryDirectory() as artifact:
            bundle = Path(artifact, "artifacts", "bundle")
            write_bundle(bundle, pipeline, data.schema, encode(data.X_train, data.schema)[:50])
            client.log_model_artifacts(logged.model_id, artifact)
        client.finalize_logged_model(logged.model_id, "READY")
        return SimpleNamespace(
            uri=f"models:/{logged.model_id}",
            run_id=run.info.run_id,
            tags={"split_run_id": run.info.run_id, "schema_digest": data.schema.digest, "signature": "rows"},
            data=data,
            pipeline=pipeline,
        )

    return train


@pytest.fixture(scope="module")
def good(train):
    return train(table(600))


@pytest.fixture(scope="module")
def bad(train):
    return train(table(600), wrong_labels=0.8, n_estimators=3)


@pytest.fixture
def register(client, request):
    """New version of a model of the test's own, by default as challenger."""
    name = request.node.name

    def register(model, alias=CHALLENGER):
        version = register_version(
            model.uri, name, run_id=model.run_id, description="A forest.", tags=model.tags, alias=alias
        )
        return str(version.version)

    register.name = name
    return register


@pytest.fixture
def run_compare(register, capsys):
    """Exit status, JSON and talk of compare.py; few look at the picture, which takes long to draw."""

    def run(*arguments, draws=False):
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            if not draws:
                patch.setattr(report, "save", lambda figure, path: path.write_bytes(b""))
            status = compare.main(["--model", register.name, *arguments])
        captured = capsys.readouterr()
        return status, json.loads(captured.out), captured.err

    return run


def everything(client, name):
    """All that a dry run must leave alone."""
    model = client.get_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}'")
    runs = client.search_runs(["0", "1"])
    return (
        dict(model.aliases),
        sorted((item.version, str(item.tags), item.description) for item in versions),
        sorted((run.info.run_id, run.info.status, str(run.data.tags)) for run in runs),
    )


def test_a_better_challenger_is_promoted_and_everything_is_written_down(
    client, register, run_compare, good, bad, tmp_path
):
    old, new = register(bad, CHAMPION), register(good)
    status, verdict, talk = run_compare("--confidence", "0.95", "--report", str(tmp_path / "report"))

    assert (status, verdict["verdict"]) == (0, "promoted")
    assert "Version 2 becomes champion" in talk
    assert read_aliases(register.name) == Aliases(new, None, old)
    run = client.get_run(verdict["run_id"])
    assert (run.info.experiment_id, run.info.status) == ("1", "FINISHED")
    assert run.data.metrics["difference"] == pytest.approx(verdict["difference"])
    logged = {Path(item.path).name for item in client.list_artifacts(run.info.run_id, "comparison")}
    assert logged == {"report.json", "report.md", "comparison.png", "predictions.parquet"}
    assert {path.name for path in (tmp_path / "report").iterdir()} == logged
    promoted, replaced = (client.get_model_version(register.name, version) for version in (new, old))
    assert promoted.tags["comparison_verdict"] == "promoted"
    assert promoted.tags["promotion_run_id"] == run.info.run_id
    assert replaced.tags["comparison_verdict"] == "replaced"
    assert "promoted over version 1" in promoted.description
    assert "replaced by version 2" in replaced.description


def test_the_report_can_be_recomputed(register, run_compare, good, bad, tmp_path):
    register(bad, CHAMPION)
    register(good)
    _, verdict, _ = run_compare("--report", str(tmp_path))
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")

    assert verdict == json.loads((tmp_path / "report.json").read_text())
    assert set(predictions["row_hash"]) == set(good.data.test_hashes)
    for role in ("champion", "challenger"):
        score = balanced_accuracy_score(predictions["label"], predictions[role])
        assert verdict[role]["balanced_accuracy"] == score
    assert verdict["rows"]["unseen_by_both"]
    assert verdict["rows"]["set_aside"] == 0
    assert verdict["interval"]["low"] <= verdict["difference"] <= verdict["interval"]["high"]
    assert (
        sum(item["challenger_only_right"] for item in verdict["classes"])
        == verdict["mcnemar"]["challenger_only"]
    )


def test_a_worse_challenger_is_not_promoted_and_may_be_compared_again(
    client, register, run_compare, good, bad
):
    champion, challenger = register(good, CHAMPION), register(bad)
    for _ in range(2):
        status, verdict, talk = run_compare()

        assert (status, verdict["verdict"]) == (1, "kept")
        assert "stays champion" in talk
        assert read_aliases(register.name) == Aliases(champion, challenger)
    defended, kept = (client.get_model_version(register.name, version) for version in (champion, challenger))
    assert defended.tags["comparison_verdict"] == "defended"
    assert kept.tags["comparison_verdict"] == "kept"
    assert kept.description.count("Comparison of") == 1
    assert kept.description.startswith("A forest.\n")


def test_equal_models_keep_the_champion(register, run_compare, good):
    register(good, CHAMPION)
    register(good)

    assert run_compare()[0] == 1


def test_a_margin_that_is_not_reached_keeps_the_champion(register, run_compare, good, bad):
    register(bad, CHAMPION)
    register(good)
    status, verdict, _ = run_compare("--min-improvement", "0.99")

    assert status == 1
    assert "but not by more than 0.99" in verdict["reason"]
    assert (
        "at least 0.99 is required"
        in run_compare("--min-improvement", "0.99", "--rule", "point")[1]["reason"]
    )


@pytest.fixture
def champion_flips(monkeypatch, good):
    """Let version 1 answer like the good one but for some rows, which it alone gets wrong."""

    def flip(n_rows):
        load = judgment.load_contender

        def load_flipped(name, version, folder):
            contender = load(name, version, folder)
            if version != "1":
                return contender

            def predict(frame):
                labels = np.array(contender.predict(frame), dtype=object)
                right = np.flatnonzero(labels == good.data.y_test)[:n_rows]
                labels[right] = np.where(labels[right] == "yes", "no", "yes")
                return labels.tolist()

            return replace(contender, predict=predict)

        monkeypatch.setattr(judgment, "load_contender", load_flipped)

    return flip


def test_one_row_does_not_promote_and_the_report_says_how_many_rows_would_tell(
    client, register, run_compare, good, champion_flips, tmp_path
):
    champion_flips(1)
    champion, challenger = register(good, CHAMPION), register(good)
    status, verdict, talk = run_compare("--report", str(tmp_path))

    assert (status, verdict["verdict"]) == (1, "not_enough_rows")
    assert verdict["evidence"]["rows_needed"]["more"] > 100
    assert f"about {verdict['evidence']['rows_needed']['more']} more needed" in talk.replace("\n", " ")
    assert read_aliases(register.name) == Aliases(champion, challenger)
    assert client.get_model_version(register.name, challenger).tags["comparison_verdict"] == "not_enough_rows"
    assert "rows needed" in (tmp_path / "report.md").read_text()
    assert run_compare("--rule", "point")[0] == 0


def test_attempts_are_counted_on_the_model_until_a_promotion(
    client, register, run_compare, good, bad, champion_flips
):
    champion_flips(1)
    register(good, CHAMPION)
    numbers = []
    for _ in range(3):
        register(good)
        numbers.append(run_compare("--dry-run")[1]["attempt"]["number"])
        numbers.append(run_compare()[1]["attempt"]["number"])
    again = run_compare()[1]

    assert numbers == [1, 1, 2, 2, 3, 3]
    assert again["attempt"] == {"number": 3, "share": pytest.approx(3**-1.5 / 2.612375), "champion": "1"}
    assert "attempt 3 since version 1 became champion" in again["reason"]
    assert run_compare("--sequential", "off")[1]["attempt"]["share"] == 1
    assert "promotion_attempts" in client.get_registered_model(register.name).tags
    champion_flips(40)
    assert run_compare()[0] == 0
    assert "promotion_attempts" not in client.get_registered_model(register.name).tags


def test_gates_keep_a_better_challenger_from_promotion(register, run_compare, good, bad):
    register(bad, CHAMPION)
    register(good)
    arguments = (
        "--gate",
        "balanced_accuracy >= .7; recall[yes] >= .6",
        "--no-worse",
        "log_loss=.5",
        "--dry-run",
    )
    status, verdict, _ = run_compare(*arguments)
    assert status == 0
    assert [gate["verdict"] for gate in verdict["gates"]] == ["passed"] * 3

    status, verdict, talk = run_compare(
        "--gate", "recall[no] >= .999", "--fairness", "selection_ratio[job] >= .1"
    )
    assert (status, verdict["verdict"]) == (1, "kept")
    assert [gate["verdict"] for gate in verdict["gates"]] == ["failed", "passed"]
    assert "Failed: 'recall[no] >= .999'" in talk


def test_gates_apply_to_the_first_challenger_too(register, run_compare, good, bad):
    register(bad)
    status, verdict, talk = run_compare("--gate", "balanced_accuracy >= .95")

    assert (status, verdict["verdict"]) == (1, "kept")
    assert "Version 1 does not become champion." in talk
    assert read_aliases(register.name) == Aliases(None, "1")


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("--gate", "recal[yes] >= .9"), "Did you mean 'recall'?"),
        (("--gate", "recall[maybe] >= .9"), "no class 'maybe'"),
        (("--fairness", "selection_ratio[sex] >= .8"), "no column 'sex'"),
        (("--margin", "2"), "margin 2.0 given"),
    ],
    ids=["metric", "class", "column", "margin"],
)
def test_a_gate_that_cannot_be_judged_ends_with_2(
    client, register, run_compare, good, bad, arguments, phrase
):
    register(bad, CHAMPION)
    register(good)
    before = everything(client, register.name)
    status, verdict, _ = run_compare(*arguments)

    assert status == 2
    assert phrase in verdict["error"]
    assert everything(client, register.name) == before


def test_a_killed_comparison_is_finished_by_the_next_command_which_says_so(
    client, register, run_compare, good, bad, folder
):
    old, new = register(bad, CHAMPION), register(good)
    code = (
        "import os, signal, sys\n"
        "from mlflow import MlflowClient\n"
        "move = MlflowClient.set_registered_model_alias\n"
        "def die(self, name, alias, version):\n"
        "    if alias == 'champion':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    move(self, name, alias, version)\n"
        "MlflowClient.set_registered_model_alias = die\n"
        "from proto_model.cli.compare import main\n"
        "main(sys.argv[1:])\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, "--model", register.name],
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}, check=False, timeout=900,
    )  # fmt: skip
    assert killed.returncode < 0
    assert read_aliases(register.name).champion == old
    (run_id,) = {
        run.info.run_id for run in client.search_runs(["1"]) if run.info.status == "RUNNING"
    }  # of the report

    status, verdict, _ = run_compare("--dry-run")
    assert (status, verdict["recovery"]["outcome"]) == (0, "pending")
    assert read_aliases(register.name).champion == old
    status, verdict, talk = run_compare()
    assert (status, verdict["verdict"]) == (0, "promoted")
    assert verdict["recovery"]["outcome"] == "finished"
    assert "was interrupted. It is finished now: champion version 2" in talk
    assert read_aliases(register.name) == Aliases(new, None, old)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_model_version(register.name, new).tags["comparison_verdict"] == "promoted"


def test_the_first_challenger_becomes_champion_and_is_evaluated(register, run_compare, good, tmp_path):
    version = register(good)
    status, verdict, _ = run_compare("--report", str(tmp_path), draws=True)

    assert status == 0
    assert read_aliases(register.name) == Aliases(version)
    assert "is promoted without a comparison" in verdict["reason"]
    assert verdict["champion"] is None
    assert verdict["challenger"]["balanced_accuracy"] > 0.8
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_a_first_challenger_without_held_out_rows_becomes_champion_unevaluated(
    register, run_compare, good, tmp_path
):
    version = register(SimpleNamespace(uri=good.uri, run_id=good.run_id, tags={}))
    status, verdict, _ = run_compare("--report", str(tmp_path))

    assert status == 0
    assert read_aliases(register.name) == Aliases(version)
    assert "could not be evaluated" in verdict["reason"]
    assert "could not be evaluated" in (tmp_path / "report.md").read_text()


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(
    client, register, run_compare, good, bad, tmp_path
):
    register(bad, CHAMPION)
    register(good)
    before = everything(client, register.name)
    status, verdict, talk = run_compare("--dry-run", "--report", str(tmp_path))

    assert everything(client, register.name) == before
    assert (status, verdict["dry_run"], verdict["run_id"]) == (0, True, None)
    assert "would become champion" in talk
    assert "would become champion" in (tmp_path / "report.md").read_text()


def test_a_rollback_takes_the_last_promotion_back(client, register, run_compare, good, bad):
    old, new = register(bad, CHAMPION), register(good)
    run_compare()
    before = everything(client, register.name)
    assert run_compare("--rollback", "--dry-run")[1]["restored"] == old
    assert everything(client, register.name) == before
    status, verdict, talk = run_compare("--rollback")

    assert (status, verdict["verdict"]) == (0, "rolled_back")
    assert read_aliases(register.name) == Aliases(old)
    taken_back = client.get_model_version(register.name, new)
    assert taken_back.tags["comparison_verdict"] == "rolled_back"
    assert "undone" in taken_back.description
    assert client.get_model_version(register.name, old).tags["comparison_verdict"] == "restored"
    assert "is champion again" in talk
    status, verdict, _ = run_compare("--rollback")
    assert status == 2
    assert "no promotion" in verdict["error"]


def test_a_rollback_refuses_what_it_would_ignore(capsys):
    with pytest.raises(SystemExit) as ended:
        compare.main(["--rollback", "--confidence", "0.9", "--report", "somewhere"])

    assert ended.value.code == 2
    assert "--rollback compares nothing; leave out --confidence, --report" in capsys.readouterr().err


def test_the_explainer_follows_promotion_and_rollback(client, register, run_compare, good, bad):
    old, new = register(bad, CHAMPION), register(good)
    explainer = f"{register.name}_explainer"
    for explained, alias in ((old, CHAMPION), (new, CHALLENGER)):
        register_version(good.uri, explainer, tags={"explained_version": explained}, alias=alias)

    run_compare()
    assert read_aliases(explainer) == Aliases("2")
    run_compare("--rollback")
    assert read_aliases(explainer) == Aliases("1")


def test_rows_that_one_version_was_trained_on_are_set_aside(register, run_compare, train, bad):
    grown = train(pd.concat([table(600), table(300, seed=1)]), test_size=0.7)
    register(bad, CHAMPION)
    register(grown)
    _, verdict, talk = run_compare()

    n_seen = np.isin(grown.data.test_hashes, bad.data.train_hashes).sum()
    assert verdict["rows"]["set_aside"] == n_seen > 0
    assert verdict["rows"]["compared"] == len(grown.data.y_test) - n_seen
    assert verdict["rows"]["unseen_by_both"]
    assert f"({n_seen} excluded)" in talk


def test_a_champion_of_unknown_training_rows_is_compared_and_the_report_says_so(
    register, run_compare, good, bad
):
    register(SimpleNamespace(uri=bad.uri, run_id=bad.run_id, tags={}), CHAMPION)
    register(good)
    status, verdict, talk = run_compare()

    assert status == 0
    assert not verdict["rows"]["unseen_by_both"]
    assert "may have been trained on some of the rows" in talk


def test_no_challenger_cannot_be_compared(register, run_compare, good):
    champion = register(good, CHAMPION)
    status, verdict, talk = run_compare()

    assert (status, verdict["verdict"]) == (2, "failed")
    assert "has no challenger" in talk
    assert read_aliases(register.name) == Aliases(champion)


def test_a_version_cannot_be_compared_with_itself(register, run_compare, good):
    version = register(good, CHAMPION)
    set_alias(register.name, CHALLENGER, version)
    status, _, talk = run_compare()

    assert status == 2
    assert "both champion and challenger" in talk
    assert read_aliases(register.name) == Aliases(version, version)


def test_an_unknown_model_is_named(run_compare):
    status, verdict, _ = run_compare("--model", "nobody")

    assert status == 2
    assert "'nobody'" in verdict["error"]


def test_a_criterion_out_of_range_is_refused(run_compare):
    status, verdict, _ = run_compare("--confidence", "95")

    assert status == 2
    assert "between 0 and 1" in verdict["error"]


def test_a_report_folder_that_cannot_be_is_known_before_anything_moves(
    client, register, run_compare, good, tmp_path
):
    register(good, CHALLENGER)
    (tmp_path / "file").touch()
    before = everything(client, register.name)

    status, verdict, _ = run_compare("--report", str(tmp_path / "file" / "report"))

    assert status == 2
    assert "Cannot create the folder" in verdict["error"]
    assert everything(client, register.name) == before


def test_versions_of_different_schemas_are_not_compared(client, register, run_compare, train, good):
    register(good, CHAMPION)
    register(train(table(300).rename(columns={"age": "years"})))
    before = everything(client, register.name)
    status, verdict, _ = run_compare()

    assert status == 2
    assert "features of the champion only: ['age']" in verdict["error"]
    assert everything(client, register.name) == before


@pytest.mark.parametrize("lost", [CHAMPION, CHALLENGER])
def test_a_vanished_artifact_is_named_and_nothing_is_lost(client, register, run_compare, train, good, lost):
    doomed = train(table(200))
    versions = {alias: register(doomed if alias == lost else good, alias) for alias in (CHAMPION, CHALLENGER)}
    location = client.get_logged_model(doomed.uri.removeprefix("models:/")).artifact_location
    shutil.rmtree(urlparse(location).path)
    before = everything(client, register.name)
    status, verdict, _ = run_compare()

    assert status == 2
    assert f"Cannot load version {versions[lost]}" in verdict["error"]
    assert everything(client, register.name) == before


def test_what_mlflow_prints_is_not_taken_for_the_verdict(register, run_compare, monkeypatch, good):
    register(good)
    load = judgment.load_contender
    # The client of a tracking server prints links to its runs.
    monkeypatch.setattr(judgment, "load_contender", lambda *given: print("View run at: …") or load(*given))
    _, verdict, talk = run_compare("--dry-run")

    assert verdict["verdict"] == "promoted"
    assert "View run at" in talk


@pytest.mark.parametrize("better", [True, False])
def test_a_promotion_by_somebody_else_in_the_meantime_stands(
    client, register, run_compare, monkeypatch, good, bad, better
):
    first, second = (bad, good) if better else (good, bad)
    register(first, CHAMPION)
    register(second)
    third = register(good, alias=None)
    load = judgment.load_contender

    def load_while_somebody_promotes(*arguments):
        set_alias(register.name, CHAMPION, third)
        return load(*arguments)

    monkeypatch.setattr(judgment, "load_contender", load_while_somebody_promotes)
    status, verdict, _ = run_compare()

    assert status == 2
    assert "Somebody else moved the aliases" in verdict["error"]
    assert read_aliases(register.name) == Aliases("3", "2")
    assert "comparison_verdict" not in client.get_model_version(register.name, "2").tags


def test_the_run_that_mlflow_run_made_is_used_but_no_finished_one(
    client, register, run_compare, monkeypatch, good, bad
):
    register(bad, CHAMPION)
    register(good)
    monkeypatch.setenv("MLFLOW_RUN_ID", good.run_id)
    assert run_compare()[1]["run_id"] != good.run_id
    register(bad)
    own = client.create_run("1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own)

    assert run_compare()[1]["run_id"] == own


def test_a_model_of_another_make_is_compared_by_its_labels(folder, register, run_compare, good):
    (folder / "always_yes.py").write_text(FOREIGN_MODEL)
    with mlflow.start_run(experiment_id="1"):
        info = mlflow.pyfunc.log_model(
            name="model", python_model=str(folder / "always_yes.py"), pip_requirements=[]
        )
    register(SimpleNamespace(uri=info.model_uri, run_id=info.run_id, tags={}), CHAMPION)
    register(good)
    status, verdict, _ = run_compare()

    assert status == 0
    assert verdict["champion"]["balanced_accuracy"] == 0.5
    set_alias(register.name, CHAMPION, 1)
    set_alias(register.name, CHALLENGER, 2)
    refused = run_compare("--no-worse", "roc_auc=.01")
    assert refused[0] == 2
    assert "the champion answers with labels only" in refused[1]["error"]


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # mlflow, with pandas 3.1
@pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning")  # of a file model
@pytest.mark.parametrize("kinds", [("file", "rows"), ("rows", "file")], ids=["champion", "challenger"])
def test_logged_models_are_compared_alike_whether_they_take_rows_or_files(
    client, register, run_compare, good, bad, kinds
):
    for model, kind, alias in zip((bad, good), kinds, (CHAMPION, CHALLENGER), strict=True):
        with mlflow.start_run(experiment_id="1") as run:
            info = log_forest_model(model.pipeline, model.data, signature_kind=kind)
        tags = model.tags | {"signature": kind}
        register(SimpleNamespace(uri=info.model_uri, run_id=run.info.run_id, tags=tags), alias)
    before = everything(client, register.name)
    status, verdict, talk = run_compare()

    # Clients of the champion would get nothing but errors, so a better model is not enough.
    assert (status, verdict["verdict"]) == (2, "failed")
    assert "presigned URLs of files" in talk
    assert "--allow-signature-change" in talk
    assert everything(client, register.name) == before

    status, verdict, _ = run_compare("--allow-signature-change")

    assert status == 0
    assert verdict["criteria"]["allow_signature_change"] is True
    assert verdict["verdict"] == "promoted"
    assert tuple(verdict[role]["signature"] for role in ("champion", "challenger")) == kinds
    assert verdict["rows"]["compared"] == len(good.data.y_test)
    for role, model in (("champion", bad), ("challenger", good)):
        expected = balanced_accuracy_score(model.data.y_test, model.pipeline.predict(model.data.X_test))
        assert verdict[role]["balanced_accuracy"] == pytest.approx(expected)


def test_the_command_works_from_anywhere(folder, register, good, bad, tmp_path):
    register(bad, CHAMPION)
    register(good)

    done = subprocess.run(
        [sys.executable, Path(__file__).parents[2] / "compare.py", "--model", register.name],
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "promoted"
    assert "McNemar" in done.stderr
    assert list(tmp_path.iterdir()) == []
