"""What each column is for: which is predicted, which can be features, and why the others cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.dictionary import NO_ENTRY, Entry
from proto_model.errors import DataError, listed
from proto_model.schema import FeatureType
from proto_model.table.columns import Column, check_known
from proto_model.table.dates_and_texts import (
    MAX_CATEGORIES,
    NO_ISO_DATE,
    as_text,
    dated,
    is_prose,
    with_common_levels,
)
from proto_model.table.split import HASH_COLUMN

#: Reason of a column that the user protects.
PROTECTED = "protected: no feature; its values are kept beside the test rows"

#: Reasons of columns that the user leaves out.
DROPPED = "you dropped it"
NOT_CHOSEN = "not among the features that you named"

_USUAL_NAMES = ("target", "class", "label", "y")
_IDENTIFIER = "one value per row: an identifier"
_LARGEST_WHOLE = 2.0**53
_FEW_ROWS = 20  # in fewer rows, values that all differ say nothing
_ID_NAME = re.compile(r"(^|[^A-Za-z])(id|uuid|guid|index|idx|rowid|key|no|nr)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9](Id|ID|Key|No|Nr)$")


@dataclass(frozen=True)
class Roles:
    """What the user says that columns are for; the columns' own values decide the rest."""

    protected: tuple[str, ...] = ()  # no features; their values are kept beside the test rows
    drop: tuple[str, ...] = ()  # no features
    keep: tuple[str, ...] = ()  # features, even where the rules below would drop them
    features: tuple[str, ...] = ()  # the only features, if any are named; kept likewise
    key: str = ""  # its value is the row's identity
    group: str = ""  # rows with the same value stay together
    time: str = ""  # models learn from earlier rows and are judged on later ones
    split: str = ""  # features or rows: what of a row decides its part, where none of these three does


_NO_ROLES = Roles()


def target_name(names: list[str], target: str | None, shown: str) -> str:
    """Name of the column to predict: the one asked for, or the one called target, class, label or y.

    `shown` names the table in errors: a DataError says that there is no such column, or more than one.
    """
    if target is not None:
        if target.strip() in names:
            return target.strip()
        check_known(target, names, shown, "predict")
    usual = [name for name in names if name.lower() in _USUAL_NAMES]
    if len(usual) == 1:
        return usual[0]
    problem = f"several candidates ({usual})" if usual else f"none named {', '.join(_USUAL_NAMES)}"
    raise DataError(
        f"Which column should be predicted? {shown} has {problem}. Set target to one of {listed(names, 50)}."
    )


def check_protected(protected: Sequence[str], names: list[str], target: str, shown: str) -> None:
    """Raise a DataError if a protected column is none of the table's columns, or the target."""
    for name in protected:
        check_known(name, names, shown, "protect")
        if name == target:
            raise DataError(f"Column {name!r} is the target, so it cannot be protected.")


def check_choices(roles: Roles, names: list[str], target: str, shown: str) -> None:
    """Raise a DataError if `drop`, `keep` and `features` cannot all be followed."""
    for role, verb in (("drop", "drop"), ("keep", "keep"), ("features", "use")):
        for name in getattr(roles, role):
            check_known(name, names, shown, verb)
            if name == target:
                raise DataError(f"Column {name!r} is the target. Take it out of {role}.")
            if name in roles.protected:
                raise DataError(
                    f"Column {name!r} is protected, so it is no feature anyway. Take it out of {role} "
                    "or out of protected."
                )
    for role in ("keep", "features"):
        for name in getattr(roles, role):
            for use in ("key", "group", "time"):
                if name == getattr(roles, use):
                    raise DataError(
                        f"Column {name!r} is the {use}, so it is no feature. Take it out of {role}."
                    )
            if name in roles.drop:
                raise DataError(f"Column {name!r} is in drop and in {role}. Take it out of one of them.")
    for name in roles.keep:
        if roles.features and name not in roles.features:
            raise DataError(f"Column {name!r} is in keep, but not in features. Add it there; keep can go.")


def class_labels(column: Column) -> tuple[NDArray[Any], FeatureType]:
    """Class label of each row as objects (str), int64, bool or float64, and the labels' type.

    The column has no missing values. Whole numbers are integers however they are stored. A DataError says
    that there are fewer than two classes, a class has one row only, or the values are no labels.
    """
    if not len(column.values):
        raise DataError(f"Target {column.name!r}: every value is missing.")
    if column.type == "other":
        raise DataError(
            f"Target {column.name!r}: lists, structures and binary values cannot be class labels. "
            "Convert them to text or numbers."
        )
    if column.type == "long" and np.abs(column.values).max() >= _LARGEST_WHOLE:
        raise DataError(
            f"Target {column.name!r}: whole numbers of 2**53 and above are too large for class labels. "
            "Convert them to text."
        )
    y, kind = _native(column)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"Target {column.name!r}: all rows have the class {classes.tolist()[0]!r}. "
            "At least two classes are needed."
        )
    if counts.min() < 2:
        rare = classes[counts < 2].tolist()
        have = "has" if len(rare) == 1 else "have"
        hint = " Is it a quantity rather than a class?" if len(rare) > len(y) / 4 else ""
        raise DataError(
            f"Target {column.name!r}: {len(rare)} of {len(classes)} classes {have} only one row, such as "
            f"{rare[:5]}. Each class needs at least two: one for training, one for testing.{hint}"
        )
    return y, kind


def _native(column: Column) -> tuple[NDArray[Any], FeatureType]:
    if column.texts is not None:
        return column.objects(), "string"
    if column.type == "boolean":
        return column.values.astype(bool), "boolean"
    if (column.values == np.floor(column.values)).all() and np.abs(column.values).max() < _LARGEST_WHOLE:
        return column.values.astype(np.int64), "long"
    return column.values, "double"


@dataclass(frozen=True)
class DroppedColumn:
    """A column that is no feature, and the reason."""

    name: str
    reason: str
    entry: Entry = NO_ENTRY  # what the data dictionary says of it


def usable_columns(
    columns: Sequence[Column], is_train: NDArray[np.bool_], roles: Roles = _NO_ROLES
) -> tuple[list[Column], tuple[DroppedColumn, ...]]:
    """Columns that can be features, and those that cannot with the reason; the target is not among them.

    Dates become numbers, free text becomes a text with its terms (see `dates_and_texts`).

    The roles' `drop`, `keep` and `features` decide first; a DataError says that one of the columns to keep
    cannot be used at all.

    Without them, a column is dropped when its training rows hold no value, or the same value everywhere; when
    it holds something nested, or dates that are not ISO 8601; when it is called `__row_hash__`; when it is an
    identifier; when it is free text without terms. Identifiers are single words that differ in every row, and
    whole numbers that differ in every row and either count the rows (n consecutive numbers, in any order) or
    are named like one (`id`, `customer_id`, `customerId`, `key`, `index`, ...).
    Free text has more than `MAX_CATEGORIES` distinct values, or more than one per two rows; single words with
    at least two rows each are a category of their common levels. Tables of fewer than 20 rows are too small
    to tell, so there neither rule is applied.
    """
    reasons = {column.name: _reason(column, is_train, roles) for column in columns}
    usable = []
    for column in columns:
        if reasons[column.name] is None:
            kept = column.name in (*roles.keep, *roles.features)
            found = _as_feature(column, is_train, kept)
            if isinstance(found, str):
                reasons[column.name] = found
            else:
                usable.append(found)
    return usable, tuple(DroppedColumn(name, reason) for name, reason in reasons.items() if reason)


def _reason(column: Column, is_train: NDArray[np.bool_], roles: Roles) -> str | None:
    """Why the column is no feature; None when it is one."""
    if column.name in roles.drop:
        return DROPPED
    if roles.features and column.name not in roles.features:
        return NOT_CHOSEN
    obstacle = _obstacle(column, is_train)
    if column.name not in (*roles.keep, *roles.features):
        return obstacle or _objection(column, is_train)
    if obstacle:
        role = "features" if column.name in roles.features else "keep"
        raise DataError(f"Column {column.name!r} cannot be used: {obstacle}. Take it out of {role}.")
    return None


def _obstacle(column: Column, is_train: NDArray[np.bool_]) -> str | None:
    """Why the column cannot be a feature at all."""
    present = ~column.missing
    if column.name == HASH_COLUMN:
        return "the name is reserved for row hashes"
    if not present.any():
        return "all values are missing"
    if column.type == "other":
        return "lists, structures and binary values cannot be features; split them into columns"
    if column.type == "date" and dated(column) is None:
        return NO_ISO_DATE
    if not (is_train & present).any():
        return "all values in the training rows are missing"
    return None


def _objection(column: Column, is_train: NDArray[np.bool_]) -> str | None:
    """Why a column that could be a feature had better be none."""
    present = ~column.missing
    if present[is_train].all() and len(np.unique(column.values[is_train])) == 1:
        return "constant: the same value in every training row"  # not which one: the log shows this
    if present.sum() < _FEW_ROWS:
        return None
    if column.type == "date":
        return None
    return _text_reason(column) if column.type == "string" else _number_reason(column, present)


def _text_reason(column: Column) -> str | None:
    n_values, n_distinct = _counts(column)
    is_identifier = n_distinct == n_values and not is_prose(column)
    return _IDENTIFIER if is_identifier else None


def _as_feature(column: Column, is_train: NDArray[np.bool_], kept: bool) -> Column | str:
    """The column as a feature has it, or why it is none; one that users keep stays a category."""
    if column.type == "date":
        return dated(column) or NO_ISO_DATE
    n_values, n_distinct = _counts(column)
    is_free = n_distinct > MAX_CATEGORIES or n_distinct > n_values / 2
    if column.type != "string" or n_values < _FEW_ROWS or not is_free:
        return column
    found = as_text(column, is_train) if is_prose(column) else None
    if found is None and n_distinct <= n_values / 2:
        found = with_common_levels(column, is_train)
    if found is not None or kept:
        return found or column
    return (
        _IDENTIFIER
        if n_distinct == n_values
        else f"free text: {n_distinct} distinct values in {n_values} rows"
    )


def _counts(column: Column) -> tuple[int, int]:
    """Rows that hold a value, and distinct values."""
    present = ~column.missing
    return int(present.sum()), len(np.unique(column.values[present]))


def _number_reason(column: Column, present: NDArray[np.bool_]) -> str | None:
    values = np.sort(column.values[present])
    if (np.diff(values) == 0).any() or (values != np.floor(values)).any():
        return None
    if values[-1] - values[0] == len(values) - 1:
        return "one value per row: a row number"
    if column.type == "long" and named_like_identifier(column.name):
        return _IDENTIFIER
    return None


def named_like_identifier(name: str) -> bool:
    """Whether a column's name ends in `id`, `key`, `index` or the like, as a word of its own."""
    return bool(_ID_NAME.search(name) or _CAMEL_ID.search(name))
