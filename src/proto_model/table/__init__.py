"""Tables to learn from: reading, column types, the split by row hash, and the coded matrix.

Importing this package loads numpy only; pandas, pyarrow and scikit-learn come in with the names that need
them, so that the serving path can code rows without them.
"""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names
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

__getattr__ = lazy_names(
    __name__,
    {
        "roles": ("DroppedColumn", "Roles"),
        "source": ("BUILT_IN", "RawTable", "load_table", "read_table"),
        "training_data": ("TrainingData", "load_training_data", "prepare"),
    },
)
