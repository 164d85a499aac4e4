"""Tables by name or path, or from an open file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets

from proto_model.errors import DataError
from proto_model.table.csv_table import read_csv

#: scikit-learn's data sets that come with it, by name.
BUILT_IN: dict[str, Callable[..., Any]] = {
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class RawTable:
    """A table as it was found, its name (a file's without suffix) and where it came from."""

    name: str
    source: str
    table: pa.Table


def load_table(dataset: str) -> RawTable:
    """Table behind a key of `BUILT_IN`, or the path of a CSV (with a header) or Parquet file.

    A DataError says that there is no such table, or that it cannot be read.
    """
    if dataset in BUILT_IN:
        return _built_in(dataset)
    path = Path(dataset).expanduser()
    if not path.exists():
        if path.name == dataset and not path.suffix:
            raise DataError(
                f"Unknown data set {dataset!r}. Choose {', '.join(sorted(BUILT_IN))}, "
                "or the path or http(s) URL of a CSV or Parquet file."
            )
        raise DataError(f"No file at {dataset} (in {Path.cwd()}).")
    if not path.is_file():
        raise DataError(f"{dataset} is not a file. Give the path of one CSV or Parquet file.")
    try:
        with path.open("rb") as file:
            return read_table(file, dataset)
    except OSError as error:
        raise DataError(f"Cannot read {dataset}: {error.strerror or error}.") from error


def _built_in(name: str) -> RawTable:
    bunch = BUILT_IN[name](as_frame=True)
    table = pa.Table.from_pandas(bunch.data, preserve_index=False)
    labels = [str(label) for label in bunch.target_names]
    codes = bunch.target.to_numpy()
    target = pa.array(codes) if name == "digits" else pa.array([labels[code] for code in codes])
    return RawTable(name, f"sklearn.datasets.load_{name}", table.append_column("target", target))


def read_table(file: BinaryIO, source: str) -> RawTable:
    """Table in an open CSV or Parquet file; its cells as stored, those of a CSV typed by what they hold.

    `source` is the path or URL, which names the table, also in errors: a DataError says that it holds none.
    """
    magic = file.read(4)
    file.seek(0)
    if not magic:
        raise DataError(f"{source} is empty. Give a CSV with a header, or a Parquet file.")
    if magic == b"PAR1":
        try:
            _names(pq.read_schema(file).names, source)  # Arrow says no more of columns of one name than that
            file.seek(0)
            table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{source} is a damaged Parquet file: {reason}") from error
    elif Path(source.partition("?")[0]).suffix.lower() in _PARQUET:
        raise DataError(
            f"{source} is named as a Parquet file, and holds something else. If it is a CSV, rename it to "
            ".csv; else write it again."
        )
    else:
        table = read_csv(file, source)
    names = _names(table.column_names, source)
    if not table.num_rows:
        raise DataError(f"{source} has a header but no rows.")
    return RawTable(Path(source).stem or "table", source, table.rename_columns(names))


def _names(header: list[str], source: str) -> list[str]:
    """Column names without the spaces around them; `column_3` where the third has none."""
    names = [name.strip() or f"column_{position}" for position, name in enumerate(header, start=1)]
    doubles = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubles:
        raise DataError(f"{source} has more than one column named {doubles}. Give each column its own name.")
    return names
