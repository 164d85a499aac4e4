"""What runs in Spark's Python workers: batches of Arrow in, columns of the answer out.

Workers need NumPy, pyarrow and llvmlite. A worker reads and compiles a model once, however many tasks it has.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from proto_model.batches.rows import Fault, Watch, coded_matrix
from proto_model.batches.scoring import Scoring
from proto_model.errors import InputError
from proto_model.model import Bundle, Predictor
from proto_model.parameters import FILE, Parameters
from proto_model.schema import ModelSchema
from proto_model.table.arrow_values import type_fault
from proto_model.values import RuleBook, expected

_MOST_MODELS = 8  # that a worker keeps: streams and notebooks go on with new versions in the same process

_models: dict[str, Predictor] = {}


@dataclass(frozen=True)
class Shipped:
    """How a worker gets the bundle."""

    name: str  # of the archive, which says what is in it
    content: bytes | None = None  # the archive itself, where the engine carries none

    def folder(self) -> Path:
        """Where the bundle is."""
        if self.content is None:
            from pyspark.core.files import SparkFiles

            return Path(SparkFiles.get(self.name))
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            archive.extractall(folder)
        return folder

    def predictor(self) -> Predictor:
        """The model, of which this process has one."""
        found = _models.pop(self.name, None)
        if found is None:
            found = Predictor(Bundle.load(self.folder()), FILE)
        _models[self.name] = found  # the last one is the latest
        while len(_models) > _MOST_MODELS:
            del _models[next(iter(_models))]
        return found


@dataclass(frozen=True)
class Work:
    """What a worker is asked for; travels with the function, so it is small."""

    shipped: Shipped
    parameters: Parameters


class _Model:
    """The model of some work, with what a batch needs."""

    def __init__(self, work: Work) -> None:
        self._predictor = work.shipped.predictor()
        parameters = work.parameters
        self.schema: ModelSchema = self._predictor.schema
        self._book = RuleBook(self.schema)
        self.scoring = Scoring(
            self._predictor,
            parameters,
            self._predictor.fields(parameters),
            lambda matrix: self._predictor.explain(matrix, parameters),
        )

    @cached_property
    def field_names(self) -> list[str]:
        return [field.name for field in self.scoring.fields]

    def answer(self, columns: Mapping[str, pa.Array], n_rows: int) -> list[pa.Array]:
        """Columns of the answer to columns by feature."""
        watch = Watch(marking=self.scoring.marking)
        matrix, faults = coded_matrix(columns, self._book, n_rows, watch)
        if faults and not self.scoring.marking:
            self._fail(faults[0])
        return self.scoring.columns(matrix, faults)[0]

    def answer_unplanned(self, columns: Mapping[str, pa.Array], n_rows: int) -> list[pa.Array]:
        """The same for columns that nobody could look at before the job."""
        known = {f.name: columns[f.name] for f in self.schema.features if f.name in columns}
        missing = [f.name for f in self.schema.features if f.name not in known and not f.nullable]
        if missing or not known:
            raise InputError(
                f"Columns missing: {missing or self.schema.feature_names}; given are {list(columns)}."
            )
        for feature in self.schema.features:
            if feature.name in known and (fault := type_fault(known[feature.name].type, feature)):
                raise InputError(f"Column {feature.name!r}: {fault}.")
        return self.answer(known, n_rows)

    def _fail(self, fault: Fault) -> None:
        """End the job; the message goes to the logs of a cluster, where no value of a row belongs."""
        feature = next(f for f in self.schema.features if f.name == fault.column)
        needed = "" if feature.nullable else ", and none may be missing"
        raise InputError(
            f"A row has a value in column {fault.column!r} that the model does not take: {expected(feature)}"
            f"{needed}. Correct it, or set on_bad_row='mark' to go on; the column 'error' then shows it."
        )


def batch_function(
    work: Work, features: Mapping[str, str], kept: Sequence[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Function for `mapInArrow`: the kept columns, then the answer; `features` has the column of each."""
    names = tuple(kept)
    column_of = dict(features)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return scored_batches(work, column_of, names, batches)

    return score


def scored_batches(
    work: Work, features: Mapping[str, str], kept: Sequence[str], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Batches with the answer's columns, in the order of `Scoring.fields`, after those that are kept."""
    model = _Model(work)
    for batch in batches:
        columns = {name: batch.column(column) for name, column in features.items()}
        answer = model.answer(columns, batch.num_rows)
        arrays = [batch.column(name) for name in kept]
        yield pa.RecordBatch.from_arrays([*arrays, *answer], names=[*kept, *model.field_names])


def array_function(work: Work, names: Sequence[str] | None) -> Callable[..., pa.Array]:
    """Function of arrays, which answers a struct: of named ones, or, without names, see `_named`."""
    fixed = None if names is None else tuple(names)

    def predict(*arrays: pa.Array, **named: pa.Array) -> pa.Array:
        return struct_of_answer(work, fixed, arrays, named)

    return predict


def struct_of_answer(
    work: Work, names: Sequence[str] | None, arrays: Sequence[pa.Array], named: Mapping[str, pa.Array]
) -> pa.Array:
    """The answer to a batch as a struct."""
    model = _Model(work)
    given = dict(zip(names, arrays, strict=True)) if names is not None else _named(arrays, model.schema)
    columns = {**given, **named}
    n_rows = len([*arrays, *named.values()][0])
    return pa.StructArray.from_arrays(model.answer_unplanned(columns, n_rows), names=model.field_names)


def _named(arrays: Sequence[pa.Array], schema: ModelSchema) -> dict[str, pa.Array]:
    """Columns of a struct by its names, or of one array per feature in the schema's order."""
    if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
        kind = arrays[0].type
        return dict(
            zip([kind.field(i).name for i in range(kind.num_fields)], arrays[0].flatten(), strict=True)
        )
    if arrays and len(arrays) != len(schema.features):
        raise InputError(
            f"{len(arrays)} columns given. The function takes struct(*), or a column for each of the "
            f"{len(schema.features)} features, in this order: {schema.feature_names}."
        )
    return dict(zip(schema.feature_names, arrays, strict=False))
