import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.metrics import accuracy_score

from proto_model.model import Bundle, Predictor
from proto_model.model.decision import Decision
from proto_model.registry.provenance.reproduction import input_differences, reproduced
from proto_model.registry.publishing import make_keys, publish, read_verify_key, verify
from proto_model.registry.publishing.signature import opened
from proto_model.schema import ModelSchema
from proto_model.table import encode, load_table, prepare
from proto_model.training import VARIANTS
from tests.environments import environment
from tests.trainings import light

# MLflow's way of storing an input example; it means no caller of this package.
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")

STATEMENT = "provenance/provenance.intoto.json"
PLOTS = {"confusion_matrix", "roc_curve", "precision_recall_curve", "calibration_curve"} | {
    "permutation_importance",
    "search",
}


COLUMNS = """
hours: {description: Hours of work, unit: h a week, author: Data office}
sex: {decode: {f: female, m: male}, protected: true}
nation: Where they live
income: {description: Income of a year, decode: {<=50K: at most 50K, ">50K": more than 50K}}
"""


@pytest.fixture(scope="module")
def trained(train, people_csv):
    """One real training run, for all tests of this module; its printed lines and its parent run."""
    columns = people_csv.with_name("columns.yaml")
    columns.write_text(COLUMNS)
    with pytest.MonkeyPatch.context() as patch:
        capture = Capture(patch)
        files = ("--dataset", str(people_csv), "--dictionary", str(columns))
        code, out, err = train(capture, *files, "--target", "income", "--n-candidates", "1")
    assert code == 0, err
    best_id = out.splitlines()[-1].removeprefix("MLFLOW_RUN_ID=")
    client = MlflowClient()
    parent = client.get_run(client.get_run(best_id).data.tags["mlflow.parentRunId"])
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    return Trained(out, err, best_id, parent, children)


class Capture:
    """What capsys is, for a fixture of a wider scope."""

    def __init__(self, patch):
        self._streams = io.StringIO(), io.StringIO()
        patch.setattr(sys, "stdout", self._streams[0])
        patch.setattr(sys, "stderr", self._streams[1])

    def readouterr(self):
        return tuple(stream.getvalue() for stream in self._streams)


class Trained:
    def __init__(self, out, err, best_id, parent, children):
        self.out, self.err, self.best_id, self.parent, self.children = out, err, best_id, parent, children


def artifact(run_id, path):
    return mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)


def test_the_last_line_names_the_run_to_serve_and_the_board_stands_above(trained):
    lines = trained.out.splitlines()

    assert re.fullmatch(r"MLFLOW_RUN_ID=[0-9a-f]{32}", lines[-1])
    assert all(variant in trained.out for variant in VARIANTS)


def test_progress_and_dropped_columns_are_told_and_nothing_else_talks(trained):
    assert "160 rows, 4 features, 2 classes of 'income'" in trained.err
    assert "dropped column 'nation': constant" in trained.err
    assert all(f"{variant}: 5/5 fits" in trained.err for variant in VARIANTS)
    assert "INFO" not in trained.err
    assert "View run" not in trained.out
    assert "warning" not in trained.err


def test_a_child_run_per_variant_is_finished_and_says_what_it_did(trained):
    assert {run.data.params["variant"] for run in trained.children} == set(VARIANTS)
    for run in trained.children:
        assert run.info.status == "FINISHED"
        assert run.data.params["n_estimators"].isdecimal()
        assert run.data.tags["env.scikit-learn"]
        assert {entry.tags[0].value for entry in run.inputs.dataset_inputs} == {"training", "testing"}


def test_metrics_have_names_that_fit_and_values_between_0_and_1(trained):
    for run in trained.children:
        metrics = run.data.metrics
        assert {"cv_balanced_accuracy", "cv_std", "cv_log_loss", "cv_roc_auc"} <= set(metrics)
        assert {"test_balanced_accuracy", "test_roc_auc", "test_brier"} <= set(metrics)
        assert {"test_recall/le_50K", "test_f2/gt_50K", "test_average_precision/gt_50K"} <= set(metrics)
        not_shares = ("fit_seconds", "test_log_loss", "cv_log_loss")
        shares = [value for name, value in metrics.items() if not name.startswith(not_shares)]
        assert metrics["test_log_loss_low"] < metrics["test_log_loss"] < metrics["test_log_loss_high"]
        assert all(0 <= value <= 1 for value in shares)


def test_plots_tables_and_card_are_artifacts_of_every_variant(trained):
    client = MlflowClient()
    for run in trained.children:
        plots = client.list_artifacts(run.info.run_id, "plots")
        tables = client.list_artifacts(run.info.run_id, "tables")
        assert {item.path for item in plots} == {f"plots/{name}.png" for name in PLOTS}
        assert "tables/search.csv" in {item.path for item in tables}
    search = pd.read_csv(artifact(trained.best_id, "tables/search.csv"))
    fairness = pd.read_csv(artifact(trained.best_id, "tables/fairness.csv"))
    card = Path(artifact(trained.best_id, "model_card.md")).read_text(encoding="utf-8")
    assert len(search) == 1
    assert set(fairness["feature"]) == {"married", "sex", "age", "hours"}
    assert {"accuracy_low", "accuracy_high"} < set(fairness.columns)
    assert "| nation | constant" in card
    assert "## Cautions" in card
    assert isinstance(json.loads(Path(artifact(trained.best_id, "cautions.json")).read_text()), list)
    assert "Background `synthetic`: no training row." in card
    assert "## Probabilities and decisions" in card


def test_a_dictionary_goes_into_versions_cards_figures_and_provenance(trained):
    assert (
        "  The dictionary describes 2 of 5 columns. Without a description: 'age', 'married', 'sex'."
        in trained.err
    )
    for run in trained.children:
        folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/model"))
        schema = ModelSchema.read(folder / "artifacts" / "bundle" / "schema.json")
        assert (folder / "mapper" / "schema.json").read_bytes() == (
            folder / "artifacts" / "bundle" / "schema.json"
        ).read_bytes()
        assert schema.to_dict()["dictionary"] == {
            "hours": {"description": "Hours of work", "unit": "h a week", "author": "Data office"},
            "sex": {"decode": {"f": "female", "m": "male"}, "protected": True},
            "income": {
                "description": "Income of a year",
                "decode": {"<=50K": "at most 50K", ">50K": "more than 50K"},
            },
        }
        card = Path(artifact(run.info.run_id, "model_card.md")).read_text(encoding="utf-8")
        assert "| hours | Hours of work | h a week |  | Data office |" in card
        assert "| nation (not used) | Where they live |" in card
        assert "**The model sees sex**" in card
        statement = json.loads(Path(artifact(run.info.run_id, STATEMENT)).read_text())
        inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        assert "data dictionary" in [one["name"] for one in inputs]
    assert trained.parent.data.params["dictionary"].endswith("columns.yaml")
    fairness = pd.read_csv(artifact(trained.best_id, "tables/fairness.csv"))
    assert next(iter(fairness["feature"])) == "sex"


def test_a_wrong_dictionary_ends_with_every_fault_and_a_failed_run(train, trained, people_csv, capsys):
    wrong = people_csv.with_name("wrong.yaml")
    wrong.write_text("hours: {unit: 5}\nsexx: Sex\n")

    code, _, err = train(
        capsys, "--dataset", str(people_csv), "--target", "income", "--dictionary", str(wrong)
    )

    run = MlflowClient().search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
    assert (code, run.info.status) == (2, "FAILED")
    for told in (err, run.data.tags["mlflow.note.content"]):
        assert "wrong.yaml, line 1, hours.unit: 5 given, a text expected" in told
        assert "wrong.yaml, line 2, sexx: there is no such column; did you mean 'sex'?" in told


def test_every_version_holds_its_decision(trained):
    folder = mlflow.artifacts.download_artifacts(f"runs:/{trained.best_id}/model/artifacts/bundle")
    predictor = Predictor(Bundle.load(Path(folder)))
    sets = predictor.decision.sets

    assert (
        sum(sets.n_rows)
        + len(pd.read_parquet(artifact(trained.parent.info.run_id, "split/test_rows.parquet")))
        == 160
    )
    assert predictor.parameters({"coverage": 0.9}).coverage == 0.9


def test_every_card_says_whether_rare_classes_weigh_more_and_why(trained):
    for run in trained.children:
        bundle = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/model/artifacts/bundle")
        card = Path(artifact(run.info.run_id, "model_card.md")).read_text(encoding="utf-8")
        weighs = Decision.read(Path(bundle), 2).costs is not None

        assert run.data.params["costs"] == "auto"
        assert ("Balanced costs are used: they raise the balanced accuracy" in card) == weighs
        assert ("of equally probable ones the first: balanced costs would not raise" in card) != weighs


def test_costs_that_do_not_fit_end_the_run_before_the_search(train, capsys, people_csv):
    code, _, err = train(capsys, "--dataset", str(people_csv), "--target", "income", "--costs", "rich>poor:2")

    assert code == 2
    assert "costs: 'rich>poor:2' is no cost of a class; one is <=50K>>50K:10." in err
    assert "fits" not in err


def test_the_best_variant_has_an_example_explanation_of_each_class(trained):
    figures = MlflowClient().list_artifacts(trained.best_id, "explanations")

    assert {item.path for item in figures} == {"explanations/le_50K.png", "explanations/gt_50K.png"}


def test_the_parent_run_holds_the_split_the_parameters_and_the_leader_board(trained):
    run_id = trained.parent.info.run_id
    rows = pd.read_parquet(artifact(run_id, "split/rows.parquet"))
    tests = pd.read_parquet(artifact(run_id, "split/test_rows.parquet"))
    summary = json.loads(Path(artifact(run_id, "split/summary.json")).read_text(encoding="utf-8"))
    board = pd.read_csv(artifact(run_id, "leaderboard.csv"))

    assert rows["row_hash"].dtype == np.uint64
    assert tests["__row_hash__"].dtype == np.uint64
    assert list(tests["__row_hash__"]) == list(rows["row_hash"][rows["part"] == "test"])
    assert list(tests.columns) == ["hours", "age", "married", "sex", "income", "__row_hash__"]
    assert len(rows) == 160
    assert summary["dropped_columns"].keys() == {"nation"}
    assert trained.parent.data.params["n_candidates"] == "1"
    assert trained.parent.data.tags["split_digest"] == summary["split_digest"]
    assert trained.parent.data.tags["split_by"] == summary["split_by"] == "features"
    assert board["run_id"][0] == trained.best_id
    assert board["kind"].tolist() == ["forest"] * len(VARIANTS) + ["floor", "floor", "yardstick"]
    assert board["cv_log_loss"][1 : len(VARIANTS)].is_monotonic_increasing
    assert board["run_id"][len(VARIANTS) :].isna().all()


def test_every_variant_is_a_version_and_the_best_in_cross_validation_the_challenger(trained):
    client = MlflowClient()
    versions = {
        version.tags["variant"]: version for version in client.search_model_versions("name='proto_model'")
    }
    challenger = client.get_model_version_by_alias("proto_model", "challenger")

    assert set(versions) == set(VARIANTS)
    losses = {run.info.run_id: run.data.metrics["cv_log_loss"] for run in trained.children}
    assert challenger.run_id == trained.best_id
    assert losses[trained.best_id] <= 1.05 * min(losses.values())
    for run in trained.children:
        version = versions[run.data.params["variant"]]
        assert version.run_id == run.info.run_id
        assert version.tags["split_run_id"] == trained.parent.info.run_id
        assert version.tags["split_by"] == "features"
        assert version.tags["signature"] == "rows"
        assert version.tags["background"] == "synthetic"
        assert version.tags["dataset"] == "people"
        assert len(version.tags["split_digest"]) == len(version.tags["schema_digest"]) == 16
        cv, test = run.data.metrics["cv_balanced_accuracy"], run.data.metrics["test_balanced_accuracy"]
        assert float(version.tags["cv_balanced_accuracy"]) == pytest.approx(cv, abs=1e-6)
        assert float(version.tags["test_balanced_accuracy"]) == pytest.approx(test, abs=1e-6)
        assert run.data.params["variant"] in version.description


def test_the_explainer_is_registered_with_the_version_that_it_explains(trained):
    client = MlflowClient()

    explainer = client.get_model_version_by_alias("proto_model_explainer", "challenger")

    challenger = client.get_model_version_by_alias("proto_model", "challenger")
    assert explainer.tags["explained_version"] == str(challenger.version)
    assert explainer.tags["background"] == "synthetic"
    assert explainer.run_id == trained.best_id


def test_the_logged_model_loads_without_pickle_and_scores_what_was_logged(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    tests = pd.read_parquet(artifact(trained.parent.info.run_id, "split/test_rows.parquet"))

    model = mlflow.pyfunc.load_model(f"runs:/{trained.best_id}/model")
    answer = model.predict(tests.drop(columns=["income", "__row_hash__"]))

    logged = MlflowClient().get_run(trained.best_id).data.metrics["test_accuracy"]
    assert accuracy_score(tests["income"], answer["prediction"]) == pytest.approx(logged)


def test_real_rows_are_in_a_version_only_where_they_were_asked_for(train, trained, people_csv, capsys):
    with light():
        code, out, err = train(
            capsys, "--dataset", str(people_csv), "--target", "income", "--n-candidates", "1",
            "--background", "rows", "--registered-model-name", "with_rows",
        )  # fmt: skip
    assert code == 0, err
    run_id = out.splitlines()[-1].removeprefix("MLFLOW_RUN_ID=")
    client = MlflowClient()

    for chosen, kind, model in ((trained.best_id, "synthetic", "proto_model"), (run_id, "rows", "with_rows")):
        for name in (model, f"{model}_explainer"):
            assert client.get_model_version_by_alias(name, "challenger").tags["background"] == kind
        folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{chosen}/model"))
        bundle = Bundle.load(folder / "artifacts" / "bundle")
        assert bundle.background_kind == kind
        data = prepare(load_table(str(people_csv)), "income")
        known = {row.tobytes() for row in encode(data.X_train, data.schema)}
        held = [row.tobytes() in known for row in bundle.background]
        assert all(held) if kind == "rows" else not any(held)
        assert f"Background `{kind}`" in Path(artifact(chosen, "model_card.md")).read_text(encoding="utf-8")
        assert client.get_run(chosen).data.params["background"] == kind


def test_data_that_cannot_be_used_ends_with_2_a_sentence_and_a_failed_run(train, trained, people_csv, capsys):
    code, out, err = train(capsys, "--dataset", str(people_csv), "--target", "wealth")

    client = MlflowClient()
    run = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
    assert (code, out) == (2, "")
    assert re.search(r"^error: .*'wealth'", err, re.MULTILINE)
    assert "Traceback" not in err
    assert run.info.status == "FAILED"
    assert "wealth" in run.data.tags["mlflow.note.content"]
    assert len(client.search_model_versions("name='proto_model'")) == len(VARIANTS)


def test_a_run_id_left_over_in_the_environment_is_not_written_into(
    train, trained, people_csv, capsys, monkeypatch
):
    monkeypatch.setenv("MLFLOW_RUN_ID", trained.best_id)

    train(capsys, "--dataset", str(people_csv), "--target", "wealth")

    best = MlflowClient().get_run(trained.best_id)
    assert best.info.status == "FINISHED"
    assert "MLFLOW_RUN_ID" not in os.environ


def test_a_run_id_that_does_not_exist_is_passed_over(train, people_csv, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)

    code, _, err = train(capsys, "--dataset", str(people_csv), "--target", "wealth")

    assert code == 2
    assert "'wealth'" in err


def test_protected_columns_stay_beside_the_test_rows_and_out_of_the_version(train, store, people_csv, capsys):
    for name in ("uv.lock", "pyproject.toml"):  # whatever lies in the folder is no part of a version
        (store / name).write_text("version = 1\n[project]\nname = 'other'\nversion = '1'\n")
    with light():
        code, out, err = train(
            capsys, "--dataset", str(people_csv), "--target", "income", "--n-candidates", "1",
            "--protected", "sex, married", "--registered-model-name", "fair",
        )  # fmt: skip

    assert code == 0, err
    assert "dropped column 'sex': protected" in err
    client = MlflowClient()
    run_id = out.splitlines()[-1].removeprefix("MLFLOW_RUN_ID=")
    version = client.get_model_version_by_alias("fair", "challenger")
    assert version.tags["protected"] == "sex,married"
    split_run = version.tags["split_run_id"]
    assert client.get_run(split_run).data.params["protected"] == "sex,married"
    tests = pd.read_parquet(artifact(split_run, "split/test_rows.parquet"))
    aside = pd.read_parquet(artifact(split_run, "split/protected.parquet"))
    assert list(aside.columns) == ["sex", "married", "__row_hash__"]
    assert list(aside["__row_hash__"]) == list(tests["__row_hash__"])
    table = pd.read_csv(people_csv).fillna({"hours": -1})
    persons = set(table[["hours", "age", "income", "sex"]].itertuples(index=False, name=None))
    beside = tests.assign(sex=aside["sex"]).fillna({"hours": -1})
    assert set(beside[["hours", "age", "income", "sex"]].itertuples(index=False, name=None)) <= persons
    groups = pd.read_csv(artifact(run_id, "tables/fairness.csv"))
    assert list(groups["feature"].unique()[:2]) == ["sex", "married"]
    protected = groups[groups["feature"].isin(["sex", "married"])]
    assert set(protected["group"]) == {"f", "m", "true", "false"}
    folder = Path(mlflow.artifacts.download_artifacts("models:/fair@challenger"))
    schema = json.loads((folder / "artifacts" / "bundle" / "schema.json").read_text())
    assert [feature["name"] for feature in schema["features"]] == ["hours", "age"]
    assert not {path.name for path in folder.iterdir()} & {"uv.lock", "pyproject.toml"}
    served = [path for path in folder.rglob("*") if path.is_file() and "code" not in path.parts]
    assert not [path for path in served if b"married" in path.read_bytes()]


def test_every_variant_says_where_it_comes_from(trained):
    for child in trained.children:
        folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{child.info.run_id}/provenance"))
        statement = json.loads((folder / "provenance.intoto.json").read_text())
        model = Path(mlflow.artifacts.download_artifacts(f"runs:/{child.info.run_id}/model"))

        assert (statement["_type"], statement["predicateType"]) == (
            "https://in-toto.io/Statement/v1",
            "https://slsa.dev/provenance/v1",
        )
        subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
        files = [path for path in (model / "artifacts" / "bundle").iterdir()]
        assert subjects == {
            path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
        definition = statement["predicate"]["buildDefinition"]
        assert definition["externalParameters"]["dataset"] == "people.csv"
        assert definition["internalParameters"]["variant"] == child.data.params["variant"]
        inputs = {one["name"]: one for one in definition["resolvedDependencies"]}
        assert {"training rows", "test rows", "proto_model", "installed libraries"} <= inputs.keys()
        assert inputs["test rows"]["annotations"]["split_digest"] == child.data.tags.get(
            "split_digest", trained.parent.data.tags["split_digest"]
        )
        metrics = statement["predicate"]["runDetails"]["byproducts"][0]["annotations"]
        assert float(metrics["balanced_accuracy"]) == child.data.metrics["test_balanced_accuracy"]


def test_the_bill_of_materials_is_cyclonedx_1_7(trained):
    python = environment("cyclonedx", "cyclonedx-python-lib[json-validation]==11.12.0") / "python"
    code = (
        "import sys; from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "fault = JsonStrictValidator(SchemaVersion.V1_7).validate_str(open(sys.argv[1]).read())\n"
        "sys.exit(repr(fault) if fault else 0)"
    )
    uri = f"runs:/{trained.best_id}/provenance/bom.cdx.json"
    path = mlflow.artifacts.download_artifacts(uri)
    done = subprocess.run([python, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    card = json.loads(Path(path).read_text())["metadata"]["component"]["modelCard"]
    assert "balanced_accuracy" in {one["type"] for one in card["quantitativeAnalysis"]["performanceMetrics"]}


def test_a_version_that_is_trained_again_is_the_same_to_the_last_bit(trained):
    assert reproduced("models:/proto_model@challenger") == []


def test_the_inputs_that_another_training_had_are_named(trained):
    statement = json.loads(
        Path(mlflow.artifacts.download_artifacts(f"runs:/{trained.best_id}/{STATEMENT}")).read_text()
    )
    other = json.loads(json.dumps(statement))
    other["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"] = "0" * 64
    other["predicate"]["runDetails"]["builder"]["version"]["numpy"] = "1.0"

    assert input_differences(statement, statement) == []
    assert input_differences(statement, other) == ["training rows", "numpy"]


def test_publishing_signs_where_a_version_comes_from(trained, tmp_path):
    private, public = make_keys(tmp_path)
    publish("models:/proto_model@challenger", key=private)

    version = MlflowClient().get_model_version_by_alias("proto_model", "challenger")
    place = f"publication/{version.tags['manifest_sha256']}/provenance.sigstore.json"
    signed = Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/{place}")).read_bytes()
    keys = [read_verify_key(public.read_text())]
    statement, _ = opened(signed, keys, "https://slsa.dev/provenance/v1")
    logged = mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/provenance/provenance.intoto.json")
    assert statement == json.loads(Path(logged).read_text())
    assert verify("models:/proto_model@challenger", keys).is_good

    (tmp_path / "provenance.intoto.json").write_text("{}")
    MlflowClient().log_artifact(version.run_id, str(tmp_path / "provenance.intoto.json"), "provenance")
    (finding,) = verify("models:/proto_model@challenger", keys).findings
    assert finding.name == "provenance.provenance.intoto.json"
