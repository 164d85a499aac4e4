from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel
from sklearn.pipeline import Pipeline

from proto_model.errors import InputError
from proto_model.model import Bundle, write_bundle
from proto_model.registry.logged_model import save_model
from proto_model.registry.signature import rows_signature
from proto_model.serving.mlflow.pyfunc import (
    MLPythonModel,
    RandomForestExplainer,
    RandomForestWrapperModel,
)
from proto_model.table import TrainingData, encode


class Because(PythonModel):  # type: ignore[misc]  # MLflow's classes are untyped
    """An explainer that knows one reason."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        reason = (params or {}).get("effort", "fast")
        return pd.DataFrame({"explanation": [{"because": reason}] * len(model_input)})


@pytest.fixture
def model(forest_model: Bundle) -> RandomForestWrapperModel:
    made = RandomForestWrapperModel()
    made.use(forest_model)
    return made


def test_what_mlflow_hosts_has_the_published_names_and_explains_by_default(
    model: RandomForestWrapperModel, forest_model: Bundle
) -> None:
    assert issubclass(RandomForestWrapperModel, MLPythonModel)
    assert issubclass(RandomForestExplainer, MLPythonModel)
    assert issubclass(MLPythonModel, PythonModel)

    assert isinstance(RandomForestWrapperModel().get_explainer(), RandomForestExplainer)
    assert model.get_explainer().predictor.bundle is forest_model  # read once


def test_a_models_explanations_are_those_of_its_explainer(
    model: RandomForestWrapperModel, mixed_data: TrainingData
) -> None:
    rows = mixed_data.X_test.head(2)

    answer = model.predict(None, rows, {"explain": True, "max_counterfactuals": 1})

    explained = model.get_explainer(max_counterfactuals=1).predict(None, rows)
    assert list(explained) == ["prediction", "probability", "explanation"]
    assert answer["explanation"].tolist() == explained["explanation"].tolist()
    assert len(explained["explanation"][0]["counterfactuals"]) <= 1
    pd.testing.assert_frame_equal(answer.drop(columns="explanation"), model.predict(None, rows))


def test_another_explainer_takes_over_and_gets_the_parameters(
    model: RandomForestWrapperModel, mixed_data: TrainingData
) -> None:
    explainer = Because()
    model.set_explainer(explainer)

    answer = model.predict(None, mixed_data.X_test.head(3), {"explain": True, "effort": "thorough"})

    assert model.get_explainer() is explainer
    assert answer["explanation"].tolist() == [{"because": "thorough"}] * 3
    assert "explanation" not in model.predict(None, mixed_data.X_test.head(3))


def test_options_of_an_explainer_are_checked_and_yield_to_those_of_a_request(
    model: RandomForestWrapperModel, mixed_data: TrainingData
) -> None:
    with pytest.raises(InputError, match="no parameter depth; known: engine, effort"):
        model.get_explainer(depth=3)
    with pytest.raises(InputError, match="one of fast, thorough expected"):
        model.get_explainer(effort="huge")

    explainer = model.get_explainer(max_counterfactuals=0)
    rows = mixed_data.X_test.head(1)
    assert explainer.predict(None, rows)["explanation"][0]["counterfactuals"] == []
    assert explainer.predict(None, rows, {"max_counterfactuals": 1})["explanation"][0]["counterfactuals"]
    model.set_explainer(Because())
    with pytest.raises(InputError, match="Because takes no options"):
        model.get_explainer(effort="fast")


def test_an_explainer_that_leaves_rows_out_is_the_servers_fault(
    model: RandomForestWrapperModel, mixed_data: TrainingData
) -> None:
    class Silent(Because):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            return pd.DataFrame({"explanation": []})

    model.set_explainer(Silent())

    with pytest.raises(
        MlflowException, match="Silent, which explains this model, gave no explanation"
    ) as told:
        model.predict(None, mixed_data.X_test.head(1), {"explain": True})
    assert told.value.error_code == "INTERNAL_ERROR"


@pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Add type hints to the `predict` method:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_a_logged_model_may_bring_an_explainer_of_its_own(
    tmp_path: Path, mixed_pipeline: Pipeline, mixed_data: TrainingData
) -> None:
    code = tmp_path / "explained.py"
    code.write_text(
        """
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from proto_model.serving.mlflow.pyfunc import RandomForestWrapperModel


class Because(PythonModel):
    def load_context(self, context):
        self.places = sorted(context.artifacts)

    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"explanation": [{"loaded": self.places}] * len(model_input)})


model = RandomForestWrapperModel()
model.set_explainer(Because())
set_model(model)
"""
    )
    write_bundle(
        tmp_path / "bundle", mixed_pipeline, mixed_data.schema, encode(mixed_data.X_train, mixed_data.schema)
    )
    save_model(
        tmp_path / "model",
        bundle=tmp_path / "bundle",
        code=code,
        signature=rows_signature(mixed_data.schema),
    )

    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    answer = loaded.predict(mixed_data.X_test.head(2), params={"explain": True})
    assert answer["explanation"].tolist() == [{"loaded": ["bundle"]}] * 2
