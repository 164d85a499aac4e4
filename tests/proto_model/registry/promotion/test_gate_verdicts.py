"""Gates on real rows: verdicts, columns with groups, protected columns, probabilities."""

from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest

from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.gate_verdicts import Judged, judge_gates
from proto_model.registry.promotion.gates import parse_gates
from proto_model.statistics import Answers
from proto_model.table.split import HASH_COLUMN
from proto_model.training.evaluation.groupings import groups_of_column

CLASSES = ("benign", "malignant")


def judged(n_rows=2000, *, probabilities=True, champion=True, classes=CLASSES, version=None, seed=0):
    """Rows of which a challenger gets nine in ten right and a champion a little less."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, len(classes), n_rows)

    def answers(share):
        right = generator.random(n_rows) < share
        predicted = np.where(right, y, (y + 1) % len(classes))
        given = np.full((n_rows, len(classes)), 0.2 / (len(classes) - 1))
        given[np.arange(n_rows), predicted] = 0.8
        return Answers(predicted, given if probabilities else None)

    frame = pd.DataFrame(
        {
            "age": generator.integers(18, 90, n_rows),
            "sex": generator.choice(["f", "m"], n_rows),
            HASH_COLUMN: np.arange(n_rows, dtype=np.uint64) // 2,
        }
    )
    return Judged(
        frame, y, classes, answers(0.9), answers(0.88) if champion else None,
        version or SimpleNamespace(tags={}),
    )  # fmt: skip


def outcomes(rows, tmp_path, kind, *texts):
    return [result.outcome for result in judge_gates(parse_gates([*texts], kind), rows, tmp_path)]


def test_a_metric_has_one_of_three_verdicts(tmp_path):
    gates = ("recall[malignant] >= .8", "recall[malignant] >= .97", "recall[malignant] >= .9")

    assert outcomes(judged(), tmp_path, "metric", *gates)[:2] == ["passed", "failed"]
    (result,) = judge_gates(parse_gates(["accuracy >= .88"], "metric"), judged(60), tmp_path)
    assert result.outcome == "not enough rows"
    assert result.verdict.rows_needed > 60
    assert f"About {result.verdict.rows_needed} rows would tell" in result.sentence
    assert result.to_dict()["rows"] == 60


def test_groups_are_compared_and_named(tmp_path):
    fair = judged(20_000)
    unfair = judged(20_000)
    of_women = (unfair.frame["sex"] == "f").to_numpy()
    unfair.challenger.predicted[of_women & (np.arange(20_000) % 2 == 0)] = 0

    gates = ("selection_ratio[sex] >= .8", "tpr_gap[sex][malignant] <= .1", "accuracy_gap[age] <= .2")
    assert outcomes(fair, tmp_path, "group", *gates) == ["passed", "passed", "passed"]
    results = judge_gates(parse_gates([*gates], "group"), unfair, tmp_path)
    assert [result.outcome for result in results[:2]] == ["failed", "failed"]
    assert set(results[0].to_dict()["compared"]) == {"f", "m"}
    assert "against" in results[0].sentence


def test_a_challenger_may_be_asked_to_be_no_worse_than_the_champion(tmp_path):
    gates = ("balanced_accuracy=.01", "log_loss=.05", "recall[benign]=.02")

    assert outcomes(judged(20_000), tmp_path, "no_worse", *gates) == ["passed"] * 3
    assert outcomes(judged(champion=False), tmp_path, "no_worse", *gates) == ["not asked"] * 3


@pytest.mark.parametrize(
    ("kind", "text", "phrase"),
    [
        ("metric", "recall[malign] >= .9", "no class 'malign'. Did you mean 'malignant'?"),
        ("group", "selection_ratio[gender] >= .8", "no column 'gender'"),
        ("group", "selection_ratio[__row_hash__] >= .8", "no column '__row_hash__'"),
        ("group", "tpr_gap[sex][yes] <= .1", "no class 'yes'"),
    ],
)
def test_a_class_or_column_that_is_not_there_is_named(tmp_path, kind, text, phrase):
    with pytest.raises(ComparisonError, match=phrase):
        judge_gates(parse_gates([text], kind), judged(100), tmp_path)


def test_of_many_classes_a_group_gate_names_one(tmp_path):
    rows = judged(100, classes=("a", "b", "c"))
    with pytest.raises(
        ComparisonError, match=r"of 3 classes, name the one that is meant: tpr_gap\[sex\]\[CLASS\]"
    ):
        judge_gates(parse_gates(["tpr_gap[sex] <= .1"], "group"), rows, tmp_path)


@pytest.mark.parametrize(("kind", "text"), [("metric", "roc_auc >= .9"), ("no_worse", "log_loss=.1")])
def test_labels_alone_are_not_enough_for_a_metric_of_probabilities(tmp_path, kind, text):
    rows = judged(100, probabilities=False)
    with pytest.raises(
        ComparisonError, match="needs probabilities, and the challenger answers with labels only"
    ):
        judge_gates(parse_gates([text], kind), rows, tmp_path)


def test_a_column_of_one_group_cannot_be_judged(tmp_path):
    rows = judged(100)
    rows.frame["sex"] = "f"
    with pytest.raises(ComparisonError, match="cannot be judged"):
        judge_gates(parse_gates(["selection_ratio[sex] >= .8"], "group"), rows, tmp_path)


def test_protected_columns_are_found_beside_the_rows(client, tmp_path):
    rows = judged(4000)
    protected = rows.frame[["sex", HASH_COLUMN]].rename(columns={"sex": "gender"})
    extra = pd.DataFrame({"gender": ["x"], HASH_COLUMN: np.array([10**9], dtype=np.uint64)})
    protected = pd.concat([extra, protected], ignore_index=True)
    with mlflow.start_run(experiment_id="1") as run:
        protected.to_parquet(tmp_path / "protected.parquet", index=False)
        mlflow.log_artifact(str(tmp_path / "protected.parquet"), "split")
    version = SimpleNamespace(tags={"split_run_id": run.info.run_id})
    folder = tmp_path / "rows"
    folder.mkdir()
    given = {name: getattr(rows, name) for name in ("frame", "y", "classes", "challenger", "champion")}

    by_protected, by_feature = (
        judge_gates(parse_gates([text], "group"), Judged(**given, version=version), folder)[0].to_dict()
        for text in ("selection_ratio[gender] >= .8", "selection_ratio[sex] >= .8")
    )
    assert {**by_protected, "gate": ""} == {**by_feature, "gate": ""}


@pytest.mark.parametrize("content", [None, b"", b"PAR1", "without hashes"])
def test_protected_columns_that_cannot_be_read_are_said_to_be_so(client, tmp_path, content):
    path = tmp_path / "protected.parquet"
    with mlflow.start_run(experiment_id="1") as run:
        if content == "without hashes":
            pd.DataFrame({"gender": ["f"]}).to_parquet(path)
        elif content is not None:
            path.write_bytes(content)
        if content is not None:
            mlflow.log_artifact(str(path), "split")
    tags = {"split_run_id": run.info.run_id, "protected": "gender,race"}
    given = {name: getattr(judged(), name) for name in ("frame", "y", "classes", "challenger", "champion")}
    rows = Judged(**given, version=SimpleNamespace(version="3", tags=tags))
    folder = tmp_path / "rows"
    folder.mkdir()

    judge_gates(parse_gates(["selection_ratio[sex] >= .8"], "group"), rows, folder)
    with pytest.raises(
        ComparisonError, match=r"protected\.parquet of run .* \(gender,race\), cannot be read"
    ):
        judge_gates(parse_gates(["selection_ratio[gender] >= .8"], "group"), rows, folder)


def test_groups_are_those_of_the_model_card_and_missing_values_one_more(tmp_path):
    rows = judged()
    rows.frame["age"] = rows.frame["age"].where(np.arange(2000) % 10 > 0).astype("Int64")
    gates = parse_gates(["accuracy_gap[age] <= .5"], "group")

    for missing in (True, False):
        rows.challenger.predicted[:] = np.where(rows.frame["age"].isna() == missing, 1 - rows.y, rows.y)
        (result,) = judge_gates(gates, rows, tmp_path)
        assert result.outcome == "failed"
        compared = set(result.to_dict()["compared"])
        assert "(missing)" in compared
        assert compared - {"(missing)"} <= set(groups_of_column(rows.frame["age"]))
