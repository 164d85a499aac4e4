"""The served models for rows: thin `mlflow.pyfunc.PythonModel`s over the predictor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from proto_model.errors import ExplanationError, InputError, ProtoModelError
from proto_model.model import Bundle, Predictor
from proto_model.model.rows import coded_rows
from proto_model.parameters import EXPLAINER, FILE, ROWS, Parameters, Signature, parameters_of
from proto_model.serving.mlflow.columns import leave_rows_unchecked

Params = dict[str, Any] | None


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


class MLPythonModel(PythonModel):
    """What MLflow hosts of a version: it reads the bundle and answers `predict`, and knows no application."""

    _signature: Signature = ROWS
    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Read schema and forest; nothing is unpickled."""
        if self._signature != FILE:
            leave_rows_unchecked()
        self.use(Bundle.load(Path(context.artifacts["bundle"])))

    def use(self, bundle: Bundle) -> None:
        """Answer by a bundle that is read already."""
        self.predictor = Predictor(bundle, self._signature)


class RandomForestExplainer(MLPythonModel):
    """Rows in, label, its probability and the explanation out."""

    _signature = EXPLAINER

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(options or {})

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: Params = None
    ) -> pd.DataFrame:
        """Answer with a row per row; the options hold where `params` give none.

        Raises a RequestError that names all faults of rows and parameters.
        """
        with _errors_for_mlflow():
            matrix = coded_rows(model_input, self.predictor.schema)
            given = {name: value for name, value in (params or {}).items() if value is not None}
            return self.predictor.answer(matrix, self.predictor.parameters(self._options | given)).frame()


class RandomForestWrapperModel(MLPythonModel):
    """Rows in, predictions out; with `explain` their explanations, too, from the explainer.

    The explainer is a `RandomForestExplainer` of the same forest until `set_explainer` puts another in its
    place: anything whose `predict` gives a data frame with a column `explanation`.
    """

    def __init__(self) -> None:
        self._explainer: ExplainingModel = RandomForestExplainer()

    def load_context(self, context: PythonModelContext) -> None:
        """Read schema and forest, and load the explainer."""
        super().load_context(context)
        if not isinstance(self._explainer, RandomForestExplainer) and isinstance(
            self._explainer, PythonModel
        ):
            self._explainer.load_context(context)  # type: ignore[no-untyped-call]  # MLflow's

    def use(self, bundle: Bundle) -> None:
        """Answer, and by default explain, by a bundle that is read already."""
        super().use(bundle)
        if isinstance(self._explainer, RandomForestExplainer):
            self._explainer.use(bundle)

    def get_explainer(self, **kwargs: Any) -> ExplainingModel:
        """The model that explains this one.

        Keywords are parameters of explanations for requests that give none; only the default explainer takes
        them. Raises InputError if one is not known or has a wrong value.
        """
        if not kwargs:
            return self._explainer
        if not isinstance(self._explainer, RandomForestExplainer):
            raise InputError(
                f"{type(self._explainer).__name__} takes no options; give them with each request."
            )
        known = [parameter.name for parameter in parameters_of(EXPLAINER)]
        if unknown := kwargs.keys() - known:
            raise InputError(f"no parameter {', '.join(sorted(unknown))}; known: {', '.join(known)}.")
        bundle = self.predictor.bundle
        Parameters.from_params(kwargs, bundle.schema, EXPLAINER)
        explainer = RandomForestExplainer(kwargs)
        explainer.use(bundle)
        return explainer

    def set_explainer(self, explainer: ExplainingModel) -> None:
        """Explain by another model from now on.

        One that is set before this model is loaded is loaded with it; later, it has to be ready.
        """
        self._explainer = explainer

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Params = None
    ) -> pd.DataFrame:
        """Answer with a row per row, as `proto_model.model.answer_fields` lists its columns.

        Raises a RequestError that names all faults of rows and parameters.
        """
        with _errors_for_mlflow():
            matrix = coded_rows(model_input, self.predictor.schema)
            parameters = self.predictor.parameters(params)
            if not parameters.explain:
                return self.predictor.answer(matrix, parameters).frame()
            explained = self._explainer.predict(context, model_input, params)
            if "explanation" not in explained or len(explained) != len(matrix):
                name = type(self._explainer).__name__
                raise ExplanationError(f"{name}, which explains this model, gave no explanation of each row.")
            explanations = explained["explanation"].tolist()
            probabilities = self.predictor.predict_proba(matrix)
            return self.predictor.answered(probabilities, parameters, explanations).frame()


class ExplainingModel(Protocol):
    """A model whose answers explain; it takes rows, as the model that it explains."""

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Params) -> pd.DataFrame:
        """A row per row, with a column `explanation`."""


@contextmanager
def _errors_for_mlflow() -> Iterator[None]:
    try:
        yield
    except ProtoModelError as error:
        raise as_mlflow_error(error) from error
