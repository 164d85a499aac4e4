"""Forests compiled for fast prediction."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.forest.block import GROUP, compiled, scratch_bytes
from proto_model.forest.file import read_nodes, write_nodes
from proto_model.forest.kernels import FIELDS, ROW_TREES, Shape
from proto_model.forest.leaves import ENTRY, MAX_CLASSES, padded
from proto_model.forest.masks import find_tops
from proto_model.forest.nodes import WIDE_NODE, ForestNodes, flatten

_ROW_KERNEL_ROWS = 12  # up to here, rows are walked one by one
_ROW_KERNEL_ROWS_DEEP = 48  # the same for forests that are not all top
_THREAD_ROWS = 4096  # fewer rows than this are not worth a thread of their own
_BLOCK_BYTES = 256 * 1024  # of inputs: leaves room in a core's L2 cache for the tree at hand
_MAX_BLOCK_ROWS = 4096
_CGROUP = Path("/sys/fs/cgroup")
_SHARED_BYTES = 16 * 1024  # below, each process has its own


class CompiledForest:
    """A random forest or extra-trees classifier, compiled for the CPU at hand.

    Answers are scikit-learn's to the last bit: inputs are rounded to float32, missing values go where the
    node sends them, and trees are added up in their order. Infinite inputs go the way that scikit-learn's
    trees would send them, although its forests refuse them. Instances may be used from many threads at once;
    prediction releases the GIL.

    It takes 8 bytes per node (16 for forests with very many features and very large trees), about 16 bytes
    for every node in the top of a tree, for each distinct leaf 8 bytes per class (12 bytes per class that it
    has seen, where these are few of many), and in every thread that predicts, about 1 MiB of scratch memory;
    see `nbytes`.

    Parameters
    ----------
    nodes : ForestNodes
        The forest as flat arrays, from `from_sklearn` or `load`.
    """

    def __init__(
        self, nodes: ForestNodes, prepared: Mapping[str, NDArray[Any]] | None = None, mark: str = ""
    ) -> None:
        self.mark = mark  # what `save` was told, where it is loaded from a file
        self._arrays = dict(prepared or _prepared(nodes))
        self.n_features = nodes.n_features
        self.n_classes = nodes.n_classes
        n_used = len(nodes.columns)
        self._n_block = max(
            GROUP, min(_BLOCK_BYTES // (4 * max(n_used, 1)) // GROUP * GROUP, _MAX_BLOCK_ROWS)
        )
        self._n_few = _ROW_KERNEL_ROWS if self._arrays["is_whole"].all() else _ROW_KERNEL_ROWS_DEEP
        self._scratch_bytes = scratch_bytes(self._n_block, n_used, nodes.feature_bits)
        is_wide, has_runs = nodes.nodes.dtype == WIDE_NODE, nodes.leaves.dtype == ENTRY
        self._kernels = compiled(Shape(self.n_classes, nodes.feature_bits, is_wide, has_runs))

        # The same memory: what was padded is not kept twice.
        self._nodes = replace(nodes, nodes=self._arrays["nodes"][:-1], leaves=self._arrays["leaves"][:-1])
        numbers = {
            "n_trees": nodes.n_trees,
            "n_padded": len(self._arrays["tree_start"]) - 2,
            "n_features": self.n_features,
            "n_used": n_used,
            "n_block": self._n_block,
        }
        addresses = {name: array.ctypes.data for name, array in self._arrays.items()}
        self._fields = np.array([{**numbers, **addresses}[name] for name in FIELDS], dtype=np.int64)
        self._fields_at = self._fields.ctypes.data
        self._local = threading.local()

    @classmethod
    def from_sklearn(
        cls, forest: Any, columns: Sequence[int] | None = None, n_features: int | None = None
    ) -> CompiledForest:
        """Compile a fitted forest.

        Parameters
        ----------
        forest : RandomForestClassifier or ExtraTreesClassifier
            Fitted, with one output.
        columns : sequence of int, optional
            Column of `X` that holds each feature of the forest; by default in the same order.
        n_features : int, optional
            Number of columns of `X`; by default as many as the forest has features.

        Raises
        ------
        TypeError
            If it is not a forest of classification trees.
        ValueError
            If it is not fitted, has several outputs, or the columns do not fit.
        """
        if not any(base.__name__ == "ForestClassifier" for base in type(forest).__mro__):
            raise TypeError(
                f"Expected a RandomForestClassifier or ExtraTreesClassifier, got {type(forest).__name__}."
            )
        if not hasattr(forest, "estimators_"):
            raise ValueError(f"This {type(forest).__name__} is not fitted. Call fit before compiling it.")
        if forest.n_outputs_ != 1:
            raise ValueError(f"This forest has {forest.n_outputs_} outputs. Fit one forest for each of them.")
        if forest.n_classes_ > MAX_CLASSES:
            raise ValueError(
                f"This forest has {forest.n_classes_:,} classes, at most {MAX_CLASSES:,} can be."
            )
        n_inputs = forest.n_features_in_
        width = n_inputs if n_features is None else n_features
        places = np.arange(n_inputs) if columns is None else np.asarray(columns, dtype=np.int64)
        if places.shape != (n_inputs,) or places.min() < 0 or places.max() >= width:
            raise ValueError(
                f"columns: expected {n_inputs} numbers from 0 to {width - 1}, got {places.tolist()}."
            )
        trees = [tree.tree_ for tree in forest.estimators_]
        return cls(flatten(trees, width, places, int(forest.n_classes_)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CompiledForest:
        """Compile what `save` wrote; ArtifactError if it is missing, damaged or of another version."""
        nodes, mark = read_nodes(Path(path))
        return cls(nodes, mark=mark)

    @classmethod
    def load_prepared(cls, folder: Path, *, shared: bool) -> CompiledForest:
        """Compile what `prepare` wrote; processes that share it have its arrays in memory once.

        Nothing is checked: only for a folder that this user's own process has written.
        """
        try:
            arrays = {path.stem: _prepared_array(path, shared) for path in folder.glob("*.npy")}
            n_features, n_trees, n_classes = (int(number) for number in arrays.pop("numbers"))
            nodes = ForestNodes(
                n_features=n_features,
                columns=arrays["columns"],
                tree_start=arrays["tree_start"][: n_trees + 1],
                nodes=arrays["nodes"][:-1],
                leaves=arrays["leaves"][:-1],
                n_classes=n_classes,
            )
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(f"{folder} cannot be read as a prepared forest: {error}") from error
        return cls(nodes, arrays)

    def prepare(self, folder: Path) -> None:
        """Write the arrays as they lie in memory, for `load_prepared`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self._arrays.items():
            np.save(folder / f"{name}.npy", array)
        np.save(folder / "numbers.npy", np.array([self.n_features, self._nodes.n_trees, self.n_classes]))

    def save(self, path: str | os.PathLike[str], mark: str = "") -> None:
        """Write the forest to one file of plain arrays (`.npz`), which holds nothing that could run.

        `mark` says what belongs to it, such as the schema of its inputs. Raises ArtifactError if the shares
        of the classes in a leaf are none, as after a fit with weights below zero.
        """
        write_nodes(self._nodes, Path(path), mark)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the forest takes, without scratch memory."""
        return sum(array.nbytes for array in self._arrays.values())

    def predict_proba(self, X: NDArray[np.float64], n_threads: int | None = None) -> NDArray[np.float64]:
        """Probability of each class.

        Parameters
        ----------
        X : ndarray of float64, shape (n_rows, n_features)
            Inputs; NaN where a value is missing. Any other numeric array is converted.
        n_threads : int, optional
            Threads to use; by default one for small tables and one per core for large ones.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes)

        Raises
        ------
        ValueError
            If `X` does not have two dimensions and `n_features` columns.
        """
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X has shape {X.shape}, expected (n_rows, {self.n_features}).")
        proba = np.empty((len(X), self.n_classes))
        if len(X) <= self._n_few:
            self._run(self._kernels.row, X, proba)
        else:
            self._predict_blocks(X, proba, n_threads)
        return proba

    def _run(self, kernel: Any, X: NDArray[np.float64], proba: NDArray[np.float64]) -> None:
        kernel(self._fields_at, _address(X), len(X), _address(proba), self._scratch())

    def _predict_blocks(
        self, X: NDArray[np.float64], proba: NDArray[np.float64], n_threads: int | None
    ) -> None:
        n_rows = len(X)
        wanted = min(n_threads or n_cores(), -(-n_rows // _THREAD_ROWS))
        if wanted <= 1:
            self._run(self._kernels.block, X, proba)
            return
        n_part = -(-n_rows // (4 * wanted) // self._n_block) * self._n_block
        parts = [(X[i : i + n_part], proba[i : i + n_part]) for i in range(0, n_rows, n_part)]

        def work() -> None:
            while parts:
                try:
                    part = parts.pop()
                except IndexError:  # another thread took the last one
                    return
                self._run(self._kernels.block, *part)

        others = [_pool(os.getpid()).submit(work) for _ in range(wanted - 1)]
        work()
        for other in others:
            other.result()

    def _scratch(self) -> int:
        try:
            address: int = self._local.address
        except AttributeError:
            # Zeros, because lanes without a row are computed too, and some numbers are slow.
            self._local.memory = np.zeros(self._scratch_bytes, dtype=np.uint8)
            address = self._local.address = self._local.memory.ctypes.data
        return address


def _prepared(nodes: ForestNodes) -> dict[str, NDArray[Any]]:
    """What the kernels read: the arrays of a forest, padded, and the tops of its trees."""
    # A row walks through several trees at a time: trees that add nothing fill up the last few.
    n_padded = -(-nodes.n_trees // ROW_TREES) * ROW_TREES
    nothing = np.zeros(1, dtype=nodes.nodes.dtype)
    nothing["link"] = len(nodes.columns)
    nothing["threshold"].view(np.uint32)[0] = len(nodes.leaves)
    return {
        "columns": nodes.columns,
        "tree_start": np.pad(nodes.tree_start, (0, n_padded - nodes.n_trees + 1), mode="edge"),
        "nodes": np.concatenate([nodes.nodes, nothing]),
        "leaves": padded(nodes.leaves),
        **vars(find_tops(nodes)),
    }


def _prepared_array(path: Path, shared: bool) -> NDArray[Any]:
    """Array of a file; small ones, and empty ones, are not worth a mapping of their own."""
    mode: Literal["r"] | None = "r" if shared and path.stat().st_size > _SHARED_BYTES else None
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))


def _address(array: Any) -> int:
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only or empty
        return int(array.ctypes.data)  # takes five times as long


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child gets its own, because threads do not survive a fork."""
    return ThreadPoolExecutor(n_cores(), thread_name_prefix="forest")


def n_cores() -> int:
    """Cores that this process may use; in a container, as many as its quota allows."""
    n_here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n_here, _quota(_CGROUP))


@cache
def _quota(cgroup: Path) -> int:
    """Cores of the quota of a container's control group, of either version, rounded up; many without one."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdigit() and int(period) > 0:
            return max(1, -(-int(quota) // int(period)))
    return sys.maxsize
