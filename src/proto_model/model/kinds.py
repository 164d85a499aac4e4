"""The kinds of models: what depends on the task that `schema.json` names.

To add a kind, write a class like `Classification`, and name it in `KINDS` and in `proto_model.schema.TASKS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.forest import CompiledForest
from proto_model.forest.expansion import EXPANSION_FILE, ExpandedForest, Expansion
from proto_model.forest.pipeline import compiled_forest
from proto_model.model.answer import AnswerField, classification_fields
from proto_model.model.digests import DIGESTS_FILE
from proto_model.parameters import ROWS, Parameters, Signature
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOREST_FILE = "forest.npz"


class Engine(Protocol):
    """What computes."""

    def predict_proba(self, X: NDArray[np.float64], n_threads: int | None = None) -> NDArray[np.float64]:
        """Scores, shape (n_rows, n_outputs), of a coded matrix; safe to call from several threads."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""

    def prepare(self, folder: Path) -> None:
        """Write it as it lies in memory, for other processes of this machine."""


@dataclass(frozen=True)
class Prepared:
    """Where `Engine.prepare` wrote an engine, and whether processes shall share its memory."""

    folder: Path
    shared: bool


class Kind(Protocol):
    """What depends on the task."""

    def save(self, pipeline: Pipeline, schema: ModelSchema, folder: Path) -> None:
        """Write the engine of a fitted pipeline; raises ArtifactError if it is of another schema."""

    def engine(self, folder: Path, schema: ModelSchema, prepared: Prepared | None = None) -> Engine:
        """Engine of a bundle, or the same one prepared.

        Raises ArtifactError if it is missing, damaged or of another schema.
        """

    def fields(self, schema: ModelSchema) -> tuple[AnswerField, ...]:
        """All fields that an answer may have, in order."""


class Classification:
    """Forests that give the probability of each class."""

    def save(self, pipeline: Pipeline, schema: ModelSchema, folder: Path) -> None:
        """Compile and write the forest."""
        classes = pipeline[-1].classes_.tolist()
        if tuple(classes) != schema.classes:
            raise ArtifactError(
                f"The pipeline's classes are {classes}, the schema's {list(schema.classes)}. "
                "Write the schema of the table that the pipeline was fitted on."
            )
        compiled_forest(pipeline, schema).save(folder / FOREST_FILE, schema.fingerprint)

    def engine(self, folder: Path, schema: ModelSchema, prepared: Prepared | None = None) -> Engine:
        """Forest of a bundle."""
        path = folder / FOREST_FILE
        if prepared is None:
            compiled = CompiledForest.load(path)
        else:
            compiled = CompiledForest.load_prepared(prepared.folder, shared=prepared.shared)
        forest: CompiledForest | ExpandedForest = compiled
        if (folder / EXPANSION_FILE).exists():
            expansion = Expansion.load(folder / EXPANSION_FILE, schema)
            forest = ExpandedForest(expansion, compiled, len(schema.features))
        expected = (len(schema.features), len(schema.classes))
        if (forest.n_features, forest.n_classes) != expected:
            raise ArtifactError(
                f"{path}: {forest.n_features} features and {forest.n_classes} classes, "
                f"{expected[0]} and {expected[1]} in the schema. Log the model again."
            )
        if compiled.mark and not (folder / DIGESTS_FILE).exists():
            raise ArtifactError(f"{folder} has no {DIGESTS_FILE}. Download the whole model, or log it again.")
        if compiled.mark not in ("", schema.fingerprint):  # none up to 0.3.0, nor where it is prepared
            raise ArtifactError(
                f"{path} is of another schema than the one beside it: features, their categories or terms, "
                "or classes differ, or are in another order. Download the whole model, or log it again."
            )
        return forest

    def fields(self, schema: ModelSchema) -> tuple[AnswerField, ...]:
        """Label, its probability, that of each class, and what was asked for."""
        return classification_fields(schema)


KINDS: dict[str, Kind] = {"classification": Classification()}
"""What depends on each task of `proto_model.schema.TASKS`."""


def answer_fields(
    schema: ModelSchema, parameters: Parameters | None, signature: Signature = ROWS
) -> tuple[AnswerField, ...]:
    """Fields of the answer to a request, in order; all that a request may ask for if `parameters` is None."""
    return tuple(
        field
        for field in KINDS[schema.task].fields(schema)
        if signature in field.of and (parameters is None or field.when is None or field.when(parameters))
    )
