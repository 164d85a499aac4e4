"""What a training run is asked to do: one table, from which command line, help and MLflow's params derive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from proto_model.column_lists import column_list, read_column_list
from proto_model.registry.tracking import is_url, shown_url

if TYPE_CHECKING:
    from proto_model.table import Roles

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_MAX_SEED = 2**32 - 1
_BACKGROUNDS = ("synthetic", "rows")
_CALIBRATIONS = ("auto", "none", "sigmoid", "isotonic")
_SPLITS = ("features", "rows")
_CONFORMAL = ("class", "marginal")

METRICS = (
    "log_loss", "brier", "balanced_accuracy", "accuracy", "precision_macro", "recall_macro", "f1_macro",
    "f2_macro", "roc_auc", "average_precision",
)  # fmt: skip
"""Metrics that may choose; those of the evaluation, which `--help` should not wait for."""


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("no value given")
    return text.strip()


def _model_name(text: str) -> str:
    if set(text) & set("/:@"):
        raise ValueError(f"{text!r} given, a name without '/', ':' and '@' expected")
    return _text(text)


def _split(text: str) -> str:
    return _one_of(_SPLITS, text) if text.strip() else ""


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise ValueError(f"{text!r} given, a number above 0 and below 1 expected")
    return fraction


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} given, a whole number from 1 expected")
    return int(text)


def _seed(text: str) -> int:
    if not text.strip().isdecimal() or int(text) > _MAX_SEED:
        raise ValueError(f"{text!r} given, a whole number from 0 to {_MAX_SEED} expected")
    return int(text)


def _flag(text: str) -> bool:
    flag = text.strip().lower()
    if flag not in _TRUE + _FALSE:
        raise ValueError(f"{text!r} given, true or false expected")
    return flag in _TRUE


def _calibration(text: str) -> str:
    return _one_of(_CALIBRATIONS, text)


def _conformal(text: str) -> str:
    return _one_of(_CONFORMAL, text)


def _one_of(words: tuple[str, ...], text: str) -> str:
    word = text.strip().lower()
    if word not in words:
        raise ValueError(f"{text!r} given, {' or '.join(words)} expected")
    return word


def _background(text: str) -> str:
    kind = text.strip().lower()
    if kind not in _BACKGROUNDS:
        raise ValueError(f"{text!r} given, {' or '.join(_BACKGROUNDS)} expected")
    return kind


def _metric(text: str) -> str:
    name = text.strip().lower()
    if name not in METRICS:
        raise ValueError(f"{text!r} given, one of {', '.join(METRICS)} expected")
    return name


def _setting(default: Any, read: Callable[[str], Any], help_text: str) -> Any:
    return field(default=default, metadata={"read": read, "help": help_text})


@dataclass(frozen=True)
class TrainingSettings:
    """Parameters of one training run; their names and defaults are those of the MLproject file.

    To add one, add a line here, and the parameter in `src/MLproject` and in docs/training.md.
    """

    dataset: str = _setting(
        "breast_cancer", _text,
        "breast_cancer, wine, iris or digits, or the path or http(s) URL of a CSV or Parquet file",
    )  # fmt: skip
    target: str = _setting("", str.strip, "column to predict; empty for target, class, label or y")
    test_size: float = _setting(0.2, _fraction, "fraction of rows held out for testing, above 0 and below 1")
    random_state: int = _setting(0, _seed, "seed of searches and forests; the split does not depend on it")
    protected: tuple[str, ...] = _setting(
        (),
        read_column_list,
        "columns that no model may see, such as sex,race; results are reported by their groups",
    )
    drop: tuple[str, ...] = _setting((), read_column_list, "columns to leave out, such as alive,boat")
    keep: tuple[str, ...] = _setting(
        (), read_column_list, "columns to use although they look like identifiers, free text or constants"
    )
    features: tuple[str, ...] = _setting((), read_column_list, "columns to use, and no others")
    group: str = _setting(
        "", str.strip, "column whose equal values keep rows together, such as customer_id, in split and folds"
    )
    key: str = _setting(
        "", str.strip, "column that identifies a row, such as id, so that a corrected row keeps its part"
    )
    time: str = _setting(
        "",
        str.strip,
        "column of dates or numbers: models learn from earlier rows and are judged on later ones",
    )
    split: str = _setting(
        "", _split,
        "features (rows with equal features stay together) or rows (as 0.3.0: equal rows of one class do); "
        "empty for features, or what group, key and time say",
    )  # fmt: skip
    metric: str = _setting(
        "log_loss",
        _metric,
        f"what chooses in cross-validation: {', '.join(METRICS)}",
    )
    n_candidates: int = _setting(8, _count, "hyperparameter settings that each variant tries")
    registered_model_name: str = _setting("proto_model", _model_name, "model that gets the versions")
    file_management: bool = _setting(
        False, _flag, "true trains models that take presigned URLs of files instead of rows"
    )
    background: Literal["synthetic", "rows"] = _setting(
        "synthetic", _background,
        "what explanations compare with: synthetic rows, or (rows) training rows, kept in every version",
    )  # fmt: skip
    calibrate: str = _setting(
        "auto", _calibration,
        "calibration of the probabilities: auto (if it is better out of fold), none, sigmoid or isotonic",
    )  # fmt: skip
    costs: str = _setting(
        "auto", str.strip,
        "what mistakes cost: such as malignant>benign:10 (true>predicted), balanced, none, or auto, which is "
        "balanced if that is better out of fold",
    )  # fmt: skip
    conformal: Literal["class", "marginal"] = _setting(
        "class", _conformal,
        "prediction sets hold the true class as often as asked for each class, or (marginal) over all rows",
    )  # fmt: skip
    mapping: str = _setting(
        "", str.strip,
        "an application's own words, for the mapper: a mapping.yaml, or path/to/module.py:Class",
    )  # fmt: skip
    dictionary: str = _setting(
        "", str.strip,
        "what columns mean: the path or http(s) URL of a columns.yaml with their description, unit, decode, "
        "author and protected",
    )  # fmt: skip

    @property
    def roles(self) -> Roles:
        """What the user says of the table's columns."""
        from proto_model.table import Roles  # it brings numpy along, which `--help` should not wait for

        names = ("protected", "drop", "keep", "features", "key", "group", "time", "split")
        return Roles(**{name: getattr(self, name) for name in names})

    def as_params(self) -> dict[str, str]:
        """Texts that `mlflow run` logs for these settings, but for what may be secret in a URL."""
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        texts = {
            name: column_list(value) if isinstance(value, tuple) else str(value)
            for name, value in values.items()
        }
        return texts | {
            "dataset": _without_secrets(self.dataset),
            "dictionary": _without_secrets(self.dictionary),
            "file_management": str(self.file_management).lower(),
        }


def _without_secrets(source: str) -> str:
    return shown_url(source) if is_url(source) else source
