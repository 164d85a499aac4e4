"""Rows and answers in JSON: bodies of /invocations, V2 tensors, requests and answers of the mapper.

Each target reads bytes as a service does and compares what it made of them with a reading of its own: the
`json` module, and the rule book for one value at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

import mapper
from mapper import errors as mapper_errors
from mapper.http.body import check_sendable, parse_body
from mapper.mapping.answer import ModelAnswer
from mapper.mapping.request import ModelRequest
from mapper.model_server.answer import read_answer
from proto_model.errors import InputError
from proto_model.model import Bundle, Predictor
from proto_model.schema import ModelSchema
from proto_model.serving.http.errors import LengthError, MediaTypeError
from proto_model.serving.http.forms import FORMATS
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.payload import CSV, JSON, RowPayload
from proto_model.values import RuleBook

NUMBER = {"minimum": -10.0, "maximum": 100.0, "median": 5.0}
CONTENT: dict[str, Any] = {
    "schema_version": "1.0",
    "model_name": "fuzz",
    "target": {"name": "y", "type": "string"},
    "classes": ["no", "yes"],
    "features": [
        {"name": "x", "type": "double", "nullable": False, **NUMBER},
        {"name": "n", "type": "long", "nullable": True, **NUMBER},
        {"name": "b", "type": "boolean", "nullable": True, **NUMBER},
        {
            "name": "c",
            "type": "string",
            "nullable": True,
            "categories": ["NA", "a", "b c"],
            "most_frequent": "a",
        },
        {"name": "d", "type": "date", "nullable": True, **{key: "2024-03-01" for key in NUMBER}},
        {
            "name": "m",
            "type": "datetime",
            "nullable": True,
            **{key: "2024-03-01T12:00:00Z" for key in NUMBER},
        },
        {"name": "t", "type": "text", "nullable": True, "terms": ["7", "late", "refund"]},
    ],
}
SCHEMA = ModelSchema.from_dict(CONTENT)
RULES = RuleBook(SCHEMA).rules
PAYLOAD = RowPayload(Predictor(Bundle(Path(), SCHEMA, None)), 50)  # type: ignore[arg-type]  # only reads
MAPPED = mapper.TabularModel(mapper.ModelSchema.from_dict(CONTENT), "1", max_rows=50)
MOST_CHARACTERS = 10_000  # of an error
STATUSES = (200, 200, 200, 400, 422, 429, 500, 503, 504)

Matrix = NDArray[np.float64]


def coded(records: Sequence[Mapping[str, Any]]) -> Matrix | None:
    """Matrix of records, cell by cell; None if one is refused."""
    present = {name for record in records for name in record}
    matrix = np.empty((len(records), len(RULES)))
    for column, rule in enumerate(RULES):
        for row, record in enumerate(records):
            code, fault = rule.read(record.get(rule.feature.name))
            matrix[row, column] = math.nan if rule.feature.name not in present else code
            if fault:
                return None
    return matrix


def same(given: Matrix, expected: Matrix) -> bool:
    return given.shape == expected.shape and np.array_equal(given, expected, equal_nan=True)


def is_told(error: Exception) -> None:
    """An error can be sent, and is not endless."""
    text = str(error)
    assert text, "an error without a word"
    assert len(text) <= MOST_CHARACTERS, len(text)


def json_rows(data: bytes) -> None:
    """Bodies of /invocations."""
    try:
        given = Invocations(PAYLOAD).read(data, JSON).rows
    except (InputError, LengthError) as error:
        is_told(error)
        given = None
    try:
        content = json.loads(data)
    except RecursionError:
        return
    except ValueError:
        assert given is None, "no JSON was taken"
        return
    records = records_of(content)
    if records is None:
        return
    expected = coded(records) if len(records) <= PAYLOAD.max_rows else None
    if given is not None:
        assert expected is not None, f"taken: {records}"
        assert same(given, expected), (given, expected)
    elif "params" not in content:
        assert expected is None, f"refused: {records}"


def records_of(content: Any) -> list[dict[str, Any]] | None:
    """Records of a body whose table is plain to see; None for all others, right or wrong."""
    if not isinstance(content, dict):
        return None
    [key, *more] = [name for name in FORMATS if name in content] or [""]
    table = content.get(key)
    if more or not table:
        return None
    if key in ("dataframe_records", "inputs") and isinstance(table, list):
        return table if all(type(record) is dict for record in table) else None
    if key == "inputs" and isinstance(table, dict):
        columns = {name: table[name] for name in SCHEMA.feature_names if name in table}
        lists = columns and all(isinstance(column, list) for column in columns.values())
        if not lists or len(set(map(len, columns.values()))) != 1 or not next(iter(columns.values())):
            return None
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if key == "dataframe_split" and isinstance(table, dict) and table.keys() == {"columns", "data"}:
        names, rows = table["columns"], table["data"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not rows:
            return None
        if len(set(names)) != len(names) or not isinstance(rows, list):
            return None
        if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return None
        return [dict(zip(names, row, strict=True)) for row in rows]
    return None


def csv_body(data: bytes) -> None:
    """CSV bodies of /invocations; `files.csv_blocks` is the same for files."""
    try:
        Invocations(PAYLOAD).read(data, CSV)
    except (InputError, LengthError, MediaTypeError) as error:
        is_told(error)


def v2_tensors(data: bytes) -> None:
    """Bodies of V2's infer."""
    protocol = Inference(PAYLOAD, "fuzz")
    try:
        request = protocol.read(data)
    except (InputError, LengthError) as error:
        is_told(error)
        return
    again = Inference(PAYLOAD, "fuzz")
    again.read(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}]}')
    assert same(again.read(data).question.rows, request.question.rows), "depends on the request before"
    try:
        tensors = json.loads(data)["inputs"]
    except (ValueError, RecursionError):
        return
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor["name"] in SCHEMA.feature_names:
            assert tensor["name"] not in columns, "given twice"
            columns[tensor["name"]] = [v[0] if isinstance(v, list) else v for v in tensor["data"]]
            shape = tensor["shape"]
            assert shape in ([len(tensor["data"])], [len(tensor["data"]), 1]), shape
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if records:
        expected = coded(records)
        assert expected is not None, f"taken: {records}"
        assert same(request.question.rows, expected)


def mapper_request(data: bytes) -> None:
    """The mapper's requests, and what the model server then makes of them."""
    try:
        content, not_json = parse_body(data)
        mapped = MAPPED.map_request(content)
        assert isinstance(mapped, ModelRequest)
        if not_json is not None:
            check_sendable(mapped, not_json)
    except (
        mapper_errors.NotJsonError,
        mapper_errors.InvalidRequestError,
        mapper_errors.TooLargeError,
    ) as error:
        is_told(error)
        mapped = None
        if isinstance(error, mapper_errors.NotJsonError):
            return
        if isinstance(error, mapper_errors.InvalidRequestError):
            orjson.dumps([fault.to_dict() for fault in error.errors])
    records = content.get("data") if isinstance(content, dict) else None
    records = [records] if isinstance(records, dict) and "columns" not in records else records
    if mapped is not None:
        orjson.dumps(mapped.session)
        if mapped.is_file:
            orjson.dumps(mapped)
            return
        rows = Invocations(PAYLOAD).read(orjson.dumps(mapped), JSON).rows
        assert len(rows) == mapped.n_rows
        if isinstance(records, list):
            expected = coded(records)
            assert expected is not None, f"taken: {records}"
            assert same(rows, expected), (records, rows, expected)
    elif isinstance(records, list) and content.keys() == {"data"} and 0 < len(records) <= 50:
        known = set(SCHEMA.feature_names)
        if all(type(record) is dict and record.keys() <= known for record in records):
            assert coded(records) is None, f"refused: {records}"


ANSWERED = MAPPED.map_request({"data": {"x": 1}})


def mapper_answer(data: bytes) -> None:
    """Answers of a model server: the first byte is the status."""
    if not data:
        return
    status, body = STATUSES[data[0] % len(STATUSES)], data[1:]
    try:
        answer = MAPPED.map_response(ModelAnswer(read_answer(status, "1", body), ANSWERED))
    except (
        mapper_errors.RefusedByModelError,
        mapper_errors.ModelServerAnswerError,
        mapper_errors.ModelServerDownError,
        mapper_errors.ModelServerTimeoutError,
    ) as error:
        is_told(error)
        return
    assert status == 200
    [item] = answer["predictions"]
    shares = item["probabilities"]
    assert not {bool} & set(map(type, [item["probability"], *shares.values()]))
    assert shares.keys() == {"no", "yes"}
    assert abs(sum(shares.values()) - 1) < 1e-5
    assert abs(item["probability"] - shares[item["prediction"]]) < 1e-5
    assert shares[item["prediction"]] >= max(shares.values()) - 1e-5
    orjson.dumps(answer)
