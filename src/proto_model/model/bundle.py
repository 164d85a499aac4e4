"""What a served model is made of: one folder of plain files, none of which is a pickle.

| file              | holds                                                             |
|-------------------|-------------------------------------------------------------------|
| `schema.json`     | features, target and classes                                      |
| `forest.npz`      | the compiled forest, which answers                                |
| `pipeline.skops`  | the fitted scikit-learn pipeline, for whoever wants to go on with it |
| `background.npz`  | a sample of the training rows, coded, for explanations            |
"""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["MAX_BACKGROUND_ROWS", "ForestModel", "background_rows", "write_bundle"]

MAX_BACKGROUND_ROWS = 2000

SCHEMA_FILE = "schema.json"
FOREST_FILE = "forest.npz"
PIPELINE_FILE = "pipeline.skops"
BACKGROUND_FILE = "background.npz"

# What skops does not trust by itself in our pipelines: the arrays of scikit-learn's trees.
TRUSTED_TYPES = ["sklearn.tree._tree.Tree"]


def write_bundle(
    folder: Path, pipeline: Pipeline, schema: ModelSchema, X_background: NDArray[np.float64]
) -> None:
    """Write the files of a served model.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    pipeline : Pipeline
        Fitted, with the steps of `proto_model.training`.
    schema : ModelSchema
        Of the table that the pipeline was fitted on.
    X_background : ndarray of shape (n_rows, n_features)
        Training rows as a coded matrix; of more than `MAX_BACKGROUND_ROWS`, evenly spread ones are kept.

    Raises
    ------
    ArtifactError
        If pipeline, schema and background do not belong together.
    """
    import skops.io

    from proto_model.training.pipeline import compiled_forest

    forest = pipeline[-1]
    if tuple(forest.classes_.tolist()) != schema.classes:
        raise ArtifactError(
            f"The pipeline's classes are {forest.classes_.tolist()}, the schema's {list(schema.classes)}. "
            "Write the schema of the table that the pipeline was fitted on."
        )
    n_features = len(schema.features)
    if X_background.ndim != 2 or X_background.shape[1] != n_features or len(X_background) == 0:
        raise ArtifactError(
            f"Background of shape {X_background.shape} given, [>0, {n_features}] expected: "
            "a sample of the coded training rows."
        )
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(folder / SCHEMA_FILE)
    compiled_forest(pipeline, schema).save(folder / FOREST_FILE)
    skops.io.dump(pipeline, folder / PIPELINE_FILE)
    np.savez_compressed(folder / BACKGROUND_FILE, rows=background_rows(X_background))


def background_rows(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `MAX_BACKGROUND_ROWS` of the rows, evenly spread."""
    kept = np.linspace(0, len(X) - 1, min(len(X), MAX_BACKGROUND_ROWS)).astype(np.int64)
    return X[kept]


class ForestModel:
    """A bundle that answers: class probabilities of coded rows, from several threads at once.

    Parameters
    ----------
    folder : Path
        As `write_bundle` left it.
    schema : ModelSchema
        Read from it.
    forest : CompiledForest
        Read from it.
    """

    def __init__(self, folder: Path, schema: ModelSchema, forest: CompiledForest) -> None:
        self.folder = folder
        self.schema = schema
        self.forest = forest
        self._background: NDArray[np.float64] | None = None
        self._pipeline: Pipeline | None = None
        self._loading = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> ForestModel:
        """Model of a bundle; background and pipeline are read when they are first asked for.

        Raises
        ------
        ArtifactError
            If a file is missing, damaged, or of another model than the others.
        """
        schema = ModelSchema.read(folder / SCHEMA_FILE)
        forest = CompiledForest.load(_existing(folder / FOREST_FILE))
        expected = (len(schema.features), len(schema.classes))
        if (forest.n_features, forest.n_classes) != expected:
            raise ArtifactError(
                f"{folder / FOREST_FILE}: {forest.n_features} features and {forest.n_classes} classes, "
                f"{expected[0]} and {expected[1]} in {SCHEMA_FILE}. Log the model again."
            )
        return cls(folder, schema, forest)

    def __reduce__(self) -> tuple[Callable[[Path], ForestModel], tuple[Path]]:
        """Pickled as the place of its bundle, which the other process reads."""
        return ForestModel.load, (self.folder.absolute(),)

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities, shape (n_rows, n_classes), of a coded matrix."""
        return self.forest.predict_proba(matrix)

    @property
    def background(self) -> NDArray[np.float64]:
        """Sample of the training rows as a coded matrix."""
        with self._loading:
            if self._background is None:
                path = _existing(self.folder / BACKGROUND_FILE)
                try:
                    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                        self._background = content["rows"]
                except (ValueError, KeyError, zipfile.BadZipFile) as error:
                    raise ArtifactError(f"{path} is damaged: {error}. Log the model again.") from error
            return self._background

    @property
    def pipeline(self) -> Pipeline:
        """The fitted scikit-learn pipeline; serving never needs it."""
        with self._loading:
            if self._pipeline is None:
                import skops.io

                path = _existing(self.folder / PIPELINE_FILE)
                self._pipeline = skops.io.load(path, trusted=TRUSTED_TYPES)
            return self._pipeline


def _existing(path: Path) -> Path:
    """The path, if there is a file."""
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Download the whole model, or log it again.")
    return path
