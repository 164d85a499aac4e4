"""A version as one ONNX graph: the columns of a table in, the fields of an answer out.

Every number is computed in doubles and in the order in which this project's own engine computes it, so that
labels and probabilities are the same to the last bit, whatever threads onnxruntime takes. A tree ensemble
only tells which leaf of each tree a row reaches, a whole number that is exact in whatever order it is added;
the shares of the leaves are looked up and added tree after tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.formats.graph import ML, Graph
from proto_model.formats.libraries import library
from proto_model.formats.onnx_columns import Columns
from proto_model.formats.onnx_decision import decided
from proto_model.formats.source import Source
from proto_model.formats.trees import Trees

_OPSETS = {"": 20, ML: 3}
_IR_VERSION = 9
_MAX_LEAVES = 2**24  # numbers that a float32 holds exactly: a tree ensemble gives no others
_MAX_BYTES = 1 << 30  # of constants; a file of protobuf has less than 2 GiB


def write_onnx(source: Source) -> bytes:
    """The graph of a version; an ArtifactError says why there can be none."""
    graph = onnx_graph(source)
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def onnx_graph(source: Source) -> Any:
    """The same as `onnx.ModelProto`."""
    onnx = library("onnx", "onnx")
    schema, trees = source.schema, source.trees
    _check(source)
    outputs = output_names(source)
    graph = Graph([*schema.feature_names, *outputs])
    columns = Columns(graph, schema)
    used = trees.columns
    made = [columns.of(source.steps[column]) for column in used]
    matrix = made[0] if len(made) == 1 else graph.add("Concat", *made, axis=1)
    probabilities, place = decided(
        graph, source.decision, _shares(graph, trees, matrix, used), trees.n_classes
    )
    _answer(graph, source, probabilities, place, outputs)
    helper = onnx.helper
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, schema.model_name, _inputs(source, onnx), _outputs(source, onnx), graph.constants
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=_IR_VERSION,
        producer_name="proto_model_turbo",
        doc_string=f"Predicts {schema.target}.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def output_names(source: Source) -> list[str]:
    """Names of the outputs: label, its probability, and that of each class."""
    return ["prediction", "probability", *source.schema.probability_columns]


def _check(source: Source) -> None:
    schema, shares = source.schema, source.trees.shares
    texts = [feature.name for feature in schema.features if feature.type == "text"]
    if texts:
        raise ArtifactError(
            f"No ONNX graph of this version: its feature {texts[0]!r} is a text whose words count, and ONNX "
            "has no operator that splits texts into words as this project does."
        )
    both = sorted({*schema.feature_names} & {*output_names(source)})
    if both:
        raise ArtifactError(
            f"No ONNX graph of this version: its feature {both[0]!r} has the name of an output. Rename the "
            "column and train again."
        )
    if len(shares) > _MAX_LEAVES or shares.nbytes > _MAX_BYTES:
        raise ArtifactError(
            f"No ONNX graph of this version: its leaves take {shares.nbytes:,} bytes, at most {_MAX_BYTES:,} "
            "fit. Train smaller trees."
        )


def _shares(graph: Graph, trees: Trees, matrix: str, used: Sequence[int]) -> str:
    """Mean of the leaves' shares, shape (n_rows, n_classes)."""
    n_trees = len(trees.trees)
    leaves = graph.add("TreeEnsembleRegressor", matrix, domain=ML, **_ensemble(trees, used))
    by_tree = graph.add("Transpose", graph.cast(leaves, "INT64"), perm=[1, 0])
    shares = graph.constant(trees.shares, "shares")
    reached = [graph.add("Gather", shares, part) for part in graph.split(by_tree, n_trees, 0)]
    total = graph.add("Reshape", graph.sum(reached), graph.whole(-1, trees.n_classes))
    return graph.add("Div", total, graph.number(n_trees))


def _ensemble(trees: Trees, used: Sequence[int]) -> dict[str, Any]:
    """Attributes of the ensemble, which has a target per tree: the row of the leaf that is reached."""
    onnx = library("onnx", "onnx")
    position = {column: place for place, column in enumerate(used)}
    sizes = [len(tree.column) for tree in trees.trees]
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    nodes = np.concatenate([np.arange(size) for size in sizes])

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(tree, name) for tree in trees.trees])

    is_leaf, column = joined("is_leaf"), joined("column")
    ends = np.flatnonzero(is_leaf)

    def doubles(values: NDArray[np.float64], name: str) -> Any:
        return onnx.numpy_helper.from_array(values.astype(np.float64), name)

    return {
        "nodes_treeids": numbers.tolist(),
        "nodes_nodeids": nodes.tolist(),
        "nodes_featureids": [position.get(one, 0) for one in column.tolist()],
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values_as_tensor": doubles(joined("threshold"), "thresholds"),
        "nodes_truenodeids": np.maximum(joined("left"), 0).tolist(),
        "nodes_falsenodeids": np.maximum(joined("right"), 0).tolist(),
        "nodes_missing_value_tracks_true": joined("missing_left").astype(np.int64).tolist(),
        "target_treeids": numbers[ends].tolist(),
        "target_nodeids": nodes[ends].tolist(),
        "target_ids": numbers[ends].tolist(),
        "target_weights_as_tensor": doubles(joined("leaf")[ends], "leaves"),
        "n_targets": len(sizes),
        "aggregate_function": "SUM",
        "post_transform": "NONE",
    }


def _answer(graph: Graph, source: Source, probabilities: str, place: str, outputs: Sequence[str]) -> None:
    """Outputs of the graph: what this project answers, field by field."""
    label, own, *by_class = outputs
    graph.add("Gather", graph.constant(label_array(source), "labels"), place, output=label)
    row = graph.add("Unsqueeze", place, graph.constant(np.array([1])))
    graph.flat(graph.add("GatherElements", probabilities, row, axis=1), output=own)
    parts = graph.split(probabilities, len(by_class), 1)
    for part, name in zip(parts, by_class, strict=True):
        graph.flat(part, output=name)


def label_array(source: Source) -> NDArray[Any]:
    """Class labels in their own type; texts are objects."""
    labels = source.schema.classes
    return np.array(labels, dtype=object if source.schema.target_type == "string" else None)


def _inputs(source: Source, onnx: Any) -> list[Any]:
    """One array per feature, with a value per row."""
    kind = onnx.TensorProto
    return [
        onnx.helper.make_tensor_value_info(
            feature.name, kind.DOUBLE if feature.takes_numbers else kind.STRING, ["n_rows"]
        )
        for feature in source.schema.features
    ]


def _outputs(source: Source, onnx: Any) -> list[Any]:
    kinds = {"O": "STRING", "b": "BOOL", "i": "INT64", "f": "DOUBLE"}
    of_label = getattr(onnx.TensorProto, kinds[label_array(source).dtype.kind])
    label, *others = output_names(source)
    info = onnx.helper.make_tensor_value_info
    return [
        info(label, of_label, ["n_rows"]),
        *(info(name, onnx.TensorProto.DOUBLE, ["n_rows"]) for name in others),
    ]
