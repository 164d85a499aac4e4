import numpy as np

from proto_model.explanation.background import Background
from proto_model.explanation.lore.neighborhood import Bins


def test_a_single_value_has_the_bin_that_it_has_in_a_row(schema, rows):
    background = Background.from_matrix(schema, rows)
    bins = Bins.of(background)
    # Values of rows, missing ones, cut points themselves, and numbers far outside.
    cuts = np.repeat(background.cuts[0][:, np.newaxis], background.n_features, axis=1)
    edges = np.where(background.numeric, cuts, 1.0)
    X = np.concatenate([rows, np.full((1, background.n_features), np.nan), edges])
    X = np.concatenate(
        [X, np.where(background.numeric, 1e300, X[:1]), np.where(background.numeric, -1e300, X[:1])]
    )
    features = np.tile(np.arange(background.n_features), len(X))

    assert (bins.each(features, X.ravel()) == bins(X).ravel()).all()
    assert bins.each(features[:0], X.ravel()[:0]).shape == (0,)
