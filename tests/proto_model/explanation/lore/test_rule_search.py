import numpy as np
import pytest

from proto_model.explanation.background import Background
from proto_model.explanation.lore.neighborhood import Pool
from proto_model.explanation.lore.rule_search import RuleSearch


def by_rule(X):
    inside = (X[:, 0] > 30) & (X[:, 0] <= 70) & (X[:, 3] == 1)
    return np.eye(2)[inside.astype(int)]


@pytest.fixture(scope="module")
def pool(schema, rows):
    return Pool.build(Background.from_matrix(schema, rows), by_rule)


def test_a_rule_that_exists_is_found(pool):
    x = np.array([50.0, 2, 0, 1, 40])
    search = RuleSearch(pool, 1)
    own = pool.bins(x[np.newaxis])[0]

    rule = search.rule(search.find(own, 0.98), own)

    by_feature = {premise.feature: premise for premise in rule.premises}
    assert set(by_feature) == {0, 3}
    assert by_feature[3].codes == (1,)
    assert by_feature[0].above == pytest.approx(30, abs=3)
    assert by_feature[0].at_most == pytest.approx(70, abs=3)


def test_the_rule_of_the_other_class_is_wide(pool, rows):
    x = np.array([50.0, 2, 0, 0, 40])
    search = RuleSearch(pool, 0)
    own = pool.bins(x[np.newaxis])[0]

    rule = search.rule(search.find(own, 0.98), own)

    assert rule.covers(x[np.newaxis]).all()
    assert rule.covers(rows).mean() > 0.3
    assert (by_rule(rows[rule.covers(rows)]).argmax(axis=1) == 0).mean() > 0.95


def test_missing_is_not_spoken_of_where_it_cannot_be(pool):
    x = np.array([50.0, 2, 0, 1, 40])
    search = RuleSearch(pool, 1)
    own = pool.bins(x[np.newaxis])[0]
    box = search.find(own, 0.98)

    rule = search.rule(box.with_side(4, int(own[4]), int(pool.bins.last[4])), own)

    (age,) = (premise for premise in rule.premises if premise.feature == 4)
    assert not age.or_missing
