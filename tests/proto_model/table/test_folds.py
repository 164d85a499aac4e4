from types import SimpleNamespace

import numpy as np
import pytest

from proto_model.table.folds import folds


@pytest.mark.parametrize(
    ("counts", "n_folds"), [([50, 50], 5), ([50, 3], 3), ([50, 1], 2), ([9_000, 1_000], 3), ([2, 2], 2)]
)
def test_there_are_fewer_folds_for_rare_classes_and_large_tables(counts, n_folds):
    data = SimpleNamespace(y_train=np.repeat(np.arange(len(counts)), counts))

    assert len(folds(data, 0)) == n_folds
