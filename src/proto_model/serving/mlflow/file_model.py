"""The served model for files: each row of a request is a job of two presigned URLs, answered by a summary."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModelContext  # type: ignore[attr-defined]  # exported, but not in __all__

from proto_model.errors import ProtoModelError
from proto_model.files import Summary, run_jobs
from proto_model.files.transfer import FileSettings
from proto_model.parameters import FILE
from proto_model.serving.http.file_payload import COLUMNS, JobReader
from proto_model.serving.mlflow.pyfunc import MLPythonModel, as_mlflow_error


class RandomForestFileModel(MLPythonModel):
    """A forest that scores files behind presigned URLs.

    The environment variables `PROTO_MODEL_FILES_*` are read when the model is loaded.
    """

    _signature = FILE

    def load_context(self, context: PythonModelContext) -> None:
        """Read schema, forest, and the settings of file scoring."""
        super().load_context(context)
        self._settings = FileSettings.from_environment(os.environ)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Summary of each job, in the order of the rows; a job that failed says why in its own row.

        The columns are `input_url`, `output_url` and, if the caller likes, `file_id`. Raises a RequestError
        and does nothing if a column is missing or a parameter is wrong.
        """
        try:
            parameters = self.predictor.parameters(params)
            columns = {name: _values(model_input[name]) for name in COLUMNS if name in model_input}
            jobs = JobReader().columns(columns)
            with self.predictor.explaining(parameters, self._settings.workers) as explain:
                summaries = run_jobs(jobs, self.predictor, parameters, self._settings, explain=explain)
        except ProtoModelError as error:
            raise as_mlflow_error(error) from error
        rows = [summary.to_dict() for summary in summaries]
        return pd.DataFrame(rows, columns=Summary.columns(), dtype=object)


def _values(column: pd.Series[Any]) -> list[Any]:
    """Values of a column; MLflow's format `inputs` gives one row that holds lists."""
    values = column.tolist()
    return list(values[0]) if len(values) == 1 and isinstance(values[0], list | np.ndarray) else values
