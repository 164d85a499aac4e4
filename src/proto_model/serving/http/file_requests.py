"""Requests for files, in both protocols: a row, or an entry of each tensor, is a job of two URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from proto_model.errors import InputError
from proto_model.explanation import ExplainOptions
from proto_model.files import FileJob, FileOptions, Summary
from proto_model.schema import ModelSchema
from proto_model.serving.http.forms import Forms, parsed
from proto_model.serving.http.media_type import JSON, media_type
from proto_model.serving.http.params import FILE_PARAMS, checked_params
from proto_model.serving.http.tensor_protocol import Envelope, TensorProtocol, listed

__all__ = ["FileInference", "FileInferenceRequest", "FileInvocations", "FileQuestion"]

URLS = ("input_url", "output_url")
COLUMNS = (*URLS, "file_id")
# V2 knows no null, which a summary is full of; so a summary is one text.
OUTPUTS = {"file_id": "BYTES", "status": "BYTES", "summary": "BYTES"}


@dataclass(frozen=True)
class FileQuestion:
    """What a request for files asks.

    Parameters
    ----------
    jobs : list of FileJob
        One after the other.
    options : FileOptions
        The same for all of them.
    params : mapping
        Checked parameters, of explanations too.
    """

    jobs: list[FileJob]
    options: FileOptions
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: list[FileJob], params: Mapping[str, Any], schema: ModelSchema) -> FileQuestion:
        """Question of checked parameters; raises InputError if one has a wrong value."""
        options = FileOptions.from_params(params)
        if options.explain:
            ExplainOptions.from_params(params).validate(schema)
        return cls(jobs, options, params)


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


class FileInvocations:
    """Reads and writes the bodies of `/invocations` of a model for files.

    Parameters
    ----------
    schema : ModelSchema
        Of the model.
    max_files : int
        Most jobs of a request.
    """

    def __init__(self, schema: ModelSchema, max_files: int) -> None:
        self.schema = schema
        self._forms = Forms(JobReader(), max_files)

    def read(self, body: bytes, content_type: str) -> FileQuestion:
        """Question of a body.

        Raises
        ------
        MediaTypeError, LengthError, InputError
            If the body is not JSON, has too many jobs, or is not right.
        """
        media_type(content_type, (JSON,))
        content = parsed(body)
        params = checked_params(content.get("params"), FILE_PARAMS)
        return FileQuestion.of(self._forms.read(content), params, self.schema)

    def write(self, summaries: list[Summary]) -> bytes:
        """Body of an answer."""
        return orjson.dumps({"predictions": [summary.to_dict() for summary in summaries]})


@dataclass(frozen=True)
class FileInferenceRequest:
    """What an `infer` request for files asks; `id` and `outputs` as for rows."""

    question: FileQuestion
    id: str | None = None
    outputs: tuple[str, ...] = ()


class FileInference(TensorProtocol):
    """Reads and writes the V2 bodies of a model for files: texts in, a text per summary out.

    Parameters
    ----------
    schema : ModelSchema
        Of the model; gives its name, too.
    version : str or None
        Version in the registry, when it is known.
    max_files : int
        Most jobs of a request.
    """

    def __init__(self, schema: ModelSchema, version: str | None, max_files: int) -> None:
        inputs = dict.fromkeys(COLUMNS, ("BYTES",))
        super().__init__(schema.model_name, version, inputs, OUTPUTS, max_files)
        self.schema = schema

    def read(self, body: bytes) -> FileInferenceRequest:
        """Request of a JSON body; raises as `request` does."""
        return self.request(self.opened(body))

    def request(self, envelope: Envelope) -> FileInferenceRequest:
        """Request of tensors, wherever they came from.

        Raises
        ------
        InputError, LengthError
            If a tensor, a parameter or the name of an output is not right, or there are too many jobs.
        """
        outputs = self.output_names(envelope.outputs)
        params = checked_params(listed(envelope.params), FILE_PARAMS)
        jobs = _jobs(self.columns(envelope.tensors))
        return FileInferenceRequest(FileQuestion.of(jobs, params, self.schema), envelope.id, outputs)

    def outputs(
        self, request: FileInferenceRequest, summaries: list[Summary]
    ) -> list[tuple[str, str, list[Any]]]:
        """Name, datatype and data of each tensor of an answer."""
        columns: dict[str, list[Any]] = {
            "file_id": [summary.file_id or "" for summary in summaries],
            "status": [summary.status for summary in summaries],
            "summary": [orjson.dumps(summary.to_dict()).decode() for summary in summaries],
        }
        return [(name, OUTPUTS[name], columns[name]) for name in request.outputs or OUTPUTS]

    def write(self, request: FileInferenceRequest, summaries: list[Summary]) -> bytes:
        """JSON body of an answer."""
        return self.closed(request.id, len(summaries), self.outputs(request, summaries))


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
