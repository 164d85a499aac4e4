"""Pipelines from elsewhere: taken over to the last bit, or refused with a reason."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from proto_model.errors import DataError
from proto_model.forest.pipeline import compiled_forest
from proto_model.table.given import given_data, given_frames
from proto_model.training.adoption import adopted, check_same, forest_of, with_known_levels
from proto_model.values import encode

NUMBERS = ["age", "income", "gaps"]
IGNORE = OneHotEncoder(handle_unknown="ignore")
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}


def rows(n=240, seed=0):
    generator = np.random.default_rng(seed)
    income = generator.normal(0, 1, n)
    job = generator.choice(["clerk", "nurse", "pilot"], n)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 90, n),
            "income": income,
            "gaps": np.where(generator.random(n) < 0.2, np.nan, generator.normal(5, 2, n)),
            "job": job,
            "town": np.where(generator.random(n) < 0.1, None, generator.choice(["a", "b"], n)),
            "class": np.where(income + (job == "pilot") + generator.normal(0, 0.4, n) > 0.3, "yes", "no"),
        }
    )


def forest(kind=ExtraTreesClassifier, **options):
    return kind(n_estimators=8, random_state=0, max_depth=6, **options)


def taken(pipeline, names, *, fit=True, lenient=False):
    """Rows and probes that were compared, once the pipeline was taken over."""
    train, test = rows(), rows(80, 1)
    X, X_test = given_frames(train[names], test[names])
    if fit:
        pipeline.fit(X, train["class"])
    data = given_data(X, train["class"], X_test, test["class"], model_name="people", name="people")
    schema = with_known_levels(pipeline, data.schema)
    own = adopted(pipeline, schema, unseen_as_missing=lenient)
    same = check_same(pipeline, own, schema, (X, X_test), as_array=False)
    engine = compiled_forest(own, schema)
    one_by_one = np.concatenate(
        [engine.predict_proba(row[np.newaxis]) for row in encode(data.X_test, schema)[:20]]
    )
    np.testing.assert_array_equal(one_by_one, own.predict_proba(data.X_test)[:20])
    return same


def by_kind(numbers, texts, others="drop"):
    return ColumnTransformer(
        [
            ("numbers", numbers, NUMBERS),
            ("texts", texts, make_column_selector(dtype_include=[object, "string"])),
        ],
        remainder=others,
    )


ALL = [*NUMBERS, "job", "town"]
TAKEN = {
    "as they are": (make_pipeline("passthrough", forest()), NUMBERS),
    "no step": (Pipeline([("forest", forest(RandomForestClassifier))]), NUMBERS),
    "imputed": (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), forest()), NUMBERS),
    "standard": (make_pipeline(StandardScaler(), forest()), NUMBERS),
    "only centred": (make_pipeline(StandardScaler(with_std=False), forest()), NUMBERS),
    "min max": (make_pipeline(MinMaxScaler((-1, 3)), forest(RandomForestClassifier)), NUMBERS),
    "max abs": (make_pipeline(MaxAbsScaler(), forest()), NUMBERS),
    "robust": (make_pipeline(RobustScaler(), forest()), NUMBERS),
    "imputed, scaled": (make_pipeline(SimpleImputer(), StandardScaler(), forest()), NUMBERS),
    "scaled, imputed": (
        make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=-9), forest()),
        NUMBERS,
    ),
    "selected": (make_pipeline(SimpleImputer(), SelectKBest(k=2), forest()), NUMBERS),
    "union": (
        make_pipeline(FeatureUnion([("a", SimpleImputer()), ("b", FunctionTransformer())]), forest()),
        NUMBERS,
    ),
    "one hot": (make_pipeline(by_kind("passthrough", IGNORE), forest()), [*NUMBERS, "job"]),
    "one hot, dense, first dropped": (
        make_pipeline(
            by_kind("passthrough", OneHotEncoder(sparse_output=False, drop="first", handle_unknown="ignore")),
            forest(),
        ),
        [*NUMBERS, "job"],
    ),
    "ordinal": (make_pipeline(by_kind(SimpleImputer(), OrdinalEncoder(**UNKNOWN)), forest()), ALL),
    "ordinal in another order": (
        make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(categories=[["pilot", "clerk", "nurse", "vet"]], **UNKNOWN), ["job"]),
                remainder="passthrough",
            ),
            forest(),
        ),
        ["job", "age"],
    ),
    "codes scaled": (
        make_pipeline(by_kind("drop", make_pipeline(OrdinalEncoder(**UNKNOWN), StandardScaler())), forest()),
        ALL,
    ),
    "columns by place": (
        make_pipeline(make_column_transformer((StandardScaler(), [1]), remainder="passthrough"), forest()),
        NUMBERS,
    ),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_can_be_taken_over_answers_to_the_last_bit(case):
    pipeline, names = TAKEN[case]
    same = taken(pipeline, names)
    assert same.n_rows > 320
    assert same.n_probes > 5


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore"),
        OrdinalEncoder(),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    ],
)
def test_what_differs_on_unseen_categories_only_is_taken_on_request(encoder):
    pipeline = make_pipeline(encoder, forest())
    with pytest.raises(DataError, match="unseen='missing'"):
        taken(pipeline, ["job", "town"])
    assert taken(pipeline, ["job", "town"], lenient=True).n_probes == 6


REFUSED = {
    "PCA": (make_pipeline(SimpleImputer(), PCA(2), forest()), NUMBERS, "Step 'pca' is a PCA, which"),
    "bins": (
        make_pipeline(
            SimpleImputer(), KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), forest()
        ),
        NUMBERS,
        "KBinsDiscretizer",
    ),
    "function": (make_pipeline(FunctionTransformer(np.abs), forest()), NUMBERS, "FunctionTransformer"),
    "scaled twice": (
        make_pipeline(StandardScaler(), MinMaxScaler(), forest()),
        NUMBERS,
        "it is scaled already",
    ),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), forest()), NUMBERS, "clips"),
    "numbers encoded": (
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), forest()),
        ["age"],
        "holds numbers",
    ),
    "strict": (make_pipeline(OneHotEncoder(), forest()), ["job"], "raises an error for categories"),
    "two kinds of unknown": (
        make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), forest()),
        ["town"],
        "Servers of this project treat both as missing",
    ),
    "rare ones together": (
        make_pipeline(OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=90), forest()),
        ["job"],
        "infrequent",
    ),
    "other missing value": (make_pipeline(SimpleImputer(missing_values=-1), forest()), ["age"], "fills -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_over_is_named(case):
    pipeline, names, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        taken(pipeline, names)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (forest(), "A forest without a pipeline"),
        ("pipeline", "A str given"),
        (make_pipeline("passthrough", forest()), "is not fitted"),
        (make_pipeline("passthrough", GradientBoostingClassifier()), "ends in a GradientBoostingClassifier"),
    ],
)
def test_what_is_no_fitted_pipeline_with_a_forest_is_told(pipeline, message):
    with pytest.raises(DataError, match=message):
        forest_of(pipeline)


def test_a_pipeline_that_differs_is_found_out():
    """The one of another seed, as if a step had been followed wrongly."""
    train = rows()
    X, _ = given_frames(train[NUMBERS], train[NUMBERS])
    data = given_data(X, train["class"], X, train["class"], model_name="people", name="people")
    one, other = (
        make_pipeline("passthrough", ExtraTreesClassifier(5, random_state=seed)).fit(X, train["class"])
        for seed in (0, 1)
    )
    with pytest.raises(
        DataError, match=r"cannot be taken over exactly: .* of 240 rows get other probabilities"
    ):
        check_same(one, adopted(other, data.schema), data.schema, (X,), as_array=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"job": "NA"}, "'NA'"),
        ({"job": " pilot"}, "' pilot'"),
        ({"income": None}, "has no value"),
        ({"income": pd.Timestamp("2026-01-01")}, "neither numbers nor texts"),
        ({"income": (1, 2)}, "neither numbers nor texts"),
    ],
)
def test_columns_that_servers_would_read_otherwise_are_named(change, message):
    train = rows()
    frame = train[["job", "income"]].copy()
    for name, value in change.items():
        if isinstance(value, str):  # in some of the rows
            frame[name] = train[name].astype(object).where(train["age"] > 40, value)
        else:
            frame[name] = [value] * len(frame)
    with pytest.raises(DataError, match=message):
        given_data(frame, train["class"], frame, train["class"], model_name="people", name="people")


def test_parts_that_do_not_fit_each_other_are_told():
    train = rows()
    with pytest.raises(DataError, match="differ in their columns: 'job'"):
        given_frames(train[["age", "job"]], train[["age"]])
    with pytest.raises(DataError, match="no rows"):
        given_frames(train[["age"]][:0], train[["age"]])
    with pytest.raises(DataError, match=r"y has shape \(3,\)"):
        given_data(train[["age"]], [1, 0, 1], train[["age"]], train["class"], model_name="m", name="m")
    with pytest.raises(DataError, match="classes that y does not have: 'maybe'"):
        given_data(train[["age"]], train["class"], train[["age"]], ["maybe"] * 240, model_name="m", name="m")


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (StandardScaler(), "'first'"),
        (SimpleImputer(), "'first'"),
        (OneHotEncoder(), "'first'"),
        (SelectKBest(k=1), "'first'"),
        (make_column_transformer((StandardScaler(), ["age"])), "'first'"),
        (Pipeline([("inner", MinMaxScaler())]), "'first.inner'"),
    ],
)
def test_a_step_that_is_not_fitted_is_named(first, name):
    """The forest alone was fitted, and the pipeline made around it."""
    train = rows()
    grown = forest().fit(train[["age", "income"]], train["class"])
    with pytest.raises(DataError, match=f"Step {name} is not fitted"):
        taken(Pipeline([("first", first), ("forest", grown)]), ["age", "income"], fit=False)


def test_a_forest_without_trees_is_refused():
    pipeline = make_pipeline("passthrough", forest()).fit(rows()[["age", "income"]], rows()["class"])
    pipeline[-1].estimators_ = []
    with pytest.raises(DataError, match="has no trees"):
        forest_of(pipeline)


def test_weights_of_parts_are_refused():
    weighted = ColumnTransformer([("a", "passthrough", ["age"])], transformer_weights={"a": 2})
    with pytest.raises(DataError, match="'columntransformer' weighs its parts"):
        taken(make_pipeline(weighted, forest()), ["age", "income"])


def test_a_pipeline_that_was_fitted_on_an_array_of_objects_takes_columns_by_place():
    train, test = rows(), rows(80, 1)
    names = ["age", "job"]
    pipeline = make_pipeline(make_column_transformer((IGNORE, [1]), remainder="passthrough"), forest())
    pipeline.fit(train[names].to_numpy(), train["class"])
    data = given_data(train[names], train["class"], test[names], test["class"], model_name="a", name="a")
    own = adopted(pipeline, data.schema)
    assert check_same(pipeline, own, data.schema, (train[names], test[names]), as_array=True).n_rows > 320


def test_what_32_bits_make_of_numbers_is_refused_with_the_reason():
    train, test = ((part[["income"]] + 1000).astype("float32") for part in (rows(2000), rows(500, 1)))
    labels, others = rows(2000)["class"], rows(500, 1)["class"]
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(train, labels)
    data = given_data(train, labels, test, others, model_name="a", name="a")
    with pytest.raises(DataError, match=r"fit it on X\.astype\('float64'\)"):
        check_same(pipeline, adopted(pipeline, data.schema), data.schema, (train, test), as_array=False)


def test_an_error_of_the_pipeline_itself_is_told():
    train, test = rows()[["age"]], rows(80, 1)[["age"]]
    pipeline = make_pipeline("passthrough", forest()).fit(train, rows()["class"])
    data = given_data(train, rows()["class"], test, rows(80, 1)["class"], model_name="a", name="a")
    own = adopted(pipeline, data.schema)
    with pytest.raises(DataError, match=r"The pipeline raises an error for rows .* infinity"):
        check_same(pipeline, own, data.schema, (train, test.assign(age=np.inf)), as_array=False)


@pytest.mark.parametrize("label", ["\ud800", 2**64, 1j])
def test_labels_that_nothing_can_write_are_refused(label):
    y = np.array([label, *rows()["class"][1:]], dtype=object)
    with pytest.raises(DataError, match="y holds labels"):
        given_data(rows()[["age"]], y, rows()[["age"]], y, model_name="a", name="a")


def test_values_that_nothing_can_write_are_refused():
    X = rows()[["age"]].assign(far=[2**70, *range(239)], half=pd.Series(["\ud800"] * 240, dtype=object))
    for name in ("far", "half"):
        with pytest.raises(DataError, match="X holds values"):
            given_data(X[[name]], rows()["class"], X[[name]], rows()["class"], model_name="a", name="a")
