"""A file on this machine scored into another one: what `python -m proto_model score` does."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from proto_model.errors import InputError
from proto_model.files.formats import FileFormat
from proto_model.files.options import FileOptions
from proto_model.files.scoring import Explain, Scored, ScoringModel, score
from proto_model.files.spool import Spool
from proto_model.files.transfer import FileSettings

__all__ = ["score_file"]


def score_file(
    input_path: Path,
    output_path: Path,
    model: ScoringModel,
    options: FileOptions | None = None,
    settings: FileSettings | None = None,
    *,
    explain: Explain | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Scored:
    """Score a local file on all cores, in constant memory.

    Parameters
    ----------
    input_path : Path
        CSV, JSON Lines, Parquet or Arrow IPC, also compressed.
    output_path : Path
        Appears when it is complete; its name says the format unless the options do.
    model : ScoringModel
        Predicts.
    options : FileOptions, optional
        Formats, columns to copy, bad rows.
    settings : FileSettings, optional
        Limits and threads.
    explain : callable or None
        Explanations for rows of the coded matrix.
    progress : callable or None
        Called with the number of rows written so far and the share of the input that was read.

    Returns
    -------
    Scored
        Rows, rejected rows and formats.

    Raises
    ------
    InputError
        If the file is missing, or not what the model takes.
    LimitError
        If something is too large.
    """
    options = options or FileOptions()
    settings = settings or FileSettings()
    if not options.output_format:
        options = dataclasses.replace(options, output_format=str(FileFormat.of_name(output_path.name) or ""))
    try:
        source = open(input_path, "rb", buffering=0)
    except OSError as error:
        raise InputError(f"{input_path} cannot be read: {error.strerror}.") from error
    unfinished = output_path.with_name(f".{output_path.name}.{os.getpid()}.part")
    with source:
        n_bytes = max(1, os.fstat(source.fileno()).st_size)

        def report(n_rows: int) -> None:
            if progress is not None:
                progress(n_rows, min(1.0, source.tell() / n_bytes))

        try:
            file = open(unfinished, "xb", buffering=0)
        except OSError as error:
            raise InputError(f"{output_path} cannot be written: {error.strerror}.") from error
        try:
            with file:
                spool = Spool(file, settings.max_output_bytes)
                scored = score(
                    source,
                    input_path.name,
                    spool,
                    model,
                    options,
                    settings,
                    explain=explain,
                    progress=report,
                )
            os.replace(unfinished, output_path)
        finally:
            unfinished.unlink(missing_ok=True)
    return scored
