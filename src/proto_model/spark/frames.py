"""A model as a function of data frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.batches.rows import plan_columns
from proto_model.errors import InputError
from proto_model.spark.columns import answer_struct, column_faults, quoted
from proto_model.spark.executor import batch_function
from proto_model.spark.served import Served, asked_trust, served

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def scorer(
    spark: Any,
    uri: str,
    *,
    prefix: str = "",
    require_published: bool = False,
    verify_key: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> Scorer:
    """Model as a function of data frames: `frame.transform(scorer(spark, "models:/churn@champion"))`.

    Parameters
    ----------
    spark : SparkSession
        Classic or of Spark Connect; gets the model once.
    uri : str
        `models:/name@alias`, `models:/name/3`, `runs:/...`, or a folder. An alias is looked up now.
    prefix : str
        Comes before the names of the answer's columns.
    require_published, verify_key
        As the flags of these names: use only a published version, signed with one of these keys.
    **options
        The parameters of file jobs, by the same names: `explain`, `on_bad_row`, `coverage`, `passthrough`,
        and those of explanations. Without `passthrough`, all columns are kept.

    Returns
    -------
    Scorer

    Raises
    ------
    InputError
        If an option is not known or wrong.
    ArtifactError, RegistryError, PublicationError
        If there is no such version, or it is not to be trusted.
    """
    return Scorer(served(spark, uri, asked_trust(require_published, verify_key), options), prefix)


class Scorer:
    """Adds the columns of the answer to a frame, batch or stream; see `scorer`.

    Attributes
    ----------
    uri : str
        As it was given.
    version : str or None
        Number of the version that an alias named when the scorer was made; None for folders and runs.
    answer_type : StructType
        Columns that are added.
    model : ModelSchema
        Features and classes.
    digest : str
        Over all files of the version's bundle.
    """

    def __init__(self, served: Served, prefix: str = "") -> None:
        self._served, self._prefix = served, prefix
        self.uri, self.version = served.uri, served.version
        self.model, self.digest = served.schema, served.digest
        self.answer_type = answer_struct(served.fields, prefix)

    def schema(self, frame: DataFrame) -> StructType:
        """Columns of the result; raises as calling does."""
        from pyspark.sql.types import StructType

        by_name = {field.name: field for field in frame.schema.fields}
        return StructType([*(by_name[name] for name in self._kept(frame)), *self.answer_type.fields])

    def __call__(self, frame: DataFrame) -> DataFrame:
        """Frame with the columns that are kept, and those of the answer.

        Raises
        ------
        InputError
            If the frame lacks columns that the model needs, has them of other types, or has columns of the
            answer's names already.
        """
        model = self._served.schema
        passthrough = self._served.work.parameters.passthrough
        plan = plan_columns(frame.columns, model, passthrough, max(1, len(frame.columns)), "frame")
        if faults := column_faults(frame.schema, plan.features, model):
            raise InputError(" ".join(faults))
        result = self.schema(frame)
        kept = result.names[: -len(self.answer_type)]
        needed = list(dict.fromkeys([*plan.features.values(), *kept]))
        if needed != frame.columns:
            frame = frame.select(*map(quoted, needed))
        return frame.mapInArrow(batch_function(self._served.work, plan.features, kept), result)

    def _kept(self, frame: DataFrame) -> list[str]:
        """Columns that stay; raises InputError if one has a name of the answer's, or two have one name."""
        present = {name.strip(): name for name in frame.columns}
        passthrough = self._served.work.parameters.passthrough
        kept = [present[name] for name in passthrough] if passthrough else frame.columns
        twice = sorted({name for name in kept if kept.count(name) > 1})
        if twice:
            raise InputError(
                f"Columns that appear more than once in the frame: {twice}. Rename or drop them."
            )
        taken = [name for name in self.answer_type.names if name in kept]
        if taken:
            raise InputError(
                f"The frame has columns with names of the answer: {taken}. Rename or drop them, or give the "
                "scorer a prefix."
            )
        return kept
