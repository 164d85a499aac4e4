"""What a served model is made of: one folder of plain files, none of which is a pickle.

| file              | holds                                                             |
|-------------------|-------------------------------------------------------------------|
| `schema.json`     | features, target and classes                                      |
| `forest.npz`      | the compiled forest, which answers                                |
| `expansion.npz`   | how the forest's columns come from coded ones, unless they are the same |
| `pipeline.skops`  | the fitted scikit-learn pipeline, for whoever wants to go on with it |
| `background.npz`  | coded rows for explanations: synthetic ones, or training rows     |
| `decision.json`   | calibration, costs and prediction sets, if the version has any: `model.decision` |
| `bundle.json`     | the SHA-256 of all others: `model.digests`                        |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from proto_model.dates import FIRST, LAST
from proto_model.errors import ArtifactError
from proto_model.forest.expansion import EXPANSION_FILE
from proto_model.model.archive import settle_skops
from proto_model.model.decision import DECISION_FILE, PLAIN, Decision
from proto_model.model.digests import check_digests, write_digests
from proto_model.model.kinds import FOREST_FILE, KINDS, Engine, Prepared
from proto_model.npz import read_arrays
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MAX_BACKGROUND_ROWS = 2000

BackgroundKind = Literal["synthetic", "rows"]
BACKGROUND_KINDS: tuple[BackgroundKind, ...] = get_args(BackgroundKind)
"""What explanations compare a row with: rows that are nobody's, or a sample of the training rows."""

SCHEMA_FILE = "schema.json"
PIPELINE_FILE = "pipeline.skops"
BACKGROUND_FILE = "background.npz"

_HEADER_BYTES = 16_384  # of an array's file, at most
_LARGEST = float(np.finfo(np.float32).max)  # of a number in a request, too

# What skops does not trust by itself in our pipelines: the arrays of scikit-learn's trees, and our encoder.
TRUSTED_TYPES = ["sklearn.tree._tree.Tree", "proto_model.training.encoding.ExpandingEncoder"]


def write_bundle(
    folder: Path,
    pipeline: Pipeline,
    schema: ModelSchema,
    X_background: NDArray[np.float64],
    background_kind: BackgroundKind = "rows",
    decision: Decision = PLAIN,
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
        Coded rows for explanations; of more than `MAX_BACKGROUND_ROWS`, evenly spread ones are kept.
    background_kind : {"rows", "synthetic"}
        Whether they are training rows.
    decision : Decision
        From the forest's probabilities to answers; by default they are the answers.

    Raises
    ------
    ArtifactError
        If pipeline, schema and background do not belong together.
    """
    import skops.io

    fault = _fault(X_background, schema)
    if fault:
        raise ArtifactError(f"The background does not fit the schema: {fault}.")
    folder.mkdir(parents=True, exist_ok=True)
    KINDS[schema.task].save(pipeline, schema, folder)
    schema.with_threshold(decision.threshold(len(schema.classes))).write(folder / SCHEMA_FILE)
    decision.write(folder)
    skops.io.dump(pipeline, folder / PIPELINE_FILE)
    settle_skops(folder / PIPELINE_FILE)
    np.savez_compressed(folder / BACKGROUND_FILE, rows=background_rows(X_background), kind=background_kind)
    write_digests(folder)


def background_rows(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `MAX_BACKGROUND_ROWS` of the rows, evenly spread."""
    kept = np.linspace(0, len(X) - 1, min(len(X), MAX_BACKGROUND_ROWS)).astype(np.int64)
    return X[kept]


class Bundle:
    """A folder that `write_bundle` left and `load` read; its engine may be called from several threads."""

    def __init__(
        self,
        folder: Path,
        schema: ModelSchema,
        engine: Engine,
        decision: Decision = PLAIN,
        digest: str = "",
    ) -> None:
        self.folder = folder
        self.digest = digest  # over all files; none in versions up to 0.3.0
        self.schema = schema
        self.engine = engine
        self.decision = decision
        self._background: tuple[NDArray[np.float64], BackgroundKind] | None = None
        self._loading = threading.Lock()

    @classmethod
    def load(cls, folder: Path, prepared: Prepared | None = None) -> Bundle:
        """Bundle of a folder; background and pipeline are read when they are asked for.

        `prepared` is this bundle's engine, from `Engine.prepare`. Raises ArtifactError if a file is missing,
        damaged, or of another model than the others.
        """
        served = [SCHEMA_FILE, EXPANSION_FILE, DECISION_FILE, BACKGROUND_FILE]
        digest = check_digests(folder, served if prepared else [FOREST_FILE, *served])
        schema = ModelSchema.read(folder / SCHEMA_FILE)
        engine = KINDS[schema.task].engine(folder, schema, prepared)
        return cls(folder, schema, engine, Decision.read(folder, len(schema.classes)), digest)

    def __reduce__(self) -> tuple[Callable[[Path], Bundle], tuple[Path]]:
        """Pickled as the place of its folder, which the other process reads."""
        return Bundle.load, (self.folder.absolute(),)

    def predict_proba(self, matrix: NDArray[np.float64], n_threads: int | None = None) -> NDArray[np.float64]:
        """Calibrated class probabilities, shape (n_rows, n_classes), of a coded matrix.

        `engine.predict_proba` gives the forest's own.
        """
        return self.decision.calibrated(self.engine.predict_proba(matrix, n_threads))

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Position of the predicted class of each row, from what `predict_proba` gives."""
        return self.decision.decide(probabilities)

    def decision_scores(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares of the classes, the predicted one's the largest: what explanations of costs ask."""
        return self.decision.scores(self.predict_proba(matrix))

    @property
    def n_bytes(self) -> int:
        """Memory that the arrays take; the background counts once it was asked for."""
        return self.engine.nbytes + (0 if self._background is None else self._background[0].nbytes)

    @property
    def background(self) -> NDArray[np.float64]:
        """Coded rows for explanations; raises ArtifactError if they do not fit the schema."""
        return self._stored_background()[0]

    @property
    def background_kind(self) -> BackgroundKind:
        """Whether the background's rows are synthetic or training rows."""
        return self._stored_background()[1]

    def _stored_background(self) -> tuple[NDArray[np.float64], BackgroundKind]:
        with self._loading:
            if self._background is None:
                self._background = _read_background(self.folder / BACKGROUND_FILE, self.schema)
            return self._background

    @property
    def pipeline(self) -> Pipeline:
        """The fitted scikit-learn pipeline, read each time; serving never needs it."""
        import skops.io

        check_digests(self.folder, [PIPELINE_FILE])
        return skops.io.load(self.folder / PIPELINE_FILE, trusted=TRUSTED_TYPES)


def _read_background(path: Path, schema: ModelSchema) -> tuple[NDArray[np.float64], BackgroundKind]:
    most = MAX_BACKGROUND_ROWS * len(schema.features) * np.dtype(np.float64).itemsize + _HEADER_BYTES
    arrays = read_arrays(path, "a background", ["rows"], ["kind"], most_unpacked=most)
    rows = arrays["rows"]
    named = str(arrays.get("kind", "rows"))  # up to 0.2.0, they all were
    fault = _fault(rows, schema)
    if fault:
        raise ArtifactError(f"{path} does not fit {SCHEMA_FILE}: {fault}. Log the model again.")
    for kind in BACKGROUND_KINDS:
        if kind == named:
            return rows, kind
    raise ArtifactError(
        f"{path} has a background of the kind {named!r}, one of {', '.join(BACKGROUND_KINDS)} expected. "
        "Use the release of this package that wrote the model."
    )


def _code_fault(column: NDArray[np.float64], feature: Feature) -> str | None:
    """What is wrong with codes of a date, a text or a truth value, or None."""
    known = column[~np.isnan(column)]
    low, high = 0.0, 2.0 ** len(feature.terms or ()) - 1
    if feature.type == "boolean":
        high = 1.0
    if feature.type in DATE_TYPES:
        low, high = FIRST // SECONDS_OF[feature.type], LAST // SECONDS_OF[feature.type]
    if ((known < low) | (known > high) | (known != np.floor(known))).any():
        return f"column {feature.name!r} has codes of no {feature.type}"
    return None


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
        elif feature.type in ("double", "long"):
            if (np.abs(column) > _LARGEST).any():
                return f"column {feature.name!r} has numbers beyond {_LARGEST:.3g}"
            if feature.type == "long" and (np.floor(column) < column).any():
                return f"column {feature.name!r} has numbers that are not whole"
        elif fault := _code_fault(column, feature):
            return fault
    return None
