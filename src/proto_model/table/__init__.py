"""Tables to learn from: reading, column types, the split by row hash, and the coded matrix.

Importing this package loads numpy only; pandas, pyarrow and scikit-learn come in with the names that need
them, so that the serving path can code rows without them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from proto_model.values import decode, encode

if TYPE_CHECKING:
    from proto_model.table.roles import DroppedColumn, Roles
    from proto_model.table.source import BUILT_IN, RawTable, load_table, read_table
    from proto_model.table.training_data import TrainingData, load_training_data, prepare

__all__ = [
    "BUILT_IN",
    "DroppedColumn",
    "RawTable",
    "Roles",
    "TrainingData",
    "decode",
    "encode",
    "load_table",
    "load_training_data",
    "prepare",
    "read_table",
]

_HOMES = {
    **dict.fromkeys(("DroppedColumn", "Roles"), "roles"),
    **dict.fromkeys(("TrainingData", "load_training_data", "prepare"), "training_data"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "source")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
