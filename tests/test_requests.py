"""Every entry point gives a request the same verdict, and the same rows, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from numpy.typing import NDArray

import mapper
from mapper.errors import InvalidRequestError, NotJsonError
from mapper.http.body import check_sendable, parse_body
from mapper.mapping.request import ModelRequest
from proto_model.errors import InputError
from proto_model.model import coded_rows
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.tensors import DATATYPES
from tests.proto_model.carriers import CASES, FEATURES, GOOD, PAYLOAD, SCHEMA

REQUESTS = json.loads((Path(__file__).parents[1] / "schemas/cases/requests.json").read_text("utf-8"))["cases"]
MODEL = mapper.TabularModel(mapper.ModelSchema.from_dict(CASES["schema"]))
DIGITS = {f"DIGITS{n}": "9" * n for n in (400, 5000)}

Rows = NDArray[np.float64] | None


def through_mapper(body: bytes) -> Rows:
    """Rows that reach the model server by way of the mapper; None if it refuses them."""
    try:
        content, not_json = parse_body(body)
        request = MODEL.map_request(content)
        assert isinstance(request, ModelRequest)
        if not_json is not None:
            check_sendable(request, not_json)
    except (InvalidRequestError, NotJsonError):
        return None
    rows = lean(orjson.dumps(request))
    assert rows is not None, "the model server refuses what the mapper sends"
    return rows


def lean(body: bytes) -> Rows:
    try:
        rows: Rows = Invocations(PAYLOAD).read(body, "application/json").rows
    except InputError:
        return None
    return rows


def through_mlflow(body: bytes) -> Rows:
    """What MLflow's server hands to the model, and what the model makes of it."""
    try:
        data, _ = scoring_server._split_data_and_params(body)
        return coded_rows(scoring_server.infer_and_parse_data(data), SCHEMA)
    except (
        InputError,
        MlflowException,
        ValueError,
    ):  # the last ends as 500: tests/system/test_models_serve.py
        return None


#: By name: what begins and ends a body of records, and what reads it.
ENTRIES: dict[str, tuple[str, str, Callable[[bytes], Rows]]] = {
    "mapper": ('{"data": [', "]}", through_mapper),
    "inputs": ('{"inputs": [', "]}", lean),
    "dataframe_records": ('{"dataframe_records": [', "]}", lean),
    "instances": ('{"instances": [', "]}", lean),
    "MLflow inputs": ('{"inputs": [', "]}", through_mlflow),
    "MLflow dataframe_records": ('{"dataframe_records": [', "]}", through_mlflow),
}


def row_text(case: dict[str, Any]) -> str:
    """JSON text of a case's row."""
    cells = {name: json.dumps(value) for name, value in GOOD.items()} | case.get("cells", {})
    pairs = [f"{json.dumps(name)}: {DIGITS.get(cell, cell)}" for name, cell in cells.items()]
    return "{" + ", ".join(pairs) + case.get("more", "") + "}"


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
def test_every_request_has_its_verdict(case: dict[str, Any], entry: str) -> None:
    begin, end, read = ENTRIES[entry]
    body = (begin + row_text(case) + end).encode(case.get("encoding", "utf-8"))

    rows = read(body)

    is_taken = (case["verdict"] == "taken") is (entry not in case.get("except", {}))
    assert (rows is not None) is is_taken


def test_the_bytes_of_a_session_come_back_or_the_request_is_refused() -> None:
    """NaN would come back as null, and half a pair or a huge number cannot come back at all."""
    for session in ("NaN", '"\\ud800"', "[NaN]", '{"a": "\\ud800"}', "9" * 400):
        assert through_mapper(f'{{"data": {json.dumps(GOOD)}, "session": {session}}}'.encode()) is None
    for part in ('"file_id": "\\ud800"', '"file_id": "a"'):
        body = f'{{"file": {{"input_url": "https://h/a", "output_url": "https://h/b", {part}}}}}'.encode()
        content, not_json = parse_body(body)
        request = MODEL.map_request(content)
        assert isinstance(request, ModelRequest)
        if not_json is None:
            orjson.dumps(request)
        else:
            with pytest.raises(NotJsonError):
                check_sendable(request, not_json)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        [
            *("5", " 2.0 ", "1e39", "", "?", "NA", "nurse", " clerk", "TRUE", "tRUE", "0x10", "\u0665"),
            *("FR", "007", "nan", "inf", "1_0", "\u00a05"),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
    st.just([1]),
)


@st.composite
def sets_of_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Sound rows with a few cells changed or left out."""
    rows = [dict(GOOD) for _ in range(draw(st.integers(1, 3)))]
    for row in rows:
        for name in draw(st.lists(st.sampled_from(list(FEATURES)), max_size=2, unique=True)):
            if draw(st.booleans()):
                row[name] = draw(CELLS)
            else:
                row.pop(name, None)
    return rows


def tensors(rows: list[dict[str, Any]]) -> bytes | None:
    """The rows in V2; None where no tensor has a column's values: of several types, or beyond 64 bits."""
    inputs = []
    for name, feature in FEATURES.items():
        values = [row.get(name) for row in rows]
        types = set(map(type, values)) - {type(None)}
        if len(types) > 1 or list in types or any(isinstance(v, float) and v - v != 0 for v in values):
            return None
        if int in types and not all(-(2**63) <= v < 2**64 for v in values if v is not None):
            return None
        own = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
        datatype = own[types.pop()] if types else DATATYPES[feature.type]
        inputs.append({"name": name, "shape": [len(rows), 1], "datatype": datatype, "data": values})
    return json.dumps({"inputs": inputs}).encode()


@settings(max_examples=200)
@given(sets_of_rows())
@example([{**GOOD, "job": 5}, GOOD])
@example([{**GOOD, "job": 5}])
@example([{**GOOD, "truth": 1.0}, {**GOOD, "whole": 2.0**64}])
@example([{**GOOD, "number": -(2**63) - 1}])
@example([{**GOOD, "number": 2**64 - 1}])
def test_any_set_of_rows_has_one_verdict_and_the_same_bits_everywhere(rows: list[dict[str, Any]]) -> None:
    names = list(FEATURES)
    split = {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}
    text = json.dumps(rows)
    expected = lean(f'{{"dataframe_records": {text}}}'.encode())
    given = {
        "mapper": through_mapper(f'{{"data": {text}}}'.encode()),
        "inputs": lean(f'{{"inputs": {text}}}'.encode()),
        "dataframe_split": lean(json.dumps({"dataframe_split": split}).encode()),
        "MLflow dataframe_split": through_mlflow(json.dumps({"dataframe_split": split}).encode()),
    }
    in_tensors = tensors(rows)
    if in_tensors is not None:
        try:
            given["V2"] = Inference(PAYLOAD, "cases").read(in_tensors).question.rows
        except InputError:
            given["V2"] = None

    for entry, matrix in given.items():
        assert (matrix is None) == (expected is None), f"{entry}: {matrix}, not {expected}"
        if matrix is not None and expected is not None:
            # Any NaN stands for a missing value.
            assert np.array_equal(matrix, expected, equal_nan=True), f"{entry}: {matrix}, not {expected}"
            assert (np.signbit(matrix) == np.signbit(expected))[~np.isnan(expected)].all(), entry
