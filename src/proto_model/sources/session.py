"""A model source at work: unpacked with its attachments, loaded, begun, and asked record by record."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proto_model.sources.attachments import OUTPUT_DIR, SOURCE_FILE, unpack
from proto_model.sources.avro import AvroSchema
from proto_model.sources.errors import SourceError
from proto_model.sources.limits import Limits, environment
from proto_model.sources.process import Answer, SourceEndedError, SourceProcess
from proto_model.sources.source import Source, identity


@dataclass(frozen=True)
class Options:
    """How a source is run.

    Attributes
    ----------
    limits : Limits
        What it may use.
    schema_check : bool
        Whether records have to be as the source's schemas say.
    python : str
        The Python that runs it, which has the libraries that it needs.
    variables : tuple of str
        Environment variables that it gets beside the harmless ones.
    """

    limits: Limits = field(default_factory=Limits)
    schema_check: bool = False
    python: str = sys.executable
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceModel:
    """A source with its attachments in a working directory; `digest` is the same for the same model."""

    source: Source
    folder: Path
    files: Mapping[str, str]
    schemas: Mapping[str, AvroSchema]
    digest: str

    @property
    def input_schema(self) -> AvroSchema | None:
        """Schema of the input, if the source has one."""
        return self._schema(self.source.input_schema)

    @property
    def output_schema(self) -> AvroSchema | None:
        """Schema of the output, if the source has one."""
        return self._schema(self.source.output_schema)

    @property
    def output_dir(self) -> Path:
        """Where functions write files that are to be kept."""
        return self.folder / OUTPUT_DIR

    def _schema(self, name: str | None) -> AvroSchema | None:
        return self.schemas.get(name or "")


@contextlib.contextmanager
def unpacked(
    source: Source, attachments: Sequence[Path] = (), *, needs_schemas: bool = False
) -> Iterator[SourceModel]:
    """A source in a working directory of its own, which is removed in the end; nothing is run.

    Schemas are files beside the source, or in an attachment. With `needs_schemas`, a SourceError says which
    is missing, or that the source names none.
    """
    with tempfile.TemporaryDirectory(prefix="proto_model-source-") as temporary:
        folder = Path(temporary, "work")
        folder.mkdir()
        files = unpack(attachments, folder)
        schemas = _schemas(source, folder, needs_schemas)
        (folder / SOURCE_FILE).write_bytes(source.content)
        for schema in schemas.values():
            if schema.name not in files:
                (folder / schema.name).write_bytes(schema.content)
        (folder / OUTPUT_DIR).mkdir()
        digests = {name: hashlib.sha256(one.content).hexdigest() for name, one in schemas.items()}
        yield SourceModel(source, folder, files, schemas, identity(source, files, digests))


def _schemas(source: Source, folder: Path, needed: bool) -> dict[str, AvroSchema]:
    if needed and not source.schema_names:
        raise SourceError(
            f"{source.name} names no schema, so there is nothing to check. Write the line "
            "`# modelop.schema.0: input.avsc`, or leave --schema-check out."
        )
    found = {}
    for name in source.schema_names.values():
        path = next((one / name for one in (folder, source.folder) if (one / name).is_file()), None)
        if path is not None:
            schema = AvroSchema.read(path)
            found[name] = schema.checked() if needed else schema
        elif needed:
            raise SourceError(
                f"There is no schema {name} beside {source.name} or in an attachment. Put it there."
            )
    return found


@dataclass(frozen=True)
class Result:
    """What a source gave for a record, or why it was left out; `dropped` say why outputs were."""

    outputs: tuple[Any, ...] = ()
    rejected: str = ""
    dropped: tuple[str, ...] = ()


@dataclass
class Session:
    """A loaded source; not safe to share between threads."""

    model: SourceModel
    options: Options
    process: SourceProcess
    deadline: float
    notes: list[str] = field(default_factory=list)
    n_nulls: int = 0

    def begin(self, *, must: bool = True) -> None:
        """Load the source and call its init function.

        A SourceEndedError says that either failed. If it need not, a note does, of the init function.
        """
        answer = self.process.load(self.deadline)
        if answer.raised is not None:
            raise SourceEndedError(
                f"{self.model.source.name} cannot be loaded: {answer.raised.sentence('it')}."
            )
        init = self.model.source.functions.get("init")
        if init is None:
            return
        answer = self.process.call(init.name, [{}] if init.n_required else [], self.deadline)
        if answer.raised is None:
            return
        said = f"{answer.raised.sentence(init.name)}."
        if must:
            raise SourceEndedError(said)
        self.notes.append(f"{said} The other function was called all the same.")

    def score(self, record: Any) -> Result:
        """What the score function makes of a record."""
        fault = self.input_fault(record)
        if fault:
            return Result(rejected=fault)
        function = self.model.source.function("score")
        answer = self.process.call(function.name, [record], self.deadline)
        if answer.raised is not None:
            return Result(rejected=answer.raised.sentence(function.name))
        return self._checked(answer)

    def table(self, role: str, path: Path, columns: Sequence[str]) -> Result:
        """What a function of a whole table gives; a SourceEndedError says that it failed."""
        function = self.model.source.function(role)
        answer = self.process.call_with_table(function.name, path, columns, self.deadline)
        if answer.raised is not None:
            raise SourceEndedError(f"{answer.raised.sentence(function.name)}.")
        self.n_nulls += answer.n_nulls
        return Result(answer.outputs, dropped=answer.faults)

    def input_fault(self, record: Any) -> str:
        """Why the input's schema refuses a record; empty if it does not, or is not asked."""
        schema = self.model.input_schema if self.options.schema_check else None
        return "" if schema is None else schema.fault(record)

    def _checked(self, answer: Answer) -> Result:
        self.n_nulls += answer.n_nulls
        schema = self.model.output_schema if self.options.schema_check else None
        kept, dropped = [], list(answer.faults)
        for output in _records(answer.outputs, schema):
            fault = "" if schema is None else schema.fault(output)
            if fault:
                dropped.append(f"output: {fault}")
            else:
                kept.append(output)
        return Result(tuple(kept), dropped=tuple(dropped))


def _records(outputs: Sequence[Any], schema: AvroSchema | None) -> Iterator[Any]:
    """Outputs one by one: a list of objects, as of a data frame, is as many, unless a schema asks for it."""
    is_array = schema is not None and schema.is_array
    for output in outputs:
        if (
            isinstance(output, list)
            and output
            and all(isinstance(one, dict) for one in output)
            and not is_array
        ):
            yield from output
        else:
            yield output


@contextlib.contextmanager
def session(model: SourceModel, options: Options) -> Iterator[Session]:
    """A process that runs a source; `Session.begin` is to be called first. It ends with the block."""
    visible = environment(options.variables)
    deadline = time.monotonic() + options.limits.timeout_s
    with SourceProcess(model.folder, options.limits, visible, options.python) as process:
        yield Session(model, options, process, deadline)


def json_line(value: Any) -> bytes:
    """A value as a line of JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
