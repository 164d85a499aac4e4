"""A version's forest as a treelite model, for the libraries that read it (such as TL2cgen and FIL)."""

from __future__ import annotations

from typing import Any

import numpy as np

from proto_model.errors import ArtifactError
from proto_model.forest.expansion import Op
from proto_model.formats.libraries import library
from proto_model.formats.rows import Rows
from proto_model.formats.source import Source
from proto_model.formats.verdict import Answers


def write_treelite(source: Source) -> bytes:
    """Treelite's own serialization; an ArtifactError says why there can be none.

    The model takes a matrix with a column per feature of `schema.json`, in its order: a category as its
    place among the feature's categories, NaN for a missing or unknown one.
    """
    _refuse_decision(source)
    for step in source.steps:
        if step.op is not Op.IDENTITY:
            name = source.schema.features[step.source].name
            raise ArtifactError(
                f"No treelite model of this version: the forest does not see the column {name!r} as it is, "
                "and treelite keeps trees alone. Take onnx, which holds what comes before the forest."
            )
    builder = _builder(source)
    # Without an expansion, a forest's columns are the features.
    for tree in source.trees.trees:
        builder.start_tree()
        nodes = zip(
            *(getattr(tree, name).tolist() for name in ("column", "threshold", "left", "right")),
            tree.missing_left.tolist(),
            tree.leaf.tolist(),
            strict=True,
        )
        for number, (column, threshold, left, right, missing_left, leaf) in enumerate(nodes):
            builder.start_node(number)
            if leaf >= 0:
                builder.leaf(source.trees.shares[leaf].tolist())
            else:
                builder.numerical_test(
                    feature_id=column,
                    threshold=threshold,
                    default_left=missing_left,
                    opname="<=",
                    left_child_key=left,
                    right_child_key=right,
                )
            builder.end_node()
        builder.end_tree()
    content: bytes = builder.commit().serialize_bytes()
    return content


def _refuse_decision(source: Source) -> None:
    """Raise an ArtifactError if a version does not answer what its forest does."""
    decision = source.decision
    parts = [
        words
        for words, part in (
            ("calibrates probabilities", decision.calibration),
            ("weighs costs", decision.costs),
        )
        if part is not None
    ]
    if parts:
        raise ArtifactError(
            f"No treelite model of this version: it {' and '.join(parts)}, for which treelite has no place. "
            "Take another format, which holds it, or train with calibrate=none and costs=none."
        )


def _builder(source: Source) -> Any:
    made = library("treelite.model_builder", "treelite")
    n_classes, n_trees = source.trees.n_classes, len(source.trees.trees)
    return made.ModelBuilder(
        threshold_type="float64",
        leaf_output_type="float64",
        metadata=made.Metadata(
            num_feature=len(source.schema.features),
            task_type="kMultiClf",
            average_tree_output=True,
            num_target=1,
            num_class=[n_classes],
            leaf_vector_shape=(1, n_classes),
        ),
        tree_annotation=made.TreeAnnotation(
            num_tree=n_trees, target_id=[0] * n_trees, class_id=[-1] * n_trees
        ),
        postprocessor=made.PostProcessorFunc(name="identity_multiclass"),
        base_scores=[0.0] * n_classes,
    )


def run_treelite(content: bytes, source: Source, rows: Rows) -> Answers:
    """Labels and probabilities by treelite's reference implementation."""
    treelite = library("treelite", "treelite")
    model = treelite.Model.deserialize_bytes(content)
    found = treelite.gtil.predict(model, np.ascontiguousarray(rows.matrix))
    probabilities = np.asarray(found, dtype=np.float64).reshape(len(rows), source.trees.n_classes)
    return probabilities.argmax(axis=1), probabilities
