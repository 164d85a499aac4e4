"""A folder of files that appears when it is complete, and leaves the old one alone until then.

Spark itself deletes the old folder before it begins, and after a failure leaves an empty one. So where a
folder can be renamed in one step, rows are written beside it. An object store would copy them all, and a
Spark Connect server gives no access to its files: there Spark writes into the folder itself, of which
`_SUCCESS` says that it is complete.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from proto_model.errors import InputError
from proto_model.spark.scoring.places import Place
from proto_model.spark.scoring.refusals import refusals_in_words

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RENAMED_AT_ONCE = ("file", "hdfs", "viewfs")
_COMPLETE = "_SUCCESS"


@contextmanager
def complete_or_nothing(spark: SparkSession, output: Place, mode: str) -> Iterator[Place]:
    """The place to write to in mode `error`; in the end it becomes the output, or is removed after a failure.

    Raises InputError if the output is there and may not be replaced.
    """
    files = _Files.of(spark, output) if output.is_files and mode != "append" else None
    if files is None:
        yield output
        return
    files.check(mode)
    try:
        yield Place(files.beside("part"), output.format, output.options)
        with refusals_in_words():
            files.put_in_place()
    finally:
        files.clean()


class _Files:
    """A path of Hadoop's, which Spark's files are in."""

    def __init__(self, spark: SparkSession, name: str, number: str) -> None:
        jvm: Any = spark._jvm
        self._new = jvm.org.apache.hadoop.fs.Path
        self._path = self._new(name)
        self._system = self._path.getFileSystem(spark._jsc.hadoopConfiguration())
        self._path = self._system.makeQualified(self._path)
        self._number = number

    @classmethod
    def of(cls, spark: SparkSession, output: Place) -> _Files | None:
        """The files of an output; None where they cannot be reached, or not be renamed in one step."""
        if not hasattr(spark, "_jvm"):
            return None
        with refusals_in_words():
            files = cls(spark, output.name, uuid.uuid4().hex[:8])
            return files if files._system.getScheme() in _RENAMED_AT_ONCE else None

    def beside(self, kind: str) -> str:
        """A hidden folder beside the output; Spark reads nothing from hidden ones."""
        return str(self._hidden(kind).toString())

    def _hidden(self, kind: str) -> Any:
        return self._new(self._path.getParent(), f".{self._path.getName()}.{self._number}.{kind}")

    def check(self, mode: str) -> None:
        """Raise InputError if the output is there and may not be replaced."""
        with refusals_in_words():
            if self._path.getParent() is None:
                raise InputError(f"{self._path.toString()} is no folder to write to. Name one in it.")
            if not self._system.exists(self._path):
                return
            is_folder = self._system.getFileStatus(self._path).isDirectory()
            is_ours = not is_folder or self._system.exists(self._new(self._path, _COMPLETE))
            is_ours = is_ours or not self._system.listStatus(self._path)
        if mode != "overwrite":
            raise InputError(
                f"The output {self._path.toString()} is there already. Replace it with --mode overwrite, or "
                "add to it with --mode append."
            )
        if not is_ours:
            raise InputError(
                f"The folder {self._path.toString()} has no {_COMPLETE}: Spark did not write it, so it is "
                "not replaced. Name another folder, or remove it."
            )

    def put_in_place(self) -> None:
        """Rename what was written to the output's name."""
        if self._system.exists(self._path):
            self._rename(self._path, self._hidden("old"))
        self._rename(self._hidden("part"), self._path)

    def _rename(self, source: Any, target: Any) -> None:
        if not self._system.rename(source, target):
            raise InputError(
                f"Cannot rename {source.toString()} to {target.toString()}. May you write there?"
            )

    def clean(self) -> None:
        """Remove what is left; the old output returns if nothing took its place."""
        if self._system.exists(self._hidden("old")) and not self._system.exists(self._path):
            self._rename(self._hidden("old"), self._path)
        for kind in ("part", "old"):
            self._system.delete(self._hidden(kind), True)
