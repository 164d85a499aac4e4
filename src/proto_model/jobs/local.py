"""The local engine: a job's function runs in a process with limits, on this machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proto_model.errors import counted
from proto_model.jobs.errors import JobError
from proto_model.jobs.job import Asset, Job
from proto_model.jobs.options import JobOptions, Ran
from proto_model.jobs.outputs import Spool, check_format, write_outputs
from proto_model.jobs.transport import Transport
from proto_model.sources import OUTPUT_DIR, AvroSchema, Source, SourceError, read_records, run, unpacked

_READ = ("csv", "json", "jsonl", "parquet", "avro")


@dataclass
class LocalJob:
    """One job on its way; `work` is a folder of its own, `kept` that of its results."""

    job: Job
    source: Source
    transport: Transport
    options: JobOptions
    work: Path
    kept: Path
    ran: Ran
    _spools: list[Spool] = field(default_factory=list)
    _at: int = 0

    def run(self) -> None:
        """Run the function; a JobError or SourceError says that something cannot be used as given."""
        outputs = self._outputs()
        for asset in outputs:
            self.transport.check_output(asset, overwrite=self.options.overwrite)
        attachments = self._attachments()
        inputs = self._inputs()
        schemas = self._schemas(attachments)
        for asset in outputs:
            check_format(asset.suffix_format or "json", schemas["output"], f"{asset.at}.fileFormat")
        with contextlib.ExitStack() as opened:
            for number in range(len(outputs)):
                spool = Spool(self.work / f"spool-{number}")
                opened.callback(spool.close)
                self._spools.append(spool)
            outcome = run(
                self.source,
                self.job.function,
                self._records(inputs, schemas["input"]),
                attachments=attachments,
                output_dir=self.kept / OUTPUT_DIR,
                options=self.options.of_source(schema_check=self.job.schema_check),
                sink=lambda value: self._spools[min(self._at, len(self._spools) - 1)].add(value),
            )
        self.ran.log, self.ran.notes = outcome.log, [*self.ran.notes, *outcome.notes]
        self.ran.summary = {
            name: value
            for name, value in outcome.to_dict().items()
            if name not in ("assets", "notes", "failure", "seconds", "function")
        }
        self.ran.failure = outcome.failure
        if not outcome.is_good and not outcome.failure:
            self.ran.failure = f"Every record was refused, the first because: {outcome.first[0][1]}."
        if self.ran.failure:
            return
        finished = [
            (asset, self._finished(asset, spool, schemas["output"]))
            for asset, spool in zip(outputs, self._spools, strict=True)
            if job_wrote(self.job, spool)
        ]
        for asset, path in finished:
            self._deliver(asset, path)

    def _outputs(self) -> list[Asset]:
        """Where the outputs go: one for all, or one for each input."""
        job = self.job
        given = list(job.outputs)
        most = len(job.inputs) if job.function == "score" else 1
        if len(given) > 1 and len(given) != most:
            wanted = "one, or as many as inputData" if job.function == "score" else "one"
            raise JobError(f"outputData has {counted(len(given), 'element')}, {wanted} expected.")
        if not given:
            suffix = "jsonl" if job.function == "score" else "json"
            name = {"score": "scores", "metrics": "metrics", "training": "training"}[job.function]
            given = [Asset("outputData", "EXTERNAL_FILE", f"{name}.{suffix}", None, None, suffix, None, {})]
        return given

    def _attachments(self) -> list[Path]:
        """The model's other files, under their own names."""
        folder = self.work / "attachments"
        folder.mkdir()
        found = []
        for number, asset in enumerate((*self.job.secondary, *self.job.files, *self.job.external)):
            place = folder / str(number)
            place.mkdir()
            path = self.transport.fetched(asset, place)
            if path.name != asset.filename:
                path = Path(shutil.copyfile(path, place / asset.filename))
            found.append(path)
        return found

    def _inputs(self) -> list[tuple[Path, str, Asset]]:
        if not self.job.inputs:
            raise JobError("inputData is missing or empty. Name a file with fileUrl.")
        found = []
        for number, asset in enumerate(self.job.inputs):
            kind = asset.suffix_format
            if kind not in _READ:
                given = repr(kind) if kind else "nothing"
                raise JobError(
                    f"{asset.at}.fileFormat: {given} given, CSV, JSON, JSONL, PARQUET or AVRO expected."
                )
            place = self.work / f"input-{number}"
            place.mkdir()
            found.append((self.transport.fetched(asset, place), kind, asset))
        return found

    def _schemas(self, attachments: Sequence[Path]) -> Mapping[str, AvroSchema | None]:
        if not self.source.schema_names:
            return {"input": None, "output": None}
        with unpacked(self.source, attachments) as model:
            return {"input": model.input_schema, "output": model.output_schema}

    def _records(self, inputs: list[tuple[Path, str, Asset]], schema: AvroSchema | None) -> Iterator[Any]:
        for position, (path, kind, asset) in enumerate(inputs):
            self._at = position
            try:
                yield from read_records(path, kind, schema.fields if schema is not None else None)
            except SourceError as error:
                raise JobError(f"{asset.at}: {error}") from error

    def _finished(self, asset: Asset, spool: Spool, schema: AvroSchema | None) -> Path:
        path = Path(f"{spool.path}-finished")
        kind = asset.suffix_format or "json"
        write_outputs(spool, kind, path, schema, is_table=self.job.function == "score")
        return path

    def _deliver(self, asset: Asset, path: Path) -> None:
        self.ran.written[asset.at] = path.stat().st_size
        if asset.place is None:
            self.ran.default_outputs[asset.at] = Path(shutil.move(path, self.kept / asset.filename))
        else:
            self.transport.delivered(path, asset, overwrite=self.options.overwrite)


def job_wrote(job: Job, spool: Spool) -> bool:
    """Whether there is a file to write: a training need not give anything but what is in outputDir."""
    return bool(job.outputs or spool.n_outputs or job.function != "training")
