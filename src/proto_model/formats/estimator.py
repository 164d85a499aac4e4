"""A version as a scikit-learn classifier: its pipeline, and what it makes of the forest's probabilities."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from proto_model.formats.rows import Rows
from proto_model.formats.source import Source
from proto_model.formats.verdict import Answers
from proto_model.model.archive import settle_skops
from proto_model.model.bundle import TRUSTED_TYPES
from proto_model.model.decision import Calibration, Decision

TRUSTED = [*TRUSTED_TYPES, "proto_model.formats.estimator.DecidedClassifier"]
"""What skops has to be told to trust, to load a version."""


class DecidedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted pipeline with the calibration and the costs of a version.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    calibration : dict or None
        `method`, and the tables `x` and `y` of `proto_model.model.decision.Calibration`.
    costs : ndarray or None
        A row per true class, a column per predicted one.
    """

    def __init__(self, pipeline: Any, calibration: dict[str, Any] | None = None, costs: Any = None) -> None:
        self.pipeline = pipeline
        self.calibration = calibration
        self.costs = costs

    def __sklearn_is_fitted__(self) -> bool:
        """It is made of a fitted pipeline."""
        return True

    @property
    def classes_(self) -> NDArray[Any]:
        """Class labels, in the order of the probabilities."""
        return np.asarray(self.pipeline.classes_)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probability of each class."""
        return self._decision.calibrated(np.asarray(self.pipeline.predict_proba(X)))

    def predict(self, X: Any) -> NDArray[Any]:
        """Label of least expected cost."""
        return np.asarray(self.classes_[self._decision.decide(self.predict_proba(X))])

    @property
    def _decision(self) -> Decision:
        found = None
        if self.calibration is not None:
            x, y = (tuple(map(np.asarray, self.calibration[name])) for name in ("x", "y"))
            found = Calibration(self.calibration["method"], x, y)
        return Decision(found, None if self.costs is None else np.asarray(self.costs))


def estimator(source: Source) -> Any:
    """The version's pipeline, or a classifier around it where it does not answer what its forest does."""
    decision, pipeline = source.decision, source.bundle.pipeline
    if decision.calibration is None and decision.costs is None:
        return pipeline
    tables = None
    if decision.calibration is not None:
        x, y = map(list, (decision.calibration.x, decision.calibration.y))
        tables = {"method": decision.calibration.method, "x": x, "y": y}
    return DecidedClassifier(pipeline, tables, decision.costs)


def write_skops(source: Source) -> bytes:
    """The estimator without pickle."""
    import skops.io

    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        path = Path(folder, "model.skops")
        skops.io.dump(estimator(source), path)
        settle_skops(path)
        return path.read_bytes()


def write_pickle(source: Source) -> bytes:
    """The estimator as a pickle, which can run any code where it is loaded."""
    return pickle.dumps(estimator(source))


def run_skops(content: bytes, source: Source, rows: Rows) -> Answers:
    """Answers of what skops reads back."""
    import skops.io

    return run_estimator(skops.io.loads(content, trusted=TRUSTED), source, rows)


def run_pickle(content: bytes, source: Source, rows: Rows) -> Answers:
    """Answers of a pickle that this process has just made."""
    return run_estimator(pickle.loads(content), source, rows)


def run_estimator(found: Any, source: Source, rows: Rows) -> Answers:
    """Answers of a scikit-learn classifier to rows in a data frame."""
    data = frame(rows)
    position = {label: place for place, label in enumerate(source.schema.classes)}
    labels = [position[label] for label in np.asarray(found.predict(data)).tolist()]
    return np.array(labels, dtype=np.int64), np.asarray(found.predict_proba(data))


def frame(rows: Rows) -> pd.DataFrame:
    """Rows as a table has them."""
    return pd.DataFrame({feature.name: pd.Series(values) for feature, values in rows.columns()})
