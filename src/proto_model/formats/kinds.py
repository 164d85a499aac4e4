"""The formats that a version can be written in: what each is called, made by, and read back by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError, InputError, listed
from proto_model.formats.estimator import run_pickle, run_skops, write_pickle, write_skops
from proto_model.formats.onnx_graph import write_onnx
from proto_model.formats.onnx_run import run_onnx
from proto_model.formats.pmml import write_pmml
from proto_model.formats.pmml_reader import run_pmml
from proto_model.formats.rows import Rows, made_rows
from proto_model.formats.source import Source
from proto_model.formats.treelite_model import run_treelite, write_treelite
from proto_model.formats.verdict import Answers, Verdict


@dataclass(frozen=True)
class Format:
    """One line of the table: its name and file, what writes and reads it, and by which library it is read.

    `flavor` is MLflow's, if it is kept as a model that MLflow serves.
    """

    name: str
    file: str
    write: Callable[[Source], bytes]
    run: Callable[[bytes, Source, Rows], Answers]
    by: str
    flavor: str = ""
    warning: str = ""


_WARNING = (
    "A pickle runs whatever code it holds when it is loaded. This project never loads or serves it; give it "
    "to nobody who cannot check where it comes from."
)

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("onnx", "model.onnx", write_onnx, run_onnx, "onnxruntime", flavor="onnx"),
        Format("pmml", "model.pmml", write_pmml, run_pmml, "proto_model"),
        Format("treelite", "model.treelite", write_treelite, run_treelite, "treelite.gtil"),
        Format("skops", "model.skops", write_skops, run_skops, "skops"),
        Format("sklearn", "model.skops", write_skops, run_skops, "skops", flavor="sklearn"),
        Format("pickle", "model.pkl", write_pickle, run_pickle, "pickle", warning=_WARNING),
    )
}
"""Formats that this project writes, in the order of the help."""


def format_of(name: str) -> Format:
    """The format of a name; an InputError says which there are."""
    if name not in FORMATS:
        raise InputError(f"There is no format {name!r}. There are {listed([*FORMATS])}, and file.")
    return FORMATS[name]


def written(kind: Format, source: Source, held_out: NDArray[np.float64] | None) -> tuple[bytes, Verdict]:
    """A version in a format, and how that answers against the version.

    `held_out` are coded test rows, None if there are none; rows at thresholds are made from them, or else
    from the background. An ArtifactError says that the version has no such format, or that a label would
    differ.
    """
    content = kind.write(source)
    base: NDArray[np.float64] = source.bundle.background if held_out is None else held_out
    rows = made_rows(source, base)
    n_held_out = 0
    if held_out is not None:
        n_held_out = len(held_out)
        rows = Rows.of(source.schema, held_out) + rows
    verdict = Verdict.of(source, rows, n_held_out, kind.run(content, source, rows), kind.by)
    if verdict.labels_that_differ:
        raise ArtifactError(
            f"The format {kind.name} was not added, for it answers otherwise than the version: "
            f"{verdict.sentence}. Please report this."
        )
    return content, verdict
