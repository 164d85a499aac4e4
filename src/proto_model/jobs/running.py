"""Runs a job from its file to its result, which is written whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from proto_model.errors import ProtoModelError
from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.jobs.job import Job
from proto_model.jobs.local import LocalJob
from proto_model.jobs.options import JobOptions, Ran
from proto_model.jobs.places import Place, parse_place
from proto_model.jobs.result import CANCELLED, COMPLETE, ERROR, Result
from proto_model.jobs.spark import SparkJob
from proto_model.jobs.transport import Transport, copied_tree, copy_to_store, filesystem_of
from proto_model.jobs.version import VersionJob
from proto_model.sources import OUTPUT_DIR, Source
from proto_model.sources.source import MAX_SOURCE_BYTES

FolderOf = Callable[[str, Path], Path]


def run_job(job: Job, output_dir: str, options: JobOptions, folder_of: FolderOf) -> Result:
    """Run a job, and write its result, its log and its assets.

    Parameters
    ----------
    job : Job
        What to run.
    output_dir : str
        New or empty folder of the results, or a URL of one in a store.
    options : JobOptions
        Which engine, and its limits.
    folder_of : callable
        Folder of a version by its URI, which may be downloaded into an empty folder.

    Returns
    -------
    Result
        Also of a job that failed while it ran.

    Raises
    ------
    ProtoModelError
        If something cannot be used as given. Unless that is the output folder, a result says so, too.
    """
    target = parse_place(output_dir, "--output-dir", Path())
    with _kept_in(target) as kept, tempfile.TemporaryDirectory(prefix="proto_model-job-") as work:
        running = _Running(job, options, folder_of, Path(work), kept, target)
        try:
            result = running.run()
        finally:
            if target.kind == "store":
                copied_tree(kept, lambda path, name: _upload(path, name, target))
    return result


@contextlib.contextmanager
def _kept_in(target: Place) -> Iterator[Path]:
    """The folder in which results are put together; a JobError says that it cannot be used."""
    if target.kind == "web":
        raise JobError(
            "--output-dir: a presigned URL is of one file. Give a folder, or a URL such as s3://b/f"
        )
    if target.kind == "store":
        filesystem_of(target, "--output-dir")
        with tempfile.TemporaryDirectory(prefix="proto_model-job-") as kept:
            yield Path(kept)
        return
    path = target.path
    assert path is not None
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise JobError(f"{target} is there already. Remove it, or give another --output-dir.")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"Cannot write to {target}: {error.strerror}. Give another --output-dir.") from error
    yield path


def _upload(path: Path, name: str, target: Place) -> None:
    url = f"{target.text.rstrip('/')}/{name}"
    try:
        copy_to_store(path, Place("store", url, url, path.name), "--output-dir")
    except OSError as error:
        raise JobFailedError(f"--output-dir: cannot write {url}: {str(error)[:200]}.") from error


@dataclass
class _Running:
    """One job on its way."""

    job: Job
    options: JobOptions
    folder_of: FolderOf
    work: Path
    kept: Path
    target: Place

    def run(self) -> Result:
        self.started_at = datetime.now(UTC)
        self.ran, self.engine = Ran(), self.options.engine or "local"
        try:
            self._run()
        except JobFailedError as error:
            self.ran.failure = str(error)
        except ProtoModelError as error:
            self._written(ERROR, str(error))
            raise
        except BaseException:  # also what Ctrl-C and SIGTERM raise: the result is to say so
            self._written(CANCELLED, "The job was stopped before its end.")
            raise
        return self._written(ERROR if self.ran.failure else COMPLETE, self.ran.failure)

    def _run(self) -> None:
        job, options = self.job, self.options
        transport = Transport(options.settings, options.limits.timeout_s)
        if job.source is None:
            if self.engine == "spark":
                raise JobError(
                    "model.uri is scored by the local engine. Leave --engine out; docs/spark.md says how a "
                    "version scores on Spark."
                )
            VersionJob(job, transport, options, self.work, self.kept, self.ran, self.folder_of).run()
            return
        content = transport.content(job.source, MAX_SOURCE_BYTES)
        source = Source.of(content, job.source.filename, self.work / "none", job.function_names)
        if not options.engine and source.function(job.function).is_spark:
            self.engine = "spark"
        if self.engine == "local":
            LocalJob(job, source, transport, options, self.work, self.kept, self.ran).run()
        else:
            is_here = self.target.kind == "path"
            SparkJob(job, source, transport, options, self.work, self.kept, self.ran, is_here).run()

    def _written(self, status: str, said: str) -> Result:
        """The result, also as a file; what was half written to outputDir does not stay."""
        if status != COMPLETE and (self.kept / OUTPUT_DIR).is_dir():
            shutil.rmtree(self.kept / OUTPUT_DIR)
        for unfinished in self.kept.glob(".scored-*"):
            unfinished.unlink()
        messages = tuple(filter(None, (said, *self.job.warnings, *self.ran.notes)))
        folder = str(self.target.path) if self.target.path is not None else self.target.text
        result = Result(self.job, status, messages, self.ran, folder, self.kept, self.engine, self.started_at)
        result.write()
        return result
