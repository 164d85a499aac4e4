"""Rows to ask a model about: out of a file, or made from what is known of its columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proto_model.csv_rows import csv_rows
from proto_model.errors import InputError
from proto_model.schema import DATE_TYPES, Feature, ModelSchema, date_text

Record = dict[str, Any]

N_FILE_ROWS = 100
# A value of each datatype of V2, for a server that tells no more of its columns.
_OF_DATATYPE: dict[str, Any] = {"BOOL": False, "BYTES": "unknown"}


def read_records(path: Path) -> list[Record]:
    """Rows of a JSON or CSV file.

    JSON holds one record, a list of records, or `{"columns": [...], "data": [[...], ...]}`. Everything else
    is read as CSV with a header, whose cells stay text: the model knows which are numbers. An InputError says
    that there are no rows in it.
    """
    try:
        if path.suffix.lower() == ".json":
            records = _records(json.loads(path.read_text(encoding="utf-8")))
        else:
            records = _csv_records(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text. Give rows as JSON or as CSV, in UTF-8.") from error
    except (ValueError, TypeError, RecursionError, csv.Error) as error:
        raise InputError(f"Cannot read {path}: {error}") from error
    if not records:
        raise InputError(f"{path} has no rows. Give one record, or a list of them.")
    return records


def _records(content: Any) -> list[Record]:
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if isinstance(content, dict):
        return [content]
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return content
    raise ValueError("one record, a list of records, or columns and data expected")


def _csv_records(path: Path) -> list[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv_rows(file, skipinitialspace=True) if row]
    if not rows:
        raise ValueError("it is empty")
    names = rows[0]
    if len(set(names)) < len(names):
        raise ValueError(f"the header names a column twice: {', '.join(names)}")
    for number, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values, {len(names)} expected")
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def typical_record(schema: ModelSchema) -> Record:
    """A row in the middle of the training table: medians and commonest categories."""
    return {feature.name: _value(feature, 0.5) for feature in schema.features}


def spread_records(schema: ModelSchema, n_rows: int = N_FILE_ROWS) -> list[Record]:
    """Rows over the range of the training table, from all low to all high."""
    levels = [row / max(1, n_rows - 1) for row in range(n_rows)]
    return [{feature.name: _value(feature, level) for feature in schema.features} for level in levels]


def record_of_tensors(tensors: Iterable[Mapping[str, Any]]) -> Record:
    """A row for the inputs that the metadata of V2 tells."""
    return {str(tensor["name"]): _OF_DATATYPE.get(tensor["datatype"], 0) for tensor in tensors}


def numbered(records: list[Record]) -> list[Record]:
    """The rows with their number as a first column, of a name that no other one has."""
    name = "row"
    while any(name in record for record in records):
        name = f"_{name}"
    return [{name: number, **record} for number, record in enumerate(records)]


def write_csv(path: Path, records: list[Record]) -> None:
    """Write rows to a CSV file; a missing value is an empty cell."""
    names = list(dict.fromkeys(name for record in records for name in record))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(records)


def _value(feature: Feature, level: float) -> Any:
    """Value between the least and the most that training saw; half of the way is the usual one."""
    if feature.type == "string":
        categories = feature.categories or ("unknown",)
        if level == 0.5:
            return feature.most_frequent or categories[0]
        return categories[round(level * (len(categories) - 1))]
    if feature.terms is not None:
        return " ".join(feature.terms[: 1 + round(2 * level)])
    least, usual, most = (part or 0.0 for part in (feature.minimum, feature.median, feature.maximum))
    value = least + (usual - least) * 2 * level if level < 0.5 else usual + (most - usual) * (2 * level - 1)
    if feature.type == "boolean":
        return value >= 0.5
    if feature.type in DATE_TYPES:
        return date_text(round(value), feature.type)
    return round(value) if feature.type == "long" else float(f"{value:.6g}")
