"""The Spark engine: a job's function gets lists of files, and runs in spark-submit."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from proto_model.errors import counted
from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.jobs.job import Job
from proto_model.jobs.options import JobOptions, Ran
from proto_model.jobs.spark_folder import write_folder
from proto_model.jobs.spark_submit import (
    SparkSubmit,
    command,
    is_local,
    master_of,
    program_of,
    spark_environment,
)
from proto_model.jobs.transport import Transport
from proto_model.sources import OUTPUT_DIR, Source

_MAX_FILES = 10_000
_GIVEN = "model_job_outputs.jsonl"
_GIVEN_KEPT = "outputs.jsonl"


@dataclass
class SparkJob:
    """One job on its way; `kept` is the folder of its results, `is_kept_here` says that it stays there."""

    job: Job
    source: Source
    transport: Transport
    options: JobOptions
    work: Path
    kept: Path
    ran: Ran
    is_kept_here: bool

    def run(self) -> None:
        """Run the function; a JobError says that something cannot be used as given."""
        function = self.source.function(self.job.function)
        if not function.is_spark:
            raise JobError(
                f"{self.source.name}, line {function.line}: {function.name} takes records, not the three "
                "lists of files of a function for Spark. Run it with --engine local."
            )
        if self.options.schema_check or self.job.schema_check:
            self.ran.notes.append("Schemas are not checked on Spark: the function reads and writes itself.")
        variables = spark_environment(self.options)
        program = program_of(variables)
        master = master_of(self.job, self.options)
        path = self.work / "spark"
        path.mkdir()
        folder = write_folder(
            self.job,
            self.source,
            self.transport,
            path,
            kept=self.kept if self.is_kept_here else None,
            is_local=is_local(master),
        )
        given = command(self.job, folder, master, program)
        with SparkSubmit(given, path, self.options, variables) as running:
            try:
                running.wait()
            except JobFailedError as error:
                self.ran.failure = str(error)
            finally:
                running.close()
                self.ran.log = running.log
        if self.ran.failure:
            return
        self._keep(path)
        self._measure()

    def _keep(self, path: Path) -> None:
        """Keep what the function wrote to outputDir, and what it yielded."""
        left, n_files = self.options.limits.output_bytes, 0
        for place, folders, names in os.walk(path / OUTPUT_DIR):
            for name in [*folders, *names]:
                one = Path(place, name)
                info = one.lstat()
                if name in folders and stat.S_ISDIR(info.st_mode):
                    continue
                if not stat.S_ISREG(info.st_mode):
                    raise JobFailedError(f"The source left {name!r} in outputDir, which is no plain file.")
                left, n_files = left - info.st_size, n_files + 1
        if left < 0 or n_files > _MAX_FILES:
            raise JobFailedError(
                f"The source wrote {counted(n_files, 'file')} to outputDir, more than is kept. Give it more "
                "with --output-size."
            )
        shutil.move(path / OUTPUT_DIR, self.kept / OUTPUT_DIR)
        given = path / _GIVEN
        if given.is_file() and given.stat().st_size:
            shutil.move(given, self.kept / _GIVEN_KEPT)
            self.ran.default_outputs["the function"] = self.kept / _GIVEN_KEPT

    def _measure(self) -> None:
        """Sizes of outputs that are on this machine; a note for one that is not there."""
        for asset in self.job.outputs:
            if asset.place is None:
                path = self.kept / asset.filename
                if path.exists():
                    self.ran.default_outputs[asset.at] = path
            elif asset.place.path is not None:
                path = asset.place.path
            else:
                continue
            if path.exists():
                parts = path.rglob("*") if path.is_dir() else [path]
                self.ran.written[asset.at] = sum(one.stat().st_size for one in parts if one.is_file())
            else:
                self.ran.notes.append(f"{asset.at}: the function wrote nothing to {path}.")
