import datetime
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from proto_model.table import prepare
from proto_model.table.dates_and_texts import LEAST_ROWS, MAX_CATEGORIES
from proto_model.table.roles import Roles
from proto_model.table.source import RawTable, read_table
from proto_model.texts import MAX_TERMS
from proto_model.values import encode

N_ROWS = 400
RNG = np.random.default_rng(0)
KIND = RNG.integers(0, 2, N_ROWS)
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(n)) for n in RNG.integers(0, 1500, N_ROWS)]


def prepared(roles=Roles(), **columns):  # noqa: B008  # it cannot be changed
    n_rows = len(next(iter(columns.values())))
    kind = np.resize(KIND, n_rows)
    table = pa.table({**columns, "number": np.arange(n_rows) % 7, "kind": kind})
    return prepare(RawTable("t", "t", table), roles=roles, target="kind")


def test_dates_are_days_and_times_are_seconds_however_a_table_stores_them():
    moments = [datetime.datetime(day.year, day.month, day.day, 12, 30, 5) for day in DAYS]
    data = prepared(
        text=[day.isoformat() for day in DAYS],
        day=pa.array(DAYS, pa.date32()),
        stamp=pa.array(DAYS, pa.date32()).cast(pa.timestamp("ns")),
        moment=[f"{moment.isoformat()}Z" for moment in moments],
        zoned=pa.array(moments, pa.timestamp("us", "Europe/Paris")),
    )

    types = {feature.name: feature.type for feature in data.schema.features}
    days, moments = dict.fromkeys(("text", "day", "stamp"), "date"), ("moment", "zoned")
    assert types == {**days, **dict.fromkeys(moments, "datetime"), "number": "long"}
    coded = encode(data.X_train, data.schema)
    assert_array_equal(coded[:, 0], coded[:, 1])
    assert_array_equal(coded[:, 0], coded[:, 2])
    assert_array_equal(coded[:, 3], coded[:, 4])
    assert_array_equal(coded[:, 3], coded[:, 0] * 86400 + 12 * 3600 + 30 * 60 + 5)
    assert data.X_train.dtypes["text"] == "datetime64[s]"


def test_the_schema_shows_round_dates_that_enclose_all():
    feature = prepared(day=pa.array(DAYS, pa.date32())).schema.features[0]
    shown = feature.to_dict()

    assert shown["minimum"] <= min(DAYS).isoformat()
    assert shown["maximum"] >= max(DAYS).isoformat()
    assert shown["minimum"] < shown["median"] < shown["maximum"]


def test_a_missing_date_makes_the_feature_nullable():
    data = prepared(day=[None, *[day.isoformat() for day in DAYS[1:]]])

    assert data.schema.features[0].nullable
    frames = pd.concat([data.X_train, data.X_test])
    assert frames["day"].isna().sum() == 1


def test_words_that_enough_rows_share_become_terms_and_no_other():
    said = [
        f"{'refund' if n % 3 else 'Thanks'} for order{n} please {'alice' if n < LEAST_ROWS - 1 else 'x'}"
        for n in range(N_ROWS)
    ]
    feature = prepared(note=said).schema.features[0]

    assert feature.type == "text"
    assert feature.terms == ("refund", "thanks")  # `for` and `please` are in every row


def test_of_many_words_those_with_the_largest_tfidf_are_kept():
    words = [f"word{n:02}" for n in range(3 * MAX_TERMS)]
    share = np.linspace(0.1, 0.9, len(words))
    said = [" ".join([*np.array(words)[RNG.random(len(words)) < share], f"end{n}"]) for n in range(N_ROWS)]
    terms = prepared(note=said).schema.features[0].terms

    assert len(terms) == MAX_TERMS
    assert list(terms) == sorted(terms)
    assert np.mean([share[words.index(term)] for term in terms]) == pytest.approx(np.exp(-1), abs=0.1)


def test_identifiers_and_texts_without_common_words_are_dropped():
    data = prepared(code=[f"{n:06x}" for n in range(N_ROWS)], own=[f"a{n} b{n % 399}" for n in range(N_ROWS)])

    assert {column.name for column in data.dropped} == {"code", "own"}


def test_of_very_many_levels_only_common_ones_are_shown_and_used():
    n_rows = 8000
    rare = [f"zip{n:05}" for n in range(MAX_CATEGORIES + 500)] * 3
    common = [f"zip9{n:04}" for n in np.arange(n_rows - len(rare)) % 50]
    data = prepared(zip=[*rare, *common])
    feature = data.schema.features[0]

    assert feature.type == "string"
    assert feature.categories == tuple(sorted(set(common)))
    assert feature.most_frequent in common
    assert not feature.nullable
    unseen = np.isnan(encode(data.X_train, data.schema)[:, 0])
    assert_array_equal(unseen, data.X_train["zip"].isin(rare))


def test_free_text_that_is_kept_is_a_category_where_it_has_no_terms():
    own = [f"a{n} b{n % 399}" for n in range(N_ROWS)]

    assert prepared(Roles(keep=("own",)), own=own).schema.features[0].type == "string"


def test_dates_and_texts_can_be_dropped():
    data = prepared(Roles(drop=("day",)), day=pa.array(DAYS, pa.date32()))

    assert data.schema.feature_names == ["number"]


def test_a_csv_has_dates_and_texts():
    lines = [f"{DAYS[n]},{'late again' if n % 4 else 'all well'} {n},{KIND[n]}" for n in range(N_ROWS)]
    csv = "day,note,kind\n" + "\n".join(lines)
    data = prepare(read_table(io.BytesIO(csv.encode()), "t.csv"), "kind")

    assert [feature.type for feature in data.schema.features] == ["date", "text"]
    assert data.schema.features[1].terms == ("again", "all", "late", "well")
