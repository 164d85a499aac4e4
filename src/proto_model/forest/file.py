"""The file of a compiled forest: plain arrays, checked before anything walks through them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from proto_model.errors import ArtifactError
from proto_model.forest.leaves import ENTRY, MAX_CLASSES, begins_leaf, leaves_fault
from proto_model.forest.nodes import NARROW_NODE, WIDE_NODE, ForestNodes
from proto_model.npz import read_arrays, whole_number

_ROWS_VERSION = 1  # leaves are rows of a matrix; all that releases up to 0.3.0 read
_RUNS_VERSION = 2  # leaves are runs of entries; see `leaves`
_MAX_FEATURES = 2**31 - 1  # columns are int32


def write_nodes(forest: ForestNodes, path: Path, mark: str = "") -> None:
    """Write a forest's arrays, and whatever `mark` says of them, to an `.npz` file.

    Raises ArtifactError if `read_nodes` would refuse them.
    """
    if fault := _fault(forest):
        raise ArtifactError(f"This forest cannot be served: {fault}. Was it fitted with weights below zero?")
    has_runs = forest.leaves.dtype == ENTRY
    arrays: dict[str, Any] = {
        "version": np.int64(_RUNS_VERSION if has_runs else _ROWS_VERSION),
        "n_features": np.int64(forest.n_features),
        "columns": forest.columns,
        "tree_start": forest.tree_start,
        "nodes": forest.nodes,
        "leaves": forest.leaves,
    }
    if has_runs:
        arrays["n_classes"] = np.int64(forest.n_classes)
    if mark:
        arrays["mark"] = np.str_(mark)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_nodes(path: Path) -> tuple[ForestNodes, str]:
    """Read a forest's arrays, and their mark; ArtifactError if a walk would leave them or never end."""
    names = ("version", "n_features", "columns", "tree_start", "nodes", "leaves")
    arrays = read_arrays(path, "a compiled forest", names, ("n_classes", "mark"))
    version = whole_number(arrays["version"], 0, 2**62)
    if version not in (_ROWS_VERSION, _RUNS_VERSION):
        raise ArtifactError(
            f"{path} has format version {arrays['version']}, but this release reads versions {_ROWS_VERSION} "
            f"and {_RUNS_VERSION}. Use the release that wrote the model."
        )
    leaves = arrays["leaves"]
    n_classes = arrays.get("n_classes", np.array(0))
    if version == _ROWS_VERSION and leaves.ndim == 2:
        n_classes = np.array(leaves.shape[1])
    forest = ForestNodes(
        n_features=whole_number(arrays["n_features"], 1, _MAX_FEATURES) or 0,
        columns=arrays["columns"],
        tree_start=arrays["tree_start"],
        nodes=arrays["nodes"],
        leaves=leaves,
        n_classes=whole_number(n_classes, 1, MAX_CLASSES) or 0,
    )
    fault = _fault(forest)
    if (version == _RUNS_VERSION) != (leaves.dtype == ENTRY):
        fault = f"leaves are {leaves.dtype} in a file of version {version}"
    if fault:
        raise ArtifactError(f"{path} is damaged: {fault}. Log the model again.")
    mark = arrays.get("mark", np.array(""))
    return forest, str(mark) if mark.dtype.kind == "U" and not mark.ndim else "unknown"


def _fault(forest: ForestNodes) -> str | None:
    """What is wrong with a forest's arrays, or None: machine code walks through them without any check."""
    start, nodes, leaves, columns = forest.tree_start, forest.nodes, forest.leaves, forest.columns
    if nodes.dtype not in (NARROW_NODE, WIDE_NODE) or nodes.ndim != 1 or not len(nodes):
        return f"nodes are {nodes.dtype} of shape {nodes.shape}"
    if not forest.n_features or not forest.n_classes:
        return f"its features are not 1 to {_MAX_FEATURES}, or its classes not 1 to {MAX_CLASSES}"
    if columns.dtype != np.int32 or columns.ndim != 1 or len(columns) > len(nodes):
        return f"columns are {columns.dtype} of shape {columns.shape} for {len(nodes)} nodes"
    if len(columns) and (columns.min() < 0 or columns.max() >= forest.n_features):
        return f"columns are not within 0..{forest.n_features - 1}"
    if fault := leaves_fault(leaves, forest.n_classes):
        return fault
    # From here on, the arrays are what they should be; what is left is where they lead.
    if start.dtype != np.int64 or start.ndim != 1 or len(start) < 2:
        return f"tree_start is {start.dtype} of shape {start.shape}"
    if start[0] != 0 or start[-1] != len(nodes) or (np.diff(start) < 1).any():
        return "trees do not fill the nodes one after the other"
    size = np.repeat(np.diff(start), np.diff(start))
    place = np.arange(len(nodes)) - np.repeat(start[:-1], np.diff(start))
    left, feature = forest.left, forest.slot & (1 << forest.feature_bits) - 1
    is_leaf = feature == len(columns)
    if not np.array_equal(left == place, is_leaf) or (feature > len(columns)).any():
        return "leaves and inner nodes cannot be told apart"
    # Breadth first, the n-th inner node of a tree has the n-th pair of nodes behind the root as its children.
    n_inner = np.concatenate([[0], np.cumsum(~is_leaf)])
    rank = n_inner[:-1] - np.repeat(n_inner[start[:-1]], np.diff(start))
    pair = np.where(is_leaf, place, 2 * rank + 1)
    if not np.array_equal(left, pair) or (left < place).any() or (left + ~is_leaf >= size).any():
        return "a tree is not numbered breadth first"
    if np.isnan(nodes["threshold"][~is_leaf]).any():
        return "a threshold is not a number"
    places = nodes["threshold"].view(np.uint32)[is_leaf]
    if (forest.slot[is_leaf] != len(columns)).any() or not begins_leaf(leaves, places).all():
        return "a leaf has no distribution"
    return None
