"""A file of rows in, a file of predictions out: order and number of rows kept, memory constant."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files.arrow_files import ArrowReader
from proto_model.files.columns import ColumnPlan
from proto_model.files.csv_files import CsvReader
from proto_model.files.formats import FileFormat
from proto_model.files.jsonl_files import JsonLinesReader
from proto_model.files.options import FileOptions, given_format
from proto_model.files.output import open_writer, output_batch, output_schema
from proto_model.files.parquet_files import ParquetReader
from proto_model.files.pipeline import in_order
from proto_model.files.rows import Rows
from proto_model.files.spool import ArrivingFile, Spool
from proto_model.files.stream import first_line, open_stream
from proto_model.files.transfer import Download, FileSettings, LimitError
from proto_model.model import Answer, answer_fields
from proto_model.parameters import FILE
from proto_model.schema import ModelSchema

__all__ = ["Explain", "Scored", "ScoringModel", "score"]

_MOST_REASONS = 3

Explain = Callable[[NDArray[np.float64]], list[dict[str, Any]]]


class ScoringModel(Protocol):
    """What file scoring needs of a model."""

    @property
    def schema(self) -> ModelSchema:
        """Features and classes."""

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each class for rows of the coded matrix."""


class _Reader(Protocol):
    place: str
    first_line: int
    plan: ColumnPlan
    passthrough_fields: list[pa.Field]

    def blocks(self) -> Iterator[Any]: ...

    def parse(self, block: Any) -> Rows: ...


@dataclass(frozen=True)
class Scored:
    """What became of a file.

    Parameters
    ----------
    n_rows : int
        Rows read, and written.
    n_rejected : int
        Those without a prediction.
    input_format, output_format : FileFormat
        As found, and as written.
    notes : tuple of str
        What the caller should know, such as nullable features that the file does not have.
    """

    n_rows: int
    n_rejected: int
    input_format: FileFormat
    output_format: FileFormat
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Block:
    """A scored block on its way to the writer."""

    encoded: Any
    n_rows: int
    n_rejected: int
    n_lines: int
    first_fault: tuple[int, str] | None


def score(
    source: Download | IO[bytes],
    name: str,
    spool: Spool,
    model: ScoringModel,
    options: FileOptions,
    settings: FileSettings,
    *,
    explain: Explain | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Score a file.

    Parameters
    ----------
    source : Download or binary file
        The rows; a file has to be unbuffered.
    name : str
        Its name or the path of its URL, which may say what format it has.
    spool : Spool
        Where the output goes.
    model : ScoringModel
        Called by several threads at once.
    options : FileOptions
        Formats, columns to copy, bad rows.
    settings : FileSettings
        Limits and threads.
    explain : callable or None
        Explanations for rows of the coded matrix; needed when the options ask for them.
    progress : callable or None
        Called with the number of rows written so far.

    Returns
    -------
    Scored
        The spool then holds a complete file.

    Raises
    ------
    InputError
        If the file is not what the model takes; the message names line or row, column and value.
    TransferError, LimitError
        If the download fails, or something is too large.
    """
    with contextlib.ExitStack() as stack:
        stream, input_format = open_stream(source, name, options, settings, stack)
        try:
            stop = source.abort if isinstance(source, Download) else _nothing
            return _score(stream, input_format, spool, model, options, settings, explain, progress, stop)
        except (pa.ArrowException, OSError, EOFError) as error:
            if isinstance(stream, ArrivingFile) and stream.failure is not None:
                raise stream.failure from None
            raise InputError(f"The file cannot be read as {input_format}: {first_line(error)}") from error


def _score(
    stream: Any,
    input_format: FileFormat,
    spool: Spool,
    model: ScoringModel,
    options: FileOptions,
    settings: FileSettings,
    explain: Explain | None,
    progress: Callable[[int], None] | None,
    stop: Callable[[], None],
) -> Scored:
    schema = model.schema
    reader_class: Any = {"csv": CsvReader, "jsonl": JsonLinesReader, "parquet": ParquetReader}
    reader: _Reader = reader_class.get(input_format.layout, ArrowReader)(stream, schema, options, settings)
    output_format = given_format(options, "output_format") or input_format
    columns = output_schema(schema, options, reader.passthrough_fields, output_format.layout)
    fields = answer_fields(schema, options, FILE)
    writer = open_writer(output_format, columns, schema, spool)

    def score_block(block: Any) -> _Block:
        rows = reader.parse(block)
        n_rows = len(rows.matrix)
        first = rows.faults[0] if rows.faults else None
        if n_rows == 0 or (first is not None and options.on_bad_row == "fail"):
            place = None if first is None else (_place(rows, first.row), str(first))
            return _Block(None, n_rows, 0, rows.n_lines, place)
        bad = np.zeros(n_rows, dtype=bool)
        bad[[fault.row for fault in rows.faults]] = True
        if first is not None:
            rows.matrix[bad] = 0.0
        batch = output_batch(
            rows,
            Answer(
                fields,
                model.predict_proba(rows.matrix),
                _explained(rows, bad, explain) if options.explain else None,
                _reasons(rows) if options.on_bad_row == "mark" else None,
            ),
            bad,
            columns,
            settings.max_batch_bytes,
        )
        return _Block(writer.encode(batch), n_rows, int(bad.sum()), rows.n_lines, None)

    n_rows, n_rejected, line = 0, 0, reader.first_line
    try:
        scored = in_order(score_block, reader.blocks(), settings.workers, stop)
        with contextlib.closing(scored):  # a failure here has to end the threads now, not some time
            for block in scored:
                if block.first_fault is not None:
                    at, reason = block.first_fault
                    where = line + at if reader.place == "line" else n_rows + at + 1
                    raise InputError(
                        f"{reader.place} {where}, {reason}. Correct it, or send on_bad_row='mark'."
                    )
                if block.encoded is not None:
                    writer.write(block.encoded)
                n_rows += block.n_rows
                n_rejected += block.n_rejected
                line += block.n_lines
                if n_rows > settings.max_rows:
                    raise LimitError(
                        f"The file has more than {settings.max_rows} rows (PROTO_MODEL_FILES_MAX_ROWS)."
                    )
                if progress is not None:
                    progress(n_rows)
        writer.close()
    except BaseException:
        spool.discard()  # what the writer still has to say when it is dropped
        with contextlib.suppress(Exception):
            writer.close()
        raise
    notes = [
        f"column {name!r} is not in the file; taken as missing in every row" for name in reader.plan.absent
    ]
    return Scored(n_rows, n_rejected, input_format, output_format, tuple(notes))


def _place(rows: Rows, row: int) -> int:
    return row if rows.lines is None else int(rows.lines[row])


def _reasons(rows: Rows) -> list[str | None]:
    """What is wrong with each row, None for the sound ones."""
    reasons: dict[int, list[str]] = {}
    for fault in rows.faults:
        reasons.setdefault(fault.row, []).append(str(fault))
    return [
        "; ".join(reasons[row][:_MOST_REASONS]) if row in reasons else None for row in range(len(rows.matrix))
    ]


def _explained(rows: Rows, bad: NDArray[np.bool_], explain: Explain | None) -> list[str | None]:
    """Explanation of each row as JSON, None for the bad ones."""
    if explain is None:
        raise InputError("This model has no explainer; leave explain out.")
    explanations = iter([] if bad.all() else explain(rows.matrix[~bad]))
    return [None if is_bad else orjson.dumps(next(explanations)).decode() for is_bad in bad]


def _nothing() -> None:
    """Stops nothing: a local file does not keep a thread waiting."""
