"""Columns of dates, texts and very many levels: what a feature takes of them.

Nothing of a text but words that enough training rows share is ever shown or used, and of a category with very
many levels only those of enough rows: nobody's own words, and nobody's own level.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proto_model.dates import seconds_in
from proto_model.schema import SECONDS_OF
from proto_model.table.columns import Column, ColumnType
from proto_model.texts import MAX_TERMS, words

#: Training rows that share a term of a text, or a level of a category with very many.
LEAST_ROWS = 20

#: Most levels of a category.
MAX_CATEGORIES = 1000

NO_ISO_DATE = "dates that are not written as in ISO 8601, such as 2024-03-01 or 2024-03-01T12:00:00Z"


def dated(column: Column) -> Column | None:
    """A column of dates as days, or as seconds where any has a time; None if one is no ISO 8601 date."""
    assert column.texts is not None
    used = np.unique(column.values[~column.missing]).astype(np.int64)
    seconds = np.full(len(column.texts) + 1, math.nan)
    for code in used:
        found = seconds_in(column.texts[code])
        if found is None:
            return None
        seconds[code] = found
    kind: ColumnType = "date" if (seconds[used] % SECONDS_OF["date"] == 0).all() else "datetime"
    codes = np.where(column.missing, len(column.texts), column.values).astype(np.int64)
    return Column(column.name, kind, seconds[codes] / SECONDS_OF[kind])


def is_prose(column: Column) -> bool:
    """Whether at least half of the distinct values of a column of text are several words."""
    assert column.texts is not None
    used = np.unique(column.values[~column.missing]).astype(np.int64)
    return 2 * sum(len(column.texts[code].split()) > 1 for code in used) >= len(used)


def as_text(column: Column, is_train: NDArray[np.bool_]) -> Column | None:
    """A column of text with the terms that tell the most; None if no term is shared by enough rows.

    A term occurs in at least `LEAST_ROWS` training rows and is absent from as many. Of those, the ones with
    the largest sums of tf-idf over the rows are taken (a term counts once in a row).
    """
    rows_of, n_rows = _rows_of_texts(column, is_train)
    n_with: Counter[str] = Counter()
    for text, n in rows_of.items():
        for word in set(words(text)):
            n_with[word] += n
    weight = {
        word: n * math.log(n_rows / n)
        for word, n in n_with.items()
        if LEAST_ROWS <= n <= n_rows - LEAST_ROWS and len(word) > 1 and list(words(word)) == [word]
    }
    terms = sorted(sorted(weight, key=lambda word: (-weight[word], word))[:MAX_TERMS])
    return replace(column, type="text", known=tuple(terms)) if terms else None


def with_common_levels(column: Column, is_train: NDArray[np.bool_]) -> Column | None:
    """A category limited to the levels of enough training rows, the commonest; None if these are too few."""
    rows_of, _ = _rows_of_texts(column, is_train)
    common = [level for level, n in rows_of.items() if n >= LEAST_ROWS]
    kept = sorted(common, key=lambda level: (-rows_of[level], level))[:MAX_CATEGORIES]
    return replace(column, known=tuple(sorted(kept))) if len(kept) > 1 else None


def _rows_of_texts(column: Column, is_train: NDArray[np.bool_]) -> tuple[dict[str, int], int]:
    """Training rows of each distinct text, and of all that have one."""
    assert column.texts is not None
    codes, counts = np.unique(column.values[is_train & ~column.missing].astype(np.int64), return_counts=True)
    texts = column.texts[codes].tolist()
    return dict(zip(texts, counts.tolist(), strict=True)), int(counts.sum())
