"""Every entry point that reads values says of each what the rule book says, to the bit."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from proto_model.errors import DataError, InputError
from proto_model.model import Bundle, write_bundle
from proto_model.registry.logged_model import CODE, save_model
from proto_model.registry.signature import rows_signature
from proto_model.table import load_table
from proto_model.table.columns import read_columns
from proto_model.training import make_pipeline
from proto_model.values import MISSING_MARKERS, SPACES, Fault, Rule, decode, expected
from tests.proto_model.carriers import (
    CARRIERS,
    CASES,
    FEATURES,
    GOOD,
    MOMENTS,
    SCHEMA,
    Outcome,
    arrow_table,
    code_of,
    csv_cell,
    is_scalar,
    json_bodies,
    parquet_bytes,
    parquet_rows,
    scored,
    sound,
)


def expected_of(case: dict[str, Any]) -> tuple[float, int]:
    """Code and fault of a case."""
    if "rejected" in case:
        return math.nan, Fault[case["rejected"].upper()]
    if "category" in case:
        categories = FEATURES[case["feature"]].categories
        assert categories is not None
        return float(categories.index(case["category"])), 0
    if "date" in case or "terms" in case:
        value = case["date"] if "date" in case else " ".join(case["terms"])
        return code_of(FEATURES[case["feature"]], value), 0
    return float(case.get("number", case.get("boolean", math.nan))), 0


def check(name: str, outcome: Outcome, code: float, fault: int) -> None:
    """The outcome is this code, to the bit, or a message with the words for this fault."""
    if outcome is None:
        return
    if fault:
        assert isinstance(outcome, str), f"{outcome} accepted, {Fault(fault).name} expected"
        assert f"olumn {name!r}: " in outcome
        assert expected(FEATURES[name], fault) in outcome
        assert ("no value" in outcome) == (fault == Fault.MISSING)
    else:
        assert not isinstance(outcome, str), outcome
        # Any NaN stands for a missing value, whatever its payload.
        same = (
            math.isnan(outcome)
            if math.isnan(code)
            else np.float64(outcome).tobytes() == np.float64(code).tobytes()
        )
        assert same, f"{outcome!r} is not {code!r}"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_case_has_its_verdict(carrier: str) -> None:
    n_held = 0
    for case in CASES["cases"]:
        outcome = CARRIERS[carrier](case["feature"], case["value"])
        n_held += outcome is not None
        try:
            check(case["feature"], outcome, *expected_of(case))
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    assert n_held > (60 if "text" in carrier else 90)


@pytest.mark.parametrize("carrier", MOMENTS)
def test_a_date_that_is_no_text_has_the_same_verdict(carrier: str) -> None:
    n_held = 0
    for case in CASES["cases"]:
        outcome = MOMENTS[carrier](case["feature"], case["value"])
        if outcome is None or case.get("rejected") == "not_a_date":
            continue  # Python knows spellings that are no dates here
        n_held += 1
        try:
            check(case["feature"], outcome, *expected_of(case))
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    assert n_held > 9


def written(cells: list[Any], suffix: str, path: Path) -> Path:
    """A table with a column `x` of these cells, and another column."""
    if suffix == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["x", "kind"], *([cell, "a"] for cell in cells)])
    else:
        pq.write_table(pa.table({"x": pa.array(cells), "kind": ["a"] * len(cells)}), path)
    return path


def trained(cells: list[Any], suffix: str, path: Path) -> tuple[str, Any]:
    """Type of a column of a training table, and its first value."""
    column = read_columns(load_table(str(written(cells, suffix, path))).table)[0]
    first = column.values[0] if column.texts is None else column.objects()[0]
    return column.type, None if isinstance(first, float) and math.isnan(first) else first


BESIDE = {
    "number": ["1.5", "2.5"],
    "whole": ["3", "4"],
    "truth": ["true", "False"],
    "job": ["clerk", "nurse"],
}


def is_csv_cell(case: dict[str, Any]) -> bool:
    """Whether the cell of a training table can be of the feature's type."""
    cell = csv_cell(case["feature"], case["value"]) if case["feature"] in BESIDE else None
    if cell is None or cell == "007":  # a code, which stays text
        return False
    return case["feature"] != "truth" or not cell.strip()[:1].isdigit()  # numbers are no column of booleans


@pytest.mark.parametrize("case", list(filter(is_csv_cell, CASES["cases"])), ids=str)
def test_training_reads_cells_of_csv_as_serving_does(case: dict[str, Any], tmp_path: Path) -> None:
    name, value = case["feature"], case["value"]
    cell = csv_cell(name, value)
    assert cell is not None
    cells = [cell, *BESIDE[name]]
    own = {"number": {"long", "double"}, "whole": {"long", "double"}, "truth": {"boolean"}, "job": {"string"}}

    if case.get("rejected") == "too_large" or value == "1e39":
        with pytest.raises(DataError, match="infinite or beyond"):
            trained(cells, "csv", tmp_path / "table.csv")
        return
    kind, first = trained(cells, "csv", tmp_path / "table.csv")
    if case.get("rejected") == "not_whole":
        assert (kind, first) == ("double", float(cell))
    elif "rejected" in case:
        assert kind == "string"  # one cell that is neither number nor truth value makes the column text
    elif "missing" in case:
        assert kind in own[name]
        assert first is None
    elif name == "job":
        assert (kind, first) == ("string", case.get("category", value))
    else:
        assert kind in own[name]
        assert np.float64(first).tobytes() == np.float64(case.get("number", case.get("boolean"))).tobytes()


def is_stored(case: dict[str, Any]) -> bool:
    """Whether the type in which Parquet stores a column, which decides, is the feature's."""
    is_text = isinstance(case["value"], str)
    return case["feature"] in BESIDE and is_scalar(case["value"]) and is_text == (case["feature"] == "job")


@pytest.mark.parametrize("case", list(filter(is_stored, CASES["cases"])), ids=str)
def test_training_reads_cells_of_parquet_as_serving_does(case: dict[str, Any], tmp_path: Path) -> None:
    name, value = case["feature"], case["value"]
    usual = {float: (double := [1.5, 2.5]), int: [3, 4], bool: [True, False], str: ["clerk", "nurse"]}
    beside = double if isinstance(value, int) and abs(value) > 2**63 else usual.get(type(value), double)
    value = float(value) if beside is double and value is not None else value
    if case.get("rejected") == "too_large":
        with pytest.raises(DataError, match="infinite or beyond"):
            trained([value, *beside], "parquet", tmp_path / "table.parquet")
        return
    kind, first = trained([value, *beside], "parquet", tmp_path / "table.parquet")
    if "missing" in case:
        assert first is None
    elif name == "job":
        assert (kind, first) == ("string", case.get("category", value))
    else:
        assert np.float64(first).tobytes() == np.float64(value).tobytes()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A logged model of the cases' schema as MLflow loads it, and as the lean server does."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 2, (60, len(FEATURES))).astype(float)
    frame = decode(matrix, SCHEMA)
    pipeline = make_pipeline("random_forest", SCHEMA, 0, n_estimators=5)
    pipeline.fit(frame, np.where(matrix.sum(axis=1) > 4, "yes", "no"))
    write_bundle(folder / "bundle", pipeline, SCHEMA, matrix)
    signature = rows_signature(SCHEMA)
    save_model(
        folder / "model",
        bundle=folder / "bundle",
        code=CODE / "forest.py",
        signature=signature,
        input_example=frame[:1],
    )
    return mlflow.pyfunc.load_model(str(folder / "model")), Bundle.load(folder / "bundle")


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize("form", ["dataframe_split", "inputs by column"])
def test_mlflows_own_server_answers_every_case(served: Any, form: str) -> None:
    model, forest = served
    for case in CASES["cases"]:
        name, value = case["feature"], case["value"]
        body = json.dumps(json_bodies(GOOD | {name: value})[form]).encode()
        if isinstance(value, (list, dict)) and form != "dataframe_split":
            continue
        code, fault = expected_of(case)
        if fault:
            with pytest.raises(MlflowException) as caught:
                scoring_server.invocations(body, "application/json", model, None)
            assert caught.value.get_http_status_code() == 400
            check(name, caught.value.message, code, fault)
            continue
        response = scoring_server.invocations(body, "application/json", model, None)
        row = sound(GOOD)
        row[list(FEATURES).index(name)] = code
        [answer] = json.loads(response.response)["predictions"]
        assert answer["probability_yes"] == forest.predict_proba(row[None])[0, 1]


NUMBERS = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.integers(-(10**42), 10**42),
    st.floats(),
    st.floats(-1e3, 1e3, width=16),
)
WORDS = st.sampled_from(
    [*MISSING_MARKERS, "true", "False", "tRUE", "NAN", "nan(1)", "inf", "0x1F", "nurse", "NA", "1_0"]
)
SPELT = st.one_of(
    WORDS,
    NUMBERS.map(str),
    NUMBERS.map(repr),
    st.from_regex(r"[-+]?[0-9.]{1,4}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
)
SPACE = st.text(st.sampled_from([*SPACES, "\u200b", "\x1c"]), max_size=2)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.tuples(SPACE, SPELT, SPACE).map("".join),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(FEATURES)), st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS))
@example("number", "nan(1)")
@example("required number", "\u200b5")
@example("job", "\x1cnurse")
@example("job", math.nan)
@example("number", float(np.frombuffer(bytes.fromhex("010000000000f87f"))[0]))
def test_any_cell_has_one_verdict_and_the_same_bits_everywhere(name: str, value: Any) -> None:
    code, fault = Rule(FEATURES[name]).read(value)

    for carrier, carry in CARRIERS.items():
        try:
            check(name, carry(name, value), code, fault)
        except AssertionError as error:
            raise AssertionError(f"{carrier}: {error}") from error


@pytest.mark.parametrize(
    "cell",
    [
        pa.array([10_000_000], pa.int32()).cast(pa.date32()),
        pa.array([864 * 10**12], pa.int64()).cast(pa.date64()),
        pa.array([10**12], pa.int64()).cast(pa.timestamp("s")),
        pa.array([-(10**17)], pa.int64()).cast(pa.timestamp("us", "UTC")),
        pa.array([2**62], pa.int64()).cast(pa.duration("s")),
    ],
    ids=lambda cell: str(cell.type),
)
@pytest.mark.parametrize("name", ["day", "moment", "number", "job", "note"])
@pytest.mark.parametrize("read", [parquet_rows, lambda table: scored(parquet_bytes(table), "parquet")])
def test_a_moment_that_python_does_not_have_is_refused(cell, name, read):
    table = arrow_table(name, None)
    table = table.set_column(table.schema.get_field_index(name), name, cell)

    with pytest.raises(InputError, match=rf"'{name}'.* expected"):
        read(table)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_column_that_is_no_feature_is_left_out(carrier, monkeypatch):
    """Tables have identifiers and labels; one policy for all entry points."""
    without = CARRIERS[carrier]("job", "nurse")
    monkeypatch.setitem(GOOD, "ident", "A-17")

    assert CARRIERS[carrier]("job", "nurse") == without == code_of(FEATURES["job"], "nurse")
