import numpy as np
import pytest

from proto_model.formats import Source, rows
from proto_model.formats.rows import made_rows
from tests.proto_model.formats.sources import make_source


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(3, ("double", "string", "date"), folder=tmp_path_factory.mktemp("rows") / "bundle")


def test_rows_lie_at_thresholds_and_beside_them_with_missing_and_unseen_values(source):
    made = made_rows(source, source.bundle.background)
    single = made.matrix[:, 0].astype(np.float32)
    trees = source.trees.trees
    own = np.unique(np.concatenate([tree.threshold[tree.column == 0] for tree in trees])).astype(np.float32)
    for edge in (own, np.nextafter(own, np.float32(np.inf))):
        assert np.isin(edge, single).mean() > 0.5
    assert (np.isnan(made.matrix).mean(axis=0) > 0.05).all()
    assert made.unseen.any(axis=0).tolist() == [False, True, False]
    _, texts = list(made.columns())[1]
    assert {*texts} > {None, *source.schema.features[1].categories}


def test_a_forest_that_only_asks_what_is_missing_has_rows_too(source, monkeypatch):
    monkeypatch.setattr(rows, "_places", lambda _: {0: []})
    assert len(made_rows(Source(source.bundle), source.bundle.background)) == 2000
