"""Distributions of the leaves over the classes, each distinct one kept once.

With few classes they are rows of a matrix. With many, most leaves have seen a handful of them, so a leaf is
a run of entries: the classes that it has seen, in order, and the share of each. Adding a zero changes no bit
of a sum that began at zero, so both give the same sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRY = np.dtype([("share", "<f8"), ("label", "<u4")])  # packed: 12 bytes
MAX_CLASSES = 65_536  # sums of a row are on the stack
LAST_ENTRY = 1 << 31  # set in the label that ends a leaf's run

_FEW_CLASSES = 16  # up to here, adding a row is a few instructions
_ROUNDING = 1e-6  # by which shares may miss 1: weights of many rows are added up
_DENSE_SHARE = 1 / 3  # of the classes seen in a leaf: from here on, rows were measured to be added faster

Shares = Callable[[], Iterator[NDArray[np.float64]]]
"""Gives the distributions of the leaves, tree by tree: together they take far more than what is kept."""


def pack_leaves(shares: Shares, n_classes: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Leaves as a matrix or as entries, and for each leaf of the trees its row or its first entry."""
    if n_classes > _FEW_CLASSES:
        entry, count = _entries(shares())
        if len(entry) < _DENSE_SHARE * n_classes * len(count):
            return _runs(entry, count)
    return _rows(np.concatenate(list(shares())))


def padded(leaves: NDArray[Any]) -> NDArray[Any]:
    """The leaves, and one more that adds nothing."""
    nothing = np.zeros((1, *leaves.shape[1:]), dtype=leaves.dtype)
    if leaves.dtype == ENTRY:
        nothing["label"] = LAST_ENTRY
    return np.concatenate([leaves, nothing])


def leaves_fault(leaves: NDArray[Any], n_classes: int) -> str | None:
    """What is wrong with the leaves, or None."""
    if leaves.dtype == ENTRY and leaves.ndim == 1 and len(leaves):
        if not leaves["label"][-1] & LAST_ENTRY or (leaves["label"] & LAST_ENTRY - 1).max() >= n_classes:
            return f"the last leaf has no end, or an entry is of none of {n_classes} classes"
        shares: NDArray[np.float64] = leaves["share"]
        sums = np.add.reduceat(shares, np.flatnonzero(_begins(leaves)[:-1]))
    elif leaves.dtype == np.float64 and leaves.ndim == 2 and len(leaves) and leaves.flags.c_contiguous:
        shares, sums = leaves, leaves.sum(axis=1)
    else:
        order = "" if leaves.flags.c_contiguous else ", column by column"
        return f"leaves are {leaves.dtype} of shape {leaves.shape}{order}"
    # Comparisons that NaN fails.
    if not (shares.min() >= 0 and (np.abs(sums - 1) <= _ROUNDING).all()):
        return "the shares of the classes in a leaf do not sum to 1, or one is negative"
    return None


def begins_leaf(leaves: NDArray[Any], places: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether a leaf begins at each place of `leaves`."""
    found: NDArray[np.bool_] = places < len(leaves)
    if leaves.dtype == ENTRY:
        found &= _begins(leaves)[np.minimum(places, len(leaves))]
    return found


def _begins(entries: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a leaf begins at each entry, and behind the last one."""
    return np.concatenate([[True], entries["label"] >= LAST_ENTRY])


def _rows(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct rows of a matrix, and for each row which one it is."""
    n_rows, n_classes = values.shape
    labels = np.tile(np.arange(n_classes, dtype=np.uint32), n_rows)
    same_as = _first_equal(values.ravel(), labels, np.full(n_rows, n_classes))
    kept = same_as == np.arange(n_rows)
    return values[kept], (np.cumsum(kept) - 1)[same_as]


def _entries(shares: Iterator[NDArray[np.float64]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The entries of all leaves one after the other, and how many each leaf has."""
    entries, counts = [], []
    for values in shares:
        seen = values != 0
        seen[:, 0] |= ~seen.any(axis=1)  # a run has an entry at least
        place = np.flatnonzero(seen)
        of_tree = np.empty(len(place), dtype=ENTRY)
        of_tree["share"], of_tree["label"] = values.ravel()[place], place % values.shape[1]
        entries.append(of_tree)
        counts.append(np.count_nonzero(seen, axis=1))
    entry, count = np.concatenate(entries), np.concatenate(counts)
    entry["label"][np.cumsum(count) - 1] |= LAST_ENTRY
    return entry, count


def _runs(entry: NDArray[Any], count: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Distinct leaves in the order of the trees; for each leaf, its first entry."""
    same_as = _first_equal(entry["share"], entry["label"], count)
    kept = same_as == np.arange(len(count))
    start = np.cumsum(np.where(kept, count, 0)) - count
    return entry[np.repeat(kept, count)], start[same_as]


def _first_equal(
    share: NDArray[np.float64], label: NDArray[np.uint32], count: NDArray[np.int64]
) -> NDArray[np.int64]:
    """First leaf with the same entries as each leaf, of which each has so many; `np.unique` takes far longer.

    Leaves are compared by a hash first. Should different ones share it, they are kept as they are.
    """
    start = np.cumsum(count) - count
    bits = np.ascontiguousarray(share).view(np.uint64)
    _, first, which = np.unique(_hashes(bits, label, start), return_index=True, return_inverse=True)
    same_as: NDArray[np.int64] = first[which]
    # A run's last label is marked, so runs of different length differ in an entry.
    other = np.arange(len(bits)) + np.repeat(start[same_as] - start, count)
    other = np.minimum(other, len(bits) - 1)
    differs = (bits != bits[other]) | (label != label[other])
    return np.where(np.logical_or.reduceat(differs, start), np.arange(len(count)), same_as)


def _hashes(
    bits: NDArray[np.uint64], label: NDArray[np.uint32], start: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """A number for the entries of each leaf."""
    mixed = (bits ^ label * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(31)) * np.uint64(0x94D049BB133111EB)
    return np.add.reduceat(mixed, start)
