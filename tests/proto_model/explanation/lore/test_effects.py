import numpy as np
import pytest

from proto_model.explanation.background import Background
from proto_model.explanation.lore.effects import Effects
from proto_model.explanation.lore.neighborhood import Pool


@pytest.fixture(scope="module")
def effects(schema, rows, model):
    return Effects(Pool.build(Background.from_matrix(schema, rows), model))


def bins(effects, *rows):
    return effects.pool.bins(np.array(rows, dtype=np.float64))


def test_effects_have_the_known_signs(effects):
    own, less, more = bins(effects, [50, 3, 0, 1, 40], [30, 1, 0, 0, 40], [70, 5, 1, 2, 40])
    falls = effects.falls(own, 1)

    assert falls[less].tolist()[:2] == [True, False]  # less income, fewer children
    assert falls[more].tolist()[:4] == [False, True, False, False]  # more income and children, owner, red
    assert not falls[own].any()
    assert (effects.falls(own, 0)[more] == [True, False, True, True, False]).all()


def test_effects_are_those_of_one_feature_while_the_others_are_as_in_the_table(effects, rows, model):
    means, first = effects.means(1), effects.pool.bins.first
    for owner in (0.0, 1.0):
        X = rows.copy()
        X[:, 2] = owner
        others = rows.copy()
        others[:, 2] = 1 - owner
        expected = model(X)[:, 1].mean() - model(others)[:, 1].mean()
        found = means[first[2] + int(owner)] - means[first[2] + 1 - int(owner)]
        assert found == pytest.approx(expected, abs=0.03)
