"""One value of one feature through every entry point that reads values: bodies, tensors, frames, files.

A carrier takes a feature's name and a value, and gives what its entry point made of it: the code in the
matrix, or the message that refused it; None where it cannot hold the value. What surrounds the value is a
sound row. The code that reads is the real one; only the forest is left out.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from mlflow.pyfunc import scoring_server
from numpy.typing import NDArray

from proto_model.errors import InputError
from proto_model.files import score_file
from proto_model.model import Bundle, Decision, Predictor, coded_rows
from proto_model.parameters import Parameters
from proto_model.schema import DATE_TYPES, SECONDS_OF, Feature, ModelSchema
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.payload import RowPayload
from proto_model.serving.http.tensors import DATATYPES
from proto_model.values import TRUTH

CASES = json.loads((Path(__file__).parents[2] / "schemas/cases/values.json").read_text(encoding="utf-8"))
SCHEMA = ModelSchema.from_dict(CASES["schema"])
FEATURES = {feature.name: feature for feature in SCHEMA.features}
# Models that take rows without column names, and the one of all features, which does not.
SCHEMA_OF_KIND = {
    is_text: dataclasses.replace(
        SCHEMA, features=tuple(f for f in SCHEMA.features if f.takes_numbers != is_text)
    )
    for is_text in (False, True)
}


def payload_of(schema: ModelSchema) -> RowPayload:
    return RowPayload(Predictor(Bundle(Path(), schema, None)), 10)  # nothing is predicted here


PAYLOAD = payload_of(SCHEMA)
PAYLOAD_OF_KIND = {is_text: payload_of(schema) for is_text, schema in SCHEMA_OF_KIND.items()}
GOOD: dict[str, Any] = {
    "number": 1.5,
    "required number": 2.5,
    "whole": 3,
    "required whole": 4,
    "truth": True,
    "required truth": False,
    "job": "clerk",
    "required job": "nurse",
    "country": "FR",
    "day": "2024-03-01",
    "required day": "2024-02-29",
    "moment": "2024-03-01T12:00:00Z",
    "note": "late",
    "required note": "refund",
}

Outcome = float | str | None
Carrier = Callable[[str, Any], Outcome]


def sound(row: dict[str, Any]) -> NDArray[np.float64]:
    """Codes of a sound row."""
    return np.array([code_of(FEATURES[name], value) for name, value in row.items()], dtype=np.float64)


def code_of(feature: Feature, value: Any) -> float:
    """Code of a sound value, worked out in another way than the rule book does."""
    if feature.categories is not None:
        return float(feature.categories.index(value))
    if feature.type in DATE_TYPES:
        moment = datetime.fromisoformat(value).replace(tzinfo=None)
        return (moment - datetime(1970, 1, 1)).total_seconds() / SECONDS_OF[feature.type]
    if feature.terms is not None:
        return float(sum(1 << feature.terms.index(term) for term in value.split()))
    return float(value)


def outcome_of(read: Callable[[], Any], name: str, schema: ModelSchema = SCHEMA) -> Outcome:
    """Code of the value, or the message; what stands beside the value has to arrive as it is."""
    try:
        matrix = read()
    except InputError as error:
        return str(error)
    names = schema.feature_names
    assert matrix.shape == (1, len(names))
    beside = [place for place, other in enumerate(names) if other != name]
    codes = sound({other: GOOD[other] for other in names})
    np.testing.assert_array_equal(matrix[0, beside], codes[beside])
    return float(matrix[0, names.index(name)])


def is_scalar(value: Any) -> bool:
    return not isinstance(value, (list, dict))


# JSON ------------------------------------------------------------------------------------------------------


def json_bodies(row: dict[str, Any]) -> dict[str, Any]:
    """The five forms of a JSON body."""
    return {
        "dataframe_split": {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
        "dataframe_records": {"dataframe_records": [row]},
        "inputs by column": {"inputs": {column: [cell] for column, cell in row.items()}},
        "inputs by record": {"inputs": [row]},
        "instances": {"instances": [row]},
    }


def json_carrier(form: str) -> Carrier:
    reader = Invocations(PAYLOAD)

    def carry(name: str, value: Any) -> Outcome:
        body = json.dumps(json_bodies(GOOD | {name: value})[form]).encode()
        return outcome_of(lambda: reader.read(body, "application/json").rows, name)

    return carry


def mlflow_json_carrier(form: str) -> Carrier:
    def carry(name: str, value: Any) -> Outcome:
        if not is_scalar(value) and form in ("inputs by column", "instances"):
            return None  # NumPy makes a further dimension of it
        data, _ = scoring_server._split_data_and_params(json.dumps(json_bodies(GOOD | {name: value})[form]))
        return outcome_of(lambda: coded_rows(scoring_server.infer_and_parse_data(data), SCHEMA), name)

    return carry


def tensor_carrier(name: str, value: Any) -> Outcome:
    """V2 in JSON; a value comes in a tensor of its own type."""
    if not is_scalar(value):
        return None
    inputs = []
    for column, cell in (GOOD | {name: value}).items():
        own = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}.get(type(cell))
        if own == "INT64" and not -(2**63) <= cell < 2**63:
            own = "FP64"
        datatype = own or DATATYPES[FEATURES[column].type]
        inputs.append({"name": column, "shape": [1, 1], "datatype": datatype, "data": [cell]})
    body = json.dumps({"inputs": inputs}).encode()
    return outcome_of(lambda: Inference(PAYLOAD, SCHEMA.model_name).read(body).question.rows, name)


# Rows without column names ---------------------------------------------------------------------------------


def unnamed_row(name: str, value: Any) -> tuple[list[Any], bool]:
    """A sound row with a value, of a model whose columns are of the kind of the value's feature."""
    is_text = not FEATURES[name].takes_numbers
    names = SCHEMA_OF_KIND[is_text].feature_names
    return [value if other == name else GOOD[other] for other in names], is_text


def matrix_carrier(form: str) -> Carrier:
    def carry(name: str, value: Any) -> Outcome:
        row, is_text = unnamed_row(name, value)
        body = json.dumps({form: [row]}).encode()
        read = Invocations(PAYLOAD_OF_KIND[is_text]).read
        return outcome_of(lambda: read(body, "application/json").rows, name, SCHEMA_OF_KIND[is_text])

    return carry


def mlflow_matrix_carrier(form: str) -> Carrier:
    """The same where NumPy makes one type of all values first; those that it changes are left out."""

    def carry(name: str, value: Any) -> Outcome:
        row, is_text = unnamed_row(name, value)
        if not is_scalar(value) or (is_text and not isinstance(value, str | None)):
            return None
        if isinstance(value, bool) and FEATURES[name].type != "boolean":
            return None
        data, _ = scoring_server._split_data_and_params(json.dumps({form: [row]}))
        parsed = scoring_server.infer_and_parse_data(data)
        schema = SCHEMA_OF_KIND[is_text]
        return outcome_of(lambda: coded_rows(parsed, schema), name, schema)

    return carry


def table_tensor_carrier(nested: bool) -> Carrier:
    """V2 in JSON, one tensor for all columns; its datatype is that of the value."""

    def carry(name: str, value: Any) -> Outcome:
        row, is_text = unnamed_row(name, value)
        if not is_scalar(value) or isinstance(value, bool) or (is_text and not isinstance(value, str | None)):
            return None
        texts = is_text or isinstance(value, str)
        if texts:
            row = [cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in row]
        else:
            row = [float(cell) if isinstance(cell, bool) else cell for cell in row]
        datatype = "BYTES" if texts else "FP64"
        data = [row] if nested else row
        tensor = {"name": "rows", "shape": [1, len(row)], "datatype": datatype, "data": data}
        body = json.dumps({"inputs": [tensor]}).encode()
        read = Inference(PAYLOAD_OF_KIND[is_text], SCHEMA.model_name).read
        return outcome_of(lambda: read(body).question.rows, name, SCHEMA_OF_KIND[is_text])

    return carry


# CSV -------------------------------------------------------------------------------------------------------


def csv_cell(name: str, value: Any) -> str | None:
    """Value as a cell; None where text cannot tell it from another value."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value) if is_scalar(value) and FEATURES[name].takes_numbers else None


def csv_text(name: str, value: Any, quoting: int = csv.QUOTE_MINIMAL) -> bytes | None:
    cell = csv_cell(name, value)
    if cell is None:
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(GOOD)
    writer.writerow([cell if column == name else csv_cell(column, good) for column, good in GOOD.items()])
    return text.getvalue().encode()


def csv_body_carrier(name: str, value: Any) -> Outcome:
    body = csv_text(name, value)
    if body is None:
        return None
    return outcome_of(lambda: Invocations(PAYLOAD).read(body, "text/csv").rows, name)


def mlflow_csv_carrier(name: str, value: Any) -> Outcome:
    """A CSV body of MLflow's own server, which pandas reads first; what it changes is left out."""
    body = csv_text(name, value)
    if body is None:
        return None
    frame = scoring_server.parse_csv_input(io.StringIO(body.decode(), newline=""))
    outcome = outcome_of(lambda: coded_rows(frame, SCHEMA), name)
    if not FEATURES[name].takes_numbers and frame[name].tolist() != [value]:
        # Not text any more: it may be refused or missing, but is never taken for another category.
        assert isinstance(outcome, str) or (outcome is not None and math.isnan(outcome))
        return None
    if frame[name].dtype == bool and isinstance(value, str) and value not in TRUTH:
        return None  # pandas takes tRUE
    return outcome


# Arrow -----------------------------------------------------------------------------------------------------


def arrow_table(name: str, value: Any, kind: pa.DataType | None = None) -> pa.Table | None:
    """Table of one row with the value in a column of its own type; None where Arrow has none for it."""
    if not is_scalar(value):
        return None
    if isinstance(value, float) and math.isnan(value) and not FEATURES[name].takes_numbers:
        return None  # a column of text holds no NaN, and one of numbers is refused as a whole
    own = {"double": pa.float64(), "long": pa.int64(), "boolean": pa.bool_()}
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        if abs(value) >= 10**38:
            return None
        kind = pa.decimal128(38, 0)
    columns = {column: pa.array([good]) for column, good in GOOD.items()}
    columns[name] = pa.array(
        [value], kind or (own.get(FEATURES[name].type, pa.string()) if value is None else None)
    )
    return pa.table(columns)


def parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def parquet_body_carrier(name: str, value: Any) -> Outcome:
    table = arrow_table(name, value)
    if table is None:
        return None
    kind = "application/vnd.apache.parquet"
    return outcome_of(lambda: Invocations(PAYLOAD).read(parquet_bytes(table), kind).rows, name)


def mlflow_parquet_carrier(name: str, value: Any) -> Outcome:
    table = arrow_table(name, value)
    if table is None:
        return None
    frame = scoring_server.parse_parquet_input(io.BytesIO(parquet_bytes(table)))
    return outcome_of(lambda: coded_rows(frame, SCHEMA), name)


# Files -----------------------------------------------------------------------------------------------------


class Recorder:
    """Keeps the matrix that a file was read into."""

    schema = SCHEMA
    decision = Decision()

    def __init__(self) -> None:
        self.matrices: list[NDArray[np.float64]] = []

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        self.matrices.append(matrix.copy())
        return np.full((len(matrix), 2), 0.5)


def scored(data: bytes, suffix: str) -> NDArray[np.float64]:
    """Matrix of a file; an InputError with the reason of its only row."""
    model = Recorder()
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, f"rows.{suffix}"), Path(folder, "predictions.jsonl")
        source.write_bytes(data)
        score_file(source, output, model, Parameters(on_bad_row="mark"))
        [answer] = map(json.loads, output.read_bytes().splitlines())
    if answer["error"] is not None:
        assert answer["prediction"] is None
        raise InputError(answer["error"])
    return np.concatenate(model.matrices)


def csv_file_carrier(quoting: int) -> Carrier:
    def carry(name: str, value: Any) -> Outcome:
        data = csv_text(name, value, quoting)
        return None if data is None else outcome_of(lambda: scored(data, "csv"), name)

    return carry


def json_lines_carrier(name: str, value: Any) -> Outcome:
    line = json.dumps(GOOD | {name: value}).encode() + b"\n"
    return outcome_of(lambda: scored(line, "jsonl"), name)


def arrow_file_carrier(suffix: str, kind: pa.DataType | None = None) -> Carrier:
    def carry(name: str, value: Any) -> Outcome:
        if kind is not None and not isinstance(value, str):
            return None
        table = arrow_table(name, value, kind)
        if table is None:
            return None
        if suffix == "parquet":
            return outcome_of(lambda: scored(parquet_bytes(table), suffix), name)
        sink = pa.BufferOutputStream()
        new = pa.ipc.new_file if suffix == "arrow" else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
        return outcome_of(lambda: scored(sink.getvalue().to_pybytes(), suffix), name)

    return carry


def moment_carrier(carry_table: Callable[[pa.Table], Any], kind: pa.DataType) -> Carrier:
    """A date as a value of one of Arrow's own types, not as text."""

    def carry(name: str, value: Any) -> Outcome:
        if FEATURES[name].type not in DATE_TYPES or not isinstance(value, str):
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is not None and moment.year in (1, 9999):
            return None  # Python has no such moment in UTC
        moment = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
        if pa.types.is_date(kind) and moment.time() != time():
            return None
        if pa.types.is_timestamp(kind) and kind.unit == "ns" and not 1700 < moment.year < 2200:
            return None
        table = arrow_table(name, None, kind)
        assert table is not None
        cell = pa.array([moment.date() if pa.types.is_date32(kind) else moment], kind)
        table = table.set_column(table.schema.get_field_index(name), name, cell)
        return outcome_of(lambda: carry_table(table), name)

    return carry


def frame_rows(table: pa.Table) -> NDArray[np.float64]:
    """Rows of a data frame, as a notebook has them."""
    return coded_rows(table.to_pandas(), SCHEMA)


def parquet_rows(table: pa.Table) -> NDArray[np.float64]:
    kind = "application/vnd.apache.parquet"
    rows: NDArray[np.float64] = Invocations(PAYLOAD).read(parquet_bytes(table), kind).rows
    return rows


def many_frame_rows(table: pa.Table) -> NDArray[np.float64]:
    """The first of so many rows of a data frame that its columns are read one by one."""
    frame = table.to_pandas()
    return coded_rows(frame.loc[frame.index.repeat(5000)], SCHEMA)[:1]


FORMS = tuple(json_bodies({}))
MOMENTS: dict[str, Carrier] = {
    "Parquet file of timestamps": moment_carrier(
        lambda table: scored(parquet_bytes(table), "parquet"), pa.timestamp("us")
    ),
    "Parquet file of zoned timestamps": moment_carrier(
        lambda table: scored(parquet_bytes(table), "parquet"), pa.timestamp("ms", "Europe/Paris")
    ),
    "Parquet file of days": moment_carrier(
        lambda table: scored(parquet_bytes(table), "parquet"), pa.date32()
    ),
    "Parquet body of timestamps": moment_carrier(parquet_rows, pa.timestamp("s")),
    "Parquet body of days": moment_carrier(parquet_rows, pa.date64()),
    "data frame of timestamps": moment_carrier(frame_rows, pa.timestamp("ns")),
    "data frame of zoned timestamps": moment_carrier(frame_rows, pa.timestamp("us", "UTC")),
    "data frame of days": moment_carrier(frame_rows, pa.date32()),
    "large data frame of timestamps": moment_carrier(many_frame_rows, pa.timestamp("us")),
    "large data frame of zoned timestamps": moment_carrier(many_frame_rows, pa.timestamp("s", "UTC")),
    "large data frame of days": moment_carrier(many_frame_rows, pa.date32()),
}
CARRIERS: dict[str, Carrier] = {
    **{form: json_carrier(form) for form in FORMS},
    "text/csv": csv_body_carrier,
    "Parquet body": parquet_body_carrier,
    "V2": tensor_carrier,
    "inputs of rows": matrix_carrier("inputs"),
    "instances of rows": matrix_carrier("instances"),
    "V2 in one tensor": table_tensor_carrier(nested=False),
    "V2 in one nested tensor": table_tensor_carrier(nested=True),
    "MLflow inputs of rows": mlflow_matrix_carrier("inputs"),
    "MLflow instances of rows": mlflow_matrix_carrier("instances"),
    **{f"MLflow {form}": mlflow_json_carrier(form) for form in FORMS},
    "MLflow text/csv": mlflow_csv_carrier,
    "MLflow Parquet": mlflow_parquet_carrier,
    "CSV file": csv_file_carrier(csv.QUOTE_MINIMAL),
    "quoted CSV file": csv_file_carrier(csv.QUOTE_ALL),
    "JSON Lines file": json_lines_carrier,
    "Parquet file": arrow_file_carrier("parquet"),
    "Arrow file": arrow_file_carrier("arrow"),
    "Arrow file of large text": arrow_file_carrier("arrow", pa.large_string()),
    "Arrow stream of coded text": arrow_file_carrier("arrows", pa.dictionary(pa.int8(), pa.string())),
}
