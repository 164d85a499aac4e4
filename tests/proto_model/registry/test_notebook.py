"""A fitted pipeline becomes a version, on a real registry."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from proto_model import Registry
from proto_model.errors import DataError, InputError, RegistryError
from proto_model.model import Bundle, Predictor
from proto_model.parameters import Parameters
from proto_model.schema import ModelSchema
from proto_model.values import encode

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")


def people(n, seed):
    generator = np.random.default_rng(seed)
    income = generator.normal(0, 1, n)
    job = generator.choice(["clerk", "nurse", "pilot"], n)
    y = np.where(income + (job == "pilot") + generator.normal(0, 0.4, n) > 0.3, "yes", "no")
    return pd.DataFrame({"income": income, "age": generator.integers(18, 90, n), "job": job}), pd.Series(
        y, name="loan"
    )


X, Y = people(200, 0)
X_TEST, Y_TEST = people(80, 1)


def fitted(scaler=None):
    columns = make_column_transformer(
        (scaler or StandardScaler(), ["income", "age"]), (OneHotEncoder(handle_unknown="ignore"), ["job"])
    )
    return make_pipeline(columns, RandomForestClassifier(10, random_state=0, max_depth=5)).fit(X, Y)


@pytest.fixture(scope="module")
def version(store):
    pipeline = fitted()
    return Registry().model("churn").new_version(
        pipeline, X, Y, X_test=X_TEST, y_test=Y_TEST, description="By *hand*.", tags=["q3", "eu"],
        config={"threshold": 0.4}, records=["s3://lake/2026-10.parquet?sig=1"],
    )  # fmt: skip


def test_the_version_says_what_the_user_said(version):
    facts = version.facts()
    assert (facts["name"], facts["version"], facts["description"]) == ("churn", 1, "By *hand*.")
    assert (facts["labels"], facts["config"], facts["records"]) == (
        ["eu", "q3"], {"threshold": 0.4}, ["s3://lake/2026-10.parquet"],
    )  # fmt: skip
    assert facts["hyperparameters"] == {"n_estimators": 10, "max_depth": 5}
    assert 0.7 < facts["metrics"]["balanced_accuracy"] <= 1
    assert facts["aliases"] == []
    version.edit(labels=("new",))
    assert version.facts()["labels"] == ["eu", "new", "q3"]


def test_it_has_what_a_trained_version_has_and_answers_as_the_pipeline_does(version, tmp_path):
    folder = Path(mlflow.artifacts.download_artifacts(version.uri, dst_path=str(tmp_path)))
    bundle = Bundle.load(folder / "artifacts" / "bundle")
    np.testing.assert_array_equal(
        bundle.predict_proba(encode(X_TEST.astype({"age": float}), bundle.schema)),
        fitted().predict_proba(X_TEST),
    )
    assert {path.name for path in (folder / "mapper").iterdir()} == {"schema.json", "requirements.txt"}
    answer = mlflow.pyfunc.load_model(version.uri).predict(X_TEST[:2], params={"explain": True})
    assert answer["prediction"].tolist() == fitted().predict(X_TEST[:2]).tolist()
    assert answer["explanation"].iloc[0]["rule"]
    assert Predictor(bundle).explainer("lore")
    client = MlflowClient()
    run_id = version.facts()["run_id"]
    card = mlflow.artifacts.load_text(f"runs:/{run_id}/model_card.md")
    assert "fitted elsewhere and registered as it is" in card
    assert "in cross-validation" not in card
    names = {item.path for item in client.list_artifacts(run_id)}
    assert {"model_card.md", "split", "explanations", "cautions.json"} <= names
    (twin,) = client.search_model_versions("name = 'churn_explainer'")
    assert twin.tags["explained_version"] == "1"


def test_nothing_appears_if_the_pipeline_cannot_be_taken_over(version):
    model = Registry().model("churn")
    n_runs = len(mlflow.search_runs(search_all_experiments=True))
    columns = make_pipeline(StandardScaler(), PCA(2))
    with pytest.raises(DataError, match=r"'columntransformer.pipeline.pca' is a PCA"):
        model.new_version(fitted(columns), X, Y, X_test=X_TEST, y_test=Y_TEST)
    with pytest.raises(DataError, match="was fitted on the columns"):
        model.new_version(
            fitted(), X[["age", "income", "job"]], Y, X_test=X_TEST[["age", "income", "job"]], y_test=Y_TEST
        )
    with pytest.raises(DataError, match="classes are 'no', 'yes'"):
        model.new_version(fitted(), X, Y == "yes", X_test=X_TEST, y_test=Y_TEST == "yes")
    with pytest.raises(InputError, match="has 33 characters"):
        model.new_version(fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST, tags=["x" * 33])
    for about, message in (
        ({"tags": "q3"}, "Labels: 'q3' given, a list of texts expected"),
        ({"tags": {"team": "x"}}, "a list of texts expected"),
        ({"tags": [3]}, "a list of texts expected"),
        ({"records": "s3://lake/a"}, "Records: 's3://lake/a' given"),
        ({"description": None}, "description: None given"),
        ({"description": "x" * 5001}, "MLflow keeps 5,000"),
        ({"alias": "latest"}, "alias='latest' given.*reserved"),
        ({"alias": "a/b"}, "alias='a/b' given: .*Invalid"),
    ):
        with pytest.raises(InputError, match=message):
            model.new_version(fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST, **about)
    with pytest.raises(InputError, match="takes no 'labels'"):
        model.new_version(fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST, labels=["a"])
    assert len(model.versions()) == 1
    assert len(mlflow.search_runs(search_all_experiments=True)) == n_runs


def test_versions_are_found_by_number_and_alias(version):
    model = Registry().model("churn")
    MlflowClient().set_registered_model_alias("churn", "best", "1")
    assert model.version("best").uri == model.version(1).uri == "models:/churn/1"
    with pytest.raises(RegistryError, match="no version 9"):
        model.version(9)
    with pytest.raises(InputError, match="no name of a model"):
        Registry().model("churn/1")


def test_importing_the_package_stays_light():
    code = "import proto_model, sys; print({'mlflow', 'sklearn', 'pandas', 'numpy'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


DICTIONARY = {
    "income": {"description": "Standardized", "unit": "SD"},
    "job": {"decode": {"clerk": "office work", "nurse": "hospital work"}, "author": "A. Nurse"},
    "loan": {"decode": {"no": "turned down", "yes": "granted"}},
}


def test_what_columns_mean_goes_into_the_version(store, version, capsys):
    told = Registry().model("churn").new_version(
        fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST, dictionary=DICTIONARY
    )  # fmt: skip

    folder = Path(mlflow.artifacts.download_artifacts(told.uri))
    before = Path(mlflow.artifacts.download_artifacts(version.uri))
    schema = ModelSchema.read(folder / "mapper" / "schema.json")
    plain = ModelSchema.read(before / "mapper" / "schema.json")
    assert schema.to_dict() == {**plain.to_dict(), "dictionary": DICTIONARY}
    assert schema.digest == plain.digest
    assert "describes 1 of 4 columns" in capsys.readouterr().err
    (answer,) = Predictor(Bundle.load(folder / "artifacts" / "bundle")).explain(
        encode(X_TEST.head(1), schema), Parameters()
    )
    assert "income (SD)" in answer["rule"]["text"]
    assert answer["rule"]["text"].endswith(("THEN turned down", "THEN granted"))
    assert answer["prediction"] in ("no", "yes")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"height": "How tall"}, "dictionary, height: there is no such column"),
        ("columns.json", "columns.json, height: there is no such column"),
        ({"income": {"units": "€"}}, "dictionary, income.units: not known; did you mean 'unit'?"),
        ("/nowhere/columns.yaml", "Cannot read the dictionary /nowhere/columns.yaml: No such file"),
        (5, "Cannot read the dictionary 5: a path or a mapping expected"),
    ],
)
def test_a_wrong_dictionary_is_refused_before_anything_is_made(store, given, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("columns.json").write_text(json.dumps({"height": "How tall"}))
    before = len(Registry().model("churn").versions())
    with pytest.raises((DataError, InputError), match=re.escape(told)):
        Registry().model("churn").new_version(
            fitted(), X, Y, X_test=X_TEST, y_test=Y_TEST, dictionary=given
        )  # fmt: skip

    assert len(Registry().model("churn").versions()) == before
