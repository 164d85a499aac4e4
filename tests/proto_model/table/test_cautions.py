"""Each caution has a table that gives reason for it, and a near miss that does not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.table import RawTable, load_training_data, prepare
from proto_model.table.cautions import data_cautions, to_drop
from proto_model.table.contradictions import contradictions
from proto_model.table.leaks import suspects
from proto_model.table.roles import Roles
from proto_model.table.shift import LEVEL, _between, shift
from proto_model.table.twins import feature_hashes

N_ROWS = 800


def passengers(n_rows=N_ROWS, seed=0):
    """A table like the Titanic's: sex and class tell much of who survived, but not all."""
    generator = np.random.default_rng(seed)
    female, first = generator.random(n_rows) < 0.35, generator.random(n_rows) < 0.25
    fare = generator.lognormal(2.5 + first, 0.6).round(2)
    survived = generator.random(n_rows) < 0.15 + 0.5 * female + 0.2 * first
    return pd.DataFrame(
        {
            "sex": np.where(female, "female", "male"),
            "age": generator.normal(30, 12, n_rows).round(1),
            "fare": fare,
            "class": np.where(survived, "survived", "died"),
        }
    )


def defendants(n_rows=1500, seed=0):
    """A table like COMPAS': age and priors tell little of who offends again."""
    generator = np.random.default_rng(seed)
    age, priors = generator.integers(18, 70, n_rows), generator.poisson(2, n_rows)
    again = generator.random(n_rows) < 1 / (1 + np.exp((age - 30) / 15 - priors / 3))
    return pd.DataFrame(
        {"age": age, "priors": priors, "days": generator.exponential(9, n_rows), "class": again}
    )


def data_of(frame, test_size=0.2, **roles):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return prepare(RawTable("t", "t.csv", table), "class", test_size, roles=Roles(**roles))


def found(frame, **roles):
    return [(suspect.column, suspect.how) for suspect in suspects(data_of(frame, **roles))]


def kinds(frame, **roles):
    return [caution.kind for caution in data_cautions(data_of(frame, **roles))]


def flipped(truth, share, seed=1):
    """Truth values of which a share are wrong."""
    return np.where(np.random.default_rng(seed).random(len(truth)) < share, ~truth, truth)


@pytest.mark.parametrize("make", [passengers, defendants])
def test_a_table_without_leaks_gives_no_reason_for_a_caution(make):
    assert kinds(make()) == []


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits"])
def test_tables_that_newcomers_begin_with_give_no_reason_for_a_caution(name):
    assert data_cautions(load_training_data(name)) == ()


@pytest.mark.parametrize("make", [passengers, defendants])
def test_another_copy_of_the_target_is_found_however_it_is_coded(make):
    frame = make()
    truth = (frame["class"] == frame["class"].max()).to_numpy()
    copies = {
        "text": np.where(truth, "yes", "no"),
        "codes": np.where(truth, 7, 3),
        "finer": np.where(truth, np.array(["a", "b"])[np.arange(len(truth)) % 2], "c"),
    }

    assert found(frame.assign(**copies)) == [(name, "copy") for name in copies]


def test_what_is_nearly_a_copy_tells_the_class_alone_and_what_is_far_from_one_does_not():
    frame = defendants()
    truth = frame["class"].to_numpy()
    noise = np.random.default_rng(3).normal(size=len(truth))
    near = {"is_recid": flipped(truth, 0.02), "score": truth + 0.1 * noise}
    far = {"guess": flipped(truth, 0.15), "hint": truth + noise}

    assert found(frame.assign(**near, **far)) == [("is_recid", "alone"), ("score", "alone")]


def test_a_value_that_is_filled_in_only_afterwards_is_found():
    frame = passengers()
    generator = np.random.default_rng(4)
    survived = (frame["class"] == "survived").to_numpy()
    boat, body = generator.integers(1, 17, N_ROWS), generator.integers(1, 300, N_ROWS)
    frame = frame.assign(
        boat=pd.array(np.where(flipped(survived, 0.03), boat, None), dtype="Int64"),
        body=pd.array(np.where(~survived & (generator.random(N_ROWS) < 0.2), body, None), dtype="Int64"),
        cabin=np.where(generator.random(N_ROWS) < 0.2 + 0.3 * survived, "B", None),
    )

    assert found(frame) == [("boat", "missing"), ("body", "missing")]


def test_many_values_earn_nothing():
    frame = passengers().assign(
        ticket=[f"ticket {n}" for n in np.random.default_rng(5).integers(0, 390, N_ROWS)]
    )

    assert found(frame, keep=("ticket",)) == []


def test_too_few_rows_show_no_leak():
    frame = passengers(20).assign(alive=lambda rows: rows["class"] == "survived")

    assert found(frame) == []


def test_what_to_do_leaves_out_what_is_left_out_already():
    frame = passengers().assign(
        alive=lambda rows: rows["class"] == "survived", again=lambda rows: rows["alive"]
    )

    (caution,) = data_cautions(data_of(frame, drop=("alive",)))

    assert caution.columns == ("again",)
    assert caution.text.startswith("`again` is another copy of the target")
    assert caution.text.endswith("`-P drop=alive,again`.")
    assert to_drop(["a b", "c"], data_of(passengers())) == "`-P 'drop=a b,c'`"


def test_contradictory_rows_are_counted_with_the_scores_that_they_allow():
    unique = passengers(400)
    same = pd.DataFrame({"sex": "male", "age": 20.0, "fare": 1.0, "class": ["died"] * 6 + ["survived"] * 4})
    data = data_of(pd.concat([unique, same], ignore_index=True))

    result = contradictions(data)

    n_died = (unique["class"] == "died").sum() + 6
    n_survived = 410 - n_died
    assert (result.n_rows, result.n_groups) == (10, 1)
    assert result.best_accuracy == pytest.approx(1 - 4 / 410)
    assert result.best_balanced_accuracy == pytest.approx(1 - min(4 / n_survived, 6 / n_died) / 2)
    hashes = {hash_: label for hash_, label in zip(feature_hashes(data.X_train), data.y_train, strict=True)}
    told = [hashes.get(hash_) for hash_ in feature_hashes(data.X_test)]
    assert result.n_opposed == sum(
        label is not None and label != truth for label, truth in zip(told, data.y_test, strict=True)
    )


def test_contradictions_are_worth_a_caution_when_they_bound_the_score():
    coarse = defendants().drop(columns="days")

    (caution,) = data_cautions(data_of(coarse))

    assert caution.kind == "contradictory"
    assert "no model can be better than 0." in caution.text
    assert "all of another class" not in caution.text
    (before,) = data_cautions(data_of(coarse, split="rows"))
    assert "test rows have equal rows in training, all of another class" in before.text
    few = pd.concat([passengers(), passengers().head(2).assign(**{"class": ["died", "survived"]})])
    assert kinds(few.drop_duplicates()) == []


def test_classes_of_few_rows_are_named_with_what_that_means():
    frame = passengers()
    frame.loc[:11, "class"] = "unknown"

    (caution,) = data_cautions(data_of(frame))

    assert caution.kind == "few_rows"
    assert "unknown (" in caution.text
    assert "died" not in caution.text
    assert "Fewer than 20 training rows" in caution.text
    frame.loc[:60, "class"] = "unknown"
    assert kinds(frame) == []


@pytest.mark.parametrize(
    ("name", "values", "keep", "expected"),
    [
        ("customer_id", np.arange(N_ROWS) // 2 * 7, False, True),
        ("customer_id", np.arange(N_ROWS) % 20, False, False),
        ("account", np.random.default_rng(0).choice(9_000, N_ROWS, replace=False), False, True),
        ("income", np.random.default_rng(0).choice(900_000, N_ROWS, replace=False), False, False),
        ("number", np.random.default_rng(0).permutation(N_ROWS), True, True),
        ("name", [f"name {n}" for n in range(N_ROWS)], True, True),
    ],
)
def test_features_that_number_rows_are_told_from_those_that_measure(name, values, keep, expected):
    frame = passengers().assign(**{name: values})

    assert ("id_like" in kinds(frame, keep=(name,) if keep else ())) is expected


def test_a_constant_that_the_user_keeps_teaches_nothing():
    frame = passengers().assign(country="here")

    assert kinds(frame) == []
    assert kinds(frame, keep=("country",)) == ["constant"]


def test_rows_of_another_time_are_told_from_those_of_training():
    frame = passengers().assign(year=np.arange(N_ROWS) // 8, price=lambda rows: rows["fare"] + rows["year"])

    found_ = shift(data_of(frame, time="year"))

    assert found_ is not None
    assert found_.auc > 0.6
    assert found_.columns[0] == "price"
    assert shift(data_of(frame, key="price")) is None
    assert "shift" in kinds(frame, time="year")
    assert shift(data_of(frame.drop(columns="price"), time="year")) is None


def test_groups_count_once_however_many_rows_they_have():
    generator = np.random.default_rng(0)
    customer = generator.integers(0, 60, N_ROWS)
    frame = passengers().assign(customer=customer, town=generator.normal(size=60)[customer])

    assert shift(data_of(frame, group="customer")) is None


def test_rows_that_do_not_differ_are_said_to_about_one_time_in_a_hundred():
    generator = np.random.default_rng(0)
    is_test = np.repeat([0, 1], [64, 16])
    noise = [generator.normal(size=(80, 3)).astype(np.float32) for _ in range(12)]

    alarms = [_between(rows, is_test, list("abc"), generator) for rows in noise]

    assert sum(alarm is not None for alarm in alarms) <= 1  # benchmarks/cautions.py has the rate
    assert LEVEL == 0.01
