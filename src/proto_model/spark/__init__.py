"""Models on Apache Spark: as a function of data frames, of columns, and of SQL.

    from proto_model.spark import register, scorer, udf

    predictions = frame.transform(scorer(spark, "models:/churn@champion"))

Importing this package, or `executor`, loads neither Spark nor MLflow nor pandas nor scikit-learn; the three
names need the extra `spark`.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from proto_model.errors import ProtoModelError

if TYPE_CHECKING:
    from proto_model.spark.frames import Scorer, scorer
    from proto_model.spark.functions import ColumnFunction, register, udf

__all__ = ["ColumnFunction", "Scorer", "SparkMissingError", "register", "scorer", "udf"]

_HOMES = {
    "Scorer": "frames",
    "scorer": "frames",
    "ColumnFunction": "functions",
    "register": "functions",
    "udf": "functions",
}


class SparkMissingError(ProtoModelError, ImportError):
    """Spark is not installed."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if importlib.util.find_spec("pyspark") is None:
        raise SparkMissingError(
            "Spark is not installed. Install it with: pip install 'proto-model-turbo[spark]' (and Java 17)."
        )
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
