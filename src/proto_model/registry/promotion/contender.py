"""A model version that can be asked for labels, whatever its signature: rows or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from proto_model.errors import ArtifactError, ProtoModelError
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.schema import Label, ModelSchema
from proto_model.table import encode

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from proto_model.model import Bundle

__all__ = ["Contender", "load_contender"]

_BUNDLE = Path("artifacts", "bundle")


class Contender(Protocol):
    """What the comparison needs of a model version."""

    schema: ModelSchema | None

    def predict(self, frame: pd.DataFrame) -> Sequence[Label]:
        """Label of each row of a frame that holds the features, in any order."""
        ...


class ForestContender:
    """A version that this project logged: its forest is asked directly, so both signatures compare alike."""

    def __init__(self, forest: Bundle) -> None:
        self._forest = forest
        self.schema: ModelSchema | None = forest.schema

    def predict(self, frame: pd.DataFrame) -> Sequence[Label]:
        """Most probable class of each row."""
        schema = self._forest.schema
        probabilities = self._forest.predict_proba(encode(frame, schema))
        return [schema.classes[index] for index in np.argmax(probabilities, axis=1)]


class PyfuncContender:
    """Any other model that MLflow can load: it gets the columns that its signature names."""

    schema: ModelSchema | None = None

    def __init__(self, model: PyFuncModel) -> None:
        self._model = model

    def predict(self, frame: pd.DataFrame) -> Sequence[Label]:
        """Column `prediction` of the model's answer, or the answer itself when it is one label per row."""
        signature = self._model.metadata.signature
        if signature is not None and signature.inputs is not None and signature.inputs.has_input_names():
            frame = frame[[name for name in signature.inputs.input_names() if name in frame.columns]]
        answer: Any = self._model.predict(frame)
        if isinstance(answer, pd.DataFrame):
            answer = answer["prediction"] if "prediction" in answer.columns else answer.iloc[:, 0]
        labels: list[Label] = np.asarray(answer).tolist()
        if np.ndim(labels) != 1 or len(labels) != len(frame):
            raise ComparisonError(
                f"One label per row expected, an answer of shape {np.shape(labels)} received."
            )
        return labels


def load_contender(name: str, version: str, folder: Path) -> Contender:
    """Model version from the registry, ready to predict.

    Parameters
    ----------
    name, version : str
        Of the registered model.
    folder : Path
        Existing folder that the artifact is downloaded into; needed for as long as the contender is used.

    Returns
    -------
    Contender

    Raises
    ------
    ArtifactError
        If the artifact is gone, or what is there is no model.
    """
    # Each of the two takes seconds to import, and a comparison rarely needs both.
    try:
        path = Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{name}/{version}", dst_path=str(folder)
            )
        )
        if not path.exists() or not any(path.iterdir()):
            raise ArtifactError(f"models:/{name}/{version} holds no file.")
        if (path / _BUNDLE / "schema.json").is_file():
            from proto_model.model import Bundle

            return ForestContender(Bundle.load(path / _BUNDLE))
        from mlflow.pyfunc import load_model

        return PyfuncContender(load_model(str(path)))
    except (MlflowException, OSError, ImportError, ProtoModelError) as error:
        raise ArtifactError(
            f"Version {version} of {name!r} cannot be loaded: {_first_line(error)} Its artifact may have "
            "been moved or deleted; restore it, or give the alias to a version that is whole."
        ) from error


def _first_line(error: Exception) -> str:
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return text if text.endswith(".") else f"{text}."
