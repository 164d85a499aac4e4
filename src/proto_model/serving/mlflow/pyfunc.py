"""The served models for rows: thin `mlflow.pyfunc.PythonModel`s over the predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from proto_model.errors import InputError, ProtoModelError
from proto_model.model import Bundle, Predictor
from proto_model.model.rows import coded_rows
from proto_model.parameters import EXPLAINER, FILE, ROWS, Signature
from proto_model.serving.mlflow.columns import leave_rows_unchecked


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


class RandomForestWrapperModel(PythonModel):
    """Rows in, predictions out; with `explain` their explanations, too."""

    _signature: Signature = ROWS

    def load_context(self, context: PythonModelContext) -> None:
        """Read schema and forest; nothing is unpickled."""
        if self._signature != FILE:
            leave_rows_unchecked()
        self.predictor = Predictor(Bundle.load(Path(context.artifacts["bundle"])), self._signature)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer with a row per row, as `proto_model.model.answer_fields` lists its columns.

        Raises a RequestError that names all faults of rows and parameters.
        """
        try:
            matrix = coded_rows(model_input, self.predictor.schema)
            return self.predictor.answer(matrix, self.predictor.parameters(params)).frame()
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error


class RandomForestExplainer(RandomForestWrapperModel):
    """Rows in, label, its probability and the explanation out."""

    _signature = EXPLAINER
