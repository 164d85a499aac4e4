import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import DataError
from proto_model.table import RawTable, Roles, encode, load_training_data, prepare

SCHEMA_FILE = Path(__file__).parents[3] / "schemas" / "model-schema.schema.json"


def from_frame(frame, **options):
    return prepare(RawTable("t", "t.csv", pa.Table.from_pandas(frame, preserve_index=False)), **options)


def test_every_kind_of_column_gets_its_type_and_range(mixed_data):
    features = {feature.name: feature for feature in mixed_data.schema.features}

    assert {name: (feature.type, feature.nullable) for name, feature in features.items()} == {
        "age": ("long", True),
        "income": ("double", False),
        "job": ("string", True),
        "owner": ("boolean", False),
        "children": ("long", False),
    }
    assert features["job"].categories == ("clerk", "farmer", "nurse", "pilot")
    assert features["job"].most_frequent == mixed_data.X_train["job"].mode()[0]
    assert features["age"].minimum <= mixed_data.X_train["age"].min()
    assert features["income"].maximum >= mixed_data.X_train["income"].max()
    assert features["age"].median == pytest.approx(mixed_data.X_train["age"].median(), abs=4)
    assert (features["owner"].minimum, features["owner"].maximum) == (0, 1)


def test_no_value_of_one_row_stands_in_the_schema(mixed_data):
    for feature in mixed_data.schema.features:
        if feature.type == "double":
            values = set(mixed_data.X_train[feature.name])
            assert values.isdisjoint({feature.minimum, feature.maximum, feature.median})


def test_frames_are_canonical(mixed_data):
    for frame in (mixed_data.X_train, mixed_data.X_test):
        assert list(frame.columns) == mixed_data.schema.feature_names
        assert [str(kind) for kind in frame.dtypes] == ["float64", "float64", "object", "float64", "float64"]
        assert {type(value) for value in frame["job"]} == {str, type(None)}


def test_both_parts_together_are_the_table(mixed_data, mixed_frame):
    together = pd.concat([mixed_data.X_train, mixed_data.X_test])

    assert mixed_data.n_rows == len(together) == len(mixed_frame)
    assert_array_equal(np.sort(together["income"]), np.sort(mixed_frame["income"]))
    assert len(mixed_data.train_hashes) == len(mixed_data.y_train) == len(mixed_data.X_train)
    assert len(mixed_data.test_hashes) == len(mixed_data.y_test) == len(mixed_data.X_test)
    pay = mixed_frame.set_index("income")["class"]
    assert_array_equal(mixed_data.y_test, pay[mixed_data.X_test["income"]].to_numpy())


def test_the_schema_obeys_its_json_schema(mixed_data):
    content = json.loads(json.dumps(mixed_data.schema.to_dict()))

    jsonschema.validate(content, json.loads(SCHEMA_FILE.read_text()))


def test_rows_in_another_order_are_the_same_data(mixed_frame, mixed_data):
    again = from_frame(mixed_frame.sample(frac=1, random_state=1))

    assert again.split_digest == mixed_data.split_digest
    assert again.schema.features == mixed_data.schema.features
    assert_array_equal(again.train_hashes, mixed_data.train_hashes)
    pd.testing.assert_frame_equal(again.X_train, mixed_data.X_train)


def test_a_table_as_csv_or_parquet_is_split_alike(mixed_frame, mixed_data, csv_file):
    again = load_training_data(csv_file(mixed_frame.to_csv(index=False)), "class")

    assert again.split_digest == mixed_data.split_digest
    assert again.schema == mixed_data.schema


def test_rows_added_leave_the_others_in_their_part(mixed_frame, mixed_data):
    more = mixed_frame.assign(income=mixed_frame["income"] * 2)

    grown = from_frame(pd.concat([mixed_frame, more]))

    assert set(mixed_data.test_hashes) < set(grown.test_hashes)
    assert set(mixed_data.train_hashes) < set(grown.train_hashes)


def test_categories_are_those_of_the_training_rows(mixed_frame):
    jobs = [f"rare {n}" if n < 30 else f"job {n % 5}" for n in range(len(mixed_frame))]

    data = from_frame(mixed_frame.assign(job=jobs))

    (job,) = (feature for feature in data.schema.features if feature.name == "job")
    assert job.categories == tuple(sorted(set(data.X_train["job"])))
    unseen = ~data.X_test["job"].isin(job.categories).to_numpy()
    assert 0 < unseen.sum() < 30
    assert_array_equal(np.isnan(encode(data.X_test, data.schema)[:, 2]), unseen)


def test_a_table_with_nothing_but_the_target_is_an_error():
    with pytest.raises(DataError, match=r"t\.csv has no column to learn 'y' from: it is the only one"):
        from_frame(pd.DataFrame({"y": ["a", "b"] * 10}))


def test_the_name_of_the_row_hashes_is_kept_free(mixed_frame):
    data = from_frame(mixed_frame.assign(__row_hash__=mixed_frame["income"]))

    assert [column.name for column in data.dropped] == ["__row_hash__"]


def test_rows_without_a_label_are_left_out_and_counted(mixed_frame):
    frame = mixed_frame.assign(**{"class": mixed_frame["class"].mask(mixed_frame.index < 100)})

    data = from_frame(frame)

    assert (data.n_rows, data.n_unlabelled) == (600, 100)
    assert len(data.X_train) + len(data.X_test) == 500


def test_columns_that_are_no_features_are_named(mixed_frame):
    frame = mixed_frame.assign(id=range(600), nothing=None, same="x", day=pd.Timestamp("2024-01-01"))

    data = from_frame(frame)

    assert {column.name for column in data.dropped} == {"id", "nothing", "same", "day"}
    assert len(data.schema.features) == 5


def test_a_table_without_features_says_why(csv_file):
    rows = "".join(f"{day:02}.01.2024,{day % 2}\n" for day in range(1, 29))

    with pytest.raises(
        DataError, match=r"no column to learn 'class' from\. day: dates that are not written as in ISO 8601"
    ):
        load_training_data(csv_file("day,class\n" + rows))


@pytest.mark.parametrize(
    ("dataset", "shape", "n_dropped"),
    [
        ("breast_cancer", (569, 30), 0),
        ("wine", (178, 13), 0),
        ("iris", (150, 4), 0),
        ("digits", (1797, 60), 4),
    ],
)
def test_built_in_data_sets_work_as_they_are(dataset, shape, n_dropped):
    data = load_training_data(dataset)

    assert len(data.X_train) + len(data.X_test) == shape[0]
    assert (len(data.schema.features), len(data.dropped)) == (shape[1], n_dropped)
    assert data.schema.target == "target"
    assert set(data.y_train) == set(data.y_test) == set(data.schema.classes)


def test_a_table_like_adult_needs_no_help(csv_file):
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.integers(17, 90)}, {rng.choice(['Private', 'State-gov', '?'])}, {rng.integers(10**4, 10**6)}, "
        f"{rng.choice(['<=50K', '>50K'])}"
        for _ in range(300)
    ]
    data = load_training_data(csv_file("age, workclass, fnlwgt, class\n" + "\n".join(lines) + "\n"))

    assert [(feature.name, feature.type, feature.nullable) for feature in data.schema.features] == [
        ("age", "long", False),
        ("workclass", "string", True),
        ("fnlwgt", "long", False),
    ]
    assert data.schema.classes == ("<=50K", ">50K")


def test_columns_may_have_any_name_and_labels_may_be_numbers(csv_file):
    rows = "".join(f"{n % 7 / 2},{'ja' if n % 3 else 'nein'},{n % 2}.0\n" for n in range(60))

    data = load_training_data(csv_file("größe (cm),\u0394 ok?,Ziel\n" + rows), "Ziel")

    assert data.schema.feature_names == ["größe (cm)", "Δ ok?"]
    assert data.schema.classes == (0, 1)
    assert data.y_train.dtype == np.int64


def people(n_rows=200):
    generator = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 80, n_rows),
            "sex": generator.choice(["f", "m", None], n_rows),
            "married": generator.choice([True, False], n_rows),
            "class": generator.choice(["no", "yes"], n_rows),
        }
    )


def test_protected_columns_are_no_features_and_stay_beside_the_test_rows():
    frame = people()
    data = from_frame(
        frame,
        roles=Roles(
            protected=(
                "sex",
                "married",
            )
        ),
    )

    assert data.schema.feature_names == list(data.X_test.columns) == ["age"]
    assert {column.name: column.reason for column in data.dropped}.keys() == {"sex", "married"}
    kept = data.protected_test.assign(age=data.X_test["age"], **{"class": data.y_test})
    expected = frame.merge(kept, how="inner").drop_duplicates()
    assert len(data.protected_test) == len(data.X_test)
    assert len(expected) == len(kept.drop_duplicates())
    assert {type(value) for value in data.protected_test["married"]} == {bool}
    assert set(data.protected_test["sex"]) == {"f", "m", None}


def test_a_protected_column_has_no_say_in_the_split():
    frame = people()
    changed = frame.assign(sex="f")

    one, other = (from_frame(table, roles=Roles(protected=("sex",))) for table in (frame, changed))

    assert_array_equal(one.test_hashes, other.test_hashes)
    assert one.split_digest == from_frame(frame.drop(columns="sex")).split_digest


def test_dropping_columns_moves_no_row_to_the_other_part():
    frame = people()

    data = from_frame(frame, roles=Roles(drop=("sex",)))

    assert data.schema.feature_names == ["age", "married"]
    assert [(column.name, column.reason) for column in data.dropped] == [("sex", "you dropped it")]
    assert data.split_digest == from_frame(frame).split_digest


def test_a_table_of_which_all_is_dropped_is_an_error():
    with pytest.raises(
        DataError, match=r"no column to learn 'class' from\. age: you dropped it; sex: you dr"
    ):
        from_frame(people(), roles=Roles(drop=("age", "sex", "married")))


def test_unknown_columns_to_use_are_errors():
    with pytest.raises(DataError, match=r"has no column 'sxe' to drop\. Did you mean 'sex'"):
        from_frame(people(), roles=Roles(drop=("sxe",)))


@pytest.mark.parametrize(
    ("protected", "complaint"),
    [
        (["sxe"], "has no column 'sxe' to protect. Did you mean 'sex'"),
        (["class"], "'class' is the target"),
        (["age", "sex", "married"], "the only one but the protected ones"),
    ],
)
def test_columns_that_cannot_be_protected_are_errors(protected, complaint):
    with pytest.raises(DataError, match=complaint):
        from_frame(people(), roles=Roles(protected=tuple(protected)))
