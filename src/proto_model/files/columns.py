"""Which of a file's columns is which feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from proto_model.errors import InputError
from proto_model.schema import ModelSchema

__all__ = ["ColumnPlan", "plan_columns"]

_SHOWN = 20


@dataclass(frozen=True)
class ColumnPlan:
    """The columns of a file that are read; names in the file may have spaces around them."""

    features: dict[str, str]  # feature to name in the file, for each that the file has
    passthrough: dict[str, str]  # the same for columns that are copied to the output
    absent: tuple[str, ...]  # nullable features that the file does not have; missing in every row

    @property
    def needed(self) -> list[str]:
        """Names in the file of all columns that are read, each once."""
        return list(dict.fromkeys([*self.features.values(), *self.passthrough.values()]))


def plan_columns(
    names: Sequence[str], schema: ModelSchema, passthrough: Sequence[str], max_columns: int
) -> ColumnPlan:
    """Match a file's columns to the schema, by name and in any order; other columns are left out.

    Spaces around a name do not count.

    Raises
    ------
    InputError
        If a needed column is missing, or stands there twice.
    """
    if len(names) > max_columns:
        raise InputError(f"The file has {len(names)} columns. The limit is {max_columns}.")
    present = {name.strip(): name for name in names}
    wanted = [*schema.feature_names, *passthrough]
    counts = Counter(name.strip() for name in names)
    twice = [name for name in dict.fromkeys(wanted) if counts[name] > 1]
    if twice:
        raise InputError(f"Columns more than once in the file: {_list(twice)}.")
    missing = [f.name for f in schema.features if f.name not in present and not f.nullable]
    missing += [name for name in passthrough if name not in present and name not in missing]
    if missing or not any(name in present for name in schema.feature_names):
        missing = missing or schema.feature_names
        raise InputError(f"Columns missing in the file: {_list(missing)}. It has {_list(list(present))}.")
    return ColumnPlan(
        features={name: present[name] for name in schema.feature_names if name in present},
        passthrough={name: present[name] for name in passthrough},
        absent=tuple(name for name in schema.feature_names if name not in present),
    )


def _list(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
