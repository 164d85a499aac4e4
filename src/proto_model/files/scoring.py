"""A file of rows in, a file of predictions out: order and number of rows kept, memory constant."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa

from proto_model.batches.rows import ColumnPlan, column_notes
from proto_model.batches.scoring import Explain, Scoring, ScoringModel
from proto_model.errors import InputError
from proto_model.files.formats import FORMATS, FileFormat, format_of_name, parse_format
from proto_model.files.formats.base import Reader, Writer
from proto_model.files.output import output_batch, output_schema
from proto_model.files.stream import Spool, first_line, open_stream
from proto_model.files.transfer import Download, FileSettings, LimitError, check_descriptors
from proto_model.model import answer_fields
from proto_model.parameters import FILE, Parameters

_WAIT_S = 0.2  # for a block, between two looks at the time

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """How files are scored: what is the same for all files of a request."""

    model: ScoringModel
    parameters: Parameters
    settings: FileSettings
    explain: Explain | None = None  # needed when the parameters ask for explanations


@dataclass(frozen=True)
class Scored:
    """What became of a file."""

    n_rows: int  # read, and written
    n_rejected: int  # of those, without a prediction
    input_format: FileFormat
    output_format: FileFormat
    notes: tuple[str, ...] = ()  # what the caller should know, such as columns that the file does not have


def named_format(output_path: Path) -> FileFormat | None:
    """Format that the name of an output says, None if it says none; InputError for a name of another kind."""
    named = format_of_name(output_path.name)
    if named is None and output_path.suffix:
        raise InputError(
            f"No format has names such as {output_path.name}. End it in "
            f"{', '.join(f'.{known.suffixes[0]}' for known in FORMATS.values())}, or set output_format."
        )
    return named


def score_file(
    input_path: Path,
    output_path: Path,
    model: ScoringModel,
    parameters: Parameters | None = None,
    settings: FileSettings | None = None,
    *,
    explain: Explain | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Scored:
    """Score a local file on all cores, in constant memory; the output appears when it is complete.

    The output's format is that of the parameters, else that of its name, else the input's. `progress` is
    called with the number of rows written so far and the share of the input that was read, 0 to 1.

    Raises
    ------
    InputError
        If the file is missing, or not what the model takes.
    LimitError
        If something is too large.
    """
    parameters = parameters or Parameters()
    if not parameters.output_format:
        named = named_format(output_path)
        parameters = dataclasses.replace(parameters, output_format=str(named or ""))
    task = Task(model, parameters, settings or FileSettings(), explain)
    try:
        source = open(input_path, "rb", buffering=0)
    except OSError as error:
        raise InputError(f"Cannot read {input_path}: {error.strerror}.") from error
    unfinished = output_path.with_name(f".{output_path.name}.{os.getpid()}.part")
    with source:
        n_bytes = max(1, os.fstat(source.fileno()).st_size)

        def report(n_rows: int) -> None:
            if progress is not None:
                progress(n_rows, min(1.0, source.tell() / n_bytes))

        try:
            file = open(unfinished, "xb", buffering=0)
        except OSError as error:
            raise InputError(f"Cannot write {output_path}: {error.strerror}.") from error
        try:
            with file:
                spool = Spool(file, task.settings.max_output_bytes)
                scored = score(source, input_path.name, spool, task, report)
            os.replace(unfinished, output_path)
        finally:
            unfinished.unlink(missing_ok=True)
    return scored


def score(
    source: Download | IO[bytes],
    name: str,
    spool: Spool,
    task: Task,
    progress: Callable[[int], None] = lambda n_rows: None,
    check: Callable[[], None] = lambda: None,
) -> Scored:
    """Score a file; the spool then holds a complete one.

    `source` is a download or an unbuffered file, `name` its name or the path of its URL, which may say what
    format it has. `progress` is called with the number of rows written so far, `check` often and by several
    threads, for it to end the job by raising.

    Raises InputError if the file is not what the model takes; the message names line or row, column and
    value. Raises TransferError if the download fails, and LimitError if something is too large.
    """
    with contextlib.ExitStack() as stack:
        stream, input_format = open_stream(source, name, task.parameters.input_format, task.settings, stack)
        try:
            run = _Run(stream, input_format, spool, task, check)
            run.write(progress)
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
            check_descriptors(error)
            raise InputError(f"Cannot read the file as {input_format}: {first_line(error)}") from error
    notes = column_notes(run.plan.absent, run.plan.extra)
    return Scored(run.n_rows, run.n_rejected, input_format, run.output_format, tuple(notes))


@dataclass(frozen=True)
class _Block:
    """A scored block on its way to the writer."""

    encoded: Any
    n_rows: int
    n_rejected: int
    n_lines: int
    first_fault: tuple[int, str] | None = None


class _Run:
    """One file on its way from its reader to its writer."""

    def __init__(
        self, stream: Any, input_format: FileFormat, spool: Spool, task: Task, check: Callable[[], None]
    ) -> None:
        asked, schema = task.parameters, task.model.schema
        self.output_format = parse_format(asked.output_format, "output_format") or input_format
        self.n_rows = self.n_rejected = 0
        self._task, self._spool, self._check = task, spool, check
        self._reader: Reader = input_format.format.reader(stream, schema, asked, task.settings, check)
        fields = answer_fields(schema, asked, FILE)
        self._scoring = Scoring(task.model, asked, fields, task.explain, check)
        copied = self._reader.passthrough_fields
        self._columns = output_schema(fields, copied, self.output_format.format)
        sink: Any = pa.PythonFile(spool, mode="w")
        if self.output_format.codec:
            sink = pa.CompressedOutputStream(sink, self.output_format.codec)
        self._writer: Writer = self.output_format.format.writer(self._columns, schema, sink)

    @property
    def plan(self) -> ColumnPlan:
        """The columns that are read, and those that are left out."""
        return self._reader.plan

    def write(self, progress: Callable[[int], None]) -> None:
        """Score all blocks and write them, in order."""
        line, settings = self._reader.first_line, self._task.settings
        try:
            scored = in_order(
                self._score_block,
                self._reader.blocks(),
                settings.workers,
                check=self._check,
                max_bytes=settings.max_batch_bytes,
            )
            with contextlib.closing(scored):  # a failure here has to end the threads now, not some time
                for block in scored:
                    self._check()
                    if block.first_fault is not None:
                        self._fail(block.first_fault, line)
                    if block.encoded is not None:
                        self._writer.write(block.encoded)
                    self.n_rows += block.n_rows
                    self.n_rejected += block.n_rejected
                    line += block.n_lines
                    if self.n_rows > settings.max_rows:
                        raise LimitError(
                            f"The file has more than {settings.max_rows} rows (PROTO_MODEL_FILES_MAX_ROWS)."
                        )
                    progress(self.n_rows)
            self._writer.close()
        except BaseException:
            self._spool.discard()  # what the writer still has to say when it is dropped
            with contextlib.suppress(Exception):
                self._writer.close()
            raise

    def _score_block(self, block: Any) -> _Block:
        """Parse, predict and encode; called by several threads at once."""
        task, rows = self._task, self._reader.parse(block)
        n_rows = len(rows.matrix)
        if rows.faults and not self._scoring.marking:
            first = rows.faults[0]
            place = first.row if rows.lines is None else int(rows.lines[first.row])
            return _Block(None, n_rows, 0, rows.n_lines, (place, str(first)))
        if n_rows == 0:
            return _Block(None, 0, 0, rows.n_lines)
        answers, bad = self._scoring.columns(rows.matrix, rows.faults)
        batch = output_batch(rows, answers, self._columns, task.settings.max_batch_bytes)
        return _Block(self._writer.encode(batch), n_rows, int(bad.sum()), rows.n_lines)

    def _fail(self, fault: tuple[int, str], line: int) -> None:
        at, reason = fault
        where = line + at if self._reader.place == "line" else self.n_rows + at + 1
        raise InputError(
            f"{self._reader.place} {where}, {reason}. Correct it, or set on_bad_row='mark' to go on."
        )


def in_order(
    work: Callable[[Any], T],
    blocks: Iterator[Any],
    n_workers: int,
    *,
    check: Callable[[], None] = lambda: None,
    max_bytes: int = 1 << 62,
) -> Generator[T]:
    """Results of the work on each block in the blocks' order, while later ones are read and worked on.

    The caller's thread reads and writes, `n_workers` threads work; at most `n_workers + 2` blocks are in
    memory, and beside the last one read at most `max_bytes` of them. `check` is called now and then; the work
    that has begun must end soon once it raises.
    """
    running: deque[tuple[Future[T], int]] = deque()

    def oldest() -> T:
        future, _ = running.popleft()
        while not future.done():
            wait([future], _WAIT_S)
            check()
        return future.result()

    with ThreadPoolExecutor(n_workers, thread_name_prefix="scorer") as pool:
        try:
            for block in blocks:
                n_bytes = block.nbytes
                while running and sum(n for _, n in running) + n_bytes > max_bytes:
                    yield oldest()
                running.append((pool.submit(work, block), n_bytes))
                while len(running) > n_workers + 1 or (running and running[0][0].done()):
                    yield oldest()
            while running:
                yield oldest()
        finally:
            for future, _ in running:
                future.cancel()
