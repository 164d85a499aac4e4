"""The model of a package, as Python uses it; it takes numpy and llvmlite, and nothing else."""

from __future__ import annotations

import platform
import re
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.example import differences
from proto_model.deployment.package.layout import EXAMPLE, MODEL_BUNDLE, REQUIREMENTS
from proto_model.errors import InputError, counted, listed
from proto_model.model import Bundle, Predictor, coded_rows
from proto_model.parameters import EXPLAINER, parameters_of

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")
_WHEEL = re.compile(r".*/(?P<name>[A-Za-z0-9_]+)-(?P<version>[^-/]+)-[^/]*\.whl")
_MAX_SHOWN = 5


class PackagedModel:
    """A model that predicts and explains.

    Rows are a pandas data frame, a dict of columns, a list of dicts, or, where all columns take numbers, an
    array. Columns come in any order, and further ones are ignored. An InputError names every value that the
    model does not take.

    Attributes
    ----------
    classes_ : ndarray
        Labels, in the order of the columns of `predict_proba`.
    feature_names_in_ : ndarray
        Columns that the model takes.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._predictor = Predictor(bundle)
        fields = self._predictor.fields(self._predictor.parameters(None))
        self._label = next(field for field in fields if field.labels is not None)
        self.classes_ = self._label.label_array.copy()
        self.feature_names_in_ = np.array(bundle.schema.feature_names, dtype=object)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Label of each row: the class that the version decides for, not always the most probable one."""
        return self._label.column(self._predictor.answer(self._coded(rows)))

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probability of each class, shape (n_rows, n_classes)."""
        return self._predictor.predict_proba(self._coded(rows))

    def explain(self, rows: Any, **parameters: Any) -> list[dict[str, Any]]:
        """Rule and counterfactuals of each row.

        Keywords are those of a request for explanations, such as `max_counterfactuals=1` or
        `immutable_features=["age"]`. Raises InputError if one is not known or has a wrong value.
        """
        known = [one.name for one in parameters_of(EXPLAINER)]
        unknown = sorted(parameters.keys() - set(known))
        if unknown:
            raise InputError(f"explain takes no {listed(unknown)}. It takes {listed(known)}.")
        asked = self._predictor.parameters({**parameters, "explain": True})
        return self._predictor.explain(self._coded(rows), asked)

    def _coded(self, rows: Any) -> NDArray[np.float64]:
        return coded_rows(rows, self._predictor.schema)


def load_package(folder: Path) -> PackagedModel:
    """Model of a package's folder; a warning lists installed versions that are not those it was made with.

    Raises ArtifactError if a file of the model is missing, damaged, or of another model.
    """
    differing = other_versions(folder)
    if differing:
        text = f"Installed versions are not those that this package was made with: {', '.join(differing)}."
        warnings.warn(text, UserWarning, stacklevel=3)
    return PackagedModel(Bundle.load(folder / MODEL_BUNDLE))


def other_versions(folder: Path) -> list[str]:
    """Installed distributions of another version than the package lists; nothing of what is missing."""
    found = []
    for name, made_with in pins(folder):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed != made_with:
            found.append(f"{name} {installed} instead of {made_with}")
    return found


def pins(folder: Path) -> list[tuple[str, str]]:
    """Name and version of each distribution that a package lists."""
    try:
        lines = (folder / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"Cannot read {folder / REQUIREMENTS}: {error}. Get the whole package.") from error
    matches = [_PIN.fullmatch(line.strip()) or _WHEEL.fullmatch(line.strip()) for line in lines]
    return [(match["name"].replace("_", "-"), match["version"]) for match in matches if match is not None]


@dataclass(frozen=True)
class SelfTest:
    """What the model of a package says to the rows of its example, and how that differs from what it said."""

    lines: tuple[str, ...]
    is_good: bool


def self_test(folder: Path, model: PackagedModel) -> SelfTest:
    """Predict the rows of a package's example, and compare labels and probabilities bit for bit."""
    n_rows, found = differences(folder / EXAMPLE, model)
    versions = ", ".join(
        [f"Python {platform.python_version()}", *(" ".join(pin) for pin in _installed(folder))]
    )
    if not found:
        line = (
            f"{counted(n_rows, 'row')} of {EXAMPLE}: labels and probabilities are the same to the last bit."
        )
        return SelfTest((line, versions), True)
    rest = len(found) - _MAX_SHOWN
    more = [f"and {rest} more"] if rest > 0 else []
    return SelfTest((f"{EXAMPLE} differs:", *found[:_MAX_SHOWN], *more, versions), False)


def _installed(folder: Path) -> list[tuple[str, str]]:
    found = []
    for name, _ in pins(folder):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
