"""A model as a function of columns, and of SQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.batches.rows import plan_columns
from proto_model.errors import InputError
from proto_model.spark.columns import answer_struct, quoted
from proto_model.spark.executor import array_function
from proto_model.spark.served import Served, asked_trust, served

if TYPE_CHECKING:
    from pyspark.sql import Column


def udf(
    spark: Any,
    uri: str,
    *,
    require_published: bool = False,
    verify_key: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> ColumnFunction:
    """Model as a function of columns: `frame.withColumn("p", udf(spark, uri)("age", "income"))`.

    The result of its calls is a struct with the columns that `scorer` would add; parameters and errors are
    those of `scorer`.

    Returns
    -------
    ColumnFunction
    """
    return ColumnFunction(_served(spark, uri, require_published, verify_key, options))


def register(
    spark: Any,
    name: str,
    uri: str,
    *,
    require_published: bool = False,
    verify_key: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> ColumnFunction:
    """Register a model as a function of SQL: `SELECT id, churn(struct(*)).* FROM t`.

    SQL may also call it with one column per feature, in the order of the model's schema, or by name:
    `churn(age => a, income => i)`. Parameters and errors are those of `scorer`.

    Returns
    -------
    ColumnFunction
        The same as a function of columns.
    """
    function = udf(spark, uri, require_published=require_published, verify_key=verify_key, **options)
    spark.udf.register(name, function.arrow_udf())
    return function


def _served(spark: Any, uri: str, required: bool, keys: Any, options: dict[str, Any]) -> Served:
    if options.get("passthrough"):
        raise InputError("passthrough is for frames. A function of columns leaves the others as they are.")
    return served(spark, uri, asked_trust(required, keys), options)


class ColumnFunction:
    """A model that takes columns and gives a struct; see `udf`.

    Attributes
    ----------
    uri : str
        As it was given.
    version : str or None
        Number of the version that an alias named when the function was made; None for folders and runs.
    answer_type : StructType
        Type of the result.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self.uri, self.version = served.uri, served.version
        self.answer_type = answer_struct(served.fields)

    def __call__(self, *columns: str | Column) -> Column:
        """Answer to columns.

        Parameters
        ----------
        *columns : str or Column
            Names of columns, in any order; or columns under the names of features, in any order; or one
            column that is a struct of them, such as `struct("*")`. By default all features by their names.

        Raises
        ------
        InputError
            If names are given, and those of needed features are not among them.
        """
        from pyspark.sql import functions as F

        if not columns:
            columns = tuple(self._served.schema.feature_names)
        names = [column for column in columns if isinstance(column, str)]
        if names == ["*"]:
            return self.arrow_udf()(F.struct("*"))
        if len(names) < len(columns):
            is_struct = len(columns) == 1
            return self.arrow_udf()(columns[0] if is_struct else F.struct(*map(_column, columns)))
        plan = plan_columns(names, self._served.schema, (), len(names), "call")
        return self.arrow_udf(list(plan.features))(*map(_column, plan.features.values()))

    def arrow_udf(self, names: list[str] | None = None) -> Any:
        """Spark's own function: of columns with these names, or of a struct, or of one column per feature."""
        from pyspark.sql.functions import ArrowUDFType, arrow_udf

        function = array_function(self._served.work, names)
        return arrow_udf(function, self.answer_type, ArrowUDFType.SCALAR)


def _column(column: str | Column) -> Column:
    from pyspark.sql import functions as F

    return F.col(quoted(column)) if isinstance(column, str) else column
