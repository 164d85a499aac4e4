"""Run one function of a model source on a set of records, and say what became of each."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proto_model.errors import counted
from proto_model.sources.attachments import MAX_FILES
from proto_model.sources.data import BadRecord, read_records
from proto_model.sources.errors import SourceError
from proto_model.sources.process import SourceEndedError
from proto_model.sources.session import Options, Session, SourceModel, json_line, session, unpacked
from proto_model.sources.source import Source

MAX_SHOWN = 10
MAX_REASONS = 50
OTHER_REASONS = "other reasons"

Data = Path | Iterable[Any] | None
Sink = Callable[[Any], None]


@dataclass
class Outcome:
    """What a run of a function gave.

    Attributes
    ----------
    function : str
        Its role: init, score, metrics or training.
    digest : str
        Identity of the model: of code, attachments and schemas.
    records : list
        What it gave, unless a sink took it.
    n_in, n_out : int
        Records read, and written.
    rejected, dropped : Counter
        How many records were left out, and how many outputs were not written, by reason.
    first : list of (int, str)
        Positions of the first of these records, counted from 1, and why.
    assets : dict of str to Path
        Files that it wrote to outputDir, by name.
    log : str
        What it printed.
    failure : str
        Why it did not come to its end; empty if it did.
    notes : list of str
        What else is to be known.
    """

    function: str
    digest: str = ""
    records: list[Any] = field(default_factory=list)
    n_in: int = 0
    n_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    first: list[tuple[int, str]] = field(default_factory=list)
    assets: dict[str, Path] = field(default_factory=dict)
    log: str = ""
    failure: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether it came to its end, and not every record was refused."""
        return not self.failure and not (self.n_in and self.rejected.total() == self.n_in)

    def to_dict(self) -> dict[str, Any]:
        """Summary as JSON, without records and log."""
        return {
            "function": self.function,
            "digest": self.digest,
            "records_in": self.n_in,
            "records_out": self.n_out,
            "rejected": dict(self.rejected.most_common()),
            "not_written": dict(self.dropped.most_common()),
            "first": [{"record": number, "reason": reason} for number, reason in self.first],
            "assets": sorted(self.assets),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "failure": self.failure or None,
        }


def run(
    source: Source,
    function: str,
    data: Data = None,
    *,
    attachments: Sequence[Path] = (),
    output_dir: Path | None = None,
    options: Options | None = None,
    sink: Sink | None = None,
) -> Outcome:
    """Run a function of a source in a process with limits.

    Parameters
    ----------
    source : Source
        Its init function is called first. Of a training, that may fail, since there may be no model yet.
    function : {"init", "score", "metrics", "training"}
        A score function gets record by record, the others all of them as a pandas data frame.
    data : Path or iterable, optional
        A file that `read_records` takes, or records as JSON has them; none for init.
    attachments : sequence of Path
        Zip archives, unpacked into the working directory, and other files, copied there.
    output_dir : Path, optional
        New or empty folder for what the function writes to `outputDir/`.
    options : Options, optional
        Limits, whether schemas are checked, which Python.
    sink : callable, optional
        Gets each output; by default they are collected in the outcome.

    Returns
    -------
    Outcome
        Also if the source fails: `failure` says how.

    Raises
    ------
    SourceError
        If source, attachments, schemas or data cannot be used; then nothing was run.
    """
    options = options or Options()
    _check(source, function, data, output_dir)
    began = time.monotonic()
    with unpacked(source, attachments, needs_schemas=options.schema_check) as model:
        outcome = Outcome(function, model.digest)
        with session(model, options) as running:
            try:
                running.begin(must=function != "training")
                if function != "init":
                    assert data is not None
                    _Run(running, outcome, sink or outcome.records.append).run(_records(data, model))
                _keep_assets(model, output_dir, options.limits.output_bytes, outcome)
            except SourceEndedError as error:
                outcome.failure = _with_place(str(error), function, outcome.n_in)
        outcome.log = running.process.log
        outcome.notes += running.notes
        if running.n_nulls:
            outcome.notes.append(
                f"{counted(running.n_nulls, 'number')} that is NaN or infinite was written as null."
            )
    outcome.seconds = time.monotonic() - began
    return outcome


def _check(source: Source, function: str, data: Data, output_dir: Path | None) -> None:
    known = source.function(function)
    if function != "init":
        if known.is_spark:
            raise SourceError(
                f"{source.name}: {known.name} takes three lists of files, so it is for Spark. Run it with: "
                "python -m proto_model job run job.json --engine spark"
            )
        if data is None:
            raise SourceError(f"{function} needs data. Give a file with --data.")
    if (
        output_dir is not None
        and output_dir.exists()
        and (not output_dir.is_dir() or any(output_dir.iterdir()))
    ):
        raise SourceError(f"{output_dir} is there already. Remove it, or give another name.")


def _records(data: Path | Iterable[Any], model: SourceModel) -> Iterator[Any]:
    if not isinstance(data, Path):
        return iter(data)
    if not data.is_file():
        raise SourceError(f"There is no file {data}. Give one of JSON, CSV, Parquet or Avro.")
    schema = model.input_schema
    return read_records(data, types=schema.fields if schema is not None else None)


def _with_place(text: str, function: str, n_in: int) -> str:
    return f"{text} It was at record {n_in:,}." if function == "score" and n_in else text


@dataclass
class _Run:
    """Passes records on, and counts what becomes of them."""

    session: Session
    outcome: Outcome
    sink: Sink

    def run(self, records: Iterator[Any]) -> None:
        if self.outcome.function == "score":
            for record in records:
                self._score(record)
            return
        with tempfile.TemporaryDirectory(prefix="proto_model-source-") as folder:
            table = Path(folder, "table.jsonl")
            columns = self._write(records, table)
            if self.outcome.n_in and not self.outcome.rejected.total() < self.outcome.n_in:
                return
            result = self.session.table(self.outcome.function, table, columns)
        self._take(result.outputs, result.dropped)

    def _score(self, record: Any) -> None:
        self.outcome.n_in += 1
        if isinstance(record, BadRecord):
            self._reject(record.reason)
            return
        result = self.session.score(record)
        if result.rejected:
            self._reject(result.rejected)
        self._take(result.outputs, result.dropped)

    def _write(self, records: Iterator[Any], table: Path) -> list[str]:
        """Write the records that the schema takes; names of their columns."""
        columns: dict[str, None] = {}
        with table.open("wb") as file:
            for record in records:
                self.outcome.n_in += 1
                fault = record.reason if isinstance(record, BadRecord) else self.session.input_fault(record)
                if fault:
                    self._reject(fault)
                    continue
                file.write(json_line(record))
                if isinstance(record, dict):
                    columns |= dict.fromkeys(record)
        schema = self.session.model.input_schema
        return list(columns or (schema.fields if schema is not None else ()))

    def _reject(self, reason: str) -> None:
        _count(self.outcome.rejected, reason)
        self._remember(reason)

    def _take(self, outputs: Sequence[Any], dropped: Sequence[str]) -> None:
        for output in outputs:
            self.outcome.n_out += 1
            self.sink(output)
        for reason in dropped:
            _count(self.outcome.dropped, reason)
            self._remember(reason)

    def _remember(self, reason: str) -> None:
        if len(self.outcome.first) < MAX_SHOWN:
            self.outcome.first.append((self.outcome.n_in, reason))


def _count(reasons: Counter[str], reason: str) -> None:
    """Count a reason; there may be another one for each record, so not all are kept."""
    reasons[reason if reason in reasons or len(reasons) < MAX_REASONS else OTHER_REASONS] += 1


def _keep_assets(model: SourceModel, output_dir: Path | None, most: int, outcome: Outcome) -> None:
    """Move what a function wrote to outputDir; links and too much are a SourceEndedError."""
    found: dict[str, Path] = {}
    left = most
    for place, folders, names in os.walk(model.output_dir):
        for name in [*folders, *names]:
            path = Path(place, name)
            shown = path.relative_to(model.output_dir).as_posix()
            mode = path.lstat().st_mode
            if name in folders and stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise SourceEndedError(f"The source left {shown!r} in outputDir, which is no plain file.")
            found[shown] = path
            left -= path.lstat().st_size
    if left < 0 or len(found) > MAX_FILES:
        raise SourceEndedError(
            f"The source wrote {counted(len(found), 'file')} of {most - left:,} bytes to outputDir, at most "
            f"{MAX_FILES:,} of {most:,} bytes are kept. Give it more with --output-size."
        )
    if output_dir is None:
        if found:
            outcome.notes.append(
                f"{counted(len(found), 'file')} in outputDir was not kept. Name a folder with --output-dir."
            )
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    for shown, path in sorted(found.items()):
        target = output_dir / shown
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        outcome.assets[shown] = target
