"""The served model for files: each row of a request is a job of two presigned URLs, answered by a summary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from proto_model.errors import InputError
from proto_model.explanation import ExplainOptions, make_explainer
from proto_model.files.jobs import FileJob, run_jobs
from proto_model.files.options import FileOptions
from proto_model.files.scoring import Explain
from proto_model.files.summary import Summary
from proto_model.serving import ForestModel
from proto_model.transfer import FileSettings

__all__ = ["RandomForestFileModel", "file_signature"]

_URL_COLUMNS = ("input_url", "output_url")

_OUTPUT_TYPES = {
    **dict.fromkeys(("rows", "rejected_rows", "bytes_in", "bytes_out"), DataType.long),
    "seconds": DataType.double,
}


class RandomForestFileModel(PythonModel):  # type: ignore[misc]  # mlflow is not typed here
    """A forest that scores files behind presigned URLs.

    The environment variables `PROTO_MODEL_FILES_*` are read when the model is loaded.
    """

    def load_context(self, context: Any) -> None:
        """Load the forest, and read the settings of file scoring."""
        self._model = ForestModel.load(Path(context.artifacts["bundle"]))
        self._settings = FileSettings.from_environment(os.environ)
        self._explainers: dict[str, Any] = {}

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Summary of each job, in the order of the rows; a job that failed says why in its own row.

        Parameters
        ----------
        context : PythonModelContext
            Not used.
        model_input : DataFrame
            Columns `input_url`, `output_url` and, if the caller likes, `file_id`.
        params : dict, optional
            As in `file_signature`.

        Raises
        ------
        MlflowException
            With INVALID_PARAMETER_VALUE, if a column is missing or a parameter is wrong; nothing is done.
        """
        params = params or {}
        try:
            options = FileOptions.from_params(params)
            explain = self._explain(params) if options.explain else None
            jobs = _jobs(model_input)
        except InputError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        summaries = run_jobs(jobs, self._model, options, self._settings, explain=explain)
        rows = [summary.to_dict() for summary in summaries]
        return pd.DataFrame(rows, columns=Summary.columns(), dtype=object)

    def _explain(self, params: dict[str, Any]) -> Explain:
        """Explains rows as the parameters say."""
        model = self._model
        options = ExplainOptions.from_params(params)
        options.validate(model.schema)
        engine = str(params.get("engine") or "lore")
        if engine not in self._explainers:
            self._explainers[engine] = make_explainer(
                engine, model.schema, model.background, model.predict_proba
            )
        explainer = self._explainers[engine]
        return lambda matrix: explainer.explain(matrix, options)


def file_signature(explain_params: ParamSchema) -> ModelSignature:
    """Signature of the model for files.

    Parameters
    ----------
    explain_params : ParamSchema
        Parameters that it shares with the model for rows.
    """
    inputs = Schema(
        [
            *(ColSpec(DataType.string, name) for name in _URL_COLUMNS),
            ColSpec(DataType.string, "file_id", required=False),
        ]
    )
    outputs = Schema(
        [
            ColSpec(_OUTPUT_TYPES.get(name, DataType.string), name, required=False)
            for name in Summary.columns()
        ]
    )
    params = [
        *explain_params.params,
        ParamSpec("input_format", DataType.string, ""),
        ParamSpec("output_format", DataType.string, ""),
        ParamSpec("passthrough", DataType.string, [], (-1,)),
        ParamSpec("on_bad_row", DataType.string, "fail"),
    ]
    return ModelSignature(inputs, outputs, ParamSchema(params))


def _jobs(model_input: pd.DataFrame) -> list[FileJob]:
    missing = [name for name in _URL_COLUMNS if name not in model_input.columns]
    if missing:
        raise InputError(f"Columns missing: {missing}. A file job has an input_url and an output_url.")
    ids = model_input["file_id"] if "file_id" in model_input.columns else [None] * len(model_input)
    return [
        FileJob(input_url, output_url, None if pd.isna(file_id) else str(file_id))
        for input_url, output_url, file_id in zip(
            model_input["input_url"], model_input["output_url"], ids, strict=True
        )
    ]
