"""Hashes of cells and rows, the same in every release: splits and comparisons across runs rest on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SALT = np.uint64(0x70726F746F6D6F64)


def row_sums(terms: Iterable[NDArray[np.uint64]], n_rows: int) -> NDArray[np.uint64]:
    """Sum of the terms of each row, a `cell_terms` per column; the order of columns does not change it."""
    total = np.full(n_rows, _SALT)
    for term in terms:
        total += term
    return total


def cell_terms(cells: NDArray[np.uint64], column: str) -> NDArray[np.uint64]:
    """Cells' hashes under the name of their column, which tells equal cells of two columns apart."""
    return mixed(cells ^ text_hash(column))


def one_way(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes from which the given ones cannot be computed, unlike those of `mixed`."""
    distinct, codes = np.unique(hashes, return_inverse=True)
    raw = distinct.astype("<u8").tobytes()
    digests = [hashlib.blake2b(raw[at : at + 8], digest_size=8).digest() for at in range(0, len(raw), 8)]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)[codes]


def number_hashes(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Hash of each number by its value."""
    return mixed((values + 0.0).view(np.uint64))  # + 0.0: one zero, not two


def text_hash(text: str) -> np.uint64:
    """Hash of a text; of the empty one, which no cell holds, for a missing value."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits spread evenly: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014). It can be undone."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
