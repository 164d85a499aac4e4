import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.forest.pipeline import forest_columns
from proto_model.table import encode
from proto_model.training import VARIANTS, make_pipeline


@pytest.mark.parametrize("name", VARIANTS)
def test_a_pipeline_and_its_forest_on_coded_rows_agree_bit_for_bit(name, mixed_data):
    pipeline = make_pipeline(name, mixed_data.schema, 0, n_estimators=10)
    pipeline.fit(mixed_data.X_train, mixed_data.y_train)
    frame = mixed_data.X_test.copy()
    frame.loc[:9, "job"] = "astronaut"
    frame.loc[5:14, "age"] = np.nan

    forest = pipeline.named_steps["forest"]
    coded = encode(frame, mixed_data.schema)[:, forest_columns(pipeline, mixed_data.schema)]

    assert_array_equal(pipeline.predict_proba(frame), forest.predict_proba(coded))
    assert pipeline.classes_.tolist() == list(mixed_data.schema.classes)


def test_the_forest_sees_categories_first(mixed_data, mixed_pipeline):
    names = np.array(mixed_data.schema.feature_names)[forest_columns(mixed_pipeline, mixed_data.schema)]

    assert names.tolist() == ["job", "age", "income", "owner", "children"]


def test_a_category_never_seen_counts_as_missing_without_a_warning(mixed_data, mixed_pipeline):
    frame = mixed_data.X_test

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = mixed_pipeline.predict_proba(frame.assign(job="astronaut"))
    missing = mixed_pipeline.predict_proba(frame.assign(job=None).astype({"job": object}))

    assert_array_equal(new, missing)


def test_the_order_of_the_columns_does_not_matter(mixed_data, mixed_pipeline):
    frame = mixed_data.X_test

    assert_array_equal(
        mixed_pipeline.predict_proba(frame), mixed_pipeline.predict_proba(frame[sorted(frame.columns)])
    )


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_every_value_of_a_space_is_a_parameter_of_its_forest(variant):
    assert {*variant.space, *variant.defaults} <= set(variant.forest().get_params())
    assert variant.defaults["n_estimators"] == 200


def test_given_parameters_replace_the_defaults(mixed_data):
    forest = make_pipeline("random_forest_balanced", mixed_data.schema, 3, max_depth=4).named_steps["forest"]

    assert (forest.class_weight, forest.n_estimators, forest.max_depth, forest.random_state) == (
        "balanced",
        200,
        4,
        3,
    )
