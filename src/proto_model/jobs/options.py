"""How a job is run."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from proto_model.files.transfer import FileSettings
from proto_model.sources import Limits, Options


@dataclass(frozen=True)
class JobOptions:
    """How a job is run.

    Attributes
    ----------
    engine : {"", "local", "spark"}
        Empty: spark if the function takes three lists of files, else local.
    master : str
        Spark's master; empty for the job's own, or else local[*].
    limits : Limits
        What the source may use; on Spark, time and the size of outputDir alone.
    schema_check : bool
        Whether records have to be as the source's schemas say; the job may ask for it, too.
    overwrite : bool
        Whether outputs may replace files.
    python : str
        The Python that runs a source; on Spark's own workers, what the cluster says.
    variables : tuple of str
        Environment variables that a source gets beside the harmless ones.
    settings : FileSettings
        Where URLs may lead, and how large files may be.
    """

    engine: str = ""
    master: str = ""
    limits: Limits = field(default_factory=Limits)
    schema_check: bool = False
    overwrite: bool = False
    python: str = sys.executable
    variables: tuple[str, ...] = ()
    settings: FileSettings = field(default_factory=FileSettings)

    def of_source(self, *, schema_check: bool) -> Options:
        """What the runner of sources takes of this."""
        return Options(self.limits, self.schema_check or schema_check, self.python, self.variables)


@dataclass
class Ran:
    """What became of a job.

    `failure` says why it did not come to its end. `written` are sizes in bytes of outputs by their place in
    `outputData`, `default_outputs` the files in the job's folder that stand for outputs without a place.
    """

    failure: str = ""
    log: str = ""
    notes: list[str] = field(default_factory=list)
    summary: dict[str, object] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    default_outputs: dict[str, Path] = field(default_factory=dict)
