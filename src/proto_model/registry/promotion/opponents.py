"""The two versions to compare, asked for labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME, Model
from numpy.typing import NDArray
from yaml import YAMLError

from proto_model.errors import ArtifactError, ProtoModelError
from proto_model.registry.model_folder import SOURCE
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.schema import Label, ModelSchema
from proto_model.sources.stored import NotAllowedError
from proto_model.table import encode

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from proto_model.model import Bundle

_BUNDLE = Path("artifacts", "bundle")
_URLS = {"input_url", "output_url"}


@dataclass(frozen=True)
class Contender:
    """A model version: its schema, if it has one, what its requests hold, and the labels of a frame's rows.

    The frame's columns come in any order. `predict_proba` is None of a model that gives labels only.
    """

    schema: ModelSchema | None
    takes: Literal["rows", "file"]
    predict: Callable[[pd.DataFrame], Sequence[Label]]
    predict_proba: Callable[[pd.DataFrame], NDArray[np.float64]] | None = None


def forest_probabilities(forest: Bundle, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Probabilities of the classes from a version that this project logged, shape (n_rows, n_classes)."""
    return forest.predict_proba(encode(frame, forest.schema))


def forest_labels(forest: Bundle, frame: pd.DataFrame) -> Sequence[Label]:
    """Labels from a version that this project logged: asked directly, so both signatures compare alike."""
    probabilities = forest.predict_proba(encode(frame, forest.schema))
    return [forest.schema.classes[index] for index in forest.decide(probabilities)]


def pyfunc_labels(model: PyFuncModel, frame: pd.DataFrame) -> Sequence[Label]:
    """Labels from any other model that MLflow can load, which gets the columns that its signature names.

    They are the column `prediction` of its answer, or the answer itself when it is one label per row.
    """
    signature = model.metadata.signature
    if signature is not None and signature.inputs is not None and signature.inputs.has_input_names():
        frame = frame[[name for name in signature.inputs.input_names() if name in frame.columns]]
    answer: Any = model.predict(frame)
    if isinstance(answer, pd.DataFrame):
        answer = answer["prediction"] if "prediction" in answer.columns else answer.iloc[:, 0]
    labels: list[Label] = np.asarray(answer).tolist()
    if np.ndim(labels) != 1 or len(labels) != len(frame):
        raise ComparisonError(f"One label per row expected, an answer of shape {np.shape(labels)} received.")
    return labels


def load_contender(name: str, version: str, folder: Path) -> Contender:
    """Model version from the registry, downloaded into a folder that is needed for as long as it predicts.

    An ArtifactError says that the artifact is gone, or that it is no model.
    """
    # Each of the two takes seconds to import, and a comparison rarely needs both.
    try:
        uri = f"models:/{name}/{version}"
        path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        if not path.exists() or not any(path.iterdir()):
            raise ArtifactError(f"{uri} has no files.")
        if (path / _BUNDLE / "schema.json").is_file():
            from proto_model.model import Bundle

            forest = Bundle.load(path / _BUNDLE)
            labels = functools.partial(forest_labels, forest)
            probabilities = functools.partial(forest_probabilities, forest)
            return Contender(forest.schema, _taken(path), labels, probabilities)
        from mlflow.pyfunc import load_model

        stored = path / SOURCE / "schema.json"
        schema = ModelSchema.read(stored) if stored.is_file() else None  # of a model source
        return Contender(schema, _taken(path), functools.partial(pyfunc_labels, load_model(str(path))))
    except (MlflowException, OSError, ImportError, ProtoModelError) as error:
        if isinstance(error.__cause__, NotAllowedError):
            raise NotAllowedError(f"Cannot load version {version} of {name!r}: {error.__cause__}") from error
        raise ArtifactError(
            f"Cannot load version {version} of {name!r}: {_first_line(error)} If its artifact was moved or "
            "deleted, restore it, or point the alias at another version."
        ) from error


def _taken(folder: Path) -> Literal["rows", "file"]:
    """What a model's requests hold, by its signature: tags and names can be edited."""
    if not (folder / MLMODEL_FILE_NAME).is_file():
        return "rows"
    try:
        inputs = Model.load(folder).get_input_schema()  # type: ignore[no-untyped-call]  # mlflow is half typed
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:  # whatever is in the file
        raise ArtifactError(f"Its {MLMODEL_FILE_NAME} is damaged.") from error
    return "file" if inputs is not None and _URLS <= set(inputs.input_names()) else "rows"


def _first_line(error: Exception) -> str:
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return text if text.endswith(".") else f"{text}."
