"""The split into training and test rows, by a hash of each row.

A row keeps its part when other rows come, go or change places, and when columns change places: only its own
cells decide. The salt is fixed, so that two training runs judge their models on the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError
from proto_model.table.columns import Column
from proto_model.values import is_code, is_number

#: Holds the hashes in files that hold the rows as well.
HASH_COLUMN = "__row_hash__"

_SALT = np.uint64(0x70726F746F6D6F64)


def row_hashes(columns: Sequence[Column]) -> NDArray[np.uint64]:
    """Hash of each row over all its cells, the target among them, whatever the order of the columns.

    Numbers count by value, whether stored as integer, float or text; a missing cell is one value of its own.
    Equal rows have equal hashes; others share one with a probability of 2**-64.
    """
    # A sum does not depend on the order of the columns; the name in each hash tells them apart.
    total = np.full(len(columns[0].values), _SALT)
    for column in columns:
        total += _mixed(_cell_hashes(column) ^ _text_hash(column.name))
    return _mixed(total)


def test_rows(hashes: NDArray[np.uint64], y: NDArray[Any], test_size: float) -> NDArray[np.bool_]:
    """Which rows are for testing: those whose hash lies below `test_size` of the hashes' range.

    A class left without a test row gives the rows of its lowest hash, one left without a training row those
    of its highest; for such rare classes alone can a new row change the part of an old one. Equal rows are in
    the same part, so a class whose rows are all equal is a DataError, as is a `test_size` out of range.
    """
    if not 0 < test_size < 1:
        raise DataError(f"test_size {test_size} given, a number above 0 and below 1 expected, such as 0.2.")
    is_test = hashes < np.uint64(min(int(test_size * 2**64), 2**64 - 1))
    classes, codes = np.unique(y, return_inverse=True)
    n_test = np.bincount(codes, weights=is_test, minlength=len(classes))
    n_rows = np.bincount(codes, minlength=len(classes))
    # Only a class that is wholly on one side moves rows, so all others depend on their own hashes alone.
    for code in np.flatnonzero((n_test == 0) | (n_test == n_rows)):
        of_class = codes == code
        own = hashes[of_class]
        if own.min() == own.max():
            raise DataError(
                f"Class {classes.tolist()[code]!r}: its {len(own)} rows are all the same, so they cannot be "
                "split into training and test rows. Add rows or remove the class."
            )
        moved = own.min() if n_test[code] == 0 else own.max()
        is_test[of_class & (hashes == moved)] = n_test[code] == 0
    return is_test


def split_digest(hashes: NDArray[np.uint64]) -> str:
    """Sixteen hexadecimal digits that two sets of rows share when they are the same, in any order.

    Examples
    --------
    >>> hashes = np.array([3, 1, 2], dtype=np.uint64)
    >>> split_digest(hashes) == split_digest(hashes[::-1])
    True
    """
    return hashlib.sha256(np.sort(hashes).astype("<u8").tobytes()).hexdigest()[:16]


def _cell_hashes(column: Column) -> NDArray[np.uint64]:
    """Hash of each cell; a number's does not depend on how the column stores it."""
    missing = _text_hash("")  # no cell holds the empty text: it means that the value is missing
    if column.type == "boolean":
        truth = np.array([_text_hash("false"), _text_hash("true"), missing], dtype=np.uint64)
        return truth[np.where(column.missing, 2, column.values).astype(np.int64)]
    if column.texts is None:
        return np.where(column.missing, missing, _number_hashes(column.values))
    hashes = np.full(len(column.texts) + 1, missing)
    for position, text in enumerate(column.texts):
        hashes[position] = (
            _number_hashes(np.array([float(text)]))[0] if _has_value(text) else _text_hash(_canonical(text))
        )
    return hashes[np.where(column.missing, len(column.texts), column.values).astype(np.int64)]


def _has_value(text: str) -> bool:
    """Whether a text counts as a number; no more texts may, or rows held out so far would move."""
    return is_number(text) and not is_code(text) and text[0] != "+" and not text[-1].isalpha()


def _canonical(text: str) -> str:
    """One spelling of a truth value, which may be text in a column that holds other text too."""
    return text.lower() if text.lower() in ("true", "false") else text


def _number_hashes(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    return _mixed((values + 0.0).view(np.uint64))  # + 0.0: one zero, not two


def _text_hash(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits spread evenly: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
