"""What requests for files carry: jobs of two URLs in, summaries out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files import FileJob, Summary, run_jobs
from proto_model.files.transfer import FileSettings, LimitError, TransferError
from proto_model.model import Predictor
from proto_model.serving.http.errors import EndingError, MediaTypeError, SlowAnswerError
from proto_model.serving.http.payload import JSON, Output, Question

URLS = ("input_url", "output_url")
COLUMNS = (*URLS, "file_id")


class JobReader:
    """Reads jobs from a table; no message holds a value, which may be a URL with a signature."""

    def table(self, columns: Any, rows: Any) -> list[FileJob]:
        """Jobs of rows that are lists, below a list of column names."""
        if not isinstance(columns, list) or not isinstance(rows, list):
            raise InputError("dataframe_split needs columns, a list of names, and data, a list of rows.")
        for number, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(columns):
                raise InputError(f"Row {number} is not a list of {len(columns)} values, one per column.")
        for name in COLUMNS:
            if columns.count(name) > 1:
                raise InputError(f"Column {name!r} given more than once. Send it once.")
        places = {name: columns.index(name) for name in COLUMNS if name in columns}
        return _jobs({name: [row[place] for row in rows] for name, place in places.items()})

    def records(self, records: Sequence[Mapping[str, Any]]) -> list[FileJob]:
        """Jobs of rows that are objects."""
        names = [name for name in COLUMNS if any(name in record for record in records)]
        return _jobs({name: [record.get(name) for record in records] for name in names})

    def columns(self, columns: Mapping[str, Any]) -> list[FileJob]:
        """Jobs of an object of columns; a value that is not a list is the only one."""
        known = {name: columns[name] for name in COLUMNS if name in columns}
        lists = {name: value if isinstance(value, list) else [value] for name, value in known.items()}
        if len(set(map(len, lists.values()))) > 1:
            raise InputError(f"Columns {', '.join(lists)} have different numbers of values.")
        return _jobs(lists)

    def matrix(self, rows: Sequence[Any]) -> list[FileJob]:
        """Jobs have names for their URLs."""
        raise InputError(
            'Rows without column names given, jobs expected: [{"input_url": ..., "output_url": ...}].'
        )

    def tensor(self, values: Any, n_rows: int) -> list[FileJob]:
        """The same."""
        return self.matrix(())


class FilePayload:
    """Jobs of two presigned URLs; a job that fails says so in its summary."""

    media_types: tuple[str, ...] = (JSON,)
    inputs: Mapping[str, Sequence[str]] = dict.fromkeys(COLUMNS, ("BYTES",))
    # V2 knows no null, which a summary is full of; so a summary is one text.
    outputs: Mapping[str, str] = dict.fromkeys(("file_id", "status", "summary"), "BYTES")

    def __init__(self, predictor: Predictor, files: FileSettings, max_files: int) -> None:
        self.max_rows = max_files
        self.reader = JobReader()
        self._predictor = predictor
        self._files = files

    def question(self, rows: Any, params: Any, outputs: Sequence[str] = ()) -> Question:
        """Question about jobs."""
        return Question(rows, self._predictor.parameters(params))

    def read(self, body: bytes, media_type: str) -> Any:
        """Jobs come as JSON only."""
        raise MediaTypeError(f"Jobs come as {JSON}.")

    def work(self, question: Question) -> str:
        """Each request has a thread of its own."""
        return "file"

    def answer(self, question: Question, go_on: Callable[[], None] | None = None) -> list[Summary]:
        """Summaries of the jobs, one after the other.

        A client that goes away does not end its jobs: what it asked for still appears in its store.
        """

        def check() -> None:
            # What each job's summary says of it has the words of file jobs.
            try:
                if go_on is not None:
                    go_on()
            except SlowAnswerError as error:
                raise LimitError(str(error)) from error
            except EndingError as error:
                raise TransferError(str(error)) from error

        def explain(matrix: NDArray[np.float64]) -> list[dict[str, Any]]:
            return self._predictor.explain(matrix, question.parameters, check)

        return run_jobs(
            question.rows, self._predictor, question.parameters, self._files, explain=explain, go_on=check
        )

    def n_rows(self, answer: list[Summary]) -> int:
        """Rows of all the files."""
        return sum(summary.rows or 0 for summary in answer)

    def records(self, answer: list[Summary]) -> list[dict[str, Any]]:
        """A record per job."""
        return [summary.to_dict() for summary in answer]

    def tensors(self, answer: list[Summary], names: Iterable[str]) -> list[Output]:
        """Tensors of these names."""
        columns: dict[str, list[Any]] = {
            "file_id": [summary.file_id or "" for summary in answer],
            "status": [summary.status for summary in answer],
            "summary": [orjson.dumps(summary.to_dict()).decode() for summary in answer],
        }
        return [(name, self.outputs[name], columns[name]) for name in names]


def _jobs(columns: Mapping[str, list[Any]]) -> list[FileJob]:
    missing = [name for name in URLS if name not in columns]
    if missing:
        raise InputError(f"Columns missing: {missing}. A file job has an input_url and an output_url.")
    input_urls, output_urls = (columns[name] for name in URLS)
    file_ids = columns.get("file_id", [None] * len(input_urls))
    return [
        FileJob(_known(input_url), _known(output_url), _text(file_id))
        for input_url, output_url, file_id in zip(input_urls, output_urls, file_ids, strict=True)
    ]


def _known(value: Any) -> Any:
    """The value; None for NaN, which JSON's standard library lets pass."""
    return None if value != value else value


def _text(file_id: Any) -> str | None:
    """A file's id as it can go out again: half of a surrogate pair may come in with JSON, but cannot."""
    return None if _known(file_id) is None else str(file_id).encode(errors="replace").decode()
