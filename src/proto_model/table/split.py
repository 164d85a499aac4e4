"""The split into training and test rows, by a hash of each row's features, or of its group or key.

A row keeps its part when other rows come, go or change places, and when columns change places: only its own
cells decide, or that of its group or key. Its class does not: equal rows of all classes stay together. The
salt is fixed, so that two training runs judge their models on the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import DataError
from proto_model.table.columns import Column
from proto_model.table.hashing import cell_terms, mixed, number_hashes, row_sums, text_hash
from proto_model.values import is_code, is_number

#: Holds the hashes in files that hold the rows as well.
HASH_COLUMN = "__row_hash__"


def row_hashes(columns: Sequence[Column]) -> NDArray[np.uint64]:
    """Hash of each row over all its cells, the target among them, whatever the order of the columns.

    Numbers count by value, whether stored as integer, float or text; a missing cell is one value of its own.
    Equal rows have equal hashes; others share one with a probability of 2**-64.
    """
    terms = (cell_terms(cell_hashes(column), column.name) for column in columns)
    return mixed(row_sums(terms, len(columns[0].values)))


def test_rows(hashes: NDArray[np.uint64], y: NDArray[Any], test_size: float) -> NDArray[np.bool_]:
    """Which rows are for testing: those whose hash lies below `test_size` of the hashes' range.

    Rows of one hash are in the same part, of whatever class. A class left without a training row gives the
    rows of its highest hash, one left without a test row those of the lowest hash that no class needs to be
    learned; for such rare classes alone can a new row change the part of an old one. A class whose rows are
    all equal is a DataError, as is a `test_size` out of range. Some row is always for testing; a class is not
    tested when it shares all its hashes with others that need them.
    """
    is_test = _below(hashes, test_size)
    classes, codes = np.unique(y, return_inverse=True)
    for code in _one_sided(is_test, codes):
        own = hashes[codes == code]
        if own.min() == own.max():
            raise DataError(
                f"Class {classes.tolist()[code]!r}: its {len(own)} rows are all the same, so they cannot be "
                "split into training and test rows. Add rows or remove the class."
            )
    return _balanced(hashes, codes, is_test)


def rows_of_test_units(
    units: NDArray[np.uint64], y: NDArray[Any], test_size: float, name: str
) -> NDArray[np.bool_]:
    """As `test_rows`, by the hash of what rows share, which `name` names: the "group of 'customer'", say.

    A class of a single unit is learned from and not tested.
    """
    is_test = _balanced(units, np.unique(y, return_inverse=True)[1], _below(units, test_size))
    if not is_test.any():
        raise DataError(
            f"The rows cannot be split by the {name}: there are too few to learn every class from some and "
            "to test on others."
        )
    return is_test


def _below(hashes: NDArray[np.uint64], test_size: float) -> NDArray[np.bool_]:
    check_test_size(test_size)
    return hashes < np.uint64(min(int(test_size * 2**64), 2**64 - 1))


def _one_sided(is_test: NDArray[np.bool_], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes whose rows are all for testing, or none."""
    n_rows = np.bincount(codes)
    n_test = np.bincount(codes, weights=is_test, minlength=len(n_rows))
    return np.flatnonzero((n_test == 0) | (n_test == n_rows))


def _balanced(
    hashes: NDArray[np.uint64], codes: NDArray[np.int64], is_test: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The same, with rows moved so that each class is learned from and, if it can be, tested."""
    is_test = is_test.copy()
    # Only a class that is wholly on one side moves rows, so all others depend on their own hashes alone.
    for code in _one_sided(is_test, codes):
        if is_test[codes == code].all():
            is_test[hashes == hashes[codes == code].max()] = False
    for code in _one_sided(is_test, codes):
        if (moved := _spared(hashes, codes, is_test, code)) is not None:
            is_test[hashes == moved] = True
    return is_test


def _spared(
    hashes: NDArray[np.uint64], codes: NDArray[np.int64], is_test: NDArray[np.bool_], code: np.int64
) -> np.uint64 | None:
    """Lowest hash of a class without which each class still has rows to learn from; None if there is none."""
    for own in np.unique(hashes[codes == code]):
        of_hash = hashes == own
        if np.isin(codes[of_hash], codes[~is_test & ~of_hash]).all():
            return np.uint64(own)
    return None


def check_test_size(test_size: float) -> None:
    """Raise a DataError if a share of test rows is out of range."""
    if not 0 < test_size < 1:
        raise DataError(f"test_size {test_size} given, a number above 0 and below 1 expected, such as 0.2.")


def split_digest(hashes: NDArray[np.uint64]) -> str:
    """Sixteen hexadecimal digits that two sets of rows share when they are the same, in any order.

    Examples
    --------
    >>> hashes = np.array([3, 1, 2], dtype=np.uint64)
    >>> split_digest(hashes) == split_digest(hashes[::-1])
    True
    """
    return hashlib.sha256(np.sort(hashes).astype("<u8").tobytes()).hexdigest()[:16]


def cell_hashes(column: Column) -> NDArray[np.uint64]:
    """Hash of each cell; a number's does not depend on how the column stores it."""
    missing = text_hash("")  # no cell holds the empty text: it means that the value is missing
    if column.type == "boolean":
        truth = np.array([text_hash("false"), text_hash("true"), missing], dtype=np.uint64)
        return truth[np.where(column.missing, 2, column.values).astype(np.int64)]
    if column.texts is None:
        return np.where(column.missing, missing, number_hashes(column.values))
    hashes = np.full(len(column.texts) + 1, missing)
    for position, text in enumerate(column.texts):
        hashes[position] = (
            number_hashes(np.array([float(text)]))[0] if _has_value(text) else text_hash(_canonical(text))
        )
    return hashes[np.where(column.missing, len(column.texts), column.values).astype(np.int64)]


def _has_value(text: str) -> bool:
    """Whether a text counts as a number; no more texts may, or rows held out so far would move."""
    return is_number(text) and not is_code(text) and text[0] != "+" and not text[-1].isalpha()


def _canonical(text: str) -> str:
    """One spelling of a truth value, which may be text in a column that holds other text too."""
    return text.lower() if text.lower() in ("true", "false") else text
