"""From a canonical frame to what a forest learns from."""

from __future__ import annotations

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OrdinalEncoder

from proto_model.schema import ModelSchema


def make_encoder(schema: ModelSchema) -> ColumnTransformer:
    """Encoder of a canonical frame, not fitted: categories as their index, numbers as they are.

    A category that the schema does not have counts as missing.
    """
    categorical = [feature for feature in schema.features if feature.categories is not None]
    encoder = OrdinalEncoder(
        categories=[np.array(feature.categories, dtype=object) for feature in categorical],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    names = [feature.name for feature in categorical]
    numbers = [feature.name for feature in schema.features if feature.categories is None]
    return ColumnTransformer([("categories", encoder, names), ("numbers", "passthrough", numbers)])
