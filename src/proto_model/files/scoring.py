"""A file of rows in, a file of predictions out: order and number of rows kept, memory constant."""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
from proto_model.files.formats import FileFormat, codec_of, find_layout
from proto_model.files.jsonl_files import JsonLinesReader
from proto_model.files.options import FileOptions
from proto_model.files.output import open_writer, output_batch, output_schema
from proto_model.files.parquet_files import ParquetReader
from proto_model.files.rows import Rows
from proto_model.files.spool import ArrivingFile, Spool, open_unnamed, write_all
from proto_model.forest import CompiledForest
from proto_model.schema import ModelSchema
from proto_model.transfer import Download, FileSettings, LimitError

__all__ = ["Explain", "OneThreadModel", "Scored", "ScoringModel", "score"]

_HEAD_BYTES = 4096
_MOST_REASONS = 3

Explain = Callable[[NDArray[np.float64]], list[dict[str, Any]]]


class ScoringModel(Protocol):
    """What file scoring needs of a model."""

    @property
    def schema(self) -> ModelSchema:
        """Features and classes."""

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each class for rows of the coded matrix."""


@dataclass(frozen=True)
class OneThreadModel:
    """A compiled forest whose calls stay on their thread, because file scoring brings the threads.

    Parameters
    ----------
    schema : ModelSchema
        Features and classes.
    forest : CompiledForest
        Takes the coded matrix.
    """

    schema: ModelSchema
    forest: CompiledForest

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each class for rows of the coded matrix."""
        return self.forest.predict_proba(matrix, n_threads=1)


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
        stream, input_format = _open(source, name, options, settings, stack)
        try:
            stop = source.abort if isinstance(source, Download) else _nothing
            return _score(stream, input_format, spool, model, options, settings, explain, progress, stop)
        except (pa.ArrowException, OSError, EOFError) as error:
            if isinstance(stream, ArrivingFile) and stream.failure is not None:
                raise stream.failure from None
            raise InputError(f"The file cannot be read as {input_format}: {_first_line(error)}") from error


def _open(
    source: Any, name: str, options: FileOptions, settings: FileSettings, stack: contextlib.ExitStack
) -> tuple[Any, FileFormat]:
    """What the reader of the layout reads, and the format."""
    given = options.input_format
    content_type = source.content_type if isinstance(source, Download) else ""
    stream = _Peeked(source)
    codec = codec_of(stream.peek(_HEAD_BYTES))
    if given is not None and given.codec != codec and (codec or stream.peek(1)):
        raise InputError(f"input_format says {given}, but the file is {codec or 'not'} compressed.")
    if codec:
        unpacked = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)
        stream = _Peeked(_Unpacked(unpacked, codec, settings.max_decompressed_bytes))
    layout = find_layout(stream.peek(_HEAD_BYTES), name, content_type, given.layout if given else None)
    found = FileFormat(layout, codec)
    if layout != "parquet":
        return stream, found
    if codec:
        return stack.enter_context(_copy(stream, settings)), FileFormat(layout)
    if isinstance(source, Download):
        return stack.enter_context(ArrivingFile(source, settings, stream.peeked)), found
    source.seek(0)
    return source, found


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
    output_format = options.output_format or input_format
    columns = output_schema(schema, options, reader.passthrough_fields, output_format.layout)
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
            model.predict_proba(rows.matrix),
            bad,
            _explained(rows, bad, explain) if options.explain else None,
            _reasons(rows) if options.on_bad_row == "mark" else None,
            schema,
            columns,
            settings.max_batch_bytes,
        )
        return _Block(writer.encode(batch), n_rows, int(bad.sum()), rows.n_lines, None)

    n_rows, n_rejected, line = 0, 0, reader.first_line
    try:
        scored = _in_order(score_block, reader.blocks(), settings.workers, stop)
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


def _explained(rows: Rows, bad: NDArray[np.bool_], explain: Explain | None) -> list[bytes | None]:
    """Explanation of each row as JSON, None for the bad ones."""
    if explain is None:
        raise InputError("This model has no explainer; leave explain out.")
    explanations = iter(explain(rows.matrix[~bad]))
    return [None if is_bad else orjson.dumps(next(explanations)) for is_bad in bad]


def _in_order(
    work: Callable[[Any], _Block], blocks: Iterator[Any], n_workers: int, stop: Callable[[], None]
) -> Generator[_Block]:
    """Results of the work on each block in the blocks' order, while later ones are read and worked on.

    One thread reads ahead, `n_workers` threads work, the caller's thread writes; at most `n_workers + 3`
    blocks are in memory. `stop` makes a read that waits for the network fail.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=1)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def offer(item: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=0.1)

    def read() -> None:
        try:
            for block in blocks:
                offer((block,))
                if stopped.is_set():
                    return
        except BaseException as error:  # goes to the caller's thread
            failures.append(error)
        offer(None)

    thread = threading.Thread(target=read, name="reader", daemon=True)
    thread.start()
    finished = False
    running: deque[Future[_Block]] = deque()
    try:
        with ThreadPoolExecutor(n_workers, thread_name_prefix="scorer") as pool:
            try:
                while (item := ready.get()) is not None:
                    running.append(pool.submit(work, item[0]))
                    del item
                    while len(running) > n_workers or (running and running[0].done()):
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
                finished = True
            finally:
                for future in running:
                    future.cancel()
    finally:
        if not finished:
            stopped.set()
            stop()
        thread.join()
    if failures:
        raise failures[0]


def _nothing() -> None:
    """Stops nothing: a local file does not keep a thread waiting."""


class _Peeked(io.RawIOBase):
    """A stream whose first bytes were looked at."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self.peeked = b""

    def readable(self) -> bool:
        return True

    def peek(self, n_bytes: int) -> bytes:
        """First bytes, as many as there are up to a number; before anything is read."""
        while len(self.peeked) < n_bytes and (data := self._source.read(n_bytes - len(self.peeked))):
            self.peeked += data
        return self.peeked

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self.peeked:
            n_bytes = min(len(view), len(self.peeked))
            view[:n_bytes] = self.peeked[:n_bytes]
            self.peeked = self.peeked[n_bytes:]
            return n_bytes
        return int(self._source.readinto(view) or 0)


class _Unpacked(io.RawIOBase):
    """A decompressed stream, counted."""

    def __init__(self, source: Any, codec: str, max_bytes: int) -> None:
        super().__init__()
        self._source, self._codec, self._left = source, codec, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            n_bytes = int(self._source.readinto(view))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"The {self._codec} file is damaged or cut: {_first_line(error)}") from error
        self._left -= n_bytes
        if self._left < 0:
            raise LimitError(
                "The file is too large when decompressed (PROTO_MODEL_FILES_MAX_DECOMPRESSED_BYTES)."
            )
        return n_bytes


def _copy(stream: io.RawIOBase, settings: FileSettings) -> IO[bytes]:
    """Temporary file with all of a stream."""
    file = open_unnamed(settings)
    try:
        while data := stream.read(1 << 20):
            write_all(file, memoryview(data))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
