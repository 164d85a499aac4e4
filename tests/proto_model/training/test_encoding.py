import itertools

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.errors import ArtifactError
from proto_model.forest.pipeline import compiled_forest
from proto_model.model import Bundle, write_bundle
from proto_model.model.bundle import TRUSTED_TYPES
from proto_model.model.digests import write_digests
from proto_model.schema import Feature, ModelSchema
from proto_model.training.encoding import make_encoder
from proto_model.values import decode, encode

LEVELS = tuple(f"level {i:03}" for i in range(60))
SCHEMA = ModelSchema(
    "m",
    "kind",
    "long",
    (0, 1, 2),
    (
        Feature("x", "double", True, minimum=0.0, maximum=1.0, median=0.5),
        Feature("many", "string", True, LEVELS, most_frequent=LEVELS[0]),
        Feature("few", "string", False, ("p", "q"), most_frequent="p"),
        Feature("n", "long", False, minimum=0.0, maximum=9.0, median=4.0),
    ),
)
OPTIONS = list(itertools.product(("ordinal", "target", "frequency", "one_hot"), ("as_is", "median")))


def rows(seed, n_rows=400):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            np.where(rng.random(n_rows) < 0.2, np.nan, rng.random(n_rows)),
            np.where(rng.random(n_rows) < 0.1, np.nan, rng.integers(0, len(LEVELS), n_rows)),
            rng.integers(0, 2, n_rows),
            rng.integers(0, 10, n_rows),
        ]
    )
    return X, rng.integers(0, len(SCHEMA.classes), n_rows)


@pytest.mark.parametrize(("categories", "numbers"), OPTIONS)
def test_a_pipeline_and_the_engine_give_the_same_bits(tmp_path, categories, numbers):
    X, y = rows(0)
    encoder = make_encoder(SCHEMA, categories, numbers)
    pipeline = Pipeline([("encode", encoder), ("forest", RandomForestClassifier(12, random_state=0))])
    pipeline.fit(decode(X, SCHEMA), y)
    write_bundle(tmp_path, pipeline, SCHEMA, X)

    asked = np.vstack([X, rows(1)[0]])
    bundle = Bundle.load(tmp_path)
    known = pipeline.predict_proba(decode(asked, SCHEMA))

    assert_array_equal(bundle.predict_proba(asked), known)
    assert_array_equal(np.vstack([bundle.predict_proba(asked[i : i + 1]) for i in range(30)]), known[:30])
    assert_array_equal(bundle.pipeline.predict_proba(decode(asked, SCHEMA)), known)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(OPTIONS))
def test_the_bits_are_the_same_for_any_rows(seed, options):
    X, y = rows(seed, 60)
    encoder = make_encoder(SCHEMA, *options)
    pipeline = Pipeline([("encode", encoder), ("forest", RandomForestClassifier(4, random_state=0))])
    pipeline.fit(decode(X, SCHEMA), y)

    assert_array_equal(
        compiled_forest(pipeline, SCHEMA).predict_proba(X), pipeline.predict_proba(decode(X, SCHEMA))
    )


def test_a_level_of_one_row_does_not_tell_the_forest_its_label():
    rng = np.random.default_rng(0)
    n_levels = 300
    schema = ModelSchema(
        "m", "kind", "long", (0, 1),
        (Feature("many", "string", False, tuple(f"{i:03}" for i in range(n_levels)), most_frequent="000"),),
    )  # fmt: skip
    X = np.arange(2.0 * n_levels)[:, np.newaxis] % n_levels
    y = rng.integers(0, 2, len(X))  # two rows a level: labels say nothing of the level

    encoder = make_encoder(schema, "target")
    learned = encoder.fit_transform(decode(X, schema), y)[:, 0]
    asked = encoder.transform(decode(X, schema))[:, 0]

    assert abs(np.corrcoef(learned, y)[0, 1]) < 0.15
    assert np.corrcoef(asked, y)[0, 1] > 0.5  # what the rows themselves would have told


def test_the_mean_of_a_level_is_learned_where_there_are_rows():
    rng = np.random.default_rng(0)
    X, _ = rows(0, 6000)
    y = (rng.random(len(X)) < np.where(X[:, 1] < 30, 0.9, 0.1)).astype(int)
    encoder = make_encoder(SCHEMA, "target")
    encoded = encoder.fit_transform(decode(X, SCHEMA), y)

    assert encoded[X[:, 1] < 30, 1].min() > 0.6
    assert encoded[X[:, 1] >= 30, 1].max() < 0.4
    unseen = encoder.transform(pd.DataFrame({"x": [0.5], "many": ["new"], "few": ["p"], "n": [1.0]}))
    missing = encoder.transform(pd.DataFrame({"x": [0.5], "many": [None], "few": ["p"], "n": [1.0]}))
    assert_array_equal(unseen, missing)  # as for every forest: not known is not known


def test_without_options_a_table_is_encoded_as_ever(mixed_data):
    assert type(make_encoder(mixed_data.schema)).__name__ == "ColumnTransformer"


def test_the_stored_pipeline_holds_nothing_else_to_trust():
    X, y = rows(0)
    pipeline = Pipeline([("encode", make_encoder(SCHEMA, "target")), ("forest", RandomForestClassifier(2))])
    content = skops.io.dumps(pipeline.fit(decode(X, SCHEMA), y))

    assert set(skops.io.get_untrusted_types(data=content)) == set(TRUSTED_TYPES)


def test_an_expansion_of_another_forest_is_refused(tmp_path):
    X, y = rows(0)
    for name, categories in (("a", "target"), ("b", "one_hot")):
        encoder = make_encoder(SCHEMA, categories)
        pipeline = Pipeline([("encode", encoder), ("forest", RandomForestClassifier(2, random_state=0))])
        pipeline.fit(decode(X, SCHEMA), y)
        write_bundle(tmp_path / name, pipeline, SCHEMA, X)
    (tmp_path / "a/expansion.npz").replace(tmp_path / "b/expansion.npz")
    for name in ("a", "b"):
        with pytest.raises(ArtifactError, match=r"expansion\.npz"):
            Bundle.load(tmp_path / name)
        write_digests(tmp_path / name)

    with pytest.raises(ArtifactError, match="columns"):
        Bundle.load(tmp_path / "b")
    with pytest.raises(ArtifactError, match="features"):
        Bundle.load(tmp_path / "a")
    assert encode(decode(X, SCHEMA), SCHEMA).shape == X.shape
