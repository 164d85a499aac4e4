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
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.forest.pipeline import compiled_forest
from proto_model.model.kinds import KINDS, Classification, Engine
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["MAX_BACKGROUND_ROWS", "SCHEMA_FILE", "Bundle", "background_rows", "write_bundle"]

MAX_BACKGROUND_ROWS = 2000

SCHEMA_FILE = "schema.json"
FOREST_FILE = Classification.ENGINE_FILE
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


class Bundle:
    """A bundle that was read; its engine may be called from several threads at once.

    Parameters
    ----------
    folder : Path
        As `write_bundle` left it.
    schema : ModelSchema
        Read from it.
    engine : Engine
        Read from it.
    """

    def __init__(self, folder: Path, schema: ModelSchema, engine: Engine) -> None:
        self.folder = folder
        self.schema = schema
        self.engine = engine
        self._background: NDArray[np.float64] | None = None
        self._loading = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Bundle of a folder; background and pipeline are read when they are asked for.

        Raises
        ------
        ArtifactError
            If a file is missing, damaged, or of another model than the others.
        """
        schema = ModelSchema.read(folder / SCHEMA_FILE)
        return cls(folder, schema, KINDS[schema.task].engine(folder, schema))

    def __reduce__(self) -> tuple[Callable[[Path], Bundle], tuple[Path]]:
        """Pickled as the place of its folder, which the other process reads."""
        return Bundle.load, (self.folder.absolute(),)

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities, shape (n_rows, n_classes), of a coded matrix."""
        return self.engine.predict_proba(matrix)

    @property
    def background(self) -> NDArray[np.float64]:
        """Sample of the training rows as a coded matrix; raises ArtifactError if it is not one."""
        with self._loading:
            if self._background is None:
                self._background = _read_background(self.folder / BACKGROUND_FILE, self.schema)
            return self._background

    @property
    def pipeline(self) -> Pipeline:
        """The fitted scikit-learn pipeline, read each time; serving never needs it."""
        import skops.io

        return skops.io.load(_existing(self.folder / PIPELINE_FILE), trusted=TRUSTED_TYPES)


def _read_background(path: Path, schema: ModelSchema) -> NDArray[np.float64]:
    _existing(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            rows: NDArray[np.float64] = content["rows"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path} is damaged: {error}. Log the model again.") from error
    fault = _fault(rows, schema)
    if fault:
        raise ArtifactError(f"{path} does not fit {SCHEMA_FILE}: {fault}. Log the model again.")
    return rows


def _fault(rows: NDArray[np.float64], schema: ModelSchema) -> str | None:
    """What is wrong with a background, or None."""
    n_features = len(schema.features)
    if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != n_features or not len(rows):
        return f"rows are {rows.dtype} of shape {rows.shape}, float64 of shape [>0, {n_features}] expected"
    if np.isinf(rows).any():
        return "not all numbers are finite"
    for position, feature in enumerate(schema.features):
        column = rows[:, position]
        if feature.categories is not None:
            n_categories = len(feature.categories)
            codes = column[~np.isnan(column)]  # an unseen category is NaN, as a missing one is
            if ((codes < 0) | (codes >= n_categories) | (codes != np.floor(codes))).any():
                return f"column {feature.name!r} has codes of none of its {n_categories} categories"
        elif not feature.nullable and np.isnan(column).any():
            return f"column {feature.name!r} has missing values, which the schema does not allow"
    return None


def _existing(path: Path) -> Path:
    """The path, if there is a file."""
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Download the whole model, or log it again.")
    return path
