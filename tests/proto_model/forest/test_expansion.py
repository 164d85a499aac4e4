import calendar
import dataclasses
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from proto_model.errors import ArtifactError
from proto_model.forest.expansion import Expansion, Op, Step
from proto_model.schema import Feature, ModelSchema

FEATURES = (
    Feature("amount", "double", True, minimum=0.0, maximum=9.0, median=4.0),
    Feature("color", "string", True, ("blue", "green", "red"), most_frequent="red"),
    Feature("day", "date", True, minimum=0.0, maximum=20000.0, median=100.0),
    Feature("moment", "datetime", True, minimum=0.0, maximum=2e9, median=1e9),
    Feature("note", "text", True, terms=("alpha", "beta", "gamma")),
)
SCHEMA = ModelSchema("m", "kind", "string", ("no", "yes"), FEATURES)
DATE_PARTS = (Op.AGE, Op.YEAR, Op.MONTH, Op.DAY, Op.WEEKDAY)
STEPS = [
    Step(0, Op.FILL, 4.0),
    Step(0, Op.IS_MISSING),
    Step(1, Op.IDENTITY),
    Step(1, Op.LOOKUP, table=(0.25, 0.5, 0.75, 0.125)),
    *(Step(2, op, 20000.0 if op is Op.AGE else 0.0) for op in DATE_PARTS),
    *(Step(3, op, 2e9 if op is Op.AGE else 0.0) for op in (*DATE_PARTS, Op.HOUR)),
    *(Step(4, Op.TERM, float(bit)) for bit in range(3)),
    Step(4, Op.IS_MISSING),
    Step(0, Op.SHIFTED, table=(5.5, 0.3)),
    Step(0, Op.SHIFTED, table=(5.5, 0.3, -7.0)),
    Step(0, Op.SCALED, table=(0.3, 5.5)),
    Step(0, Op.SCALED, table=(0.3, 5.5, -7.0)),
]
EXPANSION = Expansion.of(STEPS, SCHEMA)
SECONDS = (-62135596800, 253402300799)  # of the years 1 to 9999
ROWS = st.tuples(
    st.one_of(st.just(np.nan), st.floats(-1e30, 1e30)),
    st.sampled_from([np.nan, 0.0, 1.0, 2.0]),
    st.one_of(st.just(np.nan), st.integers(SECONDS[0] // 86400, SECONDS[1] // 86400).map(float)),
    st.one_of(st.just(np.nan), st.integers(*SECONDS).map(float)),
    st.one_of(st.just(np.nan), st.integers(0, 7).map(float)),
)


def test_every_column_is_what_its_step_says():
    moment = calendar.timegm((2024, 2, 29, 23, 30, 0))
    row = [np.nan, 1.0, 19782.0, float(moment), 5.0]
    found = dict(zip([(s.source, s.op, s.value) for s in STEPS], EXPANSION(np.array([row]))[0], strict=True))

    assert found[0, Op.FILL, 4.0] == 4.0
    assert found[0, Op.IS_MISSING, 0.0] == 1.0
    assert found[1, Op.LOOKUP, 0.0] == 0.5
    assert [found[2, op, 0.0] for op in DATE_PARTS[1:]] == [2024, 2, 29, 3]  # a Thursday
    assert found[2, Op.AGE, 20000.0] == 218
    assert found[3, Op.HOUR, 0.0] == 23
    assert found[3, Op.AGE, 2e9] == pytest.approx((2e9 - moment) / 86400)
    assert [found[4, Op.TERM, bit] for bit in (0.0, 1.0, 2.0)] == [1, 0, 1]


def test_a_number_is_scaled_as_scikit_learn_does_it():
    scaled = [step for step in STEPS if step.op in (Op.SHIFTED, Op.SCALED)]
    expansion = Expansion.of(scaled, SCHEMA)
    X = np.zeros((9, 5))
    X[:, 0] = [0.1, 7.0, -1e300, np.nan, 0.3, 5.5, 1e-300, 3.3, 2.2]
    shifted, scaled = (X[:, 0] - 5.5) / 0.3, X[:, 0] * 0.3 + 5.5
    expected = [
        shifted,
        np.where(np.isnan(X[:, 0]), -7, shifted),
        scaled,
        np.where(np.isnan(X[:, 0]), -7, scaled),
    ]
    assert_array_equal(expansion(X).T, expected)


def test_a_category_may_be_missing_to_the_forest():
    steps = [Step(1, Op.LOOKUP, table=(2.0, np.nan, 0.0, np.nan))]
    expansion = Expansion.of(steps, SCHEMA)
    assert expansion.fault(SCHEMA) is None
    X = np.zeros((9, 5))
    X[:4, 1] = [0, 1, 2, np.nan]
    assert_array_equal(expansion(X)[:4, 0], [2, np.nan, 0, np.nan])
    assert_array_equal(expansion(X[:4])[:, 0], [2, np.nan, 0, np.nan])


@pytest.mark.parametrize(
    "step",
    [
        Step(0, Op.SHIFTED, table=(1.0, 0.0)),
        Step(0, Op.SHIFTED, table=(1.0,)),
        Step(0, Op.SCALED, table=(1.0, np.nan)),
        Step(1, Op.SCALED, table=(1.0, 2.0)),
        Step(2, Op.SHIFTED, table=(1.0, 2.0)),
    ],
)
def test_what_scales_nothing_is_a_fault(step):
    assert "as given" in Expansion.of([step], SCHEMA).fault(SCHEMA)


def test_only_scaled_columns_need_a_newer_release(tmp_path):
    for steps, version in ((STEPS, 2), (STEPS[:4], 1)):
        Expansion.of(steps, SCHEMA).save(tmp_path / "expansion.npz")
        assert int(np.load(tmp_path / "expansion.npz")["version"]) == version


@given(st.lists(ROWS, min_size=1, max_size=12))
def test_a_row_has_the_same_bits_alone_and_among_others(rows):
    X = np.array(rows)
    many = EXPANSION(np.repeat(X, 5, axis=0))[::5]

    assert_array_equal(np.vstack([EXPANSION(X[i : i + 1]) for i in range(len(X))]), many)


@given(st.integers(*SECONDS))
def test_parts_of_a_date_are_those_of_the_calendar(seconds):
    row = np.array([[np.nan, np.nan, seconds // 86400, seconds, np.nan]])
    found = EXPANSION(np.repeat(row, 6, axis=0))[0]
    known = datetime(1970, 1, 1) + timedelta(seconds=seconds)

    parts = [known.year, known.month, known.day, known.weekday()]
    assert found[5:9].tolist() == parts
    assert found[10:15].tolist() == [*parts, known.hour]


def test_an_expansion_survives_its_file(tmp_path):
    EXPANSION.save(tmp_path / "expansion.npz")
    back = Expansion.load(tmp_path / "expansion.npz", SCHEMA)

    for name, array in EXPANSION.arrays().items():
        assert_array_equal(getattr(back, name), array)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": EXPANSION.source + 4}, "not within"),
        ({"start": np.array(0)}, "of shape"),
        ({"op": EXPANSION.op + 20}, "operation"),
        ({"value": EXPANSION.value * np.nan}, "not finite"),
        ({"value": EXPANSION.value[1:]}, "differ in length"),
        ({"unit": EXPANSION.unit + 1}, "as given"),
        ({"start": EXPANSION.start * 0}, "tables"),
        ({"table": EXPANSION.table.astype(np.float32)}, "float32"),
        ({"source": np.zeros_like(EXPANSION.source)}, "as given"),
    ],
)
def test_a_damaged_expansion_is_refused(tmp_path, changes, message):
    dataclasses.replace(EXPANSION, **changes).save(tmp_path / "expansion.npz")

    with pytest.raises(ArtifactError, match=message):
        Expansion.load(tmp_path / "expansion.npz", SCHEMA)


def test_an_expansion_of_another_schema_is_refused(tmp_path):
    EXPANSION.save(tmp_path / "expansion.npz")
    fewer = dataclasses.replace(SCHEMA, features=(*FEATURES[:4], Feature("note", "text", True, terms=("a",))))

    with pytest.raises(ArtifactError, match="'note'"):
        Expansion.load(tmp_path / "expansion.npz", fewer)
