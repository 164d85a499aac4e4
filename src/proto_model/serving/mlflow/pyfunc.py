"""The served models: thin `mlflow.pyfunc.PythonModel`s over bundle, request, answer and explanation."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from proto_model.errors import InputError, ProtoModelError
from proto_model.explanation import Explainer, ExplainOptions, make_explainer
from proto_model.model.answer import answer_frame
from proto_model.model.bundle import ForestModel
from proto_model.model.rows import coded_rows

__all__ = ["RandomForestExplainer", "RandomForestWrapperModel", "RequestError", "as_mlflow_error"]

BUNDLE = "bundle"
DEFAULT_ENGINE = "lore"


class RequestError(MlflowException):
    """A request was refused.

    MLflow's scoring server assigns `message` again to put the whole data before it; the request's data has no
    place in an answer or a log, so the first message stays.
    """

    @property
    def message(self) -> str:
        """What was wrong, where, and what to do."""
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        if not hasattr(self, "_message"):
            self._message = text


def as_mlflow_error(error: ProtoModelError) -> RequestError:
    """Error that MLflow's servers answer with 400 for the sender's faults, 500 for ours."""
    code = INVALID_PARAMETER_VALUE if isinstance(error, InputError) else INTERNAL_ERROR
    return RequestError(str(error), error_code=code)


class _BundleModel(PythonModel):
    """What both served models share: the bundle, and an explainer per engine, made when first asked for."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read schema and forest; nothing is unpickled."""
        self.model = ForestModel.load(Path(context.artifacts[BUNDLE]))
        self._explainers: dict[str, Explainer] = {}
        self._making = threading.Lock()

    def explain(self, matrix: NDArray[np.float64], params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Explanations of coded rows."""
        options = ExplainOptions.from_params(params)
        options.validate(self.model.schema)
        return self.explainer(params).explain(matrix, options)

    def explainer(self, params: Mapping[str, Any]) -> Explainer:
        """The explainer that the parameters ask for."""
        engine = params.get("engine") or DEFAULT_ENGINE
        with self._making:
            if engine not in self._explainers:
                self._explainers[engine] = make_explainer(
                    engine, self.model.schema, self.model.background, self.model.predict_proba
                )
            return self._explainers[engine]


class RandomForestWrapperModel(_BundleModel):
    """Rows in, predictions out; with `explain` their explanations, too."""

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Label, its probability and every class's, per row.

        Raises
        ------
        RequestError
            If rows or parameters are wrong; names all faults.
        """
        params = params or {}
        try:
            matrix = coded_rows(model_input, self.model.schema)
            explanations = self.explain(matrix, params) if params.get("explain") else None
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error
        return answer_frame(self.model.predict_proba(matrix), self.model.schema, explanations)


class RandomForestExplainer(_BundleModel):
    """Rows in, explanations out."""

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Label, its probability and the explanation, per row.

        Raises
        ------
        RequestError
            If rows or parameters are wrong; names all faults.
        """
        try:
            matrix = coded_rows(model_input, self.model.schema)
            explanations = self.explain(matrix, params or {})
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error
        frame = answer_frame(self.model.predict_proba(matrix), self.model.schema, explanations)
        return frame[["prediction", "probability", "explanation"]]
