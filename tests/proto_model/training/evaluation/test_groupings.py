import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from proto_model.table import RawTable, prepare
from proto_model.table.roles import Roles
from proto_model.training.evaluation.groupings import MAX_COLUMNS, groupings, range_ends


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(2)
    n_rows = 500
    age = generator.integers(18, 91, n_rows).astype(object)
    age[::10] = None
    return pd.DataFrame(
        {
            "town": generator.choice([f"town {n}" for n in range(30)], n_rows, p=np.arange(1, 31) / 465),
            "age": pd.array(age, dtype="Int64"),
            "children": generator.integers(0, 3, n_rows),
            "income": generator.lognormal(10, 1, n_rows),
            "sex": generator.choice(["f", "m"], n_rows),
            "class": generator.choice(["no", "yes"], n_rows),
        }
    )


def grouped(frame, **roles):
    data = prepare(RawTable("t", "t", pa.Table.from_pandas(frame)), None, 0.4, roles=Roles(**roles))
    names = data.schema.feature_names
    importances = pd.DataFrame({"feature": names, "importance": np.arange(len(names), 0, -1), "std": 0.0})
    return data, groupings(data, importances)


def test_numbers_are_cut_at_round_numbers_into_ranges_of_many_rows(table):
    data, groups = grouped(table)

    ends = range_ends(data.X_train["age"].dropna().to_numpy())
    assert len(ends) == 4
    assert not (ends % 5).any()
    assert (groups["age"].isna() == data.X_test["age"].isna()).all()
    name = f"{ends[0]:g} to {ends[1] - 1:g}"
    inside = data.X_test["age"].between(ends[0], ends[1] - 1)
    assert (groups["age"] == name).tolist() == inside.tolist()
    assert groups["income"].value_counts().min() > 0.05 * len(groups)


def test_few_numbers_are_groups_themselves(table):
    assert list(grouped(table)[1]["children"].cat.categories) == ["0", "1", "2"]


def test_of_many_categories_the_largest_are_shown_and_the_rest_together(table):
    data, groups = grouped(table)

    largest = list(data.X_train["town"].value_counts().index[:9])
    assert list(groups["town"].cat.categories) == [*sorted(largest), "(others)"]
    assert (groups["town"] == "(others)").sum() == (~data.X_test["town"].isin(largest)).sum()


def test_protected_columns_come_first_then_those_named_like_sensitive_ones(table):
    _, groups = grouped(table, protected=("income",))

    assert list(groups) == ["income", "age", "sex", "town", "children"]
    assert len(groups["income"].cat.categories) == 5


def test_the_number_of_columns_is_bounded():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(60, 2 * MAX_COLUMNS))).add_prefix("x")

    _, groups = grouped(frame.assign(**{"class": np.arange(60) % 2}))

    assert list(groups) == [f"x{n}" for n in range(MAX_COLUMNS)]


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)))
def test_ends_of_ranges_rise_and_lie_within_the_values(values):
    ends = range_ends(values)

    assert (np.diff(ends) > 0).all()
    assert ((ends > values.min()) & (ends <= values.max())).all()
